//! RFC 9457 problems, and query parameters that are refused with one.

use axum::extract::FromRequestParts;
use axum::http::{HeaderValue, StatusCode, header, request::Parts};
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
        Self::unavailable(&e)
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

/// Query parameters, refused with a problem. Unknown ones are refused where the struct denies them.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        axum::extract::Query::from_request_parts(parts, state)
            .await
            .map(|q| Self(q.0))
            .map_err(|e| Problem::bad_field("query", e.body_text()))
    }
}

/// A JSON body, refused with a problem; and a JSON answer.
#[derive(Debug)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> axum::extract::FromRequest<S> for Json<T> {
    type Rejection = Problem;
    async fn from_request(req: axum::extract::Request, state: &S) -> Result<Self, Problem> {
        use axum::extract::rejection::JsonRejection;
        axum::Json::from_request(req, state).await.map(|j| Self(j.0)).map_err(|e| {
            let reason = match &e {
                JsonRejection::JsonDataError(_) => "does not have the expected fields",
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

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}
