//! A request as its owner gives it, and as each server gets it.

use crate::attribute::{ACCT_DELAY_TIME, AttributeList, EVENT_TIMESTAMP, USER_PASSWORD};
use crate::crypto;
use crate::packet::{Builder, Code, Unencodable};
use secret::Secret;

/// Access-Request, Accounting-Request or Status-Server, before it is known who gets it.
#[derive(Clone, Debug)]
pub struct Request {
    /// Which.
    pub code: Code,
    /// Its attributes, but for User-Password and Message-Authenticator.
    pub attributes: AttributeList,
    /// User-Password in the clear: each server's secret hides it differently.
    pub user_password: Option<Secret>,
}

impl Request {
    /// A request without a User-Password.
    pub fn new(code: Code, attributes: AttributeList) -> Self {
        Self { code, attributes, user_password: None }
    }

    /// Whether Acct-Delay-Time is to be counted on, which makes another packet of it every time (RFC 2866, section 5.2).
    /// An Event-Timestamp says the same without that (RFC 5080, section 2.2.1).
    pub(super) fn counts_delay(&self) -> bool {
        let attributes = self.attributes.as_attributes();
        attributes.first(ACCT_DELAY_TIME).is_some() && attributes.first(EVENT_TIMESTAMP).is_none()
    }

    /// The packet, `delay` seconds after the request was made. `authenticator` is random; accounting has its own.
    pub(super) fn encode(
        &self,
        id: u8,
        authenticator: &[u8; 16],
        secret: &Secret,
        delay: u32,
    ) -> Result<Vec<u8>, Unencodable> {
        let secret = secret.expose();
        let mut builder = Builder::new(self.code, id);
        if let Some(password) = &self.user_password {
            let hidden = crypto::hide_password(secret, authenticator, password.expose());
            let mut list = AttributeList::new();
            list.octets(USER_PASSWORD, &hidden.ok_or(Unencodable::Password)?);
            builder = builder.attributes(&list);
        }
        builder = if self.counts_delay() {
            let mut list = self.attributes.clone();
            list.add_u32(ACCT_DELAY_TIME, delay);
            builder.attributes(&list)
        } else {
            builder.attributes(&self.attributes)
        };
        match self.code {
            Code::AccountingRequest => builder.hashed_request(secret),
            _ => builder.access_request(authenticator, secret),
        }
    }

    /// Whether `code` answers it.
    pub(super) fn answered_by(&self, code: Code) -> bool {
        match self.code {
            Code::AccessRequest => matches!(code, Code::AccessAccept | Code::AccessReject | Code::AccessChallenge),
            Code::AccountingRequest => code == Code::AccountingResponse,
            // RFC 5997, section 2.1: as the port is for.
            Code::StatusServer => matches!(code, Code::AccessAccept | Code::AccountingResponse),
            _ => false,
        }
    }
}
