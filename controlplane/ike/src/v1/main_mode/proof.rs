//! Messages 5 and 6: who is there, and what proves it.

use crate::auth::{AuthError, Identity, LocalAuth, RemoteAuth, verify_raw};
use crate::config::PadEntry;
use crate::error::Failure;
use crate::payload::{Builder, CERT_X509};
use crate::sa::Ctx;
use crate::v1::config::{Listener, method};
use crate::v1::crypto::Keys;
use crate::v1::isakmp::{Authenticated, KeReplied, Trial};
use crate::v1::message::Header;
use crate::v1::payload::{Body, kind, notify, parse_phase1_id};
use crate::v1::proposal::Method;
use std::sync::Arc;
use subtle::ConstantTimeEq;

/// Octets of a message 5 that is tried with every secret: an identity, a hash, a notification.
const MAX_FIFTH: usize = 1024;

/// Writes our identity and proof.
pub(super) fn prove(
    chain: &mut Builder,
    pad: &PadEntry,
    proof: impl Fn(&[u8]) -> crate::crypto::Secret,
) -> Result<(), AuthError> {
    let id = pad.local_id.body();
    chain.raw(kind::ID, &id);
    let hash = proof(&id);
    match &pad.local_auth {
        LocalAuth::Certificate(own) => {
            for certificate in own.chain() {
                chain.cert(kind::CERT, CERT_X509, certificate);
            }
            chain.raw(kind::SIG, &own.sign_raw(&hash)?);
        }
        LocalAuth::Psk(_) | LocalAuth::Eap => {
            chain.raw(kind::HASH, &hash);
        }
    }
    Ok(())
}

/// A message with identity and proof, opened and not yet believed.
pub(super) struct Opened<'a> {
    body: Body<'a>,
    id_body: &'a [u8],
    pub id: Identity,
}

impl<'a> Opened<'a> {
    /// `None`: it does not parse, as when the key is wrong.
    pub fn read(header: &Header, plain: &'a [u8]) -> Option<Self> {
        let body = Body::parse(header.next, plain, true).ok()?;
        let id_body: &[u8] = body.ids.first()?;
        Some(Self { id: parse_phase1_id(id_body).ok()?, id_body, body })
    }

    pub fn certs(&self) -> Vec<Vec<u8>> {
        self.body.certs.iter().filter(|c| c.encoding == CERT_X509).map(|c| c.data.to_vec()).collect()
    }

    /// Whether the proof is that of the identity, and the identity that of the entry.
    pub fn check(
        &self,
        ctx: &Ctx<'_>,
        pad: &PadEntry,
        proof: impl Fn(&[u8]) -> crate::crypto::Secret,
    ) -> Result<(), Unfit> {
        let unfit = |proved| move |failure| Unfit { id: Some(self.id.clone()), failure, proved };
        self.verify(ctx, pad, &proof(self.id_body)).map_err(unfit(false))?;
        if pad.remote.matches(&self.id) { Ok(()) } else { Err(unfit(true)(Failure::UnknownIdentity)) }
    }

    /// Whoever has made this has the entry's credential. A certificate is for the identity it names as well.
    fn verify(&self, ctx: &Ctx<'_>, pad: &PadEntry, hash: &[u8]) -> Result<(), Failure> {
        let failed = |e: AuthError| Failure::Authentication(e.to_string());
        match &pad.remote_auth {
            RemoteAuth::Psk(_) => {
                let right = self.body.hash.is_some_and(|found| bool::from(hash.ct_eq(found)));
                right.then_some(()).ok_or_else(|| failed(AuthError::SharedKey))?;
            }
            RemoteAuth::Certificate(trust) => {
                let signature = self.body.sig.ok_or_else(|| failed(AuthError::Signature))?;
                let certs = self.certs();
                let now = ctx.unix.ok_or(Failure::Resources("the time is not known"))?;
                let own = trust.validate(&certs, &self.id, now).map_err(failed)?;
                verify_raw(own, hash, signature).map_err(failed)?;
            }
            RemoteAuth::Eap => return Err(Failure::UnknownIdentity),
        }
        Ok(())
    }

    /// What it comes to at the responder, with the entry that it fits.
    fn authenticated(&self, pad: &Arc<PadEntry>, s: &KeReplied) -> Authenticated {
        let initial_contact = self.body.notify(notify::INITIAL_CONTACT).is_some();
        Authenticated { pad: Arc::clone(pad), id: self.id.clone(), chain: self.certs(), nat: s.nat, initial_contact }
    }
}

/// Why a message does not prove the peer.
pub(super) struct Unfit {
    /// Whom it names, where it opens.
    pub id: Option<Identity>,
    pub failure: Failure,
    /// It is authentic: whoever has made it has the credential, which is another one's. Anything else may be of somebody
    /// on the way.
    pub proved: bool,
}

impl Unfit {
    fn unreadable(failure: Failure) -> Self {
        Self { id: None, failure, proved: false }
    }
}

type Found = Result<(Authenticated, Keys, Vec<u8>), Unfit>;

/// Finds the secret that opens message 5: those that are for the peer's address first, and `room` of them now. `None`:
/// there are more.
pub(super) fn by_secret(
    ctx: &Ctx<'_>,
    listener: &Listener,
    s: &KeReplied,
    header: &Header,
    trial: &mut Trial,
    room: usize,
) -> Option<Found> {
    if trial.message.len() > MAX_FIFTH {
        return Some(Err(Unfit::unreadable(Failure::Protocol("message 5 is too long"))));
    }
    let address = Identity::Address(trial.path.remote.ip());
    let near = ctx.policy.lookup(&address, None).filter(|pad| method(pad) == Some(Method::Psk));
    let others = ctx.policy.v1.secrets.iter().filter(|pad| !pad.remote.matches(&address));
    let mut pads = near.chain(others).chain(&listener.legacy).skip(trial.tried);
    for pad in pads.by_ref().take(room) {
        trial.tried += 1;
        let RemoteAuth::Psk(secret) = &pad.remote_auth else { continue };
        let Ok(keys) = Keys::psk(s.agreed.suite, &s.shared, secret) else { continue };
        let mut iv = keys.first_iv(&s.shared);
        let Some(plain) = keys.open(&trial.message, &mut iv) else { continue };
        let Some(opened) = Opened::read(header, &plain) else { continue };
        match opened.check(ctx, pad, |id| keys.proof(&s.shared, true, &s.sa_i, id)) {
            Ok(()) => return Some(Ok((opened.authenticated(pad, s), keys, iv))),
            // Of another entry the secret may be the same.
            Err(Unfit { proved: true, .. }) => trial.other = Some(opened.id),
            Err(_) => {}
        }
    }
    if pads.next().is_some() {
        return None;
    }
    Some(Err(match trial.other.take() {
        Some(id) => Unfit { id: Some(id), failure: Failure::UnknownIdentity, proved: true },
        None => Unfit::unreadable(Failure::Authentication("no pre-shared key fits".into())),
    }))
}

pub(super) fn by_certificate(ctx: &Ctx<'_>, s: &KeReplied, header: &Header, message: &[u8]) -> Found {
    let unreadable = || Unfit::unreadable(Failure::Protocol("message 5 does not open"));
    let keys = Keys::signature(s.agreed.suite, &s.shared).map_err(|_| unreadable())?;
    let mut iv = keys.first_iv(&s.shared);
    let plain = keys.open(message, &mut iv).ok_or_else(unreadable)?;
    let opened = Opened::read(header, &plain).ok_or_else(unreadable)?;
    let mut unfit = Unfit { id: Some(opened.id.clone()), failure: Failure::UnknownIdentity, proved: false };
    let pads = ctx.policy.lookup(&opened.id, None).filter(|pad| method(pad) == Some(Method::RsaSig));
    for pad in pads {
        match opened.check(ctx, pad, |id| keys.proof(&s.shared, true, &s.sa_i, id)) {
            Ok(()) => return Ok((opened.authenticated(pad, s), keys, iv)),
            Err(why) => unfit = why,
        }
    }
    Err(unfit)
}
