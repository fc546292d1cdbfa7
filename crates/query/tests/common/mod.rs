//! The timeline in a database, and the router over it.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use domain::event::Kind;
use domain::facts::Facts;
use domain::table::Value as Column;
use domain::views::EventRows as _;
use domain::views::mot::{Fact, Mot, Standards};
use domain::views::timeline::Timeline;
use domain::views::{PatientFold as _, View};
use domain::{Event, EventId, Micros};
use futures::future::BoxFuture;
use http_body_util::BodyExt as _;
use journeylog_query::{App, Problem, Publish, Published, router};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use store::views::spec;
use store::{Advance, Durability, Generation, State, Store};
use tower::ServiceExt as _;

/// Nobody publishes here.
struct Nowhere;

impl Publish for Nowhere {
    fn publish(&self, _: Event) -> BoxFuture<'_, Result<Published, Problem>> {
        Box::pin(async { Err(Problem::not_found("way to the log")) })
    }

    /// A log of one partition.
    fn ends(&self) -> BoxFuture<'_, Result<Vec<u64>, Problem>> {
        Box::pin(async { Ok(vec![0]) })
    }
}

/// A read API over a database.
pub struct Fixture {
    pub router: Router,
    pub store: Store,
    generation: Generation,
    mot: Generation,
    facts: std::sync::Mutex<std::collections::BTreeMap<String, Facts<Fact>>>,
    next: std::sync::Mutex<u64>,
    _dir: tempfile::TempDir,
}

/// 2026-02-19T12:00 in Seoul.
const fn now() -> Micros {
    Micros(1_771_470_000_000_000)
}

/// On SQLite.
pub async fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    on(&format!("sqlite:{}", dir.path().join("store.db").display()), dir).await
}

/// On SQLite, and on PostgreSQL where a server is named.
pub async fn fixtures() -> Vec<Fixture> {
    let mut all = vec![fixture().await];
    if let Ok(base) = std::env::var("JOURNEYLOG_TEST_POSTGRES") {
        let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
        let name = format!("jl_query_{}_{nanos}", std::process::id());
        let admin = store::Engine::connect(&base, 1).await.unwrap();
        // Tests that make databases at once meet at the template's lock.
        for attempt in 0.. {
            match admin.execute(&format!("CREATE DATABASE {name}"), &[]).await {
                Ok(_) => break,
                Err(e) => assert!(attempt < 20, "{e}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let (server, _) = base.rsplit_once('/').unwrap();
        all.push(on(&format!("{server}/{name}"), tempfile::tempdir().unwrap()).await);
    } else {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "JOURNEYLOG_TEST_POSTGRES is not set");
        eprintln!("SKIPPED: no PostgreSQL (set JOURNEYLOG_TEST_POSTGRES=postgres://user@host:port/postgres)");
    }
    all
}

async fn on(url: &str, dir: tempfile::TempDir) -> Fixture {
    let store = Store::connect(url, 4).await.unwrap();
    let generation = store.ensure_view(spec(View::Timeline), "{}").await.unwrap();
    store.start("timeline", generation.number, &[0]).await.unwrap();
    let mot = store.ensure_view(spec(View::Mot), "{}").await.unwrap();
    store.start("mot", mot.number, &[0]).await.unwrap();
    let facts = std::sync::Mutex::default();
    Fixture { router: reading(&store, "1"), store, generation, mot, facts, next: 0.into(), _dir: dir }
}

fn reading(store: &Store, edition: &str) -> Router {
    router(Arc::new(App {
        store: store.clone(),
        publish: Arc::new(Nowhere),
        now,
        mot: Arc::new(Mot::new(Standards::shipped())),
        edition: edition.to_owned(),
        after_limit: Duration::from_millis(50),
    }))
}

impl Fixture {
    /// The same views, read by another version of the program.
    pub fn upgrade(&mut self) {
        self.router = reading(&self.store, "2");
    }

    /// A further generation of both views, with what the active one has now, made by `options`; its number.
    pub async fn snapshot(&self, options: &str) -> i64 {
        let mut number = 0;
        for active in [&self.generation, &self.mot] {
            let copy = self.store.add_generation(active.spec(), State::Frozen, options).await.unwrap();
            let tables = (0..active.spec().tables.len()).map(|i| (active.target(i).table, copy.target(i).table));
            let states = active.state().zip(copy.state()).map(|(a, c)| (a.table, c.table));
            for (from, to) in tables.chain(states) {
                let sql = format!("INSERT INTO \"{to}\" SELECT * FROM \"{from}\"");
                self.store.engine().execute(&sql, &[]).await.unwrap();
            }
            self.store.start(copy.view, copy.number, &[0]).await.unwrap();
            number = copy.number;
        }
        number
    }

    /// Notes a repair of the timeline's generation, as `verify --repair` does when it puts rows right.
    pub async fn repair(&self, generation: i64) {
        let generation = self.store.generation(self.generation.spec(), generation).await.unwrap();
        let mut tx = self.store.begin(Durability::Full).await.unwrap();
        tx.repaired(&generation).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Writes the events' rows, as the projector would.
    pub async fn project(&self, events: &[Event]) {
        let mut tx = self.store.begin(Durability::FromLog).await.unwrap();
        let from = *self.next.lock().unwrap();
        let next = from + events.len() as u64;
        let step = Advance { partition: 0, expected: from, next, appended_ms: 0, last_hash: 0 };
        assert_eq!(tx.advance("timeline", self.generation.number, &[step]).await.unwrap().len(), 1);
        for (event, offset) in events.iter().zip(from..) {
            for (table, row) in Timeline.rows(event, 0, offset).1 {
                let rows: [&[Column]; 1] = [&row];
                tx.insert_ignore(self.generation.target(table), &rows).await.unwrap();
            }
        }
        assert_eq!(tx.advance("mot", self.mot.number, &[step]).await.unwrap().len(), 1);
        let (rows, states) = self.fold(events);
        for (table, rows) in rows.iter().enumerate() {
            tx.upsert(self.mot.target(table), &rows.iter().map(Vec::as_slice).collect::<Vec<_>>()).await.unwrap();
        }
        let states: Vec<&[Column]> = states.iter().map(Vec::as_slice).collect();
        tx.upsert(self.mot.state().unwrap(), &states).await.unwrap();
        tx.commit().await.unwrap();
        *self.next.lock().unwrap() = next;
    }

    /// The rows and states of the view mot for all that was projected.
    fn fold(&self, events: &[Event]) -> (Vec<Vec<Vec<Column>>>, Vec<Vec<Column>>) {
        let mot = Mot::new(Standards::shipped());
        let mut facts = self.facts.lock().unwrap();
        for e in events {
            if let Some(fact) = mot.fact(e) {
                facts.entry(mot.key(e)).or_default().add(e.header().event_id, e.content_hash(), fact);
            }
        }
        let mut rows = vec![Vec::new(); Mot::TABLES.len()];
        let mut states = Vec::new();
        for (key, f) in facts.iter() {
            for (table, some) in rows.iter_mut().zip(mot.rows(key, f)) {
                table.extend(some);
            }
            states.push(vec![key.as_str().into(), 0i64.into(), f.to_bytes().into()]);
        }
        (rows, states)
    }

    pub async fn get(&self, path: &str) -> (StatusCode, Value) {
        let (status, _, body) = self.get_if(path, None).await;
        (status, body)
    }

    /// With `If-None-Match`; answers with the ETag too.
    pub async fn get_if(&self, path: &str, etag: Option<&str>) -> (StatusCode, Option<String>, Value) {
        let mut request = Request::get(path);
        if let Some(e) = etag {
            request = request.header("if-none-match", e);
        }
        let r = self.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let status = r.status();
        let etag = r.headers().get("etag").map(|e| e.to_str().unwrap().to_owned());
        let body = r.into_body().collect().await.unwrap().to_bytes();
        (status, etag, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }
}

pub fn id(n: u128) -> String {
    EventId(uuid::Uuid::from_u128(n)).to_string()
}

/// An event of patient `p` at noon in Seoul of `day`, recorded a minute later; `more` is its payload, and under `header` what
/// else its header says.
pub fn event(n: u128, kind: &str, p: &str, day: &str, more: Value) -> Event {
    let at = Micros::parse(&format!("{day}T12:00:00+09:00")).unwrap();
    let mut header = json!({"event_id": id(n), "occurred_at": at.to_string(), "recorded_at": at.plus(60_000_000).to_string(),
        "zone": "Asia/Seoul", "source": {"system": "test"}, "patient_id": p});
    let mut body = more.as_object().unwrap().clone();
    if let Some(h) = body.remove("header") {
        header.as_object_mut().unwrap().extend(h.as_object().unwrap().clone());
    }
    body.insert("header".into(), header);
    Event::deserialize_record(Kind::from_name(kind).unwrap(), Value::Object(body)).unwrap()
}
