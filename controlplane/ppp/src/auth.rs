//! The authentication exchanges of a link, one for each direction, whatever their protocol.

use crate::config::{AuthMethod, Config, Credentials, Timers};
use crate::cp::Context;
use crate::event::{AuthVerdict, Event};
use crate::message::{Packet, protocol};
use crate::{chap, eap, pap};
use chap::Algorithm;
use std::time::Instant;

/// The side that checks.
pub(crate) enum Server {
    Pap(pap::Authenticator),
    Chap(chap::Authenticator),
    Eap(eap::Authenticator),
}

impl Server {
    pub fn new(cx: &mut Context<'_>, method: AuthMethod, config: &Config) -> Self {
        let (name, timers) = (&config.our_name, &config.timers);
        match method {
            AuthMethod::Pap => Self::Pap(pap::Authenticator::new(cx.now, timers)),
            AuthMethod::ChapMd5 => Self::Chap(chap::Authenticator::new(cx, Algorithm::Md5, name, timers)),
            AuthMethod::MsChapV2 => Self::Chap(chap::Authenticator::new(cx, Algorithm::MsChapV2, name, timers)),
            AuthMethod::Eap => Self::Eap(eap::Authenticator::new(cx, timers)),
        }
    }

    pub fn handle_packet(&mut self, cx: &mut Context<'_>, number: u16, information: &[u8]) -> Option<Event> {
        match (number, self) {
            (protocol::PAP, Self::Pap(server)) => {
                server.handle_packet(cx, &Packet::parse(information)?).map(Event::AuthRequest)
            }
            (protocol::CHAP, Self::Chap(server)) => {
                server.handle_packet(cx, &Packet::parse(information)?).map(Event::AuthRequest)
            }
            (protocol::EAP, Self::Eap(server)) => server.handle_packet(information).map(Event::EapResponse),
            _ => None,
        }
    }

    /// The owner's answer. `None`: nothing was asked; else whether the peer was accepted.
    pub fn decide(&mut self, cx: &mut Context<'_>, verdict: AuthVerdict) -> Option<bool> {
        match self {
            Self::Pap(server) => server.decide(cx, verdict),
            Self::Chap(server) => server.decide(cx, verdict),
            Self::Eap(server) => server.decide(cx, verdict),
        }
    }

    /// Asks again; `false`: the method cannot.
    pub fn challenge(&mut self, cx: &mut Context<'_>, timers: &Timers) -> bool {
        match self {
            Self::Pap(_) => return false,
            Self::Chap(server) => server.challenge(cx, timers),
            Self::Eap(server) => server.challenge(cx, timers),
        }
        true
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Pap(server) => server.poll_timeout(),
            Self::Chap(server) => server.poll_timeout(),
            Self::Eap(server) => server.poll_timeout(),
        }
    }

    /// `true`: no answer.
    pub fn handle_timeout(&mut self, cx: &mut Context<'_>, timers: &Timers) -> bool {
        match self {
            Self::Pap(server) => server.handle_timeout(cx.now),
            Self::Chap(server) => server.handle_timeout(cx, timers),
            Self::Eap(server) => server.handle_timeout(cx, timers),
        }
    }
}

/// The side that is checked.
pub(crate) enum Client {
    Pap(pap::Client),
    Chap(chap::Client),
    Eap(Box<eap::Client>),
}

impl Client {
    pub fn new(cx: &mut Context<'_>, method: AuthMethod, credentials: &Credentials, timers: &Timers) -> Self {
        match method {
            AuthMethod::Pap => Self::Pap(pap::Client::new(cx, credentials, timers)),
            AuthMethod::ChapMd5 => Self::Chap(chap::Client::new(cx.now, Algorithm::Md5, timers)),
            AuthMethod::MsChapV2 => Self::Chap(chap::Client::new(cx.now, Algorithm::MsChapV2, timers)),
            AuthMethod::Eap => Self::Eap(Box::new(eap::Client::new(cx.now, credentials, timers))),
        }
    }

    /// Whether a packet is one for this side, rather than for the other.
    pub fn wants(number: u16, information: &[u8]) -> bool {
        match (number, information.first()) {
            (protocol::PAP, Some(code)) => matches!(code, 2 | 3),
            // CHAP: Challenge, Success, Failure. EAP: Request, Success, Failure.
            (_, Some(code)) => matches!(code, 1 | 3 | 4),
            (_, None) => false,
        }
    }

    /// `Some(Err)`: why not. `own`: our side that checks; what it asks is not for us to answer.
    pub fn handle_packet(
        &mut self,
        cx: &mut Context<'_>,
        number: u16,
        information: &[u8],
        credentials: &Credentials,
        timers: &Timers,
        own: Option<&Server>,
    ) -> Option<Result<(), String>> {
        match (number, self) {
            (protocol::PAP, Self::Pap(client)) => client.handle_packet(&Packet::parse(information)?),
            (protocol::CHAP, Self::Chap(client)) => {
                let own = if let Some(Server::Chap(own)) = own { Some(own) } else { None };
                client.handle_packet(cx, &Packet::parse(information)?, credentials, timers, own)
            }
            (protocol::EAP, Self::Eap(client)) => {
                let own = if let Some(Server::Eap(own)) = own { Some(own) } else { None };
                client.handle_packet(cx, information, timers, own)
            }
            _ => None,
        }
    }

    /// The peer goes on to the network phase. `true`: that shows that it has accepted us, though its word was lost.
    pub fn lower_layer_success(&mut self) -> bool {
        match self {
            Self::Pap(_) | Self::Chap(_) => false,
            Self::Eap(client) => client.lower_layer_success(),
        }
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Pap(client) => client.poll_timeout(),
            Self::Chap(client) => client.poll_timeout(),
            Self::Eap(client) => client.poll_timeout(),
        }
    }

    /// `Some(Ok)`: silence is as good as an answer; `Some(Err)`: it is not.
    pub fn handle_timeout(
        &mut self,
        cx: &mut Context<'_>,
        credentials: &Credentials,
        timers: &Timers,
    ) -> Option<Result<(), ()>> {
        match self {
            Self::Pap(client) => client.handle_timeout(cx, credentials, timers).then_some(Err(())),
            Self::Chap(client) => client.handle_timeout(cx, credentials, timers).then_some(Err(())),
            Self::Eap(client) => client.handle_timeout(cx.now),
        }
    }
}
