//! Notify payloads (RFC 7296, section 3.10): errors (types below 16384) and status (16384 and above), optionally about
//! one SA named by protocol and SPI.

use crate::error::Malformed;

/// A notify message type (IANA "IKEv2 Notify Message Types").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NotifyType(pub u16);

#[allow(missing_docs)]
impl NotifyType {
    pub const UNSUPPORTED_CRITICAL_PAYLOAD: Self = Self(1);
    pub const INVALID_IKE_SPI: Self = Self(4);
    pub const INVALID_MAJOR_VERSION: Self = Self(5);
    pub const INVALID_SYNTAX: Self = Self(7);
    pub const INVALID_MESSAGE_ID: Self = Self(9);
    pub const INVALID_SPI: Self = Self(11);
    pub const NO_PROPOSAL_CHOSEN: Self = Self(14);
    pub const INVALID_KE_PAYLOAD: Self = Self(17);
    pub const AUTHENTICATION_FAILED: Self = Self(24);
    pub const SINGLE_PAIR_REQUIRED: Self = Self(34);
    pub const NO_ADDITIONAL_SAS: Self = Self(35);
    pub const INTERNAL_ADDRESS_FAILURE: Self = Self(36);
    pub const FAILED_CP_REQUIRED: Self = Self(37);
    pub const TS_UNACCEPTABLE: Self = Self(38);
    pub const INVALID_SELECTORS: Self = Self(39);
    pub const UNACCEPTABLE_ADDRESSES: Self = Self(40);
    pub const UNEXPECTED_NAT_DETECTED: Self = Self(41);
    pub const TEMPORARY_FAILURE: Self = Self(43);
    pub const CHILD_SA_NOT_FOUND: Self = Self(44);
    pub const STATE_NOT_FOUND: Self = Self(47);
    /// RFC 9611, section 5.2; the number is strongSwan's as well (`notify_payload.h`).
    pub const TS_MAX_QUEUE: Self = Self(48);

    pub const INITIAL_CONTACT: Self = Self(16384);
    pub const SET_WINDOW_SIZE: Self = Self(16385);
    pub const ADDITIONAL_TS_POSSIBLE: Self = Self(16386);
    pub const NAT_DETECTION_SOURCE_IP: Self = Self(16388);
    pub const NAT_DETECTION_DESTINATION_IP: Self = Self(16389);
    pub const COOKIE: Self = Self(16390);
    pub const USE_TRANSPORT_MODE: Self = Self(16391);
    pub const HTTP_CERT_LOOKUP_SUPPORTED: Self = Self(16392);
    pub const REKEY_SA: Self = Self(16393);
    pub const ESP_TFC_PADDING_NOT_SUPPORTED: Self = Self(16394);
    pub const NON_FIRST_FRAGMENTS_ALSO: Self = Self(16395);
    pub const MOBIKE_SUPPORTED: Self = Self(16396);
    pub const ADDITIONAL_IP4_ADDRESS: Self = Self(16397);
    pub const ADDITIONAL_IP6_ADDRESS: Self = Self(16398);
    pub const NO_ADDITIONAL_ADDRESSES: Self = Self(16399);
    pub const UPDATE_SA_ADDRESSES: Self = Self(16400);
    pub const COOKIE2: Self = Self(16401);
    pub const NO_NATS_ALLOWED: Self = Self(16402);
    pub const MULTIPLE_AUTH_SUPPORTED: Self = Self(16404);
    pub const EAP_ONLY_AUTHENTICATION: Self = Self(16417);
    pub const IKEV2_FRAGMENTATION_SUPPORTED: Self = Self(16430);
    pub const SIGNATURE_HASH_ALGORITHMS: Self = Self(16431);
    pub const INTERMEDIATE_EXCHANGE_SUPPORTED: Self = Self(16438);
    pub const ADDITIONAL_KEY_EXCHANGE: Self = Self(16441);
    /// RFC 9611, section 5.1, likewise. Data: an identifier of the sender's resource, or nothing.
    pub const SA_RESOURCE_INFO: Self = Self(16444);

    /// Error types are below 16384 (section 3.10.1).
    pub fn is_error(self) -> bool {
        self.0 < 16384
    }
}

/// A notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notify<'a> {
    /// Protocol of `spi`; 0 when it is empty.
    pub protocol: u8,
    /// The SA it is about.
    pub spi: &'a [u8],
    /// Its type.
    pub kind: NotifyType,
    /// Data that depends on the type.
    pub data: &'a [u8],
}

impl<'a> Notify<'a> {
    /// Parses a body.
    pub fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        let [protocol, spi_len, hi, lo, ref rest @ ..] = *body else { return Err(Malformed("truncated notify")) };
        let (spi, data) = rest.split_at_checked(usize::from(spi_len)).ok_or(Malformed("notify SPI length"))?;
        Ok(Self { protocol, spi, kind: NotifyType(u16::from_be_bytes([hi, lo])), data })
    }

    /// The SPI when it is an ESP SPI of four octets.
    pub fn esp_spi(&self) -> Option<u32> {
        if self.protocol != super::sa::PROTO_ESP {
            return None;
        }
        Some(u32::from_be_bytes(self.spi.try_into().ok()?))
    }

    /// Writes the body. An SPI longer than 255 octets does not exist.
    pub fn emit(&self, out: &mut Vec<u8>) {
        out.push(self.protocol);
        out.push(self.spi.len() as u8);
        out.extend_from_slice(&self.kind.0.to_be_bytes());
        out.extend_from_slice(self.spi);
        out.extend_from_slice(self.data);
    }
}
