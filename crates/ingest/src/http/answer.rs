//! Answers, written straight into a string.

use crate::problem::Problem;
use crate::publisher::Accepted;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::fmt::Write as _;

pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The fields of an acceptance without braces.
pub(super) fn fields(out: &mut String, a: &Accepted) {
    let mut id = uuid::Uuid::encode_buffer();
    out.push_str("\"event_id\":\"");
    out.push_str(a.event_id.0.hyphenated().encode_lower(&mut id));
    let (partition, offset) = (a.position.partition, a.position.offset);
    // Writing to a string can't fail.
    let _ = write!(out, "\",\"position\":\"{partition}:{offset}\",\"duplicate\":{}", a.duplicate);
}

pub(super) fn accepted(out: &mut String, a: &Accepted) {
    out.push('{');
    fields(out, a);
    out.push('}');
}

/// 200 when every event was taken, 207 when some were refused.
pub(super) fn batch(answers: &[Result<Accepted, Problem>]) -> Response {
    let (mut new, mut duplicates, mut refused) = (0, 0, 0);
    for a in answers {
        match a {
            Ok(a) if a.duplicate => duplicates += 1,
            Ok(_) => new += 1,
            Err(_) => refused += 1,
        }
    }
    let mut out = String::with_capacity(96 + answers.len() * 112);
    let _ = write!(out, "{{\"accepted\":{new},\"duplicates\":{duplicates},\"refused\":{refused},\"results\":[");
    for (i, a) in answers.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        match a {
            Ok(a) => accepted(&mut out, a),
            Err(p) => {
                let _ = write!(out, "{{\"problem\":{}}}", p.to_json());
            }
        }
    }
    out.push_str("]}");
    let status = if refused == 0 { StatusCode::OK } else { StatusCode::MULTI_STATUS };
    (status, [(header::CONTENT_TYPE, JSON)], out).into_response()
}
