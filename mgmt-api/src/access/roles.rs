//! Which role a request takes. The longest line of the table that the route is, or is below of, decides; a route that has
//! none is closed to everybody.

use axum::http::Method;
use controlplane::config::Role::{self, Admin, Operate, Read};

/// A line: route, who may look at it (GET, HEAD) where not anybody may, who may do anything else to it.
type Rule = (&'static str, Option<Role>, Role);

const RULES: &[Rule] = &[
    // The page, which holds nothing, and what says whether the gateway is well.
    ("/", None, Admin),
    ("/view", None, Admin),
    ("/api/v1/health", None, Admin),
    ("/api/v1/ready", None, Admin),
    ("/api/v1/openapi.json", None, Admin),
    // What runs.
    ("/metrics", Some(Read), Admin),
    ("/api/v1/whoami", Some(Read), Admin),
    ("/api/v1/status", Some(Read), Admin),
    ("/api/v1/subscribers", Some(Read), Operate),
    ("/api/v1/ike-sas", Some(Read), Operate),
    ("/api/v1/child-sas", Some(Read), Operate),
    ("/api/v1/softwires", Some(Read), Operate),
    ("/api/v1/mesh", Some(Read), Operate),
    ("/api/v1/bgp", Some(Read), Operate),
    ("/api/v1/bfd", Some(Read), Admin),
    ("/api/v1/radius", Some(Read), Admin),
    ("/api/v1/tunnels", Some(Read), Operate),
    ("/api/v1/sessions", Some(Read), Operate),
    ("/api/v1/spd", Some(Read), Admin),
    ("/api/v1/counters", Some(Read), Admin),
    ("/api/v1/ports", Some(Read), Admin),
    ("/api/v1/events", Some(Read), Admin),
    ("/api/v1/drain", Some(Read), Operate),
    // Packets as they went through; what is in them is another matter.
    ("/api/v1/traces", Some(Read), Operate),
    ("/api/v1/traces/{id}/pcapng", Some(Admin), Admin),
    // Secrets are never in an answer, so that whoever may look may see all of it.
    ("/api/v1/config", Some(Read), Admin),
    ("/api/v1/tokens", Some(Admin), Admin),
];

/// The role that `method` takes on the route `path`: `Some(None)` if anybody may, `None` if there is no rule.
pub(super) fn need(path: &str, method: &Method) -> Option<Option<Role>> {
    let covers = |rule: &&Rule| path.strip_prefix(rule.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let (_, see, change) = RULES.iter().filter(covers).max_by_key(|rule| rule.0.len())?;
    Some(if matches!(*method, Method::GET | Method::HEAD) { *see } else { Some(*change) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_line_decides() {
        assert_eq!(need("/api/v1/traces/{id}", &Method::GET), Some(Some(Read)));
        assert_eq!(need("/api/v1/traces/{id}/pcapng", &Method::GET), Some(Some(Admin)));
        assert_eq!(need("/api/v1/config/{*path}", &Method::PATCH), Some(Some(Admin)));
        assert_eq!(need("/api/v1/config/{*path}", &Method::GET), Some(Some(Read)));
        assert_eq!(need("/api/v1/health", &Method::HEAD), Some(None));
        assert_eq!(need("/api/v1/health", &Method::POST), Some(Some(Admin)));
    }

    #[test]
    fn what_has_no_line_is_closed() {
        for path in ["/api/v1", "/api/v1/new", "/api/v1/statuses", "/other", "/metricsx"] {
            assert_eq!(need(path, &Method::GET), None, "{path}");
        }
    }
}
