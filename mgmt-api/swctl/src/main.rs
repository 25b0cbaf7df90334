//! `swctl`, the operator's command line of the softwire gateway: a client of its REST API.
//!
//! ```text
//!  cli ──► config   candidate, diff, commit          ┐
//!      ──► show     tables of what runs              │
//!      ──► action   disconnect, rekey, clear, drain  ├──► client ──► Unix socket, or TLS with a token
//!      ──► monitor  events                           │
//!      ──► trace    packets                          │
//!      ──► top      load, rates, drops               ┘
//! ```

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

mod action;
mod cli;
mod client;
mod config;
mod error;
mod file;
mod man;
mod monitor;
mod output;
mod settings;
mod show;
mod tls;
mod top;
mod trace;

use clap::{CommandFactory, Parser};
use cli::{Cli, Command};
use client::Client;
use error::Error;
use std::process::ExitCode;

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            let status = e.status();
            if status != ExitCode::SUCCESS {
                eprintln!("swctl: {}", output::clean(&e.to_string()));
            }
            status
        }
    }
}

fn run(cli: Cli) -> Result<(), Error> {
    let json = cli.json;
    let client = || Client::new(&cli.gateway.completed()?);
    match cli.command {
        Command::Show(what) => show::show(&client()?, &what, json),
        Command::Set { words } => config::set(&client()?, &words),
        Command::Delete { words } => config::delete(&client()?, &words),
        Command::Diff => config::diff(&client()?),
        Command::Discard => config::discard(&client()?),
        Command::Update => config::update(&client()?),
        Command::Check => config::check(&client()?, json),
        Command::Commit { confirm, comment } => config::commit(&client()?, confirm, comment, json),
        Command::Confirm => config::confirm(&client()?),
        Command::Rollback { commit, confirm, comment } => {
            config::rollback(&client()?, commit, confirm, comment.as_deref(), json)
        }
        Command::Disconnect { id } => action::disconnect(&client()?, &id),
        Command::Rekey(what) => action::rekey(&client()?, &what),
        Command::Clear(what) => action::clear(&client()?, &what),
        Command::Disable(what) => action::disable(&client()?, &what),
        Command::Enable(what) => action::enable(&client()?, &what),
        Command::Drain { teardown, within, wait } => action::drain(&client()?, teardown, within, wait, json),
        Command::Undrain => action::undrain(&client()?, json),
        Command::Top { interval } => top::top(&client()?, interval),
        Command::Trace(what) => trace::trace(&client()?, &what, json),
        Command::Monitor { kinds } => monitor::monitor(&client()?, &kinds, json),
        Command::Token(what) => action::token(&client()?, &what, json),
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "swctl", &mut script);
            man::write(&script)
        }
        Command::Man { directory } => man::man(directory.as_deref()),
    }
}
