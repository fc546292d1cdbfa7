//! `POST /v1/pseudonyms`: staff who have a record number find the patient's pseudonym. Who asked is logged, for whom is not.

use crate::http::{BODIES_COMING, read};
use crate::problem::Problem;
use crate::site::Pseudonyms;
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use utoipa::ToSchema;

/// Largest request, bytes.
const BODY_BYTES: usize = 16 << 10;
/// Bytes of requests that are coming.
static COMING: Semaphore = Semaphore::const_new(BODIES_COMING * BODY_BYTES);
/// How long a request's body may take to come.
const BODY_TIME: Duration = Duration::from_secs(10);

/// What is wrong with a file of tokens; the line is named, and not quoted.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct TokensError {
    line: usize,
    reason: &'static str,
}

/// The accounts that may look pseudonyms up, each with the hash of its token.
#[derive(Clone)]
pub struct Staff(Vec<(String, [u8; 32])>);

impl Staff {
    /// Reads `account sha256-of-its-token-in-hex` lines; blank ones and those that begin with `#` are passed over.
    ///
    /// # Errors
    /// A line of another shape, or an account that comes twice.
    pub fn parse(text: &str) -> Result<Self, TokensError> {
        let mut all: Vec<(String, [u8; 32])> = Vec::new();
        for (line, content) in (1..).zip(text.lines().map(str::trim)) {
            if content.is_empty() || content.starts_with('#') {
                continue;
            }
            let wrong = |reason| TokensError { line, reason };
            let (account, hash) =
                content.split_once(char::is_whitespace).ok_or_else(|| wrong("no account and hash"))?;
            let hash = from_hex(hash.trim()).ok_or_else(|| wrong("the hash is not 64 hexadecimal digits"))?;
            if all.iter().any(|(known, _)| known == account) {
                return Err(wrong("the account comes twice"));
            }
            all.push((account.to_owned(), hash));
        }
        Ok(Self(all))
    }

    /// The account of a token. Takes as long for every token.
    fn account(&self, token: &str) -> Option<&str> {
        let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let mut found = None;
        for (account, known) in &self.0 {
            let differs = hash.iter().zip(known).fold(0_u8, |all, (a, b)| all | (a ^ b));
            if std::hint::black_box(differs) == 0 {
                found = Some(account.as_str());
            }
        }
        found
    }
}

impl std::fmt::Debug for Staff {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Staff({} accounts)", self.0.len())
    }
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let mut out = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, pair) in out.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(out)
}

/// Whose record number it is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Number {
    /// Who gave the number out: a name or an alias of the site file.
    #[schema(example = "main")]
    authority: String,
    /// The record number.
    #[schema(example = "00123456")]
    number: String,
}

/// A patient's pseudonym.
#[derive(Serialize, ToSchema)]
struct Pseudonym {
    /// The patient, as events and the read API name them.
    patient_id: String,
}

struct Desk {
    pseudonyms: Option<Pseudonyms>,
    staff: Option<Staff>,
}

/// The route: `POST /v1/pseudonyms`. Where there is no site file, or no file of tokens, it refuses and says so.
pub fn router(pseudonyms: Option<Pseudonyms>, staff: Option<Staff>) -> Router {
    Router::new().route("/v1/pseudonyms", post(look_up)).with_state(Arc::new(Desk { pseudonyms, staff }))
}

/// Find the pseudonym of a record number
///
/// For authorised staff: needs a bearer token whose SHA-256 is in the file that `site.staff_tokens_file` names.
#[utoipa::path(
    post, path = "/v1/pseudonyms", tag = "pseudonyms",
    request_body(content = Number),
    responses(
        (status = 200, description = "The pseudonym; it is the same whether or not the patient is known here", body = Pseudonym),
        (status = 400, description = "Not JSON, or not of this shape", body = crate::http::doc::Problem, content_type = "application/problem+json"),
        (status = 401, description = "No token, or none that is known", body = crate::http::doc::Problem, content_type = "application/problem+json"),
        (status = 404, description = "Not set up here; says which key is missing", body = crate::http::doc::Problem, content_type = "application/problem+json"),
        (status = 422, description = "The number is empty", body = crate::http::doc::Problem, content_type = "application/problem+json")
    )
)]
async fn look_up(State(desk): State<Arc<Desk>>, headers: HeaderMap, body: Body) -> Response {
    match answer(&desk, &headers, body).await {
        Ok(found) => {
            ([(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))], axum::Json(found)).into_response()
        }
        Err(problem) => {
            let mut response = problem.into_response();
            if response.status() == axum::http::StatusCode::UNAUTHORIZED {
                response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            response
        }
    }
}

async fn answer(desk: &Desk, headers: &HeaderMap, body: Body) -> Result<Pseudonym, Problem> {
    let missing = |key| Problem::not_set_up(format!("pseudonyms can't be looked up here: {key} is not configured"));
    let pseudonyms = desk.pseudonyms.as_ref().ok_or_else(|| missing("site.file"))?;
    let staff = desk.staff.as_ref().ok_or_else(|| missing("site.staff_tokens_file"))?;
    let value = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let (scheme, token) = value.split_once(' ').unwrap_or_default();
    let account = staff.account(token.trim()).filter(|_| scheme.eq_ignore_ascii_case("bearer"));
    let Some(account) = account else {
        tracing::warn!(audit = true, "a pseudonym was asked for without a known token");
        return Err(Problem::unauthorised("send the bearer token of an authorised account"));
    };
    let slow = |_| Problem::too_slow(format!("the body did not come within {BODY_TIME:?}"));
    let body = tokio::time::timeout(BODY_TIME, read(headers, body, BODY_BYTES, &COMING)).await.map_err(slow)??;
    let asked: Number = serde_json::from_slice(&body).map_err(|e| {
        // serde_json's own words may quote what it found.
        let mut detail = String::from("the body must be {\"authority\": …, \"number\": …}");
        let _ = write!(detail, " (line {}, column {})", e.line(), e.column());
        Problem::malformed(detail)
    })?;
    let empty = |name: &str| domain::parse::FieldError::new(format!("/{name}"), "must not be empty");
    let fields = [("authority", &asked.authority), ("number", &asked.number)];
    let errors: Vec<_> = fields.iter().filter(|(_, v)| v.trim().is_empty()).map(|(n, _)| empty(n)).collect();
    if !errors.is_empty() {
        return Err(Problem::invalid(errors));
    }
    // Who, when and what for: the number itself would make the log a list of patients.
    let authority = pseudonyms.site().authority(&asked.authority).map_or("unlisted", |(name, _)| name);
    tracing::info!(audit = true, account, authority, "a pseudonym was looked up");
    Ok(Pseudonym { patient_id: pseudonyms.patient(&asked.authority, &asked.number) })
}

/// The OpenAPI description of this route, to be merged with others.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    use utoipa::OpenApi as _;
    #[derive(utoipa::OpenApi)]
    #[openapi(paths(look_up), tags((name = "pseudonyms", description = "Record numbers to pseudonyms")))]
    struct Doc;
    Doc::openapi()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    /// The hash of `secret`, by sha256sum.
    const HASH: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

    fn known() -> Pseudonyms {
        let site = "zone = \"Asia/Seoul\"\n[authorities.main]\naliases = [\"HOSP\"]";
        Pseudonyms::new(&[1; 32], Arc::new(crate::Site::parse(site).unwrap())).unwrap()
    }

    async fn ask(router: Router, token: Option<&str>, body: &str) -> (u16, String) {
        let mut request = Request::post("/v1/pseudonyms").header("content-type", "application/json");
        if let Some(token) = token {
            request = request.header("authorization", token);
        }
        let answer = router.oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn only_an_authorised_account_gets_a_pseudonym() {
        let staff = Staff::parse(&format!("# desk\ndesk {HASH}\n\n")).unwrap();
        let router = || router(Some(known()), Some(staff.clone()));
        let body = r#"{"authority": "HOSP", "number": " 0012 "}"#;
        let (status, answer) = ask(router(), Some("Bearer secret"), body).await;
        assert_eq!((status, answer), (200, format!("{{\"patient_id\":\"{}\"}}", known().patient("main", "0012"))));
        for token in [None, Some("Bearer wrong"), Some("Bearer "), Some("Basic secret"), Some("secret")] {
            let (status, answer) = ask(router(), token, body).await;
            assert!(status == 401 && !answer.contains("0012"), "{token:?}: {status} {answer}");
        }
        let (status, answer) = ask(router(), Some("bearer secret"), r#"{"authority": "HOSP", "number": 77123}"#).await;
        assert!(status == 400 && !answer.contains("77123"), "{status} {answer}");
        let (status, answer) = ask(router(), Some("Bearer secret"), r#"{"authority": "HOSP", "number": " "}"#).await;
        assert!(status == 422 && answer.contains("/number"), "{status} {answer}");
    }

    #[tokio::test]
    async fn what_is_not_set_up_is_named() {
        let (status, answer) = ask(router(Some(known()), None), Some("Bearer secret"), "{}").await;
        assert!(status == 404 && answer.contains("site.staff_tokens_file"), "{status} {answer}");
        let (status, answer) = ask(router(None, None), None, "{}").await;
        assert!(status == 404 && answer.contains("site.file"), "{status} {answer}");
    }

    #[test]
    fn a_wrong_file_of_tokens_is_refused_without_quoting_it() {
        for (text, line) in [("desk", 1), ("a x", 1), (&*format!("desk {HASH}\ndesk {HASH}"), 2)] {
            let e = Staff::parse(text).unwrap_err().to_string();
            assert!(e.contains(&format!("line {line}")) && !e.contains(HASH), "{e}");
        }
    }
}
