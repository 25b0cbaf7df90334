//! The API's own description: OpenAPI 3.1, made from the handlers, committed as `openapi.json` and served from there.
//! A test fails when the file is not what the handlers say; `UPDATE_OPENAPI=1 cargo test -p mgmt-api openapi` writes it.

use crate::problem::Problem;
use axum::http::header;
use axum::response::IntoResponse;
use utoipa::openapi::path::{Operation, ParameterIn};
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, OneOfBuilder, SchemaFormat, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Content, OpenApi, Ref, RefOr, ResponseBuilder, Schema};
use utoipa::{Modify, OpenApi as _, PartialSchema, ToSchema};

/// The committed document.
const COMMITTED: &str = include_str!("../openapi.json");

type Wrong = &'static [(&'static str, &'static str)];

/// What goes wrong with every operation.
const ALWAYS: Wrong = &[("503", "The control plane does not answer")];
/// With those that take a login.
const LOGIN: Wrong = &[
    ("401", "There is no login, or a wrong one"),
    ("403", "The role is not enough"),
    ("429", "Too many failed logins; `Retry-After` says when the next one is judged"),
];
/// With those that have parameters, and with those that name something.
const PARAMETER: Wrong = &[("400", "A parameter is wrong")];
const NAME: Wrong = &[("404", "There is no such thing")];
/// With those that have a body.
const BODY: Wrong = &[
    ("400", "Not JSON"),
    ("413", "The body is too long"),
    ("415", "The body is said not to be JSON"),
    ("422", "The body is JSON and makes no sense; `path` or `errors` say where"),
];

/// With those that change the configuration, which are the ones that take If-Match.
const COMMIT: Wrong = &[
    ("409", "A commit awaits confirmation, or somebody has edited the file"),
    ("412", "The document is not the one of If-Match"),
];

/// Where the document begins; routes add to it.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(title = "Softwire gateway", version = "1", description = "Configuration, state and actions. Errors are problem documents (RFC 9457)."),
    components(schemas(Problem)),
    security(("token" = [])),
    modifiers(&Token),
)]
struct Base;

struct Token;

impl Modify for Token {
    fn modify(&self, document: &mut OpenApi) {
        let token = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        document.components.get_or_insert_default().add_security_scheme("token", token);
    }
}

pub(crate) fn base() -> OpenApi {
    Base::openapi()
}

/// Puts in what all operations have in common.
pub(crate) fn finish(mut document: OpenApi) -> OpenApi {
    for item in document.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.patch, &mut item.delete];
        operations.into_iter().flatten().for_each(common);
    }
    document
}

fn common(operation: &mut Operation) {
    let parameters = operation.parameters.as_deref().unwrap_or_default();
    let named = parameters.iter().any(|p| matches!(p, RefOr::T(p) if p.parameter_in == ParameterIn::Path));
    let commits = parameters.iter().any(|p| matches!(p, RefOr::T(p) if p.parameter_in == ParameterIn::Header));
    // An operation that takes no login says so by a requirement of its own.
    let cases = [
        (true, ALWAYS),
        (operation.security.is_none(), LOGIN),
        (!parameters.is_empty(), PARAMETER),
        (named, NAME),
        (commits, COMMIT),
        (operation.request_body.is_some(), BODY),
    ];
    let responses = &mut operation.responses.responses;
    for (status, description) in cases.iter().filter(|c| c.0).flat_map(|c| c.1) {
        let response = ResponseBuilder::new().description(*description).build();
        responses.entry((*status).to_owned()).or_insert(RefOr::T(response));
    }
    for (status, response) in responses {
        let RefOr::T(r) = response else { continue };
        if r.description.is_empty() {
            r.description = "As asked".to_owned();
        }
        if status.starts_with(['4', '5']) && r.content.is_empty() {
            let problem = Content::new(Some(Ref::from_schema_name("Problem")));
            r.content.insert("application/problem+json".to_owned(), RefOr::T(problem));
        }
    }
}

/// An IP address.
pub(crate) struct Address;

impl PartialSchema for Address {
    fn schema() -> RefOr<Schema> {
        let of =
            |format| ObjectBuilder::new().schema_type(Type::String).format(Some(SchemaFormat::KnownFormat(format)));
        OneOfBuilder::new().item(of(KnownFormat::Ipv4)).item(of(KnownFormat::Ipv6)).into()
    }
}

impl ToSchema for Address {}

/// A prefix, such as `10.0.0.0/8`, or an IP address.
pub(crate) struct Prefix;

impl PartialSchema for Prefix {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(Type::String).examples(["2001:db8::/32"]).into()
    }
}

impl ToSchema for Prefix {}

/// This description.
#[utoipa::path(get, path = "/openapi.json", tag = "status", security(()), responses((status = 200, body = serde_json::Value)))]
pub(crate) async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], COMMITTED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn openapi_is_committed() {
        let (northbound, _south) = controlplane::northbound::Northbound::channel();
        let (_, document) = crate::router(crate::config::tests::state(northbound));
        let text = document.to_pretty_json().unwrap() + "\n";
        if std::env::var_os("UPDATE_OPENAPI").is_some() {
            std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json"), text).unwrap();
        } else {
            let same = text == COMMITTED;
            assert!(same, "mgmt-api/openapi.json is stale: UPDATE_OPENAPI=1 cargo test -p mgmt-api openapi");
        }
    }

    #[tokio::test]
    async fn every_operation_says_who_may_and_what_may_go_wrong() {
        let (northbound, _south) = controlplane::northbound::Northbound::channel();
        let (_, document) = crate::router(crate::config::tests::state(northbound));
        let document = serde_json::to_value(document).unwrap();
        let mut open = Vec::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let responses = operation["responses"].as_object().unwrap();
                assert!(responses.keys().any(|s| s.starts_with('2')), "{method} {path}");
                for (status, response) in responses.iter().filter(|(s, _)| s.starts_with(['4', '5'])) {
                    assert!(response["content"]["application/problem+json"].is_object(), "{method} {path} {status}");
                }
                let described = operation["summary"].is_string() || operation["description"].is_string();
                assert!(described, "{method} {path} is not described");
                if operation["security"].is_null() {
                    assert!(responses.contains_key("401") && responses.contains_key("403"), "{method} {path}");
                } else {
                    open.push(path.as_str());
                }
            }
        }
        open.sort_unstable();
        assert_eq!(open, ["/api/v1/health", "/api/v1/openapi.json", "/api/v1/ready"]);
    }
}
