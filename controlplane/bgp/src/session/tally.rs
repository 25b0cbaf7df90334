//! What is counted of a neighbour, over all its connections.

use crate::message::kind;

/// Messages of each type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Messages {
    /// OPEN.
    pub open: u64,
    /// UPDATE.
    pub update: u64,
    /// NOTIFICATION.
    pub notification: u64,
    /// KEEPALIVE.
    pub keepalive: u64,
    /// ROUTE-REFRESH.
    pub route_refresh: u64,
}

impl Messages {
    /// All of them.
    pub const fn total(&self) -> u64 {
        self.open + self.update + self.notification + self.keepalive + self.route_refresh
    }

    /// One more of a type.
    pub(crate) fn count(&mut self, kind: u8) {
        match kind {
            kind::OPEN => self.open += 1,
            kind::UPDATE => self.update += 1,
            kind::NOTIFICATION => self.notification += 1,
            kind::KEEPALIVE => self.keepalive += 1,
            _ => self.route_refresh += 1,
        }
    }

    /// Those in octets of ours, which are whole messages.
    pub(crate) fn count_all(&mut self, mut octets: &[u8]) {
        while let Some(&[high, low, kind]) = octets.get(16..19).and_then(|field| field.first_chunk()) {
            self.count(kind);
            octets = octets.get(usize::from(u16::from_be_bytes([high, low])).max(1)..).unwrap_or_default();
        }
    }
}

/// What one neighbour's connections share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// ConnectRetryCounter.
    pub retries: u32,
    /// Connections tried since a session was last established.
    pub attempts: u32,
    /// Failures that lengthen IdleHoldTime.
    pub oscillations: u32,
    /// Messages sent, as handed to the driver.
    pub sent: Messages,
    /// Messages received.
    pub received: Messages,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Message, Negotiated, Notification};

    #[test]
    fn messages_in_a_batch_are_counted_one_by_one() {
        let mut octets = Vec::new();
        for message in [Message::KeepAlive, Message::KeepAlive, Message::Notification(Notification::bfd_down())] {
            message.encode(&Negotiated::default(), &mut octets);
        }
        let mut messages = Messages::default();
        messages.count_all(&octets);
        messages.count_all(&[]);
        assert_eq!(messages, Messages { keepalive: 2, notification: 1, ..Messages::default() });
        assert_eq!(messages.total(), 3);
    }
}
