//! A test from its first stage to its last.

mod criteria;
mod recorder;
mod search;

use crate::lab::{Lab, Overview};
use crate::population::{Goal, Record, SETTLED};
use crate::profile::{
    Churn, Direction, Flap, Hold, Profile, Ramp, Rate, Search, Setups, Size, Stage, Teardown, Traffic, mean_octets,
};
use crate::result::{self, FORMAT, Machine, Outcome, Shortfall, Spread, StageResult, Subscribers, Trial};
use recorder::Recorder;
use search::Bisection;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// Nobody looks more often.
const LOOK: Duration = Duration::from_millis(100);
/// What is sent less than this share of what was to be is the generator's fault.
const ENOUGH: f64 = 0.98;
/// Before and after set-ups are counted.
const SETTLE: Duration = Duration::from_secs(1);
const EMPTY: Duration = Duration::from_secs(30);

/// All who are down come up at once, and stay.
const UP: Goal = Goal { up: true, starts: f64::INFINITY, ..SETTLED };

struct Run {
    profile: Arc<Profile>,
    lab: Lab,
    recorder: Recorder,
}

/// Runs a profile. `say` is told how it stands, once a second.
pub fn run(profile: &Arc<Profile>, say: fn(&str)) -> anyhow::Result<Outcome> {
    let started = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let lab = Lab::open(profile)?;
    let began = Instant::now();
    let mut run =
        Run { profile: Arc::clone(profile), lab, recorder: Recorder::new(began, profile.subscribers.count, say) };
    let stages = profile.stages.iter().map(|s| run.stage(s)).collect::<anyhow::Result<Vec<_>>>()?;
    let checks = criteria::judge(&profile.criteria, &stages, profile.subscribers.count);
    Ok(Outcome {
        format: FORMAT,
        name: profile.name.clone(),
        description: profile.description.clone(),
        started,
        seconds: began.elapsed().as_secs_f64(),
        subscribers: profile.subscribers.count,
        machine: machine(profile),
        passed: checks.iter().all(|c| c.passed),
        checks,
        timeline: run.recorder.finish(),
        stages,
    })
}

impl Run {
    fn stage(&mut self, stage: &Stage) -> anyhow::Result<StageResult> {
        let began = Instant::now();
        let at = self.recorder.since_start(began);
        let (kind, mut result) = match stage {
            Stage::Ramp(s) => ("ramp", self.ramp(s)?),
            Stage::Hold(s) => ("hold", self.hold(s)?),
            Stage::Churn(s) => ("churn", self.churn(s)?),
            Stage::Flap(s) => ("flap", self.flap(s)?),
            Stage::Traffic(s) => ("traffic", self.traffic(s)?),
            Stage::Search(s) => ("search", self.search(s)?),
            Stage::Setups(s) => ("setups", self.setups(s)?),
            Stage::Teardown(s) => ("teardown", self.teardown(s)?),
        };
        result.kind = kind.to_owned();
        result.began = at;
        result.seconds = began.elapsed().as_secs_f64();
        Ok(result)
    }

    /// Looks on until it is time, or something has happened.
    fn watch(&mut self, until: Instant, done: impl Fn(&Overview) -> bool) -> anyhow::Result<Overview> {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let seen = self.lab.wait(left.min(LOOK))?;
            self.recorder.see(Instant::now(), &seen);
            if left.is_zero() || done(&seen) {
                return Ok(seen);
            }
        }
    }

    fn pursue(&mut self, goal: Goal) {
        self.recorder.goal();
        self.lab.pursue(goal);
    }

    fn all_up(&mut self, within: Duration) -> anyhow::Result<(Overview, Option<f64>)> {
        let (began, count) = (Instant::now(), self.profile.subscribers.count);
        let seen = self.watch(began + within, |o| o.census.up == count)?;
        let complete = (seen.census.up == count).then(|| began.elapsed().as_secs_f64());
        Ok((seen, complete))
    }

    fn ramp(&mut self, s: &Ramp) -> anyhow::Result<StageResult> {
        self.recorder.stage("ramp");
        let starts = s.rate.unwrap_or(f64::INFINITY);
        self.pursue(Goal { starts, in_flight: s.in_flight.unwrap_or(u32::MAX), ..UP });
        let (seen, complete) = self.all_up(s.within)?;
        Ok(people(&seen.record, seen.census.up, Some(complete)))
    }

    fn hold(&mut self, s: &Hold) -> anyhow::Result<StageResult> {
        self.recorder.stage("hold");
        self.pursue(UP);
        let seen = self.watch(Instant::now() + s.time, |_| false)?;
        Ok(people(&seen.record, seen.census.up, None))
    }

    fn churn(&mut self, s: &Churn) -> anyhow::Result<StageResult> {
        self.recorder.stage("churn");
        self.pursue(Goal { closes: s.rate, churning: s.share, ..UP });
        let began = Instant::now();
        let load = s.traffic;
        if let Some(load) = load {
            self.send(load.size, load.direction, load.rate, s.share);
        }
        let seen = self.watch(Instant::now() + s.time, |_| false)?;
        let mut record = seen.record;
        self.pursue(UP);
        let (seen, complete) = self.all_up(s.within)?;
        record.add(&seen.record);
        let mut result = people(&record, seen.census.up, Some(complete));
        if let Some(load) = load {
            let time = began.elapsed();
            result.trials.push(self.finish(load.size, load.direction, load.rate, time, Duration::from_secs(1))?);
        }
        Ok(result)
    }

    fn flap(&mut self, s: &Flap) -> anyhow::Result<StageResult> {
        self.recorder.stage("flap");
        self.pursue(Goal { vanish: true, ..SETTLED });
        self.watch(Instant::now() + s.silence, |_| false)?;
        self.pursue(UP);
        let (seen, complete) = self.all_up(s.within)?;
        Ok(people(&seen.record, seen.census.up, Some(complete)))
    }

    fn traffic(&mut self, s: &Traffic) -> anyhow::Result<StageResult> {
        self.pursue(UP);
        let mut trials = Vec::new();
        for &size in &s.sizes {
            self.recorder.stage(&format!("traffic {size}"));
            trials.push(self.trial(size, s.direction, s.rate, s.time, s.drain)?);
        }
        let seen = self.lab.wait(Duration::ZERO)?;
        Ok(StageResult { trials, ..people(&seen.record, seen.census.up, None) })
    }

    fn search(&mut self, s: &Search) -> anyhow::Result<StageResult> {
        self.pursue(UP);
        let (mut searches, mut trials) = (Vec::new(), Vec::new());
        for &size in &s.sizes {
            let pattern = self.profile.pattern(size);
            let max = s.max.pps(&pattern);
            let mut history: Vec<Trial> = Vec::new();
            let mut found = Vec::new();
            for (name, loss) in [("NDR", s.ndr_loss), ("PDR", s.pdr_loss)] {
                let mut bisection = Bisection::new(max, s.resolution, loss);
                history.iter().for_each(|t| bisection.record(t));
                while let Some(rate) = bisection.next() {
                    self.recorder.stage(&format!("search {size} {name} {rate:.0} pps"));
                    let trial = self.trial(size, s.direction, Rate::Pps(rate), s.trial, s.drain)?;
                    bisection.record(&trial);
                    history.push(Trial { search: true, ..trial });
                }
                found.push((bisection.found(), bisection.bound()));
            }
            let [(ndr, bound), (pdr, _)] = found[..] else { continue };
            let mut latency = Vec::new();
            for &share in s.latency_at.iter().filter(|_| ndr > 0.0) {
                self.recorder.stage(&format!("latency {size} at {:.0} %", share * 100.0));
                let trial = self.trial(size, s.direction, Rate::Pps(ndr * share), s.trial, s.drain)?;
                latency.push((share, Trial { search: true, ..trial }));
            }
            let octets = mean_octets(&pattern);
            searches.push(result::Search {
                size: size.to_string(),
                direction: s.direction,
                octets,
                ndr,
                pdr,
                bound,
                latency,
            });
            trials.append(&mut history);
        }
        let seen = self.lab.wait(Duration::ZERO)?;
        Ok(StageResult { trials, searches, ..people(&seen.record, seen.census.up, None) })
    }

    fn setups(&mut self, s: &Setups) -> anyhow::Result<StageResult> {
        self.recorder.stage("setups");
        self.empty(Goal { closes: f64::INFINITY, ..SETTLED }, EMPTY)?;
        let goal = Goal { in_flight: s.in_flight, cycle: true, extent: s.extent, ..UP };
        self.pursue(goal);
        let before = self.watch(Instant::now() + SETTLE, |_| false)?.record.ups;
        let began = Instant::now();
        let seen = self.watch(began + s.time, |_| false)?;
        let per_second = (seen.record.ups - before) as f64 / began.elapsed().as_secs_f64();
        let mut record = seen.record;
        record.add(&self.empty(Goal { up: false, starts: 0.0, ..goal }, EMPTY)?.record);
        let setups = result::Setups { extent: s.extent, in_flight: s.in_flight, per_second };
        Ok(StageResult { setups: Some(setups), ..people(&record, 0, None) })
    }

    fn teardown(&mut self, s: &Teardown) -> anyhow::Result<StageResult> {
        self.recorder.stage("teardown");
        let closes = s.rate.unwrap_or(f64::INFINITY);
        let seen = self.empty(Goal { closes, ..SETTLED }, s.within)?;
        Ok(people(&seen.record, seen.census.up, None))
    }

    fn empty(&mut self, goal: Goal, within: Duration) -> anyhow::Result<Overview> {
        self.pursue(goal);
        let count = self.profile.subscribers.count;
        self.watch(Instant::now() + within, |o| o.census.down == count)
    }

    fn trial(
        &mut self,
        size: Size,
        d: Direction,
        rate: Rate,
        time: Duration,
        drain: Duration,
    ) -> anyhow::Result<Trial> {
        self.send(size, d, rate, 0.0);
        let began = Instant::now();
        let seen = self.watch(began + time, |o| o.sizes_refused)?;
        anyhow::ensure!(!seen.sizes_refused, "packets of {size} octets do not fit the softwires");
        let time = began.elapsed();
        self.finish(size, d, rate, time, drain)
    }

    fn send(&mut self, size: Size, direction: Direction, rate: Rate, churning: f64) {
        let pattern = self.profile.pattern(size);
        let pps = rate.pps(&pattern);
        let ways = direction.ways().map(|on| if on { pps } else { 0.0 });
        self.recorder.trial();
        self.lab.send(&pattern, ways, churning);
    }

    fn finish(
        &mut self,
        size: Size,
        direction: Direction,
        rate: Rate,
        time: Duration,
        drain: Duration,
    ) -> anyhow::Result<Trial> {
        self.lab.stop(drain);
        let books = loop {
            if let Some(books) = self.lab.books() {
                break books;
            }
            let seen = self.lab.wait(LOOK)?;
            self.recorder.see(Instant::now(), &seen);
        };
        let pattern = self.profile.pattern(size);
        let (offered, seconds) = (rate.pps(&pattern), time.as_secs_f64());
        let sent = books.flows.map(|f| f.sent as f64 / seconds);
        let ways = direction.ways();
        let slow: Vec<usize> = (0..2).filter(|&w| ways[w] && sent[w] < offered * ENOUGH).collect();
        let blocked = |way: &usize| books.turns[*way][1] > books.turns[*way][0];
        let shortfall =
            if slow.iter().any(blocked) { Some(Shortfall::Port) } else { slow.first().map(|_| Shortfall::Generator) };
        Ok(Trial {
            size: size.to_string(),
            direction,
            offered,
            sent,
            octets: mean_octets(&pattern),
            seconds,
            flows: books.flows,
            latency: books.latency.each_ref().map(|h| Spread::of(h, 1e3)),
            shortfall,
            search: false,
        })
    }
}

/// `complete`: whether all were to be up at the end, and after how many seconds they were.
fn people(record: &Record, up: u32, complete: Option<Option<f64>>) -> StageResult {
    let subscribers =
        Subscribers { complete: complete.flatten(), expected: complete.is_some(), ..Subscribers::of(record, up) };
    let (kind, trials, searches) = (String::new(), Vec::new(), Vec::new());
    StageResult { kind, began: 0.0, seconds: 0.0, subscribers, trials, searches, setups: None }
}

fn machine(profile: &Profile) -> Machine {
    let line = |file: &str, key: &str| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let found = text.lines().find_map(|l| l.strip_prefix(key));
        found.map(|v| v.trim_start_matches([' ', '\t', ':']).to_owned()).unwrap_or_default()
    };
    let ports = |c: &crate::profile::Core| {
        let network = c.network.iter().map(|n| n.device.clone());
        std::iter::once(c.access.device.clone()).chain(network).collect::<Vec<_>>()
    };
    Machine {
        cpu: line("/proc/cpuinfo", "model name"),
        packet_cores: profile.generator.cores.len(),
        kernel: line("/proc/sys/kernel/osrelease", ""),
        dpdk: dpdk::Eal::version(),
        ports: profile.generator.cores.iter().flat_map(ports).collect(),
    }
}
