//! IPCP's options (RFC 1332) and its name servers (RFC 1877).
//!
//! Each side requests the address that it is going to use. A side that has none requests 0.0.0.0 and is given one by
//! Configure-Nak; that is how a subscriber gets its address. IP header compression is rejected.

use crate::config::IpcpConfig;
use crate::cp::{Policy, Verdict};
use crate::event::DownReason;
use crate::message::{code, protocol};
use crate::option::{self, Opt};
use rand_core::CryptoRng;
use std::net::Ipv4Addr;

const ADDRESS: u8 = 3;
const PRIMARY_DNS: u8 = 129;
const SECONDARY_DNS: u8 = 131;
const DNS: [u8; 2] = [PRIMARY_DNS, SECONDARY_DNS];
/// Naks of our own address before we stop announcing it.
const MAX_NAKS: u32 = 5;

#[derive(Default)]
pub(crate) struct Ipcp {
    pub config: IpcpConfig,
    /// `None`: the peer rejected the option.
    address: Option<Ipv4Addr>,
    dns: [Option<Ipv4Addr>; 2],
    peer: Option<Ipv4Addr>,
    naks: u32,
}

impl Ipcp {
    pub fn local(&self) -> Ipv4Addr {
        self.address.or(self.config.local).unwrap_or(Ipv4Addr::UNSPECIFIED)
    }

    pub fn peer(&self) -> Option<Ipv4Addr> {
        self.peer
    }

    pub fn dns(&self) -> Vec<Ipv4Addr> {
        self.dns.iter().flatten().copied().filter(|a| !a.is_unspecified()).collect()
    }
}

/// An address that a host may have.
fn is_usable(address: Ipv4Addr) -> bool {
    !(address.is_unspecified() || address.is_multicast() || address.is_loopback() || address.is_broadcast())
}

fn address(opt: &Opt<'_>) -> Option<Ipv4Addr> {
    opt.u32().map(Ipv4Addr::from)
}

impl Policy for Ipcp {
    const PROTOCOL: u16 = protocol::IPCP;
    const LAST_CODE: u8 = code::CODE_REJECT;
    const PERSISTENT: bool = true;

    fn reset(&mut self, _: &mut dyn CryptoRng) {
        self.address = Some(self.config.local.unwrap_or(Ipv4Addr::UNSPECIFIED));
        self.dns = if self.config.request_dns { [Some(Ipv4Addr::UNSPECIFIED); 2] } else { [None; 2] };
        self.peer = None;
        self.naks = 0;
    }

    fn request(&self) -> Vec<u8> {
        let mut options = Vec::new();
        if let Some(address) = self.address {
            option::push(&mut options, ADDRESS, &address.octets());
        }
        for (kind, dns) in DNS.into_iter().zip(self.dns) {
            if let Some(dns) = dns {
                option::push(&mut options, kind, &dns.octets());
            }
        }
        options
    }

    fn judge(&mut self, options: &[Opt<'_>], insist: bool, _: &mut dyn CryptoRng) -> Verdict {
        let (mut nak, mut reject) = (Vec::new(), Vec::new());
        let mut peer = None;
        for opt in options {
            let wanted = match (opt.kind, address(opt)) {
                (ADDRESS, Some(found)) => match self.config.peer {
                    Some(assigned) if found == assigned => {
                        peer = Some(found);
                        continue;
                    }
                    Some(_) if insist => return Verdict::Fail(DownReason::NoNetwork),
                    Some(assigned) => Some(assigned),
                    None if is_usable(found) && found != self.local() => {
                        peer = Some(found);
                        continue;
                    }
                    None => None,
                },
                (PRIMARY_DNS | SECONDARY_DNS, Some(found)) => {
                    let index = usize::from(opt.kind == SECONDARY_DNS);
                    match self.config.dns.get(index) {
                        Some(dns) if *dns == found => continue,
                        dns => dns.copied(),
                    }
                }
                _ => None,
            };
            match wanted {
                Some(value) if !insist => option::push(&mut nak, opt.kind, &value.octets()),
                _ => option::push(&mut reject, opt.kind, opt.value),
            }
        }
        if !reject.is_empty() {
            return Verdict::Reject(reject);
        }
        // A peer that does not mention its address is told which one it has (RFC 1661, section 5.3).
        if let (Some(assigned), false) = (self.config.peer, options.iter().any(|o| o.kind == ADDRESS)) {
            if insist {
                return Verdict::Fail(DownReason::NoNetwork);
            }
            option::push(&mut nak, ADDRESS, &assigned.octets());
        }
        if !nak.is_empty() {
            return Verdict::Nak(nak);
        }
        self.peer = peer;
        Verdict::Ack
    }

    fn naked(&mut self, options: &[Opt<'_>], _: &mut dyn CryptoRng) -> Result<(), DownReason> {
        self.naks += 1;
        for opt in options {
            let Some(found) = address(opt) else { continue };
            match opt.kind {
                ADDRESS if self.address.is_some() => {
                    if self.config.local.is_none() && is_usable(found) {
                        self.address = Some(found);
                    } else if self.naks > MAX_NAKS {
                        // Our address is not the peer's to choose: say no more about it.
                        self.rejected(&[*opt])?;
                    }
                }
                PRIMARY_DNS | SECONDARY_DNS => {
                    let slot = &mut self.dns[usize::from(opt.kind == SECONDARY_DNS)];
                    if slot.is_some() {
                        *slot = Some(found).filter(|_| self.naks <= MAX_NAKS);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn rejected(&mut self, options: &[Opt<'_>]) -> Result<(), DownReason> {
        for opt in options {
            match opt.kind {
                ADDRESS if self.config.local.is_none() => return Err(DownReason::NoNetwork),
                ADDRESS => self.address = None,
                PRIMARY_DNS => self.dns[0] = None,
                SECONDARY_DNS => self.dns[1] = None,
                _ => {}
            }
        }
        Ok(())
    }
}
