//! Answers and errors in the registry's own forms.

use super::Version;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// The only type of schemas.
pub(super) const KIND: &str = "AVRO";
const JSON: &str = "application/vnd.schemaregistry.v1+json";

/// An answer.
pub(super) struct Answer(pub(super) Value);

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        ([(header::CONTENT_TYPE, JSON)], self.0.to_string()).into_response()
    }
}

/// A version of a subject.
pub(super) fn version(subject: &str, (version, entry): Version) -> Answer {
    Answer(json!({
        "subject": subject, "version": version, "id": entry.id, "schemaType": KIND, "schema": entry.schema.get()
    }))
}

/// An error: HTTP status and the registry's own code.
pub(super) struct Fault {
    status: StatusCode,
    code: u32,
    message: String,
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        (self.status, Answer(json!({"error_code": self.code, "message": self.message}))).into_response()
    }
}

impl Fault {
    fn new(status: StatusCode, code: u32, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    pub(super) fn path() -> Self {
        Self::new(StatusCode::NOT_FOUND, 404, "HTTP 404 Not Found")
    }

    pub(super) fn method() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, 405, "HTTP 405 Method Not Allowed")
    }

    pub(super) fn busy() -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, 429, "HTTP 429 Too Many Requests")
    }

    pub(super) fn too_slow() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, 408, "HTTP 408 Request Timeout")
    }

    pub(super) fn subject(name: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, 40401, format!("Subject '{name}' not found."))
    }

    pub(super) fn version() -> Self {
        Self::new(StatusCode::NOT_FOUND, 40402, "Version not found.")
    }

    pub(super) fn unknown_schema() -> Self {
        Self::new(StatusCode::NOT_FOUND, 40403, "Schema not found")
    }

    pub(super) fn schema(why: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, 42201, why)
    }

    pub(super) fn bad_version() -> Self {
        let why = "The specified version is not a valid version id: a number from 1, or \"latest\".";
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, 42202, why)
    }

    /// The registry's "operation not permitted".
    pub(super) fn read_only() -> Self {
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            42205,
            "This registry is read only: it serves schemas/ as released.",
        )
    }

    pub(super) fn new_schema() -> Self {
        let why = "This registry is read only, and none of the subject's versions is this schema (fields in order, types, \
                   names, symbols): take the schema from GET /subjects/{subject}/versions/latest.";
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, 42205, why)
    }
}
