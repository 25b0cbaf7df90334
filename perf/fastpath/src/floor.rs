//! Floors by DPDK's own programs: what it costs to move the same frames and do nothing (`dpdk-testpmd`), and what
//! IPsec-MB costs behind a crypto device (`dpdk-test-crypto-perf`).

use crate::{measure, quiet};
use anyhow::{Context, bail, ensure};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Core 0 gives orders, core 1 is measured.
const EAL: [&str; 6] = ["-l", "0,1", "--in-memory", "--no-pci", "--no-telemetry", "--log-level=lib.eal:4"];
/// Time for which frames are moved.
const TIME: Duration = Duration::from_millis(300);

/// A command that runs `program` by way of another one.
pub fn command(under: &[String], program: impl AsRef<std::ffi::OsStr>) -> Command {
    match under {
        [] => Command::new(program),
        [first, rest @ ..] => {
            let mut command = Command::new(first);
            command.args(rest).arg(program);
            command
        }
    }
}

/// Ticks per packet of `dpdk-testpmd` in io mode, from the devices and in the bursts that the worker has.
pub fn io(pcap: &Path, under: &[String]) -> anyhow::Result<f64> {
    quiet::wait(&[measure::CORE])?;
    let source = format!("net_pcap0,rx_pcap={},infinite_rx=1", pcap.display());
    let own = ["--forward-mode=io", "--burst=64", "--auto-start", "--record-core-cycles", "--total-num-mbufs=16383"];
    // Lines are to come when they are written: one of them says that frames are being moved.
    let mut command = command(under, "stdbuf");
    command
        .args(["-oL", "dpdk-testpmd"])
        .args(EAL)
        .args(["--vdev", &source, "--vdev", "net_null0,no-rx=1", "--"])
        .args(own);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().context("dpdk-testpmd")?;
    let (mut input, output) = (child.stdin.take().context("input")?, child.stdout.take().context("output")?);
    let (mut output, mut line) = (BufReader::new(output), String::new());
    while !line.contains("Press enter to exit") {
        line.clear();
        if output.read_line(&mut line)? == 0 {
            bail!("dpdk-testpmd did not start: {}", child.wait()?);
        }
    }
    std::thread::sleep(TIME);
    input.write_all(b"\n")?;
    let mut text = String::new();
    output.read_to_string(&mut text)?;
    ensure!(child.wait()?.success(), "dpdk-testpmd failed");
    let ticks = text.split("CPU cycles/packet=").nth(1).and_then(|t| t.split_whitespace().next());
    ticks.context("dpdk-testpmd gave no cycles")?.parse().context("cycles")
}

/// The crypto devices: IPsec-MB's direct GCM calls, and its job API.
pub const DEVICES: [&str; 2] = ["crypto_aesni_gcm", "crypto_aesni_mb"];

/// Ticks per buffer of AES-GCM-128 through a crypto device, by size of the buffer.
pub fn cryptodev(device: &str, seal: bool, sizes: &[usize], under: &[String]) -> anyhow::Result<Vec<f64>> {
    quiet::wait(&[measure::CORE])?;
    let sizes: Vec<String> = sizes.iter().map(usize::to_string).collect();
    let op = if seal { "encrypt" } else { "decrypt" };
    let mut command = command(under, "dpdk-test-crypto-perf");
    command.args(EAL).args(["--vdev", device, "--", "--devtype", device, "--optype", "aead", "--aead-algo", "aes-gcm"]);
    command.args(["--aead-op", op, "--aead-key-sz", "16", "--aead-iv-sz", "12", "--aead-aad-sz", "12"]);
    command.args(["--digest-sz", "16", "--ptest", "throughput", "--buffer-sz", &sizes.join(",")]);
    command.args(["--total-ops", "300000", "--burst-sz", "32", "--silent", "--csv-friendly"]);
    let output = command.stderr(Stdio::null()).output().context("dpdk-test-crypto-perf")?;
    ensure!(output.status.success(), "dpdk-test-crypto-perf: {}", output.status);
    let text = String::from_utf8_lossy(&output.stdout);
    let lines = text.lines().filter(|l| l.starts_with(|c: char| c.is_ascii_digit()));
    let ticks: Vec<f64> = lines.filter_map(|l| l.rsplit(',').next()?.trim().parse().ok()).collect();
    ensure!(ticks.len() == sizes.len(), "dpdk-test-crypto-perf gave {} figures", ticks.len());
    Ok(ticks)
}
