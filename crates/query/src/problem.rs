//! RFC 9457 problems, and query parameters that are refused with one.

use axum::extract::FromRequestParts;
use axum::http::{HeaderValue, StatusCode, Uri, header, request::Parts};
use axum::response::{IntoResponse, Response};
use domain::parse::FieldError;
use serde::{Serialize, de::DeserializeOwned};
use utoipa::ToSchema;

/// A problem (RFC 9457). It never quotes patient data.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Problem {
    /// `urn:journeylog:problem:<slug>`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Short title of the type.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// What is wrong this time.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// Which fields are wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// When to try again, seconds; also the header `Retry-After`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u32>,
}

impl Problem {
    /// A problem of a type, named by its slug.
    pub fn new(status: StatusCode, slug: &str, title: &str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:journeylog:problem:{slug}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            errors: Vec::new(),
            retry_after: None,
        }
    }

    /// 404.
    pub fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found", format!("no such {what}"))
    }

    /// 409.
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", "Conflict", detail)
    }

    /// 400, for one parameter or field.
    pub fn bad_field(pointer: &str, reason: impl Into<String>) -> Self {
        let mut p = Self::new(StatusCode::BAD_REQUEST, "bad-request", "Bad request", "a parameter or field is wrong");
        p.errors.push(FieldError::new(pointer, reason));
        p
    }

    /// 503; the cause goes to the log, not to the reader.
    pub fn unavailable(cause: &dyn std::error::Error) -> Self {
        tracing::error!(error = %cause, "the read model could not be reached");
        let mut p =
            Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Unavailable", "the read model can't be reached");
        p.retry_after = Some(1);
        p
    }
}

impl From<store::StoreError> for Problem {
    fn from(e: store::StoreError) -> Self {
        if e.is_refusal() {
            tracing::warn!(error.code = e.code(), "the read model refuses a value that was asked for");
            return Self::bad_field("", "the read model can't compare a value that was given");
        }
        let mut p = Self::unavailable(&e);
        if e.is_full() {
            p.detail = "the read model's disk is full".to_owned();
        }
        p
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut r = (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response();
        if let Some(s) = self.retry_after {
            r.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(s));
        }
        r
    }
}

/// The id in a path, refused with a problem.
#[derive(Debug)]
pub struct Id(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let id = axum::extract::Path::<String>::from_request_parts(parts, state).await;
        let id = id.map_err(|_| Problem::bad_field("id", "is not percent-encoded UTF-8"))?.0;
        if id.contains('\0') { Err(Problem::bad_field("id", NUL)) } else { Ok(Self(id)) }
    }
}

/// Why a text with U+0000 is refused: PostgreSQL knows no such text.
const NUL: &str = "must not contain U+0000";

/// Query parameters, refused with a problem. Unknown ones are refused where the struct denies them.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        read(parts.uri.query().unwrap_or_default()).map(Self)
    }
}

/// Reads query parameters.
pub(crate) fn read<T: DeserializeOwned>(query: &str) -> Result<T, Problem> {
    let uri = Uri::builder().path_and_query(format!("/?{query}")).build();
    let uri = uri.map_err(|_| Problem::bad_field("query", "is not a query"))?;
    let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&uri).map(|q| q.0).unwrap_or_default();
    for (name, value) in pairs {
        if value.contains('\0') {
            return Err(Problem::bad_field(&name, NUL));
        }
        // What is no UTF-8 is decoded to this, which nobody means.
        if value.contains('\u{fffd}') {
            return Err(Problem::bad_field(&name, "is not percent-encoded UTF-8"));
        }
    }
    axum::extract::Query::try_from_uri(&uri).map(|q| q.0).map_err(|e| {
        let text = e.body_text();
        let text = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
        let (name, reason) = text.split_once(": ").unwrap_or(("query", text));
        Problem::bad_field(name, plain(reason))
    })
}

/// Words of our own for what Rust says of a number.
fn plain(reason: &str) -> &str {
    match reason {
        "invalid digit found in string" | "cannot parse integer from empty string" => "must be a whole number",
        "number too large to fit in target type" | "number too small to fit in target type" => "is out of range",
        "invalid float literal" | "cannot parse float from empty string" => "must be a number",
        "provided string was not `true` or `false`" => "must be true or false",
        other => other,
    }
}

/// How long the body of a request may take to come.
const BODY_TIME: std::time::Duration = std::time::Duration::from_secs(30);

/// A JSON body, refused with a problem; and a JSON answer.
#[derive(Debug)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> axum::extract::FromRequest<S> for Json<T> {
    type Rejection = Problem;
    async fn from_request(req: axum::extract::Request, state: &S) -> Result<Self, Problem> {
        use axum::extract::rejection::JsonRejection;
        let Ok(read) = tokio::time::timeout(BODY_TIME, axum::Json::from_request(req, state)).await else {
            let detail = format!("the body did not come within {BODY_TIME:?}");
            return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "too-slow", "Too slow", detail));
        };
        read.map(|j| Self(j.0)).map_err(|e| {
            let reason = match &e {
                JsonRejection::JsonDataError(wrong) => {
                    let (pointer, reason) = wrong_field(&wrong.body_text());
                    let mut p = Problem::bad_field(&pointer, reason);
                    p.status = e.status().as_u16();
                    return p;
                }
                JsonRejection::JsonSyntaxError(_) => "is not JSON",
                JsonRejection::MissingJsonContentType(_) => "needs content type application/json",
                _ => "could not be read",
            };
            let mut p = Problem::bad_field("", format!("the body {reason}"));
            p.status = e.status().as_u16();
            p
        })
    }
}

/// Which field is wrong, from serde's words, which may quote its value.
fn wrong_field(text: &str) -> (String, &'static str) {
    let text = text.split_once("target type: ").map_or(text, |(_, t)| t);
    let quoted = |begin: &str| text.split_once(begin).and_then(|(_, t)| t.split_once('`')).map(|(name, _)| name);
    if let Some(name) = quoted("missing field `") {
        return (format!("/{name}"), "is required");
    }
    if let Some(name) = quoted("unknown field `") {
        return (format!("/{name}"), "is not a field");
    }
    if let Some(name) = quoted("duplicate field `") {
        return (format!("/{name}"), "comes twice");
    }
    let path = text.split_once(": ").map(|(path, _)| path).filter(|p| !p.contains(' '));
    (path.map(|p| format!("/{p}")).unwrap_or_default(), "is not what is expected")
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}
