//! Keys and TTLs on the sockets of BGP. What cannot be set is an error, and the socket is not used.

use crate::key_ring::KeyRing;
use crate::spd::least_ttl;
use bgp::neighbour::TcpOptions;
use ipnet::IpNet;
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::os::fd::AsFd;
use tcp_options::{ao, set_md5_key, set_min_ttl};

/// Why a session cannot be protected.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unprotected {
    /// TCP-AO is wanted.
    #[error("this kernel has no TCP-AO: it takes Linux 6.7 or newer with CONFIG_TCP_AO; md5 or IPsec would do")]
    NoAo,
    /// No key of the chain has started.
    #[error("no key of the chain \"{0}\" has started")]
    NoKey(String),
    /// The kernel refuses.
    #[error("{0}")]
    Socket(#[from] io::Error),
}

/// What a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Listening,
    Connecting,
    /// With one of the peers.
    Established(IpAddr),
}

/// Gives a socket the keys for `peers` that its chain has now, and takes the others of the chain from it.
pub(super) fn set_keys(
    socket: &impl AsFd,
    role: Role,
    peers: IpNet,
    tcp: &TcpOptions,
    keys: &KeyRing,
) -> Result<(), Unprotected> {
    let active = |chain: &String| keys.active(chain).ok_or_else(|| Unprotected::NoKey(chain.clone()));
    if let Some(chain) = &tcp.md5_key {
        // One key at a time: what the peer has signed with another one is dropped and sent again.
        let peers = if let Role::Established(peer) = role { peer.into() } else { peers };
        set_md5_key(socket, peers, active(chain)?.secret.bytes())?;
    }
    if let Some(chain) = &tcp.ao_key_chain {
        if !ao::is_supported() {
            return Err(Unprotected::NoAo);
        }
        let active = active(chain)?.id;
        for key in keys.accepted(chain) {
            let first = role == Role::Connecting && key.id == active;
            unless(ErrorKind::AlreadyExists, ao::add_key(socket, peers, key.id, key.secret.bytes(), first))?;
        }
        let mut instead = None;
        if let Role::Established(_) = role {
            ao::ask_for(socket, active)?;
            // Past its end a key is not used any more, though the peer may not have asked for the next one yet.
            instead = Some(active);
        }
        for key in keys.not_accepted(chain) {
            unless(ErrorKind::NotFound, ao::delete_key(socket, peers, key.id, instead))?;
        }
    }
    Ok(())
}

fn unless(kind: ErrorKind, result: io::Result<()>) -> io::Result<()> {
    result.or_else(|e| if e.kind() == kind { Ok(()) } else { Err(e) })
}

/// GTSM (RFC 5082), or another TTL, for the connection with `peer`.
pub(super) fn set_ttl(socket: &impl AsFd, peer: IpAddr, tcp: &TcpOptions) -> io::Result<()> {
    if let Some(ttl) = tcp.gtsm_hops.map(|_| u8::MAX).or(tcp.ttl) {
        tcp_options::set_ttl(socket, peer, ttl)?;
    }
    set_min_ttl(socket, peer, least_ttl(tcp.gtsm_hops))
}

/// A listening socket answers with the TTL that those of `hops` demand who have GTSM, and hears what any of them may
/// send.
pub(super) fn listen_within(
    socket: &impl AsFd,
    local: IpAddr,
    hops: impl Iterator<Item = Option<u8>> + Clone,
) -> io::Result<()> {
    if hops.clone().any(|h| h.is_some()) {
        tcp_options::set_ttl(socket, local, u8::MAX)?;
    }
    set_min_ttl(socket, local, hops.map(least_ttl).min().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::time::SystemTime;

    fn keys() -> KeyRing {
        let yaml = "{ asn: 1, router_id: 1.1.1.1, key_chains: [{ name: a, keys: [{ id: 1, secret: correct-horse }] }, \
                    { name: late, keys: [{ id: 1, secret: correct-horse, start: 2999-01-01T00:00:00Z }] }] }";
        let mut keys = KeyRing::new(&serde_saphyr::from_str(yaml).unwrap());
        keys.advance(SystemTime::now());
        keys
    }

    fn set(tcp: &TcpOptions) -> Result<(), Unprotected> {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        set_keys(&socket, Role::Listening, "127.0.0.1/32".parse().unwrap(), tcp, &keys())
    }

    #[test]
    fn a_session_without_its_key_is_refused() {
        let md5 = |chain: &str| TcpOptions { md5_key: Some(chain.into()), ..TcpOptions::default() };
        assert!(set(&TcpOptions::default()).is_ok() && set(&md5("a")).is_ok());
        assert!(matches!(set(&md5("late")), Err(Unprotected::NoKey(chain)) if chain == "late"));
        assert!(matches!(set(&md5("none")), Err(Unprotected::NoKey(_))));
    }

    #[test]
    fn tcp_ao_is_refused_with_a_clear_word_where_the_kernel_has_it_not() {
        let result = set(&TcpOptions { ao_key_chain: Some("a".into()), ..TcpOptions::default() });
        assert_eq!(result.is_ok(), ao::is_supported());
        if let Err(e) = result {
            assert!(e.to_string().contains("CONFIG_TCP_AO") && !e.to_string().contains("horse"), "{e}");
        }
    }

    #[test]
    fn the_listener_hears_the_furthest_neighbour() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = "127.0.0.1".parse().unwrap();
        assert!(listen_within(&socket, to, [Some(1), Some(3)].into_iter()).is_ok());
        assert_eq!(socket.ttl().unwrap(), 255);
        assert!(set_ttl(&socket, to, &TcpOptions { ttl: Some(7), ..TcpOptions::default() }).is_ok());
        assert_eq!(socket.ttl().unwrap(), 7);
    }
}
