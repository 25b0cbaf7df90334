//! What has to come out.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// Each is looked at wherever it applies; what is absent is not looked at.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Criteria {
    /// After each ramp and flap all subscribers are up within this time.
    #[serde(default, with = "humantime_serde")]
    pub up_within: Option<Duration>,
    /// Most set-ups that failed, whatever the reason; the subscriber tried again.
    #[serde(default = "none")]
    pub failed_setups: Option<u64>,
    /// Most sessions that ended though nobody asked for it.
    #[serde(default = "none")]
    pub lost_sessions: Option<u64>,
    /// Highest share of packets lost, in traffic and churn. A search's trials are not meant.
    pub loss: Option<f64>,
    /// Most packets that came twice.
    #[serde(default = "none")]
    pub duplicated: Option<u64>,
    /// Most packets whose check failed.
    #[serde(default = "none")]
    pub corrupted: Option<u64>,
    /// Most packets that came to another subscriber than theirs, or from another.
    #[serde(default = "none")]
    pub misdelivered: Option<u64>,
    /// Most packets that came after a later one.
    pub reordered: Option<u64>,
    /// Highest 99th percentile of the latency, in traffic and churn.
    #[serde(default, with = "humantime_serde")]
    pub latency_p99: Option<Duration>,
    /// Lowest no-drop rate for a size, packets per second each way.
    #[serde(default)]
    pub ndr: BTreeMap<String, f64>,
    /// Lowest rate of set-ups, per second.
    pub setups: Option<f64>,
}

impl Default for Criteria {
    fn default() -> Self {
        Self {
            up_within: None,
            failed_setups: none(),
            lost_sessions: none(),
            loss: None,
            duplicated: none(),
            corrupted: none(),
            misdelivered: none(),
            reordered: None,
            latency_p99: None,
            ndr: BTreeMap::new(),
            setups: None,
        }
    }
}

fn none() -> Option<u64> {
    Some(0)
}
