//! What the lab tells a packet core, and hears of it.

use crate::population::{Census, Goal, Record};
use crate::tally::Flow;
use dpdk::port::PortStats;
use hdrhistogram::Histogram;
use std::net::IpAddr;
use std::time::Duration;

/// To a packet core. It ends when there is nobody to give orders.
#[derive(Clone, Debug)]
pub enum Order {
    /// Another goal for the subscribers.
    Pursue(Goal),
    /// A trial begins.
    Send(Plan),
    /// It ends; packets are waited for, then [`News::Trial`] follows.
    Stop {
        /// How long.
        drain: Duration,
    },
}

/// Packets of a trial.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Number of the trial.
    pub trial: u8,
    /// Inner sizes that follow each other.
    pub sizes: Vec<u16>,
    /// Packets per second of this core, up and down.
    pub pps: [f64; 2],
    /// Those who come and go have no traffic: this share of the subscribers, see [`stayers`](crate::population::stayers).
    pub churning: f64,
}

/// From a packet core.
pub enum News {
    /// How it stands, ten times a second.
    Status(Box<Status>),
    /// A trial's books.
    Trial(Box<Trial>),
    /// It cannot go on.
    Failed(String),
}

/// How a packet core stands.
#[derive(Clone)]
pub struct Status {
    /// Orders that it has heard.
    pub heard: u64,
    /// How many subscribers are in each state.
    pub census: Census,
    /// What has happened since the last goal was set.
    pub record: Record,
    /// Packets of the current trial, up and down.
    pub flows: [Flow; 2],
    /// A size does not fit the softwires' MTU.
    pub sizes_refused: bool,
    /// The gateway's addresses that have not answered ARP or neighbour discovery.
    pub silent: Vec<IpAddr>,
    /// Counters of the ports: access, network.
    pub ports: Vec<PortStats>,
}

/// A trial's books.
pub struct Trial {
    /// Up and down.
    pub flows: [Flow; 2],
    /// Turns in which packets were due, up and down: those that were used, and those in which the port was full.
    pub turns: [[u64; 2]; 2],
    /// In nanoseconds, up and down.
    pub latency: [Histogram<u64>; 2],
}
