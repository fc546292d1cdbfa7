//! RFC 9457 problems: what a sender is told when something is refused.

use crate::publisher::Refusal;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::parse::{FieldError, ParseError};
use serde::Serialize;

/// A problem (`application/problem+json`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// URN of the kind of problem.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The kind in words.
    pub title: &'static str,
    /// HTTP status.
    pub status: u16,
    /// This occurrence in words; never quotes a value.
    pub detail: String,
    /// Wrong fields, if that is what is wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// Seconds after which to try again, if that helps.
    #[serde(skip)]
    pub retry_after: Option<u32>,
}

impl Problem {
    fn new(status: StatusCode, kind: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self { kind, title, status: status.as_u16(), detail: detail.into(), errors: Vec::new(), retry_after: None }
    }

    /// The body can't be read as what it says it is (400).
    #[must_use]
    pub fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "urn:journeylog:problem:malformed", "Malformed body", detail)
    }

    /// Fields are wrong (422).
    #[must_use]
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        let detail = format!("{} field(s) wrong", errors.len());
        let kind = "urn:journeylog:problem:invalid-event";
        Self { errors, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, kind, "Invalid event", detail) }
    }

    /// Too large, too many or too long (413); `detail` names the limit.
    #[must_use]
    pub fn too_large(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "urn:journeylog:problem:too-large", "Too large", detail)
    }

    /// The content type is none of ours (415).
    #[must_use]
    pub fn unsupported(detail: impl Into<String>) -> Self {
        let kind = "urn:journeylog:problem:unsupported-media-type";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, kind, "Unsupported content type", detail)
    }

    /// The body came too slowly (408).
    #[must_use]
    pub fn too_slow(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "urn:journeylog:problem:too-slow", "Too slow", detail)
    }

    /// Nobody who may know (401).
    #[must_use]
    pub fn unauthorised(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "urn:journeylog:problem:unauthorised", "Not authorised", detail)
    }

    /// Something that this site has not set up (404); `detail` names the key of the configuration.
    #[must_use]
    pub fn not_set_up(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "urn:journeylog:problem:not-set-up", "Not set up", detail)
    }

    /// Too much is under way (429).
    #[must_use]
    pub fn busy(retry_after: u32) -> Self {
        let kind = "urn:journeylog:problem:busy";
        let detail = "the log takes events more slowly than they come; send again later";
        let mut p = Self::new(StatusCode::TOO_MANY_REQUESTS, kind, "Too many events under way", detail);
        p.retry_after = Some(retry_after);
        p
    }

    /// The log can't be reached (503).
    #[must_use]
    pub fn unavailable(retry_after: u32) -> Self {
        let kind = "urn:journeylog:problem:log-unavailable";
        let detail = "the log can't be reached; nothing was confirmed, sending again is safe";
        let mut p = Self::new(StatusCode::SERVICE_UNAVAILABLE, kind, "Log unavailable", detail);
        p.retry_after = Some(retry_after);
        p
    }

    /// What a refusal of the publisher is to the sender.
    #[must_use]
    pub fn of_refusal(refusal: &Refusal, retry_after: u32) -> Self {
        match refusal {
            Refusal::Conflict => {
                let kind = "urn:journeylog:problem:conflicting-event";
                let title = "Another event has this id";
                Self::new(
                    StatusCode::CONFLICT,
                    kind,
                    title,
                    "an event with this id and other content was accepted before",
                )
            }
            Refusal::Busy => Self::busy(retry_after),
            Refusal::Unavailable => Self::unavailable(retry_after),
            Refusal::Refused(reason) => {
                let kind = "urn:journeylog:problem:refused-by-log";
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, kind, "Refused by the log", reason.clone())
            }
        }
    }

    /// What an unreadable text is to the sender.
    #[must_use]
    pub fn of_parse(error: ParseError) -> Self {
        match error {
            ParseError::Utf8 => Self::malformed("the text is not UTF-8"),
            ParseError::Json(reason) => Self::malformed(reason),
            ParseError::Fields(errors) => Self::invalid(errors),
        }
    }

    /// The same with every pointer put under `prefix`, as of an array's element.
    #[must_use]
    pub fn under(mut self, prefix: &str) -> Self {
        for e in &mut self.errors {
            e.pointer.insert_str(0, prefix);
        }
        self
    }

    /// A short code for counting.
    pub(crate) const fn code(&self) -> &'static str {
        match self.status {
            400 => "malformed",
            409 => "conflict",
            413 => "too_large",
            422 => "invalid",
            _ => "unsupported",
        }
    }

    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let json = HeaderValue::from_static("application/problem+json");
        let mut response = (status, [(header::CONTENT_TYPE, json)], self.to_json()).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
