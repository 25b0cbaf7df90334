//! The messages of BGP (RFC 4271, section 4) on the wire.
//!
//! ```text
//! | Marker: 16 octets of ff | Length (2) | Type (1) |  Body ...  |
//!
//!  1 OPEN, 2 UPDATE, 3 NOTIFICATION, 4 KEEPALIVE, 5 ROUTE-REFRESH
//! ```
//!
//! [`frame`] finds the end of a message in a stream, [`decode`] reads it, [`Message::encode`] writes it. Every error
//! is the [`Notification`] that the peer is to be sent.

pub mod capability;
pub mod family;
mod negotiated;
pub mod notification;
pub mod open;
pub(crate) mod prefix;
pub(crate) mod reader;
mod refresh;
mod update;

pub use capability::{Capability, Role};
pub use family::Family;
pub use negotiated::Negotiated;
pub use notification::Notification;
pub use open::Open;
pub use refresh::RouteRefresh;
pub use update::{Announcement, Update};

use reader::Reader;

/// Octets of the header.
pub const HEADER_LEN: usize = 19;
/// Octets of the longest message.
pub const MAX_LEN: usize = 4096;
/// Octets of the longest message between speakers of extended messages (RFC 8654), other than OPEN and KEEPALIVE.
pub const MAX_EXTENDED_LEN: usize = 65535;

const MARKER: [u8; 16] = [0xff; 16];

/// Message types.
pub mod kind {
    #![allow(missing_docs)] // the names are those of RFC 4271, section 4.1, and RFC 2918
    pub const OPEN: u8 = 1;
    pub const UPDATE: u8 = 2;
    pub const NOTIFICATION: u8 = 3;
    pub const KEEPALIVE: u8 = 4;
    pub const ROUTE_REFRESH: u8 = 5;
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// The first of each side.
    Open(Open),
    /// Routes.
    Update(Update),
    /// The last.
    Notification(Notification),
    /// Still there.
    KeepAlive,
    /// Routes are asked for again.
    RouteRefresh(RouteRefresh),
    /// A ROUTE-REFRESH of a family or subtype that is not known here, to be ignored (RFC 7313, section 5). Never
    /// written.
    Ignored,
}

/// The length of the first message in `buf`, `None` while it is not whole. The header is checked as soon as it is
/// there (RFC 4271, section 6.1). `max` is what the session takes: [`MAX_LEN`], or [`MAX_EXTENDED_LEN`] once agreed on.
pub fn frame(buf: &[u8], max: usize) -> Result<Option<usize>, Notification> {
    let mut reader = Reader(buf);
    let (Some(marker), Some(length), Some(kind)) = (reader.array(), reader.u16(), reader.u8()) else { return Ok(None) };
    if marker != MARKER {
        return Err(Notification::not_synchronized());
    }
    let (least, most) = match kind {
        kind::OPEN => (29, max.min(MAX_LEN)),
        kind::UPDATE => (23, max),
        kind::NOTIFICATION => (21, max),
        kind::KEEPALIVE => (HEADER_LEN, HEADER_LEN),
        kind::ROUTE_REFRESH => (HEADER_LEN, max),
        _ => return Err(Notification::bad_message_type(kind)),
    };
    if !(least..=most).contains(&usize::from(length)) {
        return Err(Notification::bad_message_length(length));
    }
    Ok(Some(usize::from(length)).filter(|&length| length <= buf.len()))
}

/// Reads the message that [`frame`] found: `bytes` is all of it and nothing else.
pub fn decode(bytes: &[u8], n: &Negotiated) -> Result<Message, Notification> {
    if frame(bytes, MAX_EXTENDED_LEN)? != Some(bytes.len()) {
        return Err(Notification::bad_message_length(u16::try_from(bytes.len()).unwrap_or(u16::MAX)));
    }
    let mut reader = Reader(bytes);
    reader.take(HEADER_LEN - 1);
    let kind = reader.u8().unwrap_or_default();
    let body = reader.rest();
    Ok(match kind {
        kind::OPEN => Message::Open(Open::decode(body)?),
        kind::UPDATE => Message::Update(Update::decode(body, n)?),
        kind::NOTIFICATION => {
            let short = || Notification::bad_message_length(bytes.len() as u16);
            Message::Notification(Notification::decode(body).ok_or_else(short)?)
        }
        kind::ROUTE_REFRESH if bytes.len() != RouteRefresh::LEN => {
            return Err(Notification::invalid_refresh_length(bytes));
        }
        kind::ROUTE_REFRESH => RouteRefresh::decode(body).map_or(Message::Ignored, Message::RouteRefresh),
        _ => Message::KeepAlive,
    })
}

impl Message {
    /// Its type.
    pub const fn kind(&self) -> u8 {
        match self {
            Self::Open(_) => kind::OPEN,
            Self::Update(_) => kind::UPDATE,
            Self::Notification(_) => kind::NOTIFICATION,
            Self::KeepAlive => kind::KEEPALIVE,
            Self::RouteRefresh(_) | Self::Ignored => kind::ROUTE_REFRESH,
        }
    }

    /// Writes the message; an UPDATE takes as many messages as it needs.
    pub fn encode(&self, n: &Negotiated, out: &mut Vec<u8>) {
        match self {
            Self::Open(open) => message(kind::OPEN, out, |out| open.encode(out)),
            Self::Update(update) => update.encode(n, out),
            Self::Notification(notification) => {
                message(kind::NOTIFICATION, out, |out| notification.encode(n.max_message(), out));
            }
            Self::KeepAlive => message(kind::KEEPALIVE, out, |_| {}),
            Self::RouteRefresh(refresh) => message(kind::ROUTE_REFRESH, out, |out| refresh.encode(out)),
            Self::Ignored => {}
        }
    }
}

/// Writes a header and what `body` writes.
fn message(kind: u8, out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&MARKER);
    out.extend_from_slice(&[0, 0, kind]);
    body(out);
    let length = (out.len() - start) as u16;
    if let Some(field) = out.get_mut(start + MARKER.len()..start + MARKER.len() + 2) {
        field.copy_from_slice(&length.to_be_bytes());
    }
}

#[cfg(test)]
mod tests;
