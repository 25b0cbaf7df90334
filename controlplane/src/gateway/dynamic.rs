//! Dynamic authorization (RFC 5176): a server ends sessions, changes their limits, or has them authorized anew.
//!
//! A request names sessions by attributes, all of which must fit (section 3); what it names besides must be something that
//! we can change, or nothing is changed.

use super::Gateway;
use crate::aaa::{AUTHORIZE_ONLY, Limits, Proof, Who};
use crate::accounting::Cause;
use crate::audit::{Record, Verb};
use crate::subscriber::{State, Subscriber};
use dataplane_api::{IpPrefix, SessionId};
use radius::attribute::*;
use radius::dynauth::{Action, ErrorCause, Request};
use radius::{Attribute, Attributes, Kind, vendor};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

/// What a CoA-Request may change.
const LIMITS: &[Kind] = &[
    SESSION_TIMEOUT,
    IDLE_TIMEOUT,
    FILTER_ID,
    ACCT_INTERIM_INTERVAL,
    vendor::RATE_UP,
    vendor::RATE_DOWN,
    vendor::BURST_UP,
    vendor::BURST_DOWN,
    vendor::WISPR_BANDWIDTH_MAX_UP,
    vendor::WISPR_BANDWIDTH_MAX_DOWN,
];
/// What stands in any request.
const ENVELOPE: &[Kind] = &[EVENT_TIMESTAMP, MESSAGE_AUTHENTICATOR, PROXY_STATE, STATE, CLASS, REPLY_MESSAGE];

/// What names sessions (section 3).
const NAMES: &[Kind] = &[
    USER_NAME,
    ACCT_SESSION_ID,
    ACCT_MULTI_SESSION_ID,
    NAS_PORT,
    NAS_PORT_ID,
    CALLING_STATION_ID,
    CALLED_STATION_ID,
    CHARGEABLE_USER_IDENTITY,
    FRAMED_IP_ADDRESS,
    FRAMED_IPV6_PREFIX,
    FRAMED_IPV6_ADDRESS,
    DELEGATED_IPV6_PREFIX,
    FRAMED_INTERFACE_ID,
];

/// Whether one of them names this session, by what the servers were told of it.
fn names(a: &Attribute<'_>, s: &Subscriber) -> bool {
    let text = |own: &str| a.text().is_ok_and(|t| t == own);
    let prefix = |own: Option<IpPrefix>| {
        let theirs = match a.kind {
            FRAMED_IP_ADDRESS => a.ipv4().ok().map(|a| IpPrefix::host(a.into())),
            FRAMED_IPV6_ADDRESS => a.ipv6().ok().map(|a| IpPrefix::host(a.into())),
            _ => a.ipv6_prefix().ok().and_then(|(net, len)| IpPrefix::new(net.into(), len)),
        };
        own.is_some() && theirs == own
    };
    let profile = s.profile.as_ref();
    match a.kind {
        USER_NAME => text(&s.user) || profile.and_then(|p| p.user.as_deref()).is_some_and(text),
        ACCT_SESSION_ID => text(&s.context.session),
        ACCT_MULTI_SESSION_ID => s.context.multi.as_deref().is_some_and(text),
        NAS_PORT => a.u32() == Ok(s.context.port),
        NAS_PORT_ID => text(&s.context.listener),
        CALLING_STATION_ID => text(&s.context.outer.ip().to_string()),
        CALLED_STATION_ID => text(&s.context.local.ip().to_string()),
        CHARGEABLE_USER_IDENTITY => profile.and_then(|p| p.cui.as_deref()) == Some(a.value),
        FRAMED_IP_ADDRESS => prefix(s.leases.ipv4),
        FRAMED_IPV6_PREFIX => prefix(s.leases.ipv6),
        FRAMED_IPV6_ADDRESS => prefix(s.leases.address),
        DELEGATED_IPV6_PREFIX => prefix(s.leases.delegated),
        FRAMED_INTERFACE_ID => {
            let own = s.session.inner.link_local.map(|l| l.octets());
            own.is_some_and(|o| o[8..] == *a.value)
        }
        _ => false,
    }
}

impl Gateway {
    pub(super) fn dynamic_request(
        &mut self,
        now: Instant,
        from: SocketAddr,
        request: Request,
    ) -> Option<(SocketAddr, Vec<u8>)> {
        let (what, result) = match request.action {
            Action::Disconnect => ("Disconnect-Request", self.disconnect_request(now, request.attributes())),
            Action::Coa => ("CoA-Request", self.coa_request(now, request.attributes())),
        };
        let outcome = match result {
            Ok(n) => format!("{n} sessions"),
            Err(cause) => format!("{cause:?}"),
        };
        self.audit.push_back(Record::new(Verb::Operate, format!("{what} from {from}: {outcome}")));
        self.dynamic.answer(request.handle, result.map(drop))
    }

    fn disconnect_request(&mut self, now: Instant, a: Attributes<'_>) -> Result<usize, ErrorCause> {
        let found = self.select(a, &[])?;
        for &id in &found {
            self.disconnect(now, id, Cause::AdminReset, "Disconnect-Request");
        }
        Ok(found.len())
    }

    fn coa_request(&mut self, now: Instant, a: Attributes<'_>) -> Result<usize, ErrorCause> {
        let service = a.u32(SERVICE_TYPE).map_err(|_| ErrorCause::InvalidAttributeValue)?;
        if let Some(service) = service {
            return match (service == AUTHORIZE_ONLY, a.octets(STATE)) {
                (true, Some(state)) => self.authorize_only(now, a, state),
                (true, None) => Err(ErrorCause::MissingAttribute),
                (false, _) => Err(ErrorCause::UnsupportedService),
            };
        }
        let found = self.select(a, LIMITS)?;
        let change = Limits::from_attributes(a).map_err(|_| ErrorCause::InvalidAttributeValue)?;
        self.can_limit(&change).map_err(|_| ErrorCause::InvalidAttributeValue)?;
        // A burst without a rate says nothing.
        if change == Limits::default() {
            return Err(ErrorCause::MissingAttribute);
        }
        for &id in &found {
            self.limit(now, id, change.clone()).map_err(|_| ErrorCause::InvalidAttributeValue)?;
        }
        Ok(found.len())
    }

    /// Section 3.2: an Access-Request with the State that came is sent, and its Accept changes the limits.
    fn authorize_only(&mut self, now: Instant, a: Attributes<'_>, state: &[u8]) -> Result<usize, ErrorCause> {
        for id in self.select(a, &[SERVICE_TYPE])? {
            self.ask(now, Who::Again(id), id, Proof::State(state.to_vec()));
        }
        Err(ErrorCause::RequestInitiated)
    }

    /// The sessions that a request names; besides it may hold what is `allowed`.
    fn select(&self, a: Attributes<'_>, allowed: &[Kind]) -> Result<Vec<SessionId>, ErrorCause> {
        self.check_nas(a)?;
        let nas = [NAS_IDENTIFIER, NAS_IP_ADDRESS, NAS_IPV6_ADDRESS];
        let other: Vec<_> =
            a.iter().filter(|a| ![ENVELOPE, &nas, allowed].iter().any(|l| l.contains(&a.kind))).collect();
        if other.iter().any(|a| !NAMES.contains(&a.kind)) {
            return Err(ErrorCause::UnsupportedAttribute);
        }
        if other.is_empty() {
            return Err(ErrorCause::MissingAttribute);
        }
        let open = self.subscribers.values().filter(|s| s.state == State::Open);
        let found: Vec<_> = open.filter(|s| other.iter().all(|a| names(a, s))).map(|s| s.id).collect();
        if found.is_empty() { Err(ErrorCause::SessionContextNotFound) } else { Ok(found) }
    }

    fn check_nas(&self, a: Attributes<'_>) -> Result<(), ErrorCause> {
        let own = self.config.nas_identifier();
        let address = |kind: Kind| match kind {
            NAS_IP_ADDRESS => a.ipv4(kind).map(|a| a.map(IpAddr::V4)),
            _ => a.ipv6(kind).map(|a| a.map(IpAddr::V6)),
        };
        let identifier = a.text(NAS_IDENTIFIER).is_ok_and(|t| t.is_none_or(|t| t == own));
        let addresses = [NAS_IP_ADDRESS, NAS_IPV6_ADDRESS].iter().all(|kind| {
            address(*kind).is_ok_and(|a| a.is_none_or(|a| self.config.aaa.nas_address.is_none_or(|own| own == a)))
        });
        if identifier && addresses { Ok(()) } else { Err(ErrorCause::NasIdentificationMismatch) }
    }
}
