//! `softwire-initiator`: a softwire on a Linux host or CPE, without any kernel tunnel or IPsec.
//!
//! It gives the [`Initiator`] UDP sockets 500 and 4500, a raw socket for ESP, and a TUN interface, and prints what
//! happens, one line each. SIGTERM ends the softwire in order; the exit status is 1 when it could not be brought up.

#![forbid(unsafe_code)]

mod program;

use clap::Parser;
use program::{Settings, run};
use std::path::PathBuf;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// Softwire initiator: IPv6 over IPv4 and IPv4 over IPv6, by IKEv2, ESP, L2TPv2 and PPP.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Configuration file.
    #[arg(short, long)]
    config: PathBuf,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let result = Settings::load(&args.config).and_then(|settings| {
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(run(settings))
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("softwire-initiator: {e:#}");
            ExitCode::FAILURE
        }
    }
}
