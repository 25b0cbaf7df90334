//! One exchange of quick mode: what is kept of it between its messages.

use super::MIN_LIFETIME;
use crate::crypto::{KeyExchange, Secret};
use crate::event::Meta;
use crate::payload::ts::TrafficSelector;
use crate::sa::Ctx;
use crate::sa::window::Unanswered;
use crate::v1::proposal::Phase2Choice;
use std::time::{Duration, Instant};

#[derive(Debug)]
pub(super) enum Stage {
    /// Initiator: message 1 is out.
    Offered(Offer),
    /// Responder: message 2 is out.
    Replied { spi_in: u32, ni: Vec<u8>, nr: Vec<u8> },
    /// It has ended; what the last message drew is repeated.
    Over,
}

/// An offer of ours.
#[derive(Debug)]
pub(super) struct Offer {
    pub spi_in: u32,
    /// The group of our own key exchange, and our half of it.
    pub exchange: Option<(u16, KeyExchange)>,
    pub ni: Vec<u8>,
    /// Our selector and the peer's, between the ends of `path`.
    pub ids: [TrafficSelector; 2],
    pub path: Meta,
    pub replaces: Option<u32>,
}

impl Offer {
    /// The secret of the key exchange, if there is one; `None`, where the answer has another than was offered (RFC 2409,
    /// section 5.5).
    pub fn agree(&self, choice: &Phase2Choice, ke: Option<&[u8]>) -> Option<Option<Secret>> {
        match (&self.exchange, choice.suite.ke, ke) {
            (Some((offered, exchange)), Some(group), Some(ke)) if group == *offered => {
                exchange.finish(ke).ok().map(Some)
            }
            (None, None, None) => Some(None),
            _ => None,
        }
    }
}

/// An offer of ours that came to nothing.
#[derive(Clone, Copy, Debug)]
pub(in crate::v1) struct Lost {
    pub spi_in: u32,
    pub replaces: Option<u32>,
    pub since: Instant,
}

/// What became of an exchange when its time was over.
#[derive(Clone, Copy, Debug)]
pub(in crate::v1) enum TimedOut {
    /// Nobody has answered our offer.
    Offer(Lost),
    /// The pair with this inbound SPI was not confirmed.
    Unconfirmed(u32),
}

/// An exchange.
#[derive(Debug)]
pub(in crate::v1) struct Quick {
    pub(super) message_id: u32,
    pub(super) since: Instant,
    pub(super) iv: Vec<u8>,
    pub(super) stage: Stage,
    pub(super) unanswered: Option<Unanswered>,
    /// Hash of the message that came last, and what it drew.
    pub(super) last: (Vec<u8>, Vec<Vec<u8>>),
    /// When it is forgotten.
    pub(super) until: Instant,
}

impl Quick {
    /// The inbound SPI that is in no child SA yet.
    pub fn drawn(&self) -> Option<u32> {
        if let Stage::Offered(offer) = &self.stage { Some(offer.spi_in) } else { None }
    }

    /// The nonces of a pair that waits for message 3.
    #[cfg(test)]
    pub fn nonces(&self, spi: u32) -> Option<(&[u8], &[u8])> {
        match &self.stage {
            Stage::Replied { spi_in, ni, nr } if *spi_in == spi => Some((ni, nr)),
            _ => None,
        }
    }

    /// When something is due.
    pub fn next_deadline(&self) -> Instant {
        self.unanswered.as_ref().map_or(self.until, |u| u.next)
    }

    /// Sends again what is due, until there was no answer.
    pub fn timeout(&mut self, ctx: &mut Ctx<'_>, path: Meta) -> Option<TimedOut> {
        if self.unanswered.as_mut()?.again(ctx, path, None) {
            return None;
        }
        self.unanswered = None;
        if let Stage::Replied { spi_in, .. } = self.stage {
            self.stage = Stage::Over;
            return Some(TimedOut::Unconfirmed(spi_in));
        }
        self.withdraw().map(TimedOut::Offer)
    }

    /// Ends an exchange of ours that is not answered yet.
    pub fn withdraw(&mut self) -> Option<Lost> {
        let Stage::Offered(Offer { spi_in, replaces, .. }) = self.stage else { return None };
        (self.stage, self.unanswered) = (Stage::Over, None);
        Some(Lost { spi_in, replaces, since: self.since })
    }

    /// Whether it is ours and to take the place of this pair.
    pub(super) fn is_to_replace(&self, spi: u32) -> bool {
        matches!(self.stage, Stage::Offered(Offer { replaces: Some(old), .. }) if old == spi)
    }

    /// The pair of this exchange is confirmed, or gone: message 2 has nothing more to draw.
    pub fn settle(&mut self, spi: u32) {
        if matches!(self.stage, Stage::Replied { spi_in, .. } if spi_in == spi) {
            (self.stage, self.unanswered) = (Stage::Over, None);
        }
    }

    pub fn is_over(&self, now: Instant) -> bool {
        matches!(self.stage, Stage::Over) && now >= self.until
    }
}

/// How long a pair lasts of which its ends have said so much. By RFC 2407, section 4.5, that of one of which nothing is
/// said is eight hours.
pub(super) fn lifetime(ours: Option<Duration>, theirs: Option<Duration>) -> Duration {
    const UNSAID: Duration = Duration::from_secs(8 * 3600);
    ours.into_iter().chain(theirs.map(|theirs| theirs.max(MIN_LIFETIME))).min().unwrap_or(UNSAID)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Mode;
    use crate::crypto::{KeMethod, respond};
    use crate::proposal::ke;
    use crate::v1::proposal::{Encap, choose_phase2, offer_phase2, parse_esp};

    #[test]
    fn a_pair_does_not_last_for_ever() {
        let (hour, day) = (Duration::from_secs(3600), Duration::from_secs(86_400));
        for (ours, theirs, expected) in [
            (None, None, 8 * hour),
            (Some(day), None, day),
            (None, Some(hour), hour),
            (Some(hour), Some(day), hour),
            (Some(day), Some(Duration::from_secs(1)), MIN_LIFETIME),
        ] {
            assert_eq!(lifetime(ours, theirs), expected);
        }
    }

    #[test]
    fn the_group_is_the_one_that_was_offered() {
        let chosen = |text: &str| {
            let ours = [parse_esp(text).unwrap()];
            let offer = offer_phase2(&ours, 0x1234, Encap::Transport, Duration::from_secs(60));
            choose_phase2(&ours, &offer, Mode::Transport, false, false).unwrap()
        };
        let ts = TrafficSelector::any(false);
        let path = Meta { local: ([192, 0, 2, 1], 500).into(), remote: ([192, 0, 2, 2], 500).into() };
        let offered = |group: Option<KeMethod>| {
            let exchange = group.map(|group| (group.id(), KeyExchange::initiate(group).unwrap()));
            let (exchange, public) = match exchange {
                Some((id, (exchange, public))) => (Some((id, exchange)), Some(public)),
                None => (None, None),
            };
            (Offer { spi_in: 1, exchange, ni: Vec::new(), ids: [ts; 2], path, replaces: None }, public)
        };
        let (offer, public) = offered(Some(KeMethod::Ecp256));
        let (answer, secret) = respond(KeMethod::Ecp256, &public.unwrap()).unwrap();
        assert_eq!(KeMethod::Ecp256.id(), ke::ECP_256);
        assert_eq!(offer.agree(&chosen("aes128-sha256-ecp256"), Some(&answer)), Some(Some(secret)));
        // Another group, or none; an exchange without its value.
        assert_eq!(offer.agree(&chosen("aes128-sha256-ecp384"), Some(&answer)), None);
        assert_eq!(offer.agree(&chosen("aes128-sha256"), Some(&answer)), None);
        assert_eq!(offer.agree(&chosen("aes128-sha256-ecp256"), None), None);
        let (offer, _) = offered(None);
        assert_eq!(offer.agree(&chosen("aes128-sha256"), None), Some(None));
        assert_eq!(offer.agree(&chosen("aes128-sha256-ecp256"), None), None);
        assert_eq!(offer.agree(&chosen("aes128-sha256"), Some(&answer)), None);
    }
}
