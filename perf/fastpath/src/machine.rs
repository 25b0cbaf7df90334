//! The machine that figures were taken on.

use serde::{Deserialize, Serialize};
use std::process::Command;

/// Flags of the processor that decide which code runs.
const FLAGS: [&str; 8] = ["aes", "avx2", "avx512f", "avx512_vbmi2", "vaes", "vpclmulqdq", "bmi2", "gfni"];

/// See the module. What cannot be found out is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Model of the processor.
    pub cpu: String,
    /// Those of its flags that matter here.
    pub flags: Vec<String>,
    /// Logical processors.
    pub cpus: usize,
    /// MHz of the TSC, as the kernel measured it.
    pub tsc_mhz: String,
    /// Kernel.
    pub kernel: String,
    /// DPDK.
    pub dpdk: String,
    /// IPsec-MB.
    pub ipsec_mb: String,
    /// Compiler.
    pub rustc: String,
    /// Revision of the source.
    pub revision: String,
}

impl Machine {
    /// This one.
    pub fn this() -> Self {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let of = |key: &str| {
            let line = cpuinfo.lines().find(|l| l.split(':').next().is_some_and(|k| k.trim() == key));
            line.and_then(|l| l.split_once(':')).map(|l| l.1.trim().to_owned()).unwrap_or_default()
        };
        let have: Vec<String> = of("flags").split(' ').map(str::to_owned).collect();
        let package = |name| output("dpkg-query", &["-W", "-f", "${Version}", name]);
        Self {
            cpu: of("model name"),
            flags: FLAGS.iter().filter(|f| have.iter().any(|h| h == *f)).map(|f| (*f).to_owned()).collect(),
            cpus: std::thread::available_parallelism().map_or(0, usize::from),
            // BogoMIPS are twice the TSC's rate.
            tsc_mhz: of("bogomips").parse().map(|b: f64| format!("{:.0}", b / 2.0)).unwrap_or_default(),
            kernel: output("uname", &["-sr"]),
            dpdk: dpdk::Eal::version(),
            ipsec_mb: package("libipsec-mb1"),
            rustc: output("rustc", &["--version"]),
            revision: output("git", &["describe", "--always", "--dirty"]),
        }
    }
}

fn output(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().ok().filter(|o| o.status.success());
    output.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned()).unwrap_or_default()
}
