//! What a request says, or a problem document that tells what is wrong with it.

use crate::problem::Problem;
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, OptionalFromRequest, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use serde_path_to_error::Segment;

/// Parameters of the query.
pub(crate) struct Params<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let found = Query::try_from_uri(&parts.uri);
        found.map(|Query(found)| Self(found)).map_err(|e| Problem::new(StatusCode::BAD_REQUEST, e.body_text()))
    }
}

/// Variable parts of the path.
pub(crate) struct Segments<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Segments<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let found = Path::from_request_parts(parts, state).await;
        found.map(|Path(found)| Self(found)).map_err(|e| Problem::new(e.status(), e.body_text()))
    }
}

/// A JSON body. As an `Option` it may be left out.
pub(crate) struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (json, bytes) = octets(request, state).await?;
        read(json, &bytes)
    }
}

impl<T: DeserializeOwned, S: Send + Sync> OptionalFromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Option<Self>, Problem> {
        let (json, bytes) = octets(request, state).await?;
        match bytes.trim_ascii() {
            b"" | b"null" => Ok(None),
            _ => read(json, &bytes).map(Some),
        }
    }
}

/// Whether the body is to be JSON, and the body.
async fn octets<S: Send + Sync>(request: Request, state: &S) -> Result<(bool, Bytes), Problem> {
    let json = is_json(request.headers());
    let bytes = Bytes::from_request(request, state).await;
    Ok((json, bytes.map_err(|e| Problem::new(e.status(), e.body_text()))?))
}

fn read<T: DeserializeOwned>(json: bool, bytes: &[u8]) -> Result<Body<T>, Problem> {
    if !json {
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the body must be application/json"));
    }
    let reader = &mut serde_json::Deserializer::from_slice(bytes);
    let content = serde_path_to_error::deserialize(&mut *reader).map_err(|e| {
        let path = pointer(e.path().iter());
        match e.inner().classify() {
            Category::Data => {
                Problem::new(StatusCode::UNPROCESSABLE_ENTITY, e.inner()).of_kind("/problems/invalid").at(path)
            }
            Category::Syntax | Category::Eof | Category::Io => Problem::new(StatusCode::BAD_REQUEST, e.inner()),
        }
    })?;
    reader.end().map_err(|e| Problem::new(StatusCode::BAD_REQUEST, e))?;
    Ok(Body(content))
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || kind.starts_with("application/") && kind.ends_with("+json")
}

/// A JSON pointer (RFC 6901).
fn pointer<'a>(segments: impl Iterator<Item = &'a Segment>) -> String {
    let mut path = String::new();
    for segment in segments {
        path.push('/');
        match segment {
            Segment::Seq { index } => path.push_str(&index.to_string()),
            Segment::Map { key } => path.push_str(&key.replace('~', "~0").replace('/', "~1")),
            Segment::Enum { variant } => path.push_str(variant),
            Segment::Unknown => path.push('?'),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[serde(rename = "a/b~c", default)]
        inner: Vec<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[serde(rename = "port")]
        _port: u16,
    }

    #[test]
    fn what_is_wrong_has_a_place() {
        let wrong = |body: &str| read::<Outer>(true, body.as_bytes()).err().unwrap();
        for (body, status, path) in [
            ("", 400, None),
            ("{", 400, None),
            ("{} x", 400, None),
            ("[3]", 422, Some("/0")),
            ("3", 422, Some("")),
            (r#"{"x":1}"#, 422, Some("/x")),
            (r#"{"a/b~c":[{"port":1},{"port":"2"}]}"#, 422, Some("/a~1b~0c/1/port")),
            (r#"{"a/b~c":[{"port":70000}]}"#, 422, Some("/a~1b~0c/0/port")),
        ] {
            let problem = wrong(body);
            assert_eq!((problem.status.as_u16(), problem.path.as_deref()), (status, path), "{body}: {problem:?}");
        }
        assert_eq!(read::<Outer>(false, b"{}").err().unwrap().status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
        assert!(read::<Outer>(true, br#"{"a/b~c":[]}"#).unwrap().0.inner.is_empty());
    }

    #[test]
    fn kinds_of_json() {
        for (kind, json) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/merge-patch+json", true),
            ("text/plain", false),
            ("application/jsonish", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, kind.parse().unwrap())]);
            assert_eq!(is_json(&headers), json, "{kind}");
        }
    }
}
