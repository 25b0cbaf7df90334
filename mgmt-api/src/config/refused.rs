//! Why a change is not made.

use crate::problem::{Fault, Problem};
use axum::http::StatusCode;
use controlplane::config::{self, ConfigError};
use controlplane::northbound::Gone;
use serde_json::Value;

/// Why the configuration is as it was before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The request makes no sense.
    #[error("{0}")]
    Malformed(String),
    /// There is no such place, or commit.
    #[error("there is no {0}")]
    Unknown(String),
    /// The document is not the one that the request is about (If-Match).
    #[error("the configuration is {0} now: read it again")]
    Changed(String),
    /// Not now.
    #[error("{0}")]
    Conflict(String),
    /// The configuration would be wrong: JSON pointers and what is wrong there.
    #[error("the configuration would be wrong: {}", .0.iter().map(|(path, detail)| format!("{path}: {detail}")).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<(String, String)>),
    /// It cannot be written.
    #[error("{0}")]
    Disk(String),
    /// The control plane does not answer.
    #[error("the control plane is shutting down")]
    Gone,
}

impl Refused {
    /// What is wrong with `document`.
    pub(super) fn invalid(document: &Value, problems: &[config::Problem]) -> Self {
        Self::Invalid(problems.iter().map(|p| (pointer(document, &p.path), p.message.clone())).collect())
    }

    /// Why `document` is none.
    pub(super) fn because(document: &Value, error: ConfigError) -> Self {
        match error {
            ConfigError::Invalid(problems) => Self::invalid(document, &problems),
            // All that is read besides the document is the file of subscribers.
            other => Self::Invalid(vec![("/subscribers_file".to_owned(), other.to_string())]),
        }
    }
}

impl From<Gone> for Refused {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let status = match refused {
            Refused::Malformed(_) => StatusCode::BAD_REQUEST,
            Refused::Unknown(_) => StatusCode::NOT_FOUND,
            Refused::Changed(_) => StatusCode::PRECONDITION_FAILED,
            Refused::Conflict(_) => StatusCode::CONFLICT,
            Refused::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Refused::Disk(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Refused::Gone => StatusCode::SERVICE_UNAVAILABLE,
        };
        match refused {
            Refused::Invalid(errors) => {
                let faults = errors.into_iter().map(|(path, detail)| Fault { path, detail }).collect();
                Problem::new(status, "the configuration would be wrong").of_kind("/problems/invalid").with(faults)
            }
            other => Problem::new(status, other.to_string()),
        }
    }
}

/// `ike.peers[1].psk` as a JSON pointer, `/ike/peers/1/psk`. Names that have dots in them are found in the document.
fn pointer(document: &Value, path: &str) -> String {
    let mut out = String::new();
    let (mut at, mut rest) = (Some(document), path);
    while !rest.is_empty() {
        let (part, after) = match rest.strip_prefix('[') {
            Some(index) => index.split_once(']').unwrap_or((index, "")),
            None => rest.split_at(name_length(at, rest)),
        };
        out.push('/');
        out.push_str(&part.replace('~', "~0").replace('/', "~1"));
        at = at.and_then(|value| match value {
            Value::Array(items) => items.get(part.parse::<usize>().ok()?),
            other => other.get(part),
        });
        rest = after.strip_prefix('.').unwrap_or(after);
    }
    out
}

fn name_length(at: Option<&Value>, rest: &str) -> usize {
    let names = at.and_then(Value::as_object).into_iter().flat_map(|map| map.keys());
    let ends =
        |name: &&String| rest.strip_prefix(name.as_str()).is_some_and(|r| r.is_empty() || r.starts_with(['.', '[']));
    let known = names.filter(ends).map(String::len).max();
    known.or_else(|| rest.find(['.', '['])).unwrap_or(rest.len()).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers() {
        let document = serde_json::json!({ "bgp": { "policies": { "a.b": { "rules": [] }, "a": {} } } });
        for (path, want) in [
            ("ike.peers[1].psk", "/ike/peers/1/psk"),
            ("bgp.policies.a.b.rules[0].then", "/bgp/policies/a.b/rules/0/then"),
            ("bgp.policies.a.rules", "/bgp/policies/a/rules"),
            ("mesh.local", "/mesh/local"),
            ("", ""),
            (".", "/."),
        ] {
            assert_eq!(pointer(&document, path), want, "{path}");
        }
    }
}
