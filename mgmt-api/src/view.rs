//! The live view: one page for people, served by the gateway and reading the same API as everybody.
//!
//! Hand-written HTML, CSS and ES modules, compiled in as they are; `view/app.js` is the one to read first. Anybody may load
//! the page: it holds nothing, and asks the API with the rights of whoever looks at it. User names and the like are
//! chosen by strangers, so that the policy below has the browser load nothing from elsewhere, run nothing inline, and
//! refuse to take text for markup (Trusted Types).

use crate::problem::Problem;
use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::hash::{DefaultHasher, Hash, Hasher};

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

const PAGE: &str = include_str!("view/index.html");

macro_rules! assets {
    ($($kind:ident $name:literal),* $(,)?) => { &[$(($name, $kind, include_str!(concat!("view/", $name)))),*] };
}

/// What the page is made of, below `/view/`: name, media type, text.
const ASSETS: &[(&str, &str, &str)] = assets![
    SVG "icon.svg",
    CSS "style.css",
    CSS "panels.css",
    JS "app.js",
    JS "api.js",
    JS "dom.js",
    JS "format.js",
    JS "live.js",
    JS "plot.js",
    JS "table.js",
    JS "overview.js",
    JS "warnings.js",
    JS "subscribers.js",
    JS "subscriber.js",
    JS "sas.js",
    JS "bgp.js",
    JS "routes.js",
    JS "mesh.js",
    JS "picture.js",
    JS "radius.js",
    JS "commits.js",
    JS "events.js",
];

pub(crate) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/", get(|headers: HeaderMap| async move { answer(&headers, HTML, PAGE) }))
        .route("/view/{name}", get(asset))
}

async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Result<Response, Problem> {
    let found = ASSETS.iter().find(|(known, ..)| *known == name);
    found
        .map(|(_, kind, text)| answer(&headers, kind, text))
        .ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "the live view has no such part"))
}

// Kept by the browser, and asked for again each time: what has not changed is not sent.
fn answer(request: &HeaderMap, kind: &'static str, text: &'static str) -> Response {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    let tag = format!("\"{:016x}\"", hasher.finish());
    let has = |known: &str| known.split(',').any(|one| one.trim().trim_start_matches("W/") == tag);
    let kept = request.get(header::IF_NONE_MATCH).and_then(|v| v.to_str().ok()).is_some_and(has);
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    let tag = [(header::ETAG, tag)];
    if kept { (StatusCode::NOT_MODIFIED, headers, tag).into_response() } else { (headers, tag, text).into_response() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::http::Request;
    use http_body_util::BodyExt;
    use std::path::Path;
    use tower::ServiceExt;

    async fn call(path: &str, known: Option<&str>) -> (StatusCode, HeaderMap, String) {
        let mut request = Request::get(path);
        if let Some(tag) = known {
            request = request.header("if-none-match", tag);
        }
        let response = routes::<()>().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        (parts.status, parts.headers, String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap())
    }

    #[tokio::test]
    async fn page_and_parts_come_with_a_strict_policy() {
        for (path, kind) in [("/", HTML), ("/view/app.js", JS), ("/view/style.css", CSS), ("/view/icon.svg", SVG)] {
            let (status, headers, body) = call(path, None).await;
            assert_eq!(status, StatusCode::OK, "{path}");
            assert!(!body.is_empty());
            let header = |name: &str| headers[name].to_str().unwrap().to_owned();
            assert_eq!(header("content-type"), kind);
            assert_eq!(header("x-content-type-options"), "nosniff");
            assert_eq!(header("cache-control"), "no-cache");
            let policy = header("content-security-policy");
            for rule in ["default-src 'none'", "script-src 'self';", "frame-ancestors 'none'", "trusted-types 'none'"] {
                assert!(policy.contains(rule), "{rule}");
            }
            assert!(!policy.contains("unsafe"));
        }
        let (status, headers, _) = call("/view/..%2Fview.rs", None).await;
        assert_eq!(
            (status, headers["content-type"].to_str().unwrap()),
            (StatusCode::NOT_FOUND, "application/problem+json")
        );
    }

    #[tokio::test]
    async fn what_the_browser_has_is_not_sent_again() {
        let (_, headers, _) = call("/view/app.js", None).await;
        let tag = headers["etag"].to_str().unwrap();
        for known in [tag.to_owned(), format!("\"1\", W/{tag}")] {
            let (status, headers, body) = call("/view/app.js", Some(&known)).await;
            assert_eq!((status, body.as_str()), (StatusCode::NOT_MODIFIED, ""));
            assert!(headers.contains_key("content-security-policy"));
        }
        assert_eq!(call("/view/dom.js", Some(tag)).await.0, StatusCode::OK);
    }

    /// Words in quotes that follow `before`.
    fn quoted<'a>(text: &'a str, before: &'a str) -> impl Iterator<Item = &'a str> {
        text.split(before).skip(1).filter_map(|rest| rest.split('"').next())
    }

    #[test]
    fn parts_name_one_another_only_and_each_is_used() {
        let mut used: Vec<&str> = quoted(PAGE, "src=\"/view/").chain(quoted(PAGE, "href=\"/view/")).collect();
        for (name, _, text) in ASSETS.iter().filter(|(_, kind, _)| *kind == JS) {
            let imports: Vec<&str> = quoted(text, "from \"./").chain(quoted(text, "import(\"./")).collect();
            assert_eq!(imports.len(), text.lines().filter(|l| l.starts_with("import ")).count(), "{name}");
            used.extend(imports);
        }
        for name in &used {
            assert!(ASSETS.iter().any(|(known, ..)| known == name), "{name} is not served");
        }
        for (name, ..) in ASSETS {
            assert!(used.contains(name), "{name} is served for nothing");
        }
        let files = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/view")).unwrap();
        assert_eq!(files.count(), ASSETS.len() + 1);
    }

    #[test]
    fn no_other_host_no_markup_from_text_and_short_files() {
        for (name, _, text) in ASSETS.iter().chain(&[("index.html", HTML, PAGE)]) {
            let text = text.replace("http://www.w3.org/2000/svg", "");
            for word in ["//fonts", "http:", "https:", "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write"]
            {
                assert!(!text.contains(word), "{name}: {word}");
            }
            for word in ["eval(", "new Function", "onclick=\"", "<style", " style=\""] {
                assert!(!text.contains(word), "{name}: {word}");
            }
            assert!(text.lines().count() <= 400, "{name} is long");
        }
    }
}
