//! What came out of a test, as it is kept: one JSON document.

use crate::population::Record;
use crate::profile::{Direction, Extent};
use crate::tally::Flow;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Of this document; a reader takes no other.
pub const FORMAT: u32 = 1;

/// The whole document.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// [`FORMAT`].
    pub format: u32,
    /// The profile's.
    pub name: String,
    /// The profile's.
    pub description: String,
    /// UTC, RFC 3339.
    pub started: String,
    /// Seconds.
    pub seconds: f64,
    /// How many.
    pub subscribers: u32,
    /// Where the generator ran.
    pub machine: Machine,
    /// In order.
    pub stages: Vec<StageResult>,
    /// Second by second.
    pub timeline: Vec<Sample>,
    /// What the criteria made of it.
    pub checks: Vec<Check>,
    /// All checks.
    pub passed: bool,
}

/// Where the generator ran.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Machine {
    /// Processor.
    pub cpu: String,
    /// Packet cores.
    pub packet_cores: usize,
    /// Kernel.
    pub kernel: String,
    /// DPDK.
    pub dpdk: String,
    /// Devargs of the ports.
    pub ports: Vec<String>,
}

/// A stage.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StageResult {
    /// As in the profile.
    pub kind: String,
    /// Seconds from the beginning of the test.
    pub began: f64,
    /// How long.
    pub seconds: f64,
    /// The subscribers meanwhile.
    pub subscribers: Subscribers,
    /// Traffic, and a search's trials.
    pub trials: Vec<Trial>,
    /// Searches, one for each size.
    pub searches: Vec<Search>,
    /// Set-ups a second.
    pub setups: Option<Setups>,
}

/// Subscribers during a stage.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Subscribers {
    /// Up at its end.
    pub up: u32,
    /// Seconds until all were up, where that was waited for and happened.
    pub complete: Option<f64>,
    /// All were to be up at its end.
    pub expected: bool,
    /// Set-ups that were finished.
    pub ups: u64,
    /// Sessions that ended in order because the generator asked.
    pub closed: u64,
    /// Ends that were not answered.
    pub unanswered: u64,
    /// Set-ups that failed, by reason.
    pub failed: BTreeMap<String, u64>,
    /// Sessions that ended by themselves, by reason.
    pub lost: BTreeMap<String, u64>,
    /// From when a subscriber wanted to be up until it was, milliseconds; `None` where there was no set-up.
    pub wait: Option<Spread>,
}

/// A trial of packets.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Trial {
    /// Octets, or `imix`.
    pub size: String,
    /// Which way.
    pub direction: Direction,
    /// Packets per second, each way, that were to be sent.
    pub offered: f64,
    /// And were sent, up and down.
    pub sent: [f64; 2],
    /// Mean octets of a packet.
    pub octets: f64,
    /// Seconds.
    pub seconds: f64,
    /// Packets, up and down.
    pub flows: [Flow; 2],
    /// Microseconds, up and down; `None` where no packet came.
    pub latency: [Option<Spread>; 2],
    /// Why the rate was not reached.
    pub shortfall: Option<Shortfall>,
    /// It belongs to a search.
    pub search: bool,
}

/// Why a rate was not reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shortfall {
    /// The packet core could not make so many packets.
    Generator,
    /// The port took no more: the link is full, or, over memory interfaces, the gateway takes no more.
    Port,
}

/// The end of a search.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Search {
    /// Octets, or `imix`.
    pub size: String,
    /// Which way.
    pub direction: Direction,
    /// Mean octets of a packet.
    pub octets: f64,
    /// No-drop rate: packets per second, each way.
    pub ndr: f64,
    /// Partial drop rate.
    pub pdr: f64,
    /// What bounds the no-drop rate.
    pub bound: Bound,
    /// Latency at shares of it.
    pub latency: Vec<(f64, Trial)>,
}

/// What bounds a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// Beyond it the gateway loses packets.
    Loss,
    /// The highest rate of the profile was reached.
    Max,
    /// The generator cannot send more.
    Generator,
    /// The generator's port takes no more.
    Port,
    /// Packets are lost at the lowest rate that was tried.
    Nothing,
}

/// Set-ups a second.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Setups {
    /// How far they went.
    pub extent: Extent,
    /// At the same time.
    pub in_flight: u32,
    /// Finished each second.
    pub per_second: f64,
}

/// A distribution.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Spread {
    /// Values.
    pub count: u64,
    /// Smallest.
    pub min: f64,
    /// Half are below.
    pub p50: f64,
    /// 99 of 100 are below.
    pub p99: f64,
    /// 999 of 1,000 are below.
    pub p999: f64,
    /// Largest.
    pub max: f64,
    /// Share of the values and the bound that they are below, for a plot.
    pub curve: Vec<(f64, f64)>,
}

impl Spread {
    /// Of a histogram of nanoseconds, in units of so many; `None` of an empty one.
    pub fn of(histogram: &Histogram<u64>, unit: f64) -> Option<Self> {
        let at = |share: f64| histogram.value_at_quantile(share) as f64 / unit;
        let shares = [0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9999, 1.0];
        (!histogram.is_empty()).then(|| Self {
            count: histogram.len(),
            min: histogram.min() as f64 / unit,
            p50: at(0.5),
            p99: at(0.99),
            p999: at(0.999),
            max: histogram.max() as f64 / unit,
            curve: shares.iter().map(|&s| (s, at(s))).collect(),
        })
    }
}

/// A second of the test.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Sample {
    /// Seconds from its beginning.
    pub at: f64,
    /// Subscribers up.
    pub up: u32,
    /// Subscribers on their way.
    pub connecting: u32,
    /// Set-ups finished per second.
    pub setups: f64,
    /// Set-ups failed and sessions lost per second.
    pub failures: f64,
    /// Packets sent per second, up and down.
    pub sent: [f64; 2],
    /// Packets received per second, up and down.
    pub received: [f64; 2],
}

/// A criterion and what came out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// What was looked at.
    pub what: String,
    /// What was demanded.
    pub demanded: String,
    /// What came out.
    pub found: String,
    /// Whether that is good.
    pub passed: bool,
}

impl Subscribers {
    /// Of what was recorded.
    pub fn of(record: &Record, up: u32) -> Self {
        Self {
            up,
            complete: None,
            expected: false,
            ups: record.ups,
            closed: record.closed,
            unanswered: record.unanswered,
            failed: record.failed.clone(),
            lost: record.lost.clone(),
            wait: Spread::of(&record.waits, 1e6),
        }
    }
}

impl Trial {
    /// Both ways together.
    pub fn total(&self) -> Flow {
        let mut total = self.flows[0];
        total.add(&self.flows[1]);
        total
    }

    /// The larger share lost of the ways.
    pub fn loss(&self) -> f64 {
        self.flows[0].loss().max(self.flows[1].loss())
    }

    /// Packets per second that were sent each way, the smaller of two.
    pub fn rate(&self) -> f64 {
        let ways = self.direction.ways();
        (0..2).filter(|&w| ways[w]).map(|w| self.sent[w]).fold(f64::INFINITY, f64::min)
    }
}

impl Outcome {
    /// Searches of all stages.
    pub fn searches(&self) -> impl Iterator<Item = &Search> {
        self.stages.iter().flat_map(|s| &s.searches)
    }

    /// The search that is to be compared with one of another result.
    pub fn search(&self, other: &Search) -> Option<&Search> {
        self.searches().find(|s| s.size == other.size && s.direction == other.direction)
    }

    /// Reads a document that [`Self::write`] has written.
    pub fn read(path: &std::path::Path) -> anyhow::Result<Self> {
        use anyhow::Context;
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let outcome: Self = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        anyhow::ensure!(outcome.format == FORMAT, "{}: format {}, not {FORMAT}", path.display(), outcome.format);
        Ok(outcome)
    }

    /// Writes it.
    pub fn write(&self, path: &std::path::Path) -> anyhow::Result<()> {
        use anyhow::Context;
        let text = serde_json::to_string_pretty(self)?;
        std::fs::write(path, text + "\n").with_context(|| path.display().to_string())
    }
}
