use super::*;
use crate::{Publish, Published};
use axum::body::Body;
use axum::http::Request;
use domain::facts::Facts;
use domain::table::Value;
use domain::views::follow_ups::facts::Fact;
use domain::views::follow_ups::{FollowUps, item_id};
use domain::views::timeline::Timeline;
use domain::views::{EventRows as _, PatientFold as _};
use domain::{Event, Kind, Micros};
use futures::future::BoxFuture;
use http_body_util::BodyExt as _;
use serde_json::{Value as Js, json};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use store::views::spec;
use store::{Durability, Store};
use tower::ServiceExt as _;
use uuid::Uuid;

mod merged;
mod reading;

thread_local! {
    /// The clock of one test: each runs on a thread of its own.
    static NOW: Cell<i64> = const { Cell::new(0) };
}

/// Monday 2026-03-02, 09:00 in Seoul.
const START: &str = "2026-03-02T00:00:00Z";

fn set_hour(h: i64) {
    NOW.set(Micros::parse(START).unwrap().plus(h * domain::time::HOUR).0);
}

/// Publishing and projecting in one step, into real tables.
struct World {
    store: Store,
    facts: tokio::sync::Mutex<BTreeMap<String, Facts<Fact>>>,
    published: tokio::sync::Mutex<Vec<Event>>,
    offset: AtomicI64,
    /// So many are to ask for an event before one is published.
    at_once: std::sync::Mutex<Arc<tokio::sync::Barrier>>,
}

impl World {
    fn at_once(&self, n: usize) {
        *self.at_once.lock().unwrap() = Arc::new(tokio::sync::Barrier::new(n));
    }

    async fn project(&self, event: &Event) -> Result<(), store::StoreError> {
        let (follow_ups, timeline) = (spec(View::FollowUps), spec(View::Timeline));
        let (f, t) = (self.store.ensure_view(follow_ups, "{}").await?, self.store.ensure_view(timeline, "{}").await?);
        let offset = self.offset.fetch_add(1, Ordering::SeqCst);
        let patient = event.key().into_owned();
        let mut all = self.facts.lock().await;
        let facts = all.entry(patient.clone()).or_default();
        if let Some(fact) = FollowUps.fact(event) {
            facts.add(event.header().event_id, event.content_hash(), fact);
        }
        let rows = FollowUps.rows(&patient, facts).remove(0);
        let mut tx = self.store.begin(Durability::FromLog).await?;
        let state: Vec<Value> = vec![patient.clone().into(), 0.into(), facts.to_bytes().into()];
        tx.upsert(f.state().unwrap(), &[&state]).await?;
        tx.upsert(f.target(0), &rows.iter().map(Vec::as_slice).collect::<Vec<_>>()).await?;
        for (i, row) in Timeline.rows(event, 0, offset.cast_unsigned()).1 {
            tx.insert_ignore(t.target(i), &[&row]).await?;
        }
        tx.execute("DELETE FROM checkpoints", &[]).await?;
        let sql = "INSERT INTO checkpoints VALUES ('follow_ups', 1, 0, $1, 0, 0, 0, 0)";
        tx.execute(sql, &[(offset + 1).into()]).await?;
        tx.commit().await
    }
}

impl Publish for World {
    fn publish(&self, event: Event) -> BoxFuture<'_, Result<Published, Problem>> {
        Box::pin(async move {
            let at_once = self.at_once.lock().unwrap().clone();
            at_once.wait().await;
            let mut published = self.published.lock().await;
            let known = published.iter().find(|e| e.header().event_id == event.header().event_id);
            let duplicate = known.is_some();
            match known {
                Some(known) => assert_eq!(known, &event, "a retry publishes the same event"),
                None => {
                    self.project(&event).await?;
                    published.push(event);
                }
            }
            Ok(Published { position: format!("0:{}", self.offset.load(Ordering::SeqCst) - 1), duplicate })
        })
    }

    fn ends(&self) -> BoxFuture<'_, Result<Vec<u64>, Problem>> {
        Box::pin(async { Ok(vec![self.offset.load(Ordering::SeqCst).cast_unsigned()]) })
    }
}

struct Test {
    world: Arc<World>,
    router: Router,
    _dir: tempfile::TempDir,
}

impl Test {
    async fn new() -> Self {
        set_hour(1);
        let dir = tempfile::tempdir().unwrap();
        let store = Store::connect(&format!("sqlite:{}", dir.path().join("s.db").display()), 4).await.unwrap();
        let world = Arc::new(World {
            store: store.clone(),
            facts: tokio::sync::Mutex::default(),
            published: tokio::sync::Mutex::default(),
            offset: AtomicI64::new(0),
            at_once: std::sync::Mutex::new(Arc::new(tokio::sync::Barrier::new(1))),
        });
        let app = Arc::new(App {
            store,
            mot: Arc::new(domain::views::mot::Mot::new(domain::views::mot::Standards::shipped())),
            publish: world.clone(),
            now: || Micros(NOW.get()),
            edition: String::new(),
            after_limit: std::time::Duration::from_millis(200),
        });
        Self { world, router: routes().with_state(app), _dir: dir }
    }

    /// An event of a patient at an hour of the story.
    async fn event(&self, n: u128, patient: &str, hour: i64, kind: &str, mut body: Js) {
        let time = Micros::parse(START).unwrap().plus(hour * domain::time::HOUR).to_string();
        body["header"] = json!({
            "event_id": Uuid::from_u128(n).to_string(), "occurred_at": time, "recorded_at": time, "zone": "Asia/Seoul",
            "source": {"system": "test"}, "patient_id": patient, "site": "main", "department": "ortho"
        });
        let event = Event::deserialize_record(Kind::from_name(kind).unwrap(), body).unwrap();
        self.world.project(&event).await.unwrap();
    }

    async fn send(&self, method: &str, path: &str, key: Option<&str>, body: Option<Js>) -> (u16, Js) {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let request = match body {
            Some(b) => request.header("content-type", "application/json").body(Body::from(b.to_string())),
            None => request.body(Body::empty()),
        };
        let response = self.router.clone().oneshot(request.unwrap()).await.unwrap();
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap_or(Js::Null))
    }

    async fn get(&self, path: &str) -> (u16, Js) {
        self.send("GET", path, None, None).await
    }

    async fn post(&self, path: &str, body: Js) -> (u16, Js) {
        self.send("POST", path, None, Some(body)).await
    }

    async fn claim(&self, id: &str, holder: &str) -> i64 {
        let (status, body) = self.post(&format!("/v1/follow-ups/{id}/claim"), json!({"holder": holder})).await;
        assert_eq!(status, 200, "{body}");
        body["token"].as_i64().unwrap()
    }
}

fn id(patient: &str, kind: ItemKind, subject: &str) -> String {
    item_id(patient, kind, subject).to_string()
}

fn slug(body: &Js) -> &str {
    body["type"].as_str().unwrap_or_default().strip_prefix("urn:journeylog:problem:").unwrap_or_default()
}

#[tokio::test]
async fn the_list_is_ordered_filtered_and_paged() {
    let t = Test::new().await;
    t.event(1, "p1", 0, "ConsultEnded", json!({"encounter_id": "e1"})).await;
    t.event(2, "p2", 0, "ComplaintFiled", json!({"complaint_id": "c1", "severity": "severe"})).await;
    t.event(3, "p3", 0, "RecallDue", json!({"recall_kind": "scaling", "due_on": "2026-09-01"})).await;
    let (status, body) = t.get("/v1/follow-ups?department=ortho").await;
    assert_eq!(status, 200);
    let kinds: Vec<&str> = body["items"].as_array().unwrap().iter().map(|i| i["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["critical_mot", "post_visit", "recall"]);
    let first = &body["items"][0];
    assert_eq!(first["priority"]["points"], json!(40 + 25));
    assert_eq!(first["contact"]["allowed"], json!(true));
    assert_eq!(first["overdue"], json!(false));
    let (_, page) = t.get("/v1/follow-ups?limit=2").await;
    let cursor = page["next_cursor"].as_str().unwrap();
    set_hour(500);
    let (_, rest) = t.get(&format!("/v1/follow-ups?limit=2&cursor={cursor}")).await;
    assert_eq!(rest["items"][0]["kind"], "recall");
    assert_eq!(rest["items"][0]["overdue"], json!(false), "the pages of a list have one time");
    let (_, late) = t.get("/v1/follow-ups?overdue=true").await;
    assert_eq!(late["items"].as_array().unwrap().len(), 2);
    assert_eq!(late["items"][0]["supervisor"], json!(["missed_due"]));
    assert_eq!(t.get("/v1/follow-ups?status=done").await.0, 400);
    assert_eq!(t.get("/v1/follow-ups?kind=sale").await.0, 400);
    assert_eq!(t.get("/v1/follow-ups?color=red").await.0, 400);
    assert_eq!(t.get("/v1/follow-ups?cursor=zz").await.0, 400);
    set_hour(14); // 23:00 in Seoul
    let (_, night) = t.get("/v1/follow-ups?kind=post_visit").await;
    assert_eq!(night["items"][0]["contact"]["reason"], "quiet_hours");
}

#[tokio::test]
async fn a_nurse_claims_calls_and_completes() {
    let t = Test::new().await;
    t.event(1, "p1", 0, "ConsultEnded", json!({"encounter_id": "e1"})).await;
    let id = id("p1", ItemKind::PostVisit, "e1");
    let at = |what: &str| format!("/v1/follow-ups/{id}/{what}");
    let token = t.claim(&id, "kim").await;
    let (status, body) = t.post(&at("claim"), json!({"holder": "lee"})).await;
    assert_eq!((status, slug(&body)), (409, "claimed"));
    assert_eq!(t.post(&at("claim"), json!({"holder": "kim", "token": token})).await.0, 200, "the heartbeat");
    let (_, mine) = t.get("/v1/follow-ups?assignee=kim").await;
    assert_eq!(mine["items"][0]["lease"]["holder"], "kim");
    assert!(mine["items"][0]["lease"].get("token").is_none(), "the token is for its holder alone");

    let attempt = json!({"holder": "kim", "token": token, "channel": "phone", "human": true, "outcome": "no_answer"});
    let (status, done) = t.post(&at("attempts"), attempt.clone()).await;
    assert_eq!(status, 200, "{done}");
    let position = done["position"].as_str().unwrap();
    let (_, item) = t.get(&format!("/v1/follow-ups/{id}?after={position}")).await;
    assert_eq!((&item["attempts"], &item["last_outcome"]), (&json!(1), &json!("no_answer")));
    assert_eq!(t.get(&format!("/v1/follow-ups/{id}?after=0:99")).await.0, 504);
    let (status, body) = t.get(&format!("/v1/follow-ups/{id}?after=99:1")).await;
    assert_eq!((status, &body["errors"][0]["pointer"]), (400, &json!("after")), "the log has one partition");

    let four = json!({"holder": "kim", "token": token, "answers": ["a", "b", "c", "d"]});
    let (status, body) = t.post(&at("complete"), four).await;
    assert_eq!((status, &body["errors"][0]["pointer"]), (400, &json!("/answers")));
    let mut five = json!({"holder": "kim", "token": token, "answers": ["a", "b", "c", "d", "e"], "human": false});
    assert_eq!(t.post(&at("complete"), five.clone()).await.0, 400, "a robocall");
    (five["human"], five["channel"]) = (json!(true), json!("email"));
    assert_eq!(t.post(&at("complete"), five.clone()).await.0, 400, "an e-mail");
    five["channel"] = json!("phone");
    assert_eq!(t.post(&at("complete"), five.clone()).await.0, 200);
    let (_, item) = t.get(&format!("/v1/follow-ups/{id}")).await;
    assert_eq!((&item["status"], &item["status_reason"]), (&json!("closed"), &json!("called")));
    assert!(item.get("lease").is_none());
    five["answers"][0] = json!("other");
    let (status, body) = t.post(&at("complete"), five).await;
    assert_eq!((status, slug(&body)), (409, "not-open"));
    assert_eq!(t.post(&at("claim"), json!({"holder": "kim"})).await.0, 409);

    let published = t.world.published.lock().await;
    let header = published[0].header();
    assert_eq!(
        (header.site.as_deref(), header.department.as_deref(), header.zone.as_str()),
        (Some("main"), Some("ortho"), "Asia/Seoul")
    );
    assert_eq!(header.causation_id.as_deref(), Some(Uuid::from_u128(1).to_string().as_str()));
    let mut refs = Vec::new();
    published[1].each_reference(|_, r| refs.push(r.to_owned()));
    refs.sort();
    let mut wanted = vec![id.clone(), "e1".to_owned()];
    wanted.sort();
    assert_eq!(refs, wanted);
}

#[tokio::test]
async fn a_stale_token_is_told_so() {
    let t = Test::new().await;
    t.event(1, "p1", 0, "ConsultEnded", json!({"encounter_id": "e1"})).await;
    let id = id("p1", ItemKind::PostVisit, "e1");
    let old = t.claim(&id, "kim").await;
    set_hour(2);
    let new = t.claim(&id, "lee").await;
    assert!(new > old);
    for (path, extra) in [
        ("attempts", json!({"channel": "phone", "human": true, "outcome": "reached"})),
        ("complete", json!({"answers": ["a", "b", "c", "d", "e"]})),
        ("release", json!({})),
        ("claim", json!({})),
    ] {
        let mut body = extra;
        body["holder"] = json!("kim");
        body["token"] = json!(old);
        let (status, problem) = t.post(&format!("/v1/follow-ups/{id}/{path}"), body).await;
        assert_eq!((status, slug(&problem)), (409, "stale-token"), "{path}");
    }
    assert!(t.world.published.lock().await.is_empty());
    let body = json!({"holder": "lee", "token": new});
    assert_eq!(t.post(&format!("/v1/follow-ups/{id}/release"), body).await.0, 204);
    t.claim(&id, "kim").await;
    let unknown = Uuid::from_u128(9).to_string();
    for id in [unknown.as_str(), "nonsense"] {
        let (status, problem) = t.post(&format!("/v1/follow-ups/{id}/claim"), json!({"holder": "kim"})).await;
        assert_eq!((status, slug(&problem)), (404, "not-found"));
        assert!(!problem.to_string().contains(id), "an error quotes nothing");
    }
}

#[tokio::test]
async fn a_completion_sent_again_publishes_once() {
    for key in [Some("key-1"), None] {
        let t = Test::new().await;
        t.event(1, "p1", 0, "ConsultEnded", json!({"encounter_id": "e1"})).await;
        let id = id("p1", ItemKind::PostVisit, "e1");
        let token = t.claim(&id, "kim").await;
        let path = format!("/v1/follow-ups/{id}/complete");
        let body = json!({"holder": "kim", "token": token, "answers": ["a", "b", "c", "d", "e"]});
        let (status, first) = t.send("POST", &path, key, Some(body.clone())).await;
        assert_eq!(status, 200);
        set_hour(3);
        let (status, again) = t.send("POST", &path, key, Some(body.clone())).await;
        assert_eq!((status, &again), (200, &first), "though the item is closed and the lease is over");
        // as if the process had died after publishing, before it kept the answer
        t.world.store.engine().execute("UPDATE follow_up_requests SET answer = NULL", &[]).await.unwrap();
        let (status, again) = t.send("POST", &path, key, Some(body.clone())).await;
        assert_eq!((status, &again["event_id"]), (200, &first["event_id"]));
        assert_eq!(t.world.published.lock().await.len(), 1);
        let mut other = body;
        other["answers"][0] = json!("x");
        let (status, problem) = t.send("POST", &path, key, Some(other)).await;
        assert_eq!((status, slug(&problem)), (409, if key.is_some() { "key-reused" } else { "not-open" }));
    }
}

#[tokio::test]
async fn what_is_sent_twice_at_once_is_published_once() {
    let t = Test::new().await;
    t.event(1, "p1", 0, "ConsultEnded", json!({"encounter_id": "e1"})).await;
    let id = id("p1", ItemKind::PostVisit, "e1");
    let (attempts, complete) = (format!("/v1/follow-ups/{id}/attempts"), format!("/v1/follow-ups/{id}/complete"));
    let token = t.claim(&id, "kim").await;
    let of_events = |answers: &[(u16, Js)]| {
        let good = answers.iter().filter(|(status, _)| *status == 200);
        good.map(|(_, body)| body["event_id"].to_string()).collect::<std::collections::BTreeSet<_>>()
    };
    let attempt = json!({"holder": "kim", "token": token, "channel": "phone", "human": true, "outcome": "no_answer"});
    t.world.at_once(6);
    let six = || futures::future::join_all((0..6).map(|_| t.post(&attempts, attempt.clone())));
    let first = of_events(&six().await);
    assert_eq!((first.len(), t.world.published.lock().await.len()), (1, 1));
    // once it is answered, the same is a further attempt; where the answer was lost, it isn't
    let second = of_events(&six().await);
    assert!(second.len() == 1 && second != first);
    t.world.store.engine().execute("UPDATE follow_up_requests SET answer = NULL", &[]).await.unwrap();
    assert_eq!(of_events(&six().await), second);
    assert_eq!(t.world.published.lock().await.len(), 2);

    t.world.at_once(1);
    let body = |last: &str| json!({"holder": "kim", "token": token, "answers": ["a", "b", "c", "d", last]});
    let answers = futures::future::join_all(["e", "e", "e", "f", "e", "f"].map(|e| t.post(&complete, body(e)))).await;
    assert_eq!((of_events(&answers).len(), t.world.published.lock().await.len()), (1, 3), "{answers:?}");
    let allowed = ["under-way", "stale-token", "not-open"];
    let refused = answers.iter().filter(|(status, _)| *status != 200);
    assert!(refused.clone().count() < 5 && refused.clone().all(|(_, b)| allowed.contains(&slug(b))), "{answers:?}");
}

#[tokio::test]
async fn a_complaint_takes_a_call_and_a_resolution() {
    let t = Test::new().await;
    t.event(1, "p1", 0, "ComplaintFiled", json!({"complaint_id": "c1", "severity": "high"})).await;
    let id = id("p1", ItemKind::Complaint, "c1");
    let path = format!("/v1/follow-ups/{id}/complete");
    let token = t.claim(&id, "kim").await;
    let call = json!({"holder": "kim", "token": token, "answers": []});
    assert_eq!(t.post(&path, call).await.0, 200);
    let (_, item) = t.get(&format!("/v1/follow-ups/{id}")).await;
    assert_eq!((&item["status"], &item["missing"]), (&json!("open"), &json!("resolution")));
    assert_eq!(item["lease"]["holder"], "kim", "there is more to do");
    let resolved = json!({"holder": "kim", "token": token, "resolution": "resolved", "note": "apologised"});
    assert_eq!(t.post(&path, resolved).await.0, 200);
    let (_, item) = t.get(&format!("/v1/follow-ups/{id}")).await;
    assert_eq!((&item["status"], &item["status_reason"]), (&json!("closed"), &json!("called_and_resolved")));
    let nothing = json!({"holder": "kim", "token": token});
    assert_eq!(t.post(&path, nothing).await.0, 400);
}
