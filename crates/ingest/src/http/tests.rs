use super::*;
use crate::publisher::Settings;
use crate::testing::{MemoryLog, Mood, booking};
use axum::http::Request;
use futures::FutureExt as _;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

struct Server {
    log: Arc<MemoryLog>,
    router: Router,
}

fn server() -> Server {
    server_with(Limits::default())
}

fn server_with(limits: Limits) -> Server {
    let log = MemoryLog::new();
    let publisher = Arc::new(Publisher::new(log.clone(), Settings::default()));
    Server { router: router(Arc::new(Gateway::new(publisher, limits))), log }
}

struct Reply {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }
    fn lines(&self) -> Vec<Value> {
        self.text.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
    }
    fn pointers(&self) -> Vec<String> {
        self.json()["errors"].as_array().unwrap().iter().map(|e| e["pointer"].as_str().unwrap().to_owned()).collect()
    }
}

impl Server {
    async fn post(&self, kind: &str, body: impl Into<Body>) -> Reply {
        self.send(Request::post("/v1/events").header("content-type", kind).body(body.into()).unwrap()).await
    }
    async fn json(&self, body: &Value) -> Reply {
        self.post("application/json", body.to_string()).await
    }
    async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.into_body().collect().await.unwrap().to_bytes();
        Reply { status, headers, text: String::from_utf8(body.to_vec()).unwrap() }
    }
}

fn with(n: u64, pointer: &str, value: Value) -> Value {
    let mut v = booking(n);
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    v.pointer_mut(parent).unwrap()[name] = value;
    v
}

#[tokio::test]
async fn one_event_new_again_and_in_conflict() {
    let s = server();
    let first = s.json(&booking(1)).await;
    assert_eq!(first.status, 201);
    assert_eq!(first.json()["event_id"], booking(1)["header"]["event_id"]);
    assert_eq!(first.json()["duplicate"], false);
    let again = s.json(&booking(1)).await;
    assert_eq!(again.status, 200);
    assert_eq!(again.json()["position"], first.json()["position"]);
    assert_eq!(again.json()["duplicate"], true);
    let other = s.json(&with(1, "/service", "x".into())).await;
    assert_eq!(other.status, 409);
    assert_eq!(other.headers["content-type"], "application/problem+json");
    assert_eq!(other.json()["type"], "urn:journeylog:problem:conflicting-event");
}

#[tokio::test]
async fn wrong_fields_get_pointers() {
    let s = server();
    let cases = [
        ("/header/occurred_at", json!(5)),
        ("/header/occurred_at", json!("2999-01-01T00:00:00Z")),
        ("/header/event_id", json!("x")),
        ("/header/patient_id", Value::Null),
        ("/starts_at", json!("soon")),
        ("/duration_min", json!("ten")),
        ("/colour", json!("red")),
        ("/urgency", json!("now")),
        ("/type", json!("AppointmentBoked")),
        ("/header", json!("x")),
    ];
    for (pointer, value) in cases {
        let r = s.json(&with(1, pointer, value)).await;
        assert_eq!((r.status, r.pointers()), (422, vec![pointer.to_owned()]), "{}", r.text);
    }
    let mut missing = booking(1);
    missing["header"].as_object_mut().unwrap().remove("occurred_at");
    missing.as_object_mut().unwrap().remove("starts_at");
    assert_eq!(s.json(&missing).await.pointers(), ["/header/occurred_at", "/starts_at"]);
    assert_eq!(s.log.len(), 0);
}

#[tokio::test]
async fn what_is_no_event_at_all() {
    let s = server();
    assert_eq!(s.post("application/json", "{\"type\":").await.status, 400);
    assert_eq!(s.post("application/json", "").await.status, 400);
    assert_eq!(s.post("application/json", "[{]").await.status, 400);
    assert_eq!(s.post("application/json", b"{\"type\":\"\xff\"}".to_vec()).await.status, 400);
    assert_eq!(s.post("application/json", "7").await.status, 422);
    assert_eq!(s.post("text/plain", "x").await.status, 415);
    assert_eq!(s.post("application/json; charset=euc-kr", "{}").await.status, 415);
    assert_eq!(s.post("Application/JSON; charset=\"UTF-8\"", booking(1).to_string()).await.status, 201);
    assert_eq!(s.send(Request::post("/v1/events").body(Body::empty()).unwrap()).await.status, 415);
    assert_eq!(s.send(Request::get("/v1/events").body(Body::empty()).unwrap()).await.status, 405);
}

#[tokio::test]
async fn an_array_answers_for_each() {
    let s = server();
    let all = s.json(&json!([booking(1), booking(2)])).await;
    assert_eq!((all.status, all.json()["accepted"].as_u64()), (200, Some(2)));
    let mixed = json!([
        booking(3),
        with(4, "/header/occurred_at", json!(1)),
        booking(1),
        with(2, "/service", "x".into()),
        booking(3),
        9
    ]);
    let r = s.json(&mixed).await;
    assert_eq!(r.status, 207);
    let j = r.json();
    assert_eq!((&j["accepted"], &j["duplicates"], &j["refused"]), (&json!(1), &json!(2), &json!(3)), "{j}");
    assert_eq!(j["results"][1]["problem"]["errors"][0]["pointer"], "/1/header/occurred_at");
    assert_eq!(j["results"][3]["problem"]["status"], 409);
    assert_eq!(j["results"][4]["duplicate"], true);
    assert_eq!(j["results"][5]["problem"]["errors"][0]["pointer"], "/5");
    assert_eq!(s.json(&json!([])).await.status, 200);
}

#[tokio::test]
async fn bodies_and_arrays_have_limits() {
    let s = server_with(Limits { body_bytes: 10_000, array_events: 3, ..Limits::default() });
    let big = " ".repeat(50 << 20);
    assert_eq!(s.post("application/json", big.clone()).await.status, 413);
    let chunks =
        futures::stream::iter((0..5_000).map(|_| Ok::<_, std::io::Error>(Bytes::from_static(&[b' '; 10_000]))));
    assert_eq!(s.post("application/json", Body::from_stream(chunks)).await.status, 413);
    let request =
        Request::post("/v1/events").header("content-type", "application/json").header("content-length", 50 << 20);
    assert_eq!(s.send(request.body(Body::from("{}")).unwrap()).await.status, 413);
    let four: Vec<_> = (0..4).map(booking).collect();
    let r = s.json(&json!(four)).await;
    assert_eq!((r.status, &r.json()["type"]), (413, &json!("urn:journeylog:problem:too-large")));
    assert_eq!(s.json(&json!(four[..3])).await.status, 200);
}

/// A body that sends `first` and then nothing, for ever.
fn stalled(first: &'static str) -> Body {
    let first = futures::stream::iter([Ok::<_, std::io::Error>(first)]);
    Body::from_stream(first.chain(futures::stream::pending()))
}

#[tokio::test]
async fn bodies_that_come_slowly_hold_no_more_than_their_room() {
    let body_time = std::time::Duration::from_millis(500);
    let s = Arc::new(server_with(Limits { body_bytes: 1_000, body_time, ..Limits::default() }));
    let begun: &'static str = Box::leak("x".repeat(990).into_boxed_str());
    let send = |_| {
        let s = s.clone();
        tokio::spawn(async move { s.post("application/json", stalled(begun)).await.status })
    };
    let all = futures::future::join_all((0..BODIES_COMING + 5).map(send)).await;
    let busy = all.iter().filter(|status| *status.as_ref().unwrap() == 429).count();
    assert_eq!((busy, all.len() - busy), (5, BODIES_COMING), "the others are given up as too slow");
    // The room is free again.
    assert_eq!(s.json(&booking(1)).await.status, 201);
}

#[tokio::test]
async fn slow_bodies_are_given_up() {
    let soon = Duration::from_millis(100);
    let s = server_with(Limits { body_time: soon, stream_idle: soon, ..Limits::default() });
    let r = s.post("application/json", stalled("{\"type\":")).await;
    assert_eq!((r.status, r.json()["type"].as_str()), (408, Some("urn:journeylog:problem:too-slow")));
    let line: &'static str = Box::leak(format!("{}\n{{\"type\":", booking(1)).into_boxed_str());
    let lines = s.post("application/x-ndjson", stalled(line)).await.lines();
    assert_eq!(lines[0]["duplicate"], false, "{lines:?}");
    assert_eq!(lines[1]["stopped"]["after_line"], 1);
    assert_eq!(lines[1]["stopped"]["problem"]["status"], 408);
    assert_eq!((lines.len(), s.log.len()), (2, 1));
}

#[tokio::test]
async fn a_stream_whose_answers_nobody_reads_gives_way() {
    let ndjson = NdjsonLimits { batch_lines: 1, ..NdjsonLimits::default() };
    let s = server_with(Limits { streams: 1, stream_idle: Duration::from_millis(100), ndjson, ..Limits::default() });
    let lines: String = (1..50).map(|n| format!("{}\n", booking(n))).collect();
    let request = Request::post("/v1/events").header("content-type", "application/x-ndjson");
    let unread = s.router.clone().oneshot(request.body(Body::from(lines)).unwrap()).await.unwrap();
    assert_eq!(s.post("application/x-ndjson", "").await.status, 429);
    let mut tries = 0..200;
    while s.post("application/x-ndjson", "").await.status == 429 {
        tries.next().expect("the stream to be given up");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(unread);
}

#[tokio::test]
async fn content_codings_are_refused() {
    let s = server();
    for (coding, status) in [("gzip", 415), ("deflate, gzip", 415), ("Identity", 201)] {
        let request = Request::post("/v1/events").header("content-type", "application/json");
        let request = request.header("content-encoding", coding).body(booking(1).to_string().into());
        assert_eq!(s.send(request.unwrap()).await.status, status, "{coding}");
    }
}

#[tokio::test]
async fn back_pressure_names_a_time() {
    let s = server();
    for (mood, status) in [(Mood::Busy, 429), (Mood::Away, 503)] {
        s.log.set(mood);
        for body in [booking(1), json!([booking(1), booking(2)])] {
            let r = s.json(&body).await;
            assert_eq!((r.status, r.headers["retry-after"].to_str().unwrap()), (status, "1"));
        }
    }
    // A batch with one bad event keeps its own answers.
    let r = s.json(&json!([booking(1), 5])).await;
    assert_eq!((r.status, r.json()["results"][0]["problem"]["status"].as_u64()), (207, Some(503)));
    s.log.set(Mood::Fine);
    assert_eq!(s.json(&booking(1)).await.status, 201);
}

#[tokio::test]
async fn too_much_under_way_is_refused() {
    let s = server_with(Limits { in_flight_events: 3, array_events: 3, ..Limits::default() });
    *s.log.delay.lock().unwrap() = std::time::Duration::from_millis(50);
    let three = json!([booking(1), booking(2), booking(3)]);
    let four = booking(4);
    let (a, b) = tokio::join!(s.json(&three), async {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        s.json(&four).await
    });
    assert_eq!((a.status, b.status), (200, 429));
    assert_eq!(s.json(&booking(4)).await.status, 201);
}

#[tokio::test]
async fn many_requests_at_once_take_each_event_once() {
    let s = server();
    let all = futures::future::join_all((0..200).map(|n| {
        let body = booking(n % 50);
        let s = &s;
        async move { s.json(&body).await.status }
    }))
    .await;
    assert_eq!(all.iter().filter(|s| **s == 201).count(), 50);
    assert_eq!(all.iter().filter(|s| **s == 200).count(), 150);
    assert_eq!(s.log.len(), 50);
}

const NDJSON: &str = "application/x-ndjson";

#[tokio::test]
async fn a_long_stream_with_one_bad_line() {
    const LINES: u64 = 100_000;
    let s = server_with(Limits::default());
    let chunks = futures::stream::iter((1..=LINES).map(|n| {
        let line = if n == LINES / 2 { "{\"type\":\"AppointmentBooked\"}".to_owned() } else { booking(n).to_string() };
        Ok::<_, std::io::Error>(Bytes::from(line + "\n"))
    }));
    let r = s.post(NDJSON, Body::from_stream(chunks)).await;
    assert_eq!(r.status, 200);
    let lines = r.lines();
    assert_eq!(lines.len() as u64, LINES);
    for (i, l) in lines.iter().enumerate() {
        assert_eq!(l["line"], i + 1);
        let bad = i as u64 + 1 == LINES / 2;
        assert_eq!(l["problem"].is_object(), bad);
    }
    assert_eq!(lines[LINES as usize / 2 - 1]["problem"]["status"], 422);
    assert_eq!(s.log.len() as u64, LINES - 1);
}

#[tokio::test]
async fn a_stream_refuses_lines_one_by_one() {
    let limits = Limits { ndjson: NdjsonLimits { line_bytes: 1_000, ..NdjsonLimits::default() }, ..Limits::default() };
    let s = server_with(limits);
    let mut body = Vec::new();
    for part in [
        booking(1).to_string().as_bytes(),
        b"{\"broken",
        b"\xff\xfe",
        "x".repeat(5_000).as_bytes(),
        b"",
        booking(1).to_string().as_bytes(),
        with(1, "/service", "y".into()).to_string().as_bytes(),
        booking(2).to_string().as_bytes(),
    ] {
        body.extend_from_slice(part);
        body.push(b'\n');
    }
    let r = s.post(NDJSON, body.clone()).await;
    let lines = r.lines();
    let status: Vec<_> = lines.iter().map(|l| (l["line"].as_u64().unwrap(), l["problem"]["status"].as_u64())).collect();
    assert_eq!(
        status,
        [(1, None), (2, Some(400)), (3, Some(400)), (4, Some(413)), (6, None), (7, Some(409)), (8, None)]
    );
    let request = Request::post("/v1/events").header("content-type", NDJSON).header("prefer", "return=minimal");
    let r = s.send(request.body(body.into()).unwrap()).await;
    assert_eq!(r.lines().len(), 5);
    assert_eq!(r.lines()[4], json!({"summary": {"lines": 7, "accepted": 0, "duplicates": 3, "refused": 4}}));
}

/// A proxy may send no more of the body once the answer has begun.
#[tokio::test]
async fn a_minimal_answer_begins_after_the_body() {
    let s = server();
    let (send, receive) = futures::channel::mpsc::unbounded::<std::io::Result<Bytes>>();
    let chunk = |text: String| send.unbounded_send(Ok(Bytes::from(text))).unwrap();
    chunk(format!("{}\n{{}}\n", booking(1)));
    let request = Request::post("/v1/events").header("content-type", NDJSON).header("prefer", "return=minimal");
    let mut answer = s.router.clone().oneshot(request.body(Body::from_stream(receive)).unwrap());
    for _ in 0..100 {
        assert!((&mut answer).now_or_never().is_none(), "it answers while the body is coming");
        tokio::task::yield_now().await;
    }
    assert_eq!(s.log.len(), 1, "what has come is taken");
    chunk(format!("{}\n", booking(2)));
    drop(send);
    let text = answer.await.unwrap().into_body().collect().await.unwrap().to_bytes();
    let lines: Vec<Value> = text.split(|b| *b == b'\n').filter_map(|l| serde_json::from_slice(l).ok()).collect();
    assert_eq!((lines.len(), &lines[0]["problem"]["status"]), (2, &json!(422)));
    assert_eq!(lines[1], json!({"summary": {"lines": 3, "accepted": 2, "duplicates": 0, "refused": 1}}));
}

#[tokio::test]
async fn a_stream_says_where_the_log_stopped_it() {
    let retry_for = std::time::Duration::from_millis(100);
    let limits = Limits { ndjson: NdjsonLimits { retry_for, ..NdjsonLimits::default() }, ..Limits::default() };
    let s = server_with(limits);
    s.log.set(Mood::Away);
    let r = s.post(NDJSON, format!("{}\n{}\n", booking(1), booking(2))).await;
    let lines = r.lines();
    assert_eq!(lines[0]["problem"]["status"], 503);
    assert_eq!(lines[2]["stopped"]["after_line"], 2);
}

#[tokio::test]
async fn a_broken_stream_keeps_its_whole_lines() {
    let s = server();
    let half = format!("{}\n{}", booking(1), booking(2));
    let chunks = futures::stream::iter([Ok(Bytes::from(half)), Err(std::io::Error::other("gone"))]);
    let r = s.post(NDJSON, Body::from_stream(chunks)).await;
    assert_eq!(r.lines().len(), 2, "{}", r.text);
    assert_eq!(r.lines()[1]["stopped"]["after_line"], 1);
    assert_eq!(s.log.len(), 1);
}

fn cloud(n: u64) -> Value {
    let mut data = booking(n);
    let header = data["header"].as_object_mut().unwrap();
    let (id, time) = (header.remove("event_id").unwrap(), header.remove("occurred_at").unwrap());
    let subject = header.remove("patient_id").unwrap();
    header.remove("source");
    data.as_object_mut().unwrap().remove("type");
    json!({"specversion": "1.0", "type": "org.journeylog.event.AppointmentBooked", "source": "/scheduling", "id": id,
        "time": time, "subject": subject, "datacontenttype": "application/json", "data": data, "traceparent": "00-1-2-01"})
}

#[tokio::test]
async fn cloudevents_structured_and_batch() {
    let s = server();
    let kind = "application/cloudevents+json";
    let r = s.post(kind, cloud(1).to_string()).await;
    assert_eq!(r.status, 201, "{}", r.text);
    assert_eq!(r.json()["event_id"], booking(1)["header"]["event_id"]);
    assert_eq!(s.post(kind, cloud(1).to_string()).await.status, 200);
    let r = s.post("application/cloudevents-batch+json", json!([cloud(1), cloud(2), {}]).to_string()).await;
    assert_eq!((r.status, r.json()["accepted"].as_u64(), r.json()["duplicates"].as_u64()), (207, Some(1), Some(1)));
    assert!(r.json()["results"][2]["problem"]["errors"].to_string().contains("/2/specversion"));
    let at = |name: &str, value: Value| {
        let mut c = cloud(3);
        c[name] = value;
        c
    };
    let mut contradicting = cloud(3);
    contradicting["data"]["header"]["patient_id"] = "other".into();
    for (event, pointer) in [
        (at("specversion", "0.3".into()), "/specversion"),
        (at("type", "com.example".into()), "/type"),
        (at("time", "noon".into()), "/time"),
        (at("subject", 7.into()), "/subject"),
        (at("data_base64", "AA==".into()), "/data_base64"),
        (contradicting, "/subject"),
    ] {
        let r = s.post(kind, event.to_string()).await;
        assert_eq!(r.status, 422, "{}", r.text);
        assert!(r.pointers().contains(&pointer.to_owned()), "{}", r.text);
    }
    // No UUID: the id is derived from source and id, and the same again.
    let first = s.post(kind, at("id", "msg-77".into()).to_string()).await;
    assert_eq!(first.status, 201, "{}", first.text);
    assert_eq!(s.post(kind, at("id", "msg-77".into()).to_string()).await.json()["event_id"], first.json()["event_id"]);
}

#[tokio::test]
async fn cloudevents_binary() {
    let s = server();
    let c = cloud(1);
    let mut request = Request::post("/v1/events").header("content-type", "application/json");
    for name in ["specversion", "type", "source", "id", "time", "subject"] {
        request = request.header(format!("ce-{name}"), c[name].as_str().unwrap());
    }
    let r = s.send(request.body(c["data"].to_string().into()).unwrap()).await;
    assert_eq!(r.status, 201, "{}", r.text);
    assert_eq!(r.json()["event_id"], booking(1)["header"]["event_id"]);
    let mut request = Request::post("/v1/events").header("content-type", "application/json");
    for name in ["specversion", "type", "source", "id", "time", "subject"] {
        request = request.header(format!("ce-{name}"), c[name].as_str().unwrap());
    }
    assert_eq!(s.send(request.body("[]".into()).unwrap()).await.pointers(), [""]);
}

#[tokio::test]
async fn answers_are_counted_by_source() {
    let s = server();
    let from = |n: u64, field: &str, value: &str| {
        let mut v = booking(n);
        v["header"]["source"]["system"] = "intake-test".into();
        v[field] = value.into();
        v
    };
    let (one, other, mut bad) = (from(1, "service", "x"), from(1, "service", "y"), from(2, "service", "x"));
    bad["header"]["zone"] = "Nowhere".into();
    s.json(&one).await;
    s.json(&json!([one, other, bad])).await;
    s.post(NDJSON, format!("{}\n{}\n", from(3, "service", "x"), from(3, "service", "x"))).await;
    s.log.set(Mood::Away);
    s.json(&from(4, "service", "x")).await;
    let mut counts: Vec<_> = crate::intake::drain()
        .into_iter()
        .filter(|c| c.source == "intake-test")
        .map(|c| (c.outcome.as_str(), c.outcome.reason(), c.count))
        .collect();
    counts.sort_unstable();
    assert_eq!(
        counts,
        [("accepted", "", 2), ("duplicate", "", 2), ("refused", "conflict", 1), ("refused", "invalid", 1)]
    );
}

#[test]
fn openapi_names_the_path() {
    let json = serde_json::to_value(openapi()).unwrap();
    assert!(json["paths"]["/v1/events"]["post"]["responses"]["207"].is_object());
}
