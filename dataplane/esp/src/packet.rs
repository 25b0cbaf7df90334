//! SAs that own their keys: one packet at a time ([`seal`], [`open`]), or in the three steps that a batch needs.
//!
//! ```text
//!   SaOut::frame ─► Job (SaOut::job) ─► Manager::run
//!   SaIn::check  ─► Job (SaIn::job)  ─► Manager::run ─► SaIn::accept
//! ```

use crate::framing::{self, HEADER, NEXT_DUMMY};
use crate::{Charge, Inbound, InboundCold, Outbound, OutboundCold};
use dataplane_api::DropReason;
use ipsec_mb::{Direction, Job, Key, Manager};
use std::ops::Range;

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

    /// Sequence number of a packet of this SA that the window does not refuse.
    pub fn check(&self, packet: &[u8]) -> Result<u64, DropReason> {
        let (spi, low) = framing::read_head(packet).ok_or(DropReason::Truncated)?;
        if !self.hot.is(dataplane_api::Spi(spi)) {
            return Err(DropReason::SaUnknown);
        }
        self.hot.check(&self.cold, low).ok_or(DropReason::EspReplay)
    }

    /// The job, and its key, that open a packet with the sequence number that [`Self::check`] gave. `None`: there is no SA.
    pub fn job<'a>(&'a self, packet: &'a mut [u8], seq: u64) -> Option<(Job<'a>, &'a Key)> {
        let algorithm = self.hot.algorithm()?;
        let (salt, seq_high) = (self.hot.salt(), self.hot.seq_high(seq));
        Some((Job::new(algorithm, Direction::Open, packet, salt, seq_high), &self.key))
    }

    /// Takes a packet whose job went well: advances the window, and says where in `packet` its payload stands.
    pub fn accept(&mut self, packet: &[u8], seq: u64) -> Result<(Range<usize>, Opened), DropReason> {
        let algorithm = self.hot.algorithm().ok_or(DropReason::SaUnknown)?;
        if !self.hot.accept(&mut self.cold, seq) {
            return Err(DropReason::EspReplay);
        }
        let start = HEADER + algorithm.iv_len();
        let end = packet.len().saturating_sub(algorithm.icv_len());
        let text = packet.get(start..end).ok_or(DropReason::EspMalformed)?;
        let (mut len, next_header) = framing::read_trailer(text)?;
        let charge = self.hot.charge(&self.cold, len);
        if !charge.passes() {
            return Err(DropReason::SaExpired);
        }
        if next_header == NEXT_DUMMY {
            return Err(DropReason::EspDummy);
        }
        if self.hot.tunnel() {
            len = framing::inner_len(next_header, &text[..len])?;
        }
        Ok((start..start + len, Opened { next_header, seq, rekey: charge == Charge::Soft }))
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

    /// Octets in front of a payload, and behind it. `None`: there is no SA.
    pub fn around(&self, payload: usize) -> Option<(usize, usize)> {
        let algorithm = self.hot.algorithm()?;
        Some((framing::head_len(algorithm), framing::tail_len(algorithm, payload)))
    }

    /// Takes the next sequence number and writes what stands around a payload of `payload` octets, which is in its place
    /// already ([`Self::around`]). Also says whether the SA reached a soft limit: rekey.
    pub fn frame(&mut self, packet: &mut [u8], payload: usize, next: u8) -> Result<(u64, bool), DropReason> {
        let algorithm = self.hot.algorithm().ok_or(DropReason::SaMissing)?;
        let (head, pad) = (framing::head_len(algorithm), framing::pad_len(algorithm, payload));
        // Nothing longer fits an IP packet; checked first, so that no sequence number is wasted.
        if packet.len() > usize::from(u16::MAX) {
            return Err(DropReason::TooBig);
        }
        if packet.len() != head + payload + framing::tail_len(algorithm, payload) {
            return Err(DropReason::EspMalformed);
        }
        let (seq, charge) = self.hot.next(&self.cold, payload);
        if !charge.passes() {
            return Err(DropReason::SaExpired);
        }
        let framed = framing::write_head(packet, algorithm, self.hot.spi(), seq)
            && framing::write_trailer(&mut packet[head + payload..], pad, next);
        if framed { Ok((seq, charge == Charge::Soft)) } else { Err(DropReason::EspMalformed) }
    }

    /// The job, and its key, that seal a packet with the sequence number that [`Self::frame`] gave. `None`: there is no SA.
    pub fn job<'a>(&'a self, packet: &'a mut [u8], seq: u64) -> Option<(Job<'a>, &'a Key)> {
        let algorithm = self.hot.algorithm()?;
        let (salt, seq_high) = (self.hot.salt(), self.hot.seq_high(seq));
        Some((Job::new(algorithm, Direction::Seal, packet, salt, seq_high), &self.key))
    }
}

/// Turns a payload (in transport mode the upper protocol's packet, in tunnel mode a whole IP packet) into an ESP packet
/// from the SPI to the ICV. `Ok(true)`: the SA reached a soft limit, rekey. After an error `packet` is empty. UDP
/// encapsulation is the caller's.
pub fn seal(manager: &mut Manager, sa: &mut SaOut, next: u8, packet: &mut Vec<u8>) -> Result<bool, DropReason> {
    let sealed = seal_in_place(manager, sa, next, packet);
    if sealed.is_err() {
        packet.clear();
    }
    sealed
}

fn seal_in_place(manager: &mut Manager, sa: &mut SaOut, next: u8, packet: &mut Vec<u8>) -> Result<bool, DropReason> {
    let payload = packet.len();
    let (head, tail) = sa.around(payload).ok_or(DropReason::SaMissing)?;
    packet.resize(head + payload + tail, 0);
    packet.copy_within(..payload, head);
    let (seq, rekey) = sa.frame(packet, payload, next)?;
    let job = sa.job(packet, seq).ok_or(DropReason::SaMissing)?;
    if run(manager, job)? { Ok(rekey) } else { Err(DropReason::EspMalformed) }
}

/// Turns an ESP packet, from the SPI to the ICV, into its payload. After an error the contents of `packet` are
/// unspecified. Outer addresses and the inner selector are the caller's to check ([`Inbound::path`]), except that the
/// payload of tunnel mode is a well-formed IP packet, without TFC padding.
pub fn open(manager: &mut Manager, sa: &mut SaIn, packet: &mut Vec<u8>) -> Result<Opened, DropReason> {
    let seq = sa.check(packet)?;
    let job = sa.job(packet, seq).ok_or(DropReason::SaUnknown)?;
    if !run(manager, job)? {
        return Err(DropReason::EspIntegrity);
    }
    let (payload, opened) = sa.accept(packet, seq)?;
    let len = payload.len();
    packet.copy_within(payload, 0);
    packet.truncate(len);
    Ok(opened)
}

/// Whether a job went well. An error: no packet of this algorithm has such a length.
fn run(manager: &mut Manager, (mut job, key): (Job<'_>, &Key)) -> Result<bool, DropReason> {
    let good = manager.run(std::slice::from_mut(&mut job), &[key]).good(0);
    if good || job.fits() { Ok(good) } else { Err(DropReason::EspMalformed) }
}
