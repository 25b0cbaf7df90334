//! What can be done in a test.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// A stage: one key that says what is done, with its settings.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Subscribers that are down connect at a rate, until all are up.
    Ramp(Ramp),
    /// Nothing; sessions that end are counted, and connect again.
    Hold(Hold),
    /// Sessions end and return at a rate.
    Churn(Churn),
    /// All subscribers vanish without a word and return at once.
    Flap(Flap),
    /// Measured packets at a given rate.
    Traffic(Traffic),
    /// The highest rate at which no more than a given share of the packets is lost (RFC 2544, section 26.1).
    Search(Search),
    /// Subscribers connect and disconnect, so many at a time: how many a second.
    Setups(Setups),
    /// All sessions end in order.
    Teardown(Teardown),
}

/// See [`Stage::Ramp`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ramp {
    /// Subscribers that begin each second; absent: all at once.
    pub rate: Option<f64>,
    /// Most that connect at the same time; absent: no limit.
    pub in_flight: Option<u32>,
    /// When the stage ends though not all are up.
    #[serde(with = "humantime_serde")]
    pub within: Duration,
}

/// See [`Stage::Hold`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hold {
    /// How long.
    #[serde(rename = "for", with = "humantime_serde")]
    pub time: Duration,
}

/// See [`Stage::Churn`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Churn {
    /// Sessions that end each second.
    pub rate: f64,
    /// How long.
    #[serde(rename = "for", with = "humantime_serde")]
    pub time: Duration,
    /// The share of the subscribers that come and go, the last ones; the others have the traffic.
    #[serde(default = "all")]
    pub share: f64,
    /// Measured packets of the others meanwhile.
    pub traffic: Option<Load>,
    /// When the stage ends though not all are back.
    #[serde(default = "minute", with = "humantime_serde")]
    pub within: Duration,
}

/// See [`Stage::Flap`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flap {
    /// When the stage ends though not all are back.
    #[serde(with = "humantime_serde")]
    pub within: Duration,
    /// How long they are silent.
    #[serde(default, with = "humantime_serde")]
    pub silence: Duration,
}

/// See [`Stage::Traffic`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Traffic {
    /// Sizes, each of which is sent for the whole time.
    pub sizes: Vec<Size>,
    /// Which way.
    #[serde(default)]
    pub direction: Direction,
    /// How many each way.
    pub rate: Rate,
    /// How long.
    #[serde(rename = "for", with = "humantime_serde")]
    pub time: Duration,
    /// How long packets are waited for afterwards.
    #[serde(default = "drain", with = "humantime_serde")]
    pub drain: Duration,
}

/// Packets at a rate.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// Size.
    pub size: Size,
    /// Which way.
    #[serde(default)]
    pub direction: Direction,
    /// How many each way.
    pub rate: Rate,
}

/// See [`Stage::Search`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Search {
    /// Sizes, each of which is searched for.
    pub sizes: Vec<Size>,
    /// Which way.
    #[serde(default)]
    pub direction: Direction,
    /// The highest rate that is tried, each way.
    pub max: Rate,
    /// Length of a trial (RFC 2544, section 24: 60 seconds).
    #[serde(default = "minute", with = "humantime_serde")]
    pub trial: Duration,
    /// How long packets are waited for after each trial (RFC 2544, section 23: 2 seconds).
    #[serde(default = "drain", with = "humantime_serde")]
    pub drain: Duration,
    /// The search ends when the bounds are no further apart than this share of `max`.
    #[serde(default = "percent")]
    pub resolution: f64,
    /// Loss at the no-drop rate (NDR).
    #[serde(default)]
    pub ndr_loss: f64,
    /// Loss at the partial drop rate (PDR).
    #[serde(default = "pdr")]
    pub pdr_loss: f64,
    /// Shares of the NDR at which latency is measured afterwards.
    #[serde(default)]
    pub latency_at: Vec<f64>,
}

/// See [`Stage::Setups`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setups {
    /// How far.
    #[serde(default)]
    pub extent: Extent,
    /// How many connect at the same time.
    pub in_flight: u32,
    /// How long.
    #[serde(rename = "for", with = "humantime_serde")]
    pub time: Duration,
}

/// How far a set-up goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Extent {
    /// IKE SA and child SA.
    Ike,
    /// Addresses inside the softwire.
    #[default]
    Softwire,
}

/// See [`Stage::Teardown`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Teardown {
    /// Sessions that end each second; absent: all at once.
    pub rate: Option<f64>,
    /// When the stage ends though not all are down.
    #[serde(default = "minute", with = "humantime_serde")]
    pub within: Duration,
}

/// Which way packets go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From the subscribers, in ESP.
    Up,
    /// To the subscribers.
    Down,
    /// As many both ways.
    #[default]
    Both,
}

impl Direction {
    /// Whether packets go up, and down.
    pub fn ways(self) -> [bool; 2] {
        [self != Self::Down, self != Self::Up]
    }
}

/// Octets of the inner IP packet, or the mix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Size {
    /// All of one size.
    Octets(u16),
    /// By the word `imix`.
    Mix(Mix),
}

/// See [`Size::Mix`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mix {
    /// The profile's `imix`.
    Imix,
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Octets(octets) => octets.fmt(f),
            Self::Mix(_) => f.write_str("imix"),
        }
    }
}

/// A rate each way: either packets, or megabits of inner IP packets, per second.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rate {
    /// Packets per second.
    Pps(f64),
    /// 10^6 bits per second.
    Mbps(f64),
}

impl Rate {
    /// Packets per second, where the sizes follow each other.
    pub fn pps(self, pattern: &[u16]) -> f64 {
        match self {
            Self::Pps(pps) => pps,
            Self::Mbps(mbps) => mbps * 1e6 / (mean_octets(pattern) * 8.0),
        }
    }
}

/// Mean of sizes that follow each other.
pub fn mean_octets(pattern: &[u16]) -> f64 {
    pattern.iter().map(|&s| f64::from(s)).sum::<f64>() / pattern.len().max(1) as f64
}

/// Sizes in proportion to their weights, each spread as evenly as can be.
pub(super) fn interleave(mix: &[(u16, u16)]) -> Vec<u16> {
    let total: u32 = mix.iter().map(|&(_, weight)| u32::from(weight)).sum();
    let mut debts = vec![0i64; mix.len()];
    let mut pattern = Vec::with_capacity(total as usize);
    for _ in 0..total {
        debts.iter_mut().zip(mix).for_each(|(debt, &(_, weight))| *debt += i64::from(weight));
        let Some(most) = (0..mix.len()).max_by_key(|&i| debts[i]) else { break };
        debts[most] -= i64::from(total);
        pattern.push(mix[most].0);
    }
    pattern
}

fn all() -> f64 {
    1.0
}

fn minute() -> Duration {
    Duration::from_secs(60)
}

fn drain() -> Duration {
    Duration::from_secs(2)
}

fn percent() -> f64 {
    0.01
}

fn pdr() -> f64 {
    0.001
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_is_spread() {
        let pattern = interleave(&[(64, 7), (570, 4), (1390, 1)]);
        let count = |size| pattern.iter().filter(|&&s| s == size).count();
        assert_eq!((count(64), count(570), count(1390)), (7, 4, 1));
        assert!(!pattern.windows(4).any(|w| w == [64; 4]), "{pattern:?}");
        assert_eq!(Rate::Mbps(8.0).pps(&[500, 1500]), 1000.0);
    }
}
