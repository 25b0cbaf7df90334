//! Answers that need no IKE SA and make none: refusals of IKE_SA_INIT, and INVALID_IKE_SPI.
//!
//! They are not protected, so whoever receives one must not act on it alone; and they go to an address that anybody may
//! have put there, so they are shorter than what they answer, and those that a stranger draws at will are limited.

use crate::message::{ExchangeType, Header};
use crate::payload::notify::NotifyType;
use crate::payload::{Builder, PayloadType};
use std::time::{Duration, Instant};

/// The answer to a request: its SPIs, exchange and message id, and a notification (RFC 7296, section 1.5).
pub(crate) fn answer(request: &Header, kind: NotifyType, data: &[u8]) -> Vec<u8> {
    let mut chain = Builder::new();
    chain.notify(kind, data);
    let header = Header { from_initiator: !request.from_initiator, response: true, ..*request };
    header.message(&chain)
}

/// The header of a first request from `spi_i`.
pub(crate) fn init(spi_i: u64) -> Header {
    Header {
        spi_i,
        spi_r: 0,
        next: PayloadType::NONE,
        exchange: ExchangeType::IKE_SA_INIT,
        from_initiator: true,
        response: false,
        message_id: 0,
    }
}

/// Whether a message for an IKE SA that we do not know may be answered with INVALID_IKE_SPI (section 2.21.4): a
/// protected request. Never a response; and never a notification in the clear, which may be such an answer itself.
pub(crate) fn deserves_invalid_spi(header: &Header) -> bool {
    !header.response && matches!(header.next, PayloadType::SK | PayloadType::SKF)
}

/// So many in a second.
#[derive(Debug, Default)]
pub(crate) struct RateLimit {
    since: Option<Instant>,
    passed: u32,
}

impl RateLimit {
    /// Whether one more may pass.
    pub fn pass(&mut self, now: Instant, per_second: u32) -> bool {
        let pass = self.room(now, per_second) > 0;
        self.spend(u32::from(pass));
        pass
    }

    /// How many more may pass.
    pub fn room(&mut self, now: Instant, per_second: u32) -> u32 {
        if self.renewed().is_none_or(|at| now >= at) {
            (self.since, self.passed) = (Some(now), 0);
        }
        per_second.saturating_sub(self.passed)
    }

    /// So many have passed.
    pub fn spend(&mut self, count: u32) {
        self.passed = self.passed.saturating_add(count);
    }

    /// When as many may pass again. `None`: now.
    pub fn renewed(&self) -> Option<Instant> {
        self.since.map(|since| since + Duration::from_secs(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hex_literal::hex;

    fn request(next: PayloadType, response: bool) -> Header {
        let exchange = ExchangeType::INFORMATIONAL;
        Header { spi_i: 0x11, spi_r: 0x22, next, exchange, from_initiator: true, response, message_id: 7 }
    }

    #[test]
    fn an_answer_copies_spis_exchange_and_message_id() {
        let answer = answer(&request(PayloadType::SK, false), NotifyType::INVALID_IKE_SPI, &[]);
        let expected = hex!("0000000000000011" "0000000000000022" "29202520" "00000007" "00000024" "0000000800000004");
        assert_eq!(answer, expected);
        // From the other end the initiator flag is the other one.
        let header = Header { from_initiator: false, ..request(PayloadType::SK, false) };
        assert_eq!(super::answer(&header, NotifyType::INVALID_IKE_SPI, &[])[19], 0x28);
    }

    #[test]
    fn only_protected_requests_deserve_one() {
        for (next, response, deserved) in [
            (PayloadType::SK, false, true),
            (PayloadType::SKF, false, true),
            (PayloadType::SK, true, false),
            (PayloadType::NOTIFY, false, false),
            (PayloadType::NOTIFY, true, false),
            (PayloadType::NONE, false, false),
            (PayloadType::SA, false, false),
        ] {
            assert_eq!(deserves_invalid_spi(&request(next, response)), deserved, "{next:?} {response}");
        }
    }

    #[test]
    fn the_limit_is_per_second() {
        let (mut limit, start) = (RateLimit::default(), Instant::now());
        let mut passed = |ms| limit.pass(start + Duration::from_millis(ms), 2);
        assert_eq!([0, 10, 20, 999].map(&mut passed), [true, true, false, false]);
        assert_eq!([1000, 1001, 1002, 5000].map(&mut passed), [true, true, false, true]);
        assert!(!RateLimit::default().pass(start, 0));
    }

    #[test]
    fn many_may_pass_at_once() {
        let (mut limit, start) = (RateLimit::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!((limit.renewed(), limit.room(start, 100)), (None, 100));
        limit.spend(60);
        assert_eq!((limit.renewed(), limit.room(at(999), 100)), (Some(at(1000)), 40));
        limit.spend(50);
        assert_eq!([999, 1000].map(|ms| limit.room(at(ms), 100)), [0, 100]);
    }
}
