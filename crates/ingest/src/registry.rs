//! The Confluent Schema Registry API over `schemas/`, read only, so that stock serializers and deserializers work as they are.
//!
//! Ids and versions are those of `schemas/lock.json`. Subjects:
//!
//! | subject | as in | versions |
//! |---|---|---|
//! | name of the record | `org.journeylog.event.AppointmentBooked` (`RecordNameStrategy`) | those of that event |
//! | topic and name of the record | `journey.inbox-org.journeylog.event.AppointmentBooked` (`TopicRecordNameStrategy`) | those of that event |
//! | topic and `-value` | `journey.inbox-value` (`TopicNameStrategy`) | all schemas of all events; the version is the id |

mod answer;

use crate::http::{BODIES_COMING, read};
use crate::problem::Problem;
use answer::{Answer, Fault, KIND};
use axum::Router;
use axum::extract::{FromRequest, Path, Query, Request, State};
use axum::routing::{get, post};
use codec::compat::{Mismatch, Reader, can_read};
use codec::lock::Entry;
use codec::{lookup, tree};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Largest body of a request, bytes.
const MOST_BODY_BYTES: usize = 1 << 20;
/// Bytes of bodies that are coming.
static COMING: Semaphore = Semaphore::const_new(BODIES_COMING * MOST_BODY_BYTES);
/// How long a request's body may take to come.
const BODY_TIME: Duration = if cfg!(test) { Duration::from_millis(200) } else { Duration::from_secs(10) };
/// What a new version of a schema has to be; `journeylog schemas check` holds it.
const LEVEL: &str = "FULL_TRANSITIVE";
/// Under which path it is served.
pub const PATH: &str = "/registry";

/// By the record's full name, its versions.
static RECORDS: LazyLock<BTreeMap<String, Vec<&'static Entry>>> = LazyLock::new(|| {
    let mut records: BTreeMap<String, Vec<&'static Entry>> = BTreeMap::new();
    for entry in &codec::lock().entries {
        records.entry(record_name(entry)).or_default().push(entry);
    }
    records
});

fn record_name(entry: &Entry) -> String {
    let schema: Value = serde_json::from_str(entry.schema.get()).unwrap_or_default();
    tree::respelt(&schema)["name"].as_str().unwrap_or_default().to_owned()
}

/// The routes, under [`PATH`]. `topics` are those whose `TopicNameStrategy` subjects there are.
pub fn router(topics: Vec<String>) -> Router {
    let subject = Router::new()
        .route("/subjects/{subject}", post(look_up).delete(read_only))
        .route("/subjects/{subject}/versions", get(versions).post(register))
        .route("/subjects/{subject}/versions/{version}", get(version).delete(read_only))
        .route("/subjects/{subject}/versions/{version}/schema", get(version_schema))
        .route("/subjects/{subject}/versions/{version}/referencedby", get(referenced_by));
    let routes = Router::new()
        .route("/", get(|| async { Answer(json!({})) }))
        .route("/subjects", get(subjects))
        .merge(subject)
        .route("/schemas/types", get(|| async { Answer(json!(["AVRO"])) }))
        .route("/schemas/ids/{id}", get(schema))
        .route("/schemas/ids/{id}/schema", get(bare_schema))
        .route("/schemas/ids/{id}/subjects", get(schema_subjects))
        .route("/schemas/ids/{id}/versions", get(schema_versions))
        .route("/compatibility/subjects/{subject}/versions", post(compatible_with_all))
        .route("/compatibility/subjects/{subject}/versions/{version}", post(compatible))
        .route("/config", get(|| async { Answer(json!({"compatibilityLevel": LEVEL})) }).put(read_only))
        .route("/config/{subject}", get(config).put(read_only).delete(read_only))
        .route("/mode", get(|| async { Answer(json!({"mode": "READONLY"})) }).put(read_only))
        .route(
            "/mode/{subject}",
            get(|| async { Answer(json!({"mode": "READONLY"})) }).put(read_only).delete(read_only),
        )
        .fallback(|| async { Fault::path() })
        .method_not_allowed_fallback(|| async { Fault::method() })
        .with_state(Arc::new(Registry { topics }));
    Router::new().nest(PATH, routes)
}

struct Registry {
    topics: Vec<String>,
}

type Shared = State<Arc<Registry>>;
type Answered = Result<Answer, Fault>;

/// A version and its schema.
type Version = (u32, &'static Entry);

impl Registry {
    /// The versions of a subject, in order.
    fn subject(&self, subject: &str) -> Result<Vec<Version>, Fault> {
        let of = |record: &str| Some(RECORDS.get(record)?.iter().map(|e| (e.version, *e)).collect());
        let rest = self.topics.iter().find_map(|t| subject.strip_prefix(t.as_str())?.strip_prefix('-'));
        match rest {
            Some("value") => Ok(codec::lock().entries.iter().map(|e| (e.id, e)).collect()),
            Some(record) => of(record).ok_or_else(|| Fault::subject(subject)),
            None => of(subject).ok_or_else(|| Fault::subject(subject)),
        }
    }

    fn version(&self, subject: &str, version: &str) -> Result<Version, Fault> {
        let all = self.subject(subject)?;
        let found = match version {
            "latest" | "-1" => all.last(),
            number => {
                let number: u32 = number.parse().ok().filter(|n| *n > 0).ok_or_else(Fault::bad_version)?;
                all.iter().find(|(v, _)| *v == number)
            }
        };
        found.copied().ok_or_else(Fault::version)
    }

    /// The version of a subject that a request's schema is.
    fn find(&self, subject: &str, asked: &Asked) -> Result<Option<Version>, Fault> {
        let all = self.subject(subject)?;
        asked.parse()?;
        let found = lookup::find(&asked.schema).map_err(|e| Fault::schema(e.to_string()))?;
        Ok(found.and_then(|found| all.into_iter().find(|(_, e)| e.id == found.id)))
    }

    /// The subjects that a schema is a version of.
    fn subjects_of(&self, entry: &Entry) -> Vec<(String, u32)> {
        let topics = self.topics.iter().map(|t| (format!("{t}-value"), entry.id));
        topics.chain([(record_name(entry), entry.version)]).collect()
    }
}

/// A schema as clients send it.
#[derive(Deserialize)]
struct Asked {
    schema: String,
    #[serde(rename = "schemaType")]
    kind: Option<String>,
    #[serde(default)]
    references: Option<Vec<Value>>,
}

impl Asked {
    fn parse(&self) -> Result<Value, Fault> {
        if self.kind.as_deref().is_some_and(|k| k != KIND) {
            return Err(Fault::schema("only AVRO is taken"));
        }
        if self.references.as_ref().is_some_and(|r| !r.is_empty()) {
            return Err(Fault::schema("references are not taken: send the schema self-contained"));
        }
        lookup::parse(&self.schema).map_err(|e| Fault::schema(e.to_string()))
    }
}

/// A request's body, whatever its content type says.
impl<S: Sync> FromRequest<S> for Asked {
    type Rejection = Fault;

    async fn from_request(request: Request, _: &S) -> Result<Self, Fault> {
        let (head, body) = request.into_parts();
        let read = tokio::time::timeout(BODY_TIME, read(&head.headers, body, MOST_BODY_BYTES, &COMING)).await;
        let wrong = |p: Problem| match p.retry_after {
            Some(_) => Fault::busy(),
            None => Fault::schema(format!("the body broke off, or has more than {MOST_BODY_BYTES} bytes")),
        };
        let text = read.map_err(|_| Fault::too_slow())?.map_err(wrong)?;
        serde_json::from_slice(&text).map_err(|_| Fault::schema("the body has to be {\"schema\": \"…\"}"))
    }
}

#[derive(Deserialize)]
struct Listing {
    #[serde(rename = "subjectPrefix")]
    prefix: Option<String>,
}

async fn subjects(State(registry): Shared, Query(listing): Query<Listing>) -> Answer {
    let topics = registry.topics.iter().map(|t| format!("{t}-value"));
    let prefix = listing.prefix.unwrap_or_default();
    // ":*:" is Confluent's "all"
    let prefix = if prefix == ":*:" { "" } else { &prefix };
    Answer(topics.chain(RECORDS.keys().cloned()).filter(|s| s.starts_with(prefix)).collect())
}

async fn versions(State(registry): Shared, Path(subject): Path<String>) -> Answered {
    Ok(Answer(registry.subject(&subject)?.iter().map(|(v, _)| *v).collect()))
}

async fn version(State(registry): Shared, Path((subject, version)): Path<(String, String)>) -> Answered {
    Ok(answer::version(&subject, registry.version(&subject, &version)?))
}

async fn version_schema(State(registry): Shared, Path((subject, version)): Path<(String, String)>) -> Answered {
    let (_, entry) = registry.version(&subject, &version)?;
    Ok(Answer(serde_json::from_str(entry.schema.get()).unwrap_or_default()))
}

async fn referenced_by(State(registry): Shared, Path((subject, version)): Path<(String, String)>) -> Answered {
    registry.version(&subject, &version)?;
    Ok(Answer(json!([])))
}

async fn look_up(State(registry): Shared, Path(subject): Path<String>, asked: Asked) -> Answered {
    let found = registry.find(&subject, &asked)?;
    Ok(answer::version(&subject, found.ok_or_else(Fault::unknown_schema)?))
}

/// What is there already has its id; nothing else can be registered.
async fn register(State(registry): Shared, Path(subject): Path<String>, asked: Asked) -> Answered {
    let found = registry.find(&subject, &asked)?;
    found.map(|found| answer::version(&subject, found)).ok_or_else(Fault::new_schema)
}

async fn read_only() -> Fault {
    Fault::read_only()
}

fn by_id(id: &str) -> Result<&'static Entry, Fault> {
    let id: u32 = id.parse().map_err(|_| Fault::unknown_schema())?;
    codec::lock().entries.iter().find(|e| e.id == id).ok_or_else(Fault::unknown_schema)
}

async fn schema(Path(id): Path<String>) -> Answered {
    Ok(Answer(json!({"schema": by_id(&id)?.schema.get()})))
}

async fn bare_schema(Path(id): Path<String>) -> Answered {
    Ok(Answer(serde_json::from_str(by_id(&id)?.schema.get()).unwrap_or_default()))
}

async fn schema_subjects(State(registry): Shared, Path(id): Path<String>) -> Answered {
    Ok(Answer(registry.subjects_of(by_id(&id)?).into_iter().map(|(subject, _)| subject).collect()))
}

async fn schema_versions(State(registry): Shared, Path(id): Path<String>) -> Answered {
    let all = registry.subjects_of(by_id(&id)?).into_iter();
    Ok(Answer(all.map(|(subject, version)| json!({"subject": subject, "version": version})).collect()))
}

async fn config(State(registry): Shared, Path(subject): Path<String>) -> Answered {
    registry.subject(&subject)?;
    Ok(Answer(json!({"compatibilityLevel": LEVEL})))
}

/// As a word: clients write `False` too, and an answer to what can't be read would not be in the registry's form.
#[derive(Deserialize)]
struct Verbose {
    verbose: Option<String>,
}

async fn compatible(
    State(registry): Shared,
    Path((subject, version)): Path<(String, String)>,
    Query(how): Query<Verbose>,
    asked: Asked,
) -> Answered {
    let with = registry.version(&subject, &version)?;
    compare(&asked, &[with], &how)
}

async fn compatible_with_all(
    State(registry): Shared,
    Path(subject): Path<String>,
    Query(how): Query<Verbose>,
    asked: Asked,
) -> Answered {
    let all = registry.subject(&subject)?;
    let name = tree::respelt(&asked.parse()?)["name"].as_str().unwrap_or_default().to_owned();
    // a topic's subject holds all events: a schema is compared with those of its own name, and with all where there is none
    let own: Vec<Version> = all.iter().copied().filter(|(_, e)| record_name(e) == name).collect();
    compare(&asked, if own.is_empty() { &all } else { &own }, &how)
}

/// Whether each can read what the other wrote.
fn compare(asked: &Asked, with: &[Version], how: &Verbose) -> Answered {
    let new = tree::respelt(&asked.parse()?);
    let mut found = Vec::new();
    for (version, entry) in with {
        let old = tree::respelt(&serde_json::from_str(entry.schema.get()).unwrap_or_default());
        let mut note = |who: &str, mismatches: Vec<Mismatch>| {
            found.extend(mismatches.iter().map(|m| format!("{who} version {version}: {} {}", m.path, m.reason)));
        };
        note("can't read", can_read(&new, &old, Reader::Avro));
        note("can't be read by", can_read(&old, &new, Reader::Avro));
    }
    let mut answer = json!({"is_compatible": found.is_empty()});
    if how.verbose.as_deref().is_some_and(|v| v.eq_ignore_ascii_case("true")) {
        answer["messages"] = found.into();
    }
    Ok(Answer(answer))
}

#[cfg(test)]
mod tests;
