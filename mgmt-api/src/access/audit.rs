//! Audit lines: who has changed what, and who was turned away. They name the request and never its body; the target is
//! that of the control plane's audit log, so that both go where the operator sends them.

use super::{Caller, Refusal};
use axum::http::{Method, StatusCode};

/// A change, or a look at what only an administrator may see; refused ones, too.
pub(super) fn operate(caller: &Caller, method: &Method, path: &str, result: StatusCode) {
    tracing::info!(
        target: "audit",
        verb = "operate",
        author = caller.name,
        source = caller.from,
        %method,
        path,
        result = result.as_u16(),
    );
}

/// Somebody who is not who it says. Who does not say, or tries again too soon, leaves no line: anybody could fill a log.
pub(super) fn turned_away(source: &str, method: &Method, path: &str, refusal: &Refusal) {
    let reason = match refusal {
        Refusal::Unknown | Refusal::Later(_) => return,
        Refusal::Wrong => "wrong token",
        Refusal::Forbidden(why) => why,
    };
    tracing::warn!(target: "audit", verb = "reject", source, %method, path, reason);
}

/// A token that was given out or taken back.
pub(super) fn token(caller: &Caller, what: &str, id: &str, name: &str) {
    tracing::info!(target: "audit", verb = "operate", author = caller.name, source = caller.from, token = id, name, what);
}
