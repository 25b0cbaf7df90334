//! One packet at a time, for those who do not move millions: the softwire initiator, and tests.

use crate::framing::{self, HEADER, NEXT_DUMMY};
use crate::{Charge, Inbound, InboundCold, Outbound, OutboundCold};
use dataplane_api::DropReason;
use ipsec_mb::{Batch, Direction, Job, Key, Manager};

/// An inbound SA with its key.
#[derive(Debug)]
pub struct SaIn {
    /// Counters, path, window.
    pub hot: Inbound,
    cold: Box<InboundCold>,
    key: Box<Key>,
}

/// An outbound SA with its key.
#[derive(Debug)]
pub struct SaOut {
    /// Counters, path, sequence.
    pub hot: Outbound,
    cold: Box<OutboundCold>,
    key: Box<Key>,
}

/// A packet that was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// What the payload is: 4 or 41 in tunnel mode, the upper protocol in transport mode.
    pub next_header: u8,
    /// Sequence number.
    pub seq: u64,
    /// The SA reached a soft limit: rekey.
    pub rekey: bool,
}

impl SaIn {
    /// `None`: the addresses do not go together, or the key does not fit the suite.
    pub fn new(manager: &Manager, sa: &dataplane_api::SaIn) -> Option<Self> {
        let (hot, cold) = Inbound::new(sa)?;
        let (cipher, _, auth) = sa.key.split(sa.suite);
        let key = Key::new(manager, hot.algorithm()?, cipher, auth)?;
        Some(Self { hot, cold: Box::new(cold), key: Box::new(key) })
    }

    #[cfg(test)]
    pub(crate) fn accept_for_test(&mut self, seq: u64) {
        assert!(self.hot.accept(&mut self.cold, seq));
    }
}

impl SaOut {
    /// `None`: the addresses do not go together, or the key does not fit the suite.
    pub fn new(manager: &Manager, sa: &dataplane_api::SaOut) -> Option<Self> {
        let (hot, cold) = Outbound::new(sa)?;
        let (cipher, _, auth) = sa.key.split(sa.suite);
        let key = Key::new(manager, hot.algorithm()?, cipher, auth)?;
        Some(Self { hot, cold: Box::new(cold), key: Box::new(key) })
    }
}

/// Turns a payload (in transport mode the upper protocol's packet, in tunnel mode a whole IP packet) into an ESP packet
/// from the SPI to the ICV. `Ok(true)`: the SA reached a soft limit, rekey. UDP encapsulation is the caller's.
pub fn seal(manager: &mut Manager, sa: &mut SaOut, next: u8, packet: &mut Vec<u8>) -> Result<bool, DropReason> {
    let algorithm = sa.hot.algorithm().ok_or(DropReason::SaMissing)?;
    let (payload, head) = (packet.len(), framing::head_len(algorithm));
    let (pad, tail) = (framing::pad_len(algorithm, payload), framing::tail_len(algorithm, payload));
    // Nothing longer fits an IP packet; checked first, so that no sequence number is wasted.
    if head + payload + tail > usize::from(u16::MAX) {
        return Err(DropReason::TooBig);
    }
    let (seq, charge) = sa.hot.next(&sa.cold, payload);
    if !charge.passes() {
        return Err(DropReason::SaExpired);
    }
    packet.resize(head + payload + tail, 0);
    packet.copy_within(..payload, head);
    let framed = framing::write_head(packet, algorithm, sa.hot.spi(), seq)
        && framing::write_trailer(&mut packet[head + payload..], pad, next);
    let mut batch = Batch::new();
    let (salt, seq_high) = (sa.hot.salt(), sa.hot.seq_high(seq));
    let pushed = batch.push(Job { algorithm, key: &sa.key, direction: Direction::Seal, packet, salt, seq_high });
    match pushed {
        Some(n) if framed && manager.run(&mut batch).good(n) => Ok(charge == Charge::Soft),
        _ => {
            packet.clear();
            Err(DropReason::EspMalformed)
        }
    }
}

/// Turns an ESP packet, from the SPI to the ICV, into its payload. After an error the contents of `packet` are
/// unspecified. Outer addresses and the inner selector are the caller's to check ([`Inbound::path`]), except that the
/// payload of tunnel mode is a well-formed IP packet, without TFC padding.
pub fn open(manager: &mut Manager, sa: &mut SaIn, packet: &mut Vec<u8>) -> Result<Opened, DropReason> {
    let (spi, low) = framing::read_head(packet).ok_or(DropReason::Truncated)?;
    let algorithm = sa.hot.algorithm().ok_or(DropReason::SaUnknown)?;
    if !sa.hot.is(dataplane_api::Spi(spi)) {
        return Err(DropReason::SaUnknown);
    }
    let seq = sa.hot.check(&sa.cold, low).ok_or(DropReason::EspReplay)?;
    let mut batch = Batch::new();
    let (salt, seq_high) = (sa.hot.salt(), sa.hot.seq_high(seq));
    let job = Job { algorithm, key: &sa.key, direction: Direction::Open, packet, salt, seq_high };
    let n = batch.push(job).ok_or(DropReason::EspMalformed)?;
    if !manager.run(&mut batch).good(n) {
        return Err(DropReason::EspIntegrity);
    }
    if !sa.hot.accept(&mut sa.cold, seq) {
        return Err(DropReason::EspReplay);
    }
    let start = HEADER + algorithm.iv_len();
    let end = packet.len() - algorithm.icv_len();
    let (mut len, next_header) = framing::read_trailer(&packet[start..end])?;
    let charge = sa.hot.charge(&sa.cold, len);
    if !charge.passes() {
        return Err(DropReason::SaExpired);
    }
    if next_header == NEXT_DUMMY {
        return Err(DropReason::EspDummy);
    }
    if sa.hot.tunnel() {
        len = framing::inner_len(next_header, &packet[start..start + len])?;
    }
    packet.copy_within(start..start + len, 0);
    packet.truncate(len);
    Ok(Opened { next_header, seq, rekey: charge == Charge::Soft })
}
