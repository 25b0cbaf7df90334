//! Paths through the gateway: what comes in, what goes out, and what that is to cost.

use std::fmt;

/// What happens to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// IPv4 into ESP in tunnel mode.
    EspOut,
    /// The other way.
    EspIn,
    /// IPv4 into IPv6, in the clear.
    Encap,
    /// The other way, with the strict check of the inner source.
    Decap,
    /// IPv4 from port to port.
    Forward,
    /// IPv4 into PPP, L2TP and ESP in transport mode over IPv4: towards a subscriber.
    Softwire4Out,
    /// The other way.
    Softwire4In,
    /// The same with IPv6 inside.
    Softwire6Out,
    /// The other way.
    Softwire6In,
    /// As [`Self::Softwire4Out`], over IPv6.
    Over6Out,
    /// The other way.
    Over6In,
    /// As [`Self::Softwire4Out`], with UDP around ESP: the subscriber is behind a NAT.
    NattOut,
    /// The other way.
    NattIn,
}

impl Kind {
    const NAMES: [(Self, &str); 13] = [
        (Self::EspOut, "esp-out"),
        (Self::EspIn, "esp-in"),
        (Self::Encap, "encap"),
        (Self::Decap, "decap"),
        (Self::Forward, "forward"),
        (Self::Softwire4Out, "l2tp4-out"),
        (Self::Softwire4In, "l2tp4-in"),
        (Self::Softwire6Out, "l2tp6-out"),
        (Self::Softwire6In, "l2tp6-in"),
        (Self::Over6Out, "l2tp4over6-out"),
        (Self::Over6In, "l2tp4over6-in"),
        (Self::NattOut, "natt4-out"),
        (Self::NattIn, "natt4-in"),
    ];

    /// From the core towards a peer; otherwise from a peer.
    pub const fn is_outbound(self) -> bool {
        match self {
            Self::EspOut | Self::Encap | Self::Forward => true,
            Self::Softwire4Out | Self::Softwire6Out | Self::Over6Out | Self::NattOut => true,
            Self::EspIn | Self::Decap => false,
            Self::Softwire4In | Self::Softwire6In | Self::Over6In | Self::NattIn => false,
        }
    }

    /// With ESP.
    pub const fn is_protected(self) -> bool {
        !matches!(self, Self::Encap | Self::Decap | Self::Forward)
    }

    /// With L2TP and PPP.
    pub const fn is_session(self) -> bool {
        match self {
            Self::Softwire4Out | Self::Softwire4In | Self::Softwire6Out | Self::Softwire6In => true,
            Self::Over6Out | Self::Over6In | Self::NattOut | Self::NattIn => true,
            Self::EspOut | Self::EspIn | Self::Encap | Self::Decap | Self::Forward => false,
        }
    }

    /// With ESP over IPv6.
    pub const fn is_over_ipv6(self) -> bool {
        matches!(self, Self::Over6Out | Self::Over6In)
    }

    /// With UDP around ESP.
    pub const fn is_behind_nat(self) -> bool {
        matches!(self, Self::NattOut | Self::NattIn)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::NAMES.iter().find(|n| n.0 == *self).map_or("", |n| n.1))
    }
}

/// A kind of packets of one size, over a number of peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// What happens.
    pub kind: Kind,
    /// Octets of the inner IP packet.
    pub octets: usize,
    /// Peers, each with its own pair of SAs (or softwire, or session), which the packets take in turn.
    pub peers: usize,
    /// What it is to cost.
    pub goal: Goal,
}

/// What a path is to cost, in ticks per packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// No more than this.
    Ticks(u32),
    /// No more than a tenth above the same with one peer, and what the I/O floor rises.
    Flat,
    /// No more than 40 above ESP in tunnel mode, same direction and size.
    NearTunnel,
    /// Shown only.
    None,
}

/// All of them, in the order of the table.
pub const PATHS: &[Path] = &[
    path(Kind::EspOut, 64, 1, Goal::Ticks(190)),
    path(Kind::EspOut, 512, 1, Goal::Ticks(300)),
    path(Kind::EspOut, 1420, 1, Goal::Ticks(520)),
    path(Kind::EspIn, 64, 1, Goal::Ticks(190)),
    path(Kind::EspIn, 512, 1, Goal::Ticks(300)),
    path(Kind::EspIn, 1420, 1, Goal::Ticks(520)),
    path(Kind::EspOut, 64, 1000, Goal::Flat),
    path(Kind::EspOut, 1420, 1000, Goal::Flat),
    path(Kind::EspIn, 64, 1000, Goal::Flat),
    path(Kind::EspIn, 1420, 1000, Goal::Flat),
    path(Kind::Encap, 64, 1, Goal::Ticks(100)),
    path(Kind::Encap, 1420, 1, Goal::Ticks(190)),
    path(Kind::Decap, 64, 1, Goal::Ticks(110)),
    path(Kind::Decap, 1420, 1, Goal::Ticks(200)),
    path(Kind::Forward, 64, 1, Goal::Ticks(90)),
    path(Kind::Softwire4Out, 64, 1, Goal::NearTunnel),
    path(Kind::Softwire4Out, 1420, 1, Goal::NearTunnel),
    path(Kind::Softwire4In, 64, 1, Goal::NearTunnel),
    path(Kind::Softwire4In, 1420, 1, Goal::NearTunnel),
    path(Kind::Softwire6Out, 64, 1, Goal::NearTunnel),
    path(Kind::Softwire6Out, 1420, 1, Goal::NearTunnel),
    path(Kind::Softwire6In, 64, 1, Goal::NearTunnel),
    path(Kind::Softwire6In, 1420, 1, Goal::NearTunnel),
    path(Kind::Softwire4Out, 64, 1000, Goal::NearTunnel),
    path(Kind::Softwire4In, 64, 1000, Goal::NearTunnel),
    path(Kind::Over6Out, 64, 1, Goal::None),
    path(Kind::Over6Out, 1400, 1, Goal::None),
    path(Kind::Over6In, 64, 1, Goal::None),
    path(Kind::Over6In, 1400, 1, Goal::None),
    path(Kind::NattOut, 64, 1, Goal::None),
    path(Kind::NattOut, 1420, 1, Goal::None),
    path(Kind::NattIn, 64, 1, Goal::None),
    path(Kind::NattIn, 1420, 1, Goal::None),
];

const fn path(kind: Kind, octets: usize, peers: usize, goal: Goal) -> Path {
    Path { kind, octets, peers, goal }
}

impl Path {
    /// The path of this name, such as `esp-out-64` or `esp-out-64-1000`.
    pub fn named(name: &str) -> Option<Self> {
        let (kind, rest) = Kind::NAMES.iter().find_map(|(kind, n)| Some((*kind, name.strip_prefix(n)?)))?;
        let mut numbers = rest.strip_prefix('-')?.split('-').map(str::parse);
        let octets = numbers.next()?.ok()?;
        let peers = numbers.next().transpose().ok()?.unwrap_or(1);
        let known = PATHS.iter().find(|p| (p.kind, p.octets, p.peers) == (kind, octets, peers));
        (peers > 0).then(|| known.copied().unwrap_or(path(kind, octets, peers, Goal::None)))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.kind, self.octets)?;
        if self.peers > 1 { write!(f, "-{}", self.peers) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for path in PATHS {
            assert_eq!(Path::named(&path.to_string()), Some(*path));
        }
        assert_eq!(Path::named("encap-64-7").map(|p| (p.peers, p.goal)), Some((7, Goal::None)));
        for name in ["", "esp-out", "esp-out-", "esp-64", "encap-64-0", "encap-x", "encap-64-1-1-x"] {
            assert_eq!(Path::named(name).map(|p| p.to_string()).filter(|n| n == name), None, "{name}");
        }
    }
}
