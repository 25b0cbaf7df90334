//! What a profile must not say.

use super::stage::{Rate, Size, Stage};
use super::{Family, Profile};
use crate::{inner, probe};

/// Largest inner packet that fits a buffer with everything around it.
const LARGEST: u16 = 1800;

impl Profile {
    /// Why it cannot be run: a line for each reason.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut found = Vec::new();
        self.sides(&mut found);
        self.people(&mut found);
        if self.stages.is_empty() {
            found.push("stages: there are none".into());
        }
        for (i, stage) in self.stages.iter().enumerate() {
            self.stage(stage, &mut |problem| found.push(format!("stages[{i}]: {problem}")));
        }
        found
    }

    fn sides(&self, found: &mut Vec<String>) {
        let v4 = self.gateway.address.is_ipv4();
        if self.generator.cores.is_empty() {
            found.push("generator.cores: there are none".into());
        }
        for (i, core) in self.generator.cores.iter().enumerate() {
            let access = &core.access;
            let addresses = [access.address, access.outer.addr()].into_iter().chain(access.via);
            if addresses.into_iter().any(|a| a.is_ipv4() != v4) {
                found.push(format!(
                    "generator.cores[{i}].access: address, via and outer are to be of the gateway's family"
                ));
            }
            let bits = access.outer.max_prefix_len() - access.outer.prefix_len();
            let need = u64::from(self.part(i).1) + 1;
            if bits < 32 && 1u64 << bits < need {
                found.push(format!("generator.cores[{i}].access.outer: no room for {} subscribers", need - 1));
            }
            let vlan = access.vlan.into_iter().chain(core.network.as_ref().and_then(|n| n.vlan));
            if vlan.into_iter().any(|v| !(1..=4094).contains(&v)) {
                found.push(format!("generator.cores[{i}]: a VLAN is a number from 1 to 4094"));
            }
            let Some(network) = &core.network else { continue };
            for family in &self.subscribers.inner {
                let of = |a: &std::net::IpAddr| a.is_ipv4() == (*family == Family::Ipv4);
                if !network.addresses.iter().any(of) || !network.via.iter().any(of) {
                    found.push(format!(
                        "generator.cores[{i}].network: addresses and via have none of {family:?}, which subscribers ask for"
                    ));
                }
            }
        }
    }

    fn people(&self, found: &mut Vec<String>) {
        let s = &self.subscribers;
        if s.count == 0 || s.count > crate::tally::MAX_SUBSCRIBERS {
            found.push(format!("subscribers.count: from 1 to {}", crate::tally::MAX_SUBSCRIBERS));
        }
        if s.inner.is_empty() {
            found.push("subscribers.inner: there are no families".into());
        }
        if let Some(ike) = &s.ike {
            if ike.psk.is_some() == ike.certificates.is_some() {
                found.push("subscribers.ike: either psk or certificates".into());
            }
            if s.count > 1 && !ike.identity.contains("{n}") {
                found.push("subscribers.ike.identity: with {n}, since each has an identity of its own".into());
            }
        }
    }

    fn stage(&self, stage: &Stage, found: &mut dyn FnMut(String)) {
        let share = |v: f64| (0.0..=1.0).contains(&v);
        match stage {
            Stage::Ramp(s) if s.rate.is_some_and(|r| !positive(r)) => found("rate: not above 0".into()),
            Stage::Ramp(s) if s.in_flight == Some(0) => found("in_flight: from 1".into()),
            Stage::Teardown(s) if s.rate.is_some_and(|r| !positive(r)) => found("rate: not above 0".into()),
            Stage::Setups(s) if s.in_flight == 0 => found("in_flight: from 1".into()),
            Stage::Setups(s) if s.extent == super::Extent::Ike && self.subscribers.ike.is_none() => {
                found("extent: there is no IKE".into());
            }
            Stage::Churn(s) => {
                if !positive(s.rate) || !share(s.share) {
                    found("rate: above 0; share: from 0 to 1".into());
                }
                if let Some(load) = s.traffic {
                    self.packets(&[load.size], load.rate, found);
                }
            }
            Stage::Traffic(s) => self.packets(&s.sizes, s.rate, found),
            Stage::Search(s) => {
                self.packets(&s.sizes, s.max, found);
                if !(s.resolution > 0.0 && s.resolution < 1.0 && share(s.ndr_loss) && share(s.pdr_loss)) {
                    found("resolution, ndr_loss, pdr_loss: shares".into());
                }
                if s.latency_at.iter().any(|v| !(positive(*v) && share(*v))) {
                    found("latency_at: shares of the no-drop rate".into());
                }
            }
            Stage::Ramp(_) | Stage::Hold(_) | Stage::Flap(_) | Stage::Setups(_) | Stage::Teardown(_) => {}
        }
    }

    fn packets(&self, sizes: &[Size], rate: Rate, found: &mut dyn FnMut(String)) {
        if self.generator.cores.iter().any(|c| c.network.is_none()) {
            found("traffic needs a network port on each core".into());
        }
        let (Rate::Pps(value) | Rate::Mbps(value)) = rate;
        if !positive(value) {
            found("rate: not above 0".into());
        }
        if sizes.is_empty() {
            found("sizes: there are none".into());
        }
        let least = self.subscribers.inner.iter().map(|f| inner::headers(*f == Family::Ipv6) + probe::LEN).max();
        let fits = |s: u16| usize::from(s) >= least.unwrap_or_default() && s <= LARGEST;
        if sizes.iter().any(|s| self.pattern(*s).is_empty() || !self.pattern(*s).into_iter().all(fits)) {
            found(format!("sizes: from {} to {LARGEST} octets", least.unwrap_or_default()));
        }
    }
}

fn positive(value: f64) -> bool {
    value.is_finite() && value > 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "
name: t
gateway: { address: 192.0.2.1, identity: gw.example.net }
generator:
  cores:
    - access: { device: a, address: 192.0.2.254, outer: 198.18.0.0/24 }
      network: { device: b, addresses: [198.51.100.2, \"2001:db8:c::2\"], via: [198.51.100.1, \"2001:db8:c::1\"] }
subscribers:
  count: 200
  ike: { identity: \"s{n}@lab.example.net\", psk: \"key-{n}\" }
  ppp: { user: \"s{n}\", secret: \"secret-{n}\" }
stages:
  - ramp: { rate: 50, within: 30s }
  - churn: { rate: 5, for: 10s, share: 0.5, traffic: { size: imix, rate: { pps: 1000 } } }
  - search: { sizes: [64, imix], max: { mbps: 100 }, trial: 1s, latency_at: [0.5] }
criteria: { up_within: 10s, loss: 0 }
";

    fn problems(from: &str, to: &str) -> Vec<String> {
        assert!(GOOD.contains(from), "{from}");
        let profile: Profile = serde_saphyr::from_str(&GOOD.replace(from, to)).unwrap();
        profile.problems()
    }

    #[test]
    fn a_good_one_passes() {
        assert_eq!(problems("name: t", "name: t"), Vec::<String>::new());
    }

    #[test]
    fn each_mistake_is_named() {
        for (from, to, said) in [
            ("192.0.2.254, outer: 198.18.0.0/24", "192.0.2.254, outer: 2001:db8::/64", "family"),
            ("192.0.2.254, outer:", "192.0.2.254, via: \"2001:db8::1\", outer:", "family"),
            ("outer: 198.18.0.0/24", "outer: 198.18.0.0/25", "no room for 200"),
            ("count: 200", "count: 0", "subscribers.count"),
            ("psk: \"key-{n}\"", "force_encap: true", "either psk or certificates"),
            ("s{n}@lab", "s@lab", "{n}"),
            ("rate: 50", "rate: 0", "stages[0]: rate"),
            ("share: 0.5", "share: 1.5", "stages[1]: rate: above 0; share"),
            ("sizes: [64, imix]", "sizes: [63]", "stages[2]: sizes: from 64"),
            ("sizes: [64, imix]", "sizes: []", "stages[2]: sizes"),
            ("latency_at: [0.5]", "latency_at: [0]", "latency_at"),
            ("via: [198.51.100.1, ", "via: [", "none of Ipv4"),
        ] {
            let found = problems(from, to);
            assert!(found.iter().any(|p| p.contains(said)), "{to}: {found:?}");
        }
    }

    #[test]
    fn unknown_keys_are_refused() {
        for (from, to) in
            [("name: t", "name: t\nnmae: u"), ("within: 30s", "within: 30s, wihtin: 1s"), ("loss: 0", "los: 0")]
        {
            assert!(serde_saphyr::from_str::<Profile>(&GOOD.replace(from, to)).is_err(), "{to}");
        }
    }
}
