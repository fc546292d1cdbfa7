use super::*;
use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

const NAME: &str = "org.journeylog.event.AppointmentBooked";

async fn ask(method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
    let request = Request::builder().method(method).uri(format!("{PATH}{path}"));
    let body = body.map_or_else(Body::empty, |b| b.to_string().into());
    let router = router(vec!["journey.inbox".into(), "journey.events".into()]);
    let answer = router.oneshot(request.body(body).unwrap()).await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/vnd.schemaregistry.v1+json");
    let status = answer.status().as_u16();
    let bytes = answer.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&bytes).unwrap())
}

async fn get_ok(path: &str) -> Value {
    let (status, body) = ask("GET", path, None).await;
    assert_eq!(status, 200, "{path}: {body}");
    body
}

fn newest() -> &'static Entry {
    codec::lock().newest()["AppointmentBooked"]
}

#[tokio::test]
async fn ids_and_versions_are_those_of_the_lock() {
    let all = get_ok("/subjects").await;
    assert!(
        all.as_array().unwrap().contains(&NAME.into())
            && all.as_array().unwrap().contains(&"journey.inbox-value".into())
    );
    assert_eq!(get_ok("/subjects?subjectPrefix=journey.").await.as_array().unwrap().len(), 2);
    for entry in &codec::lock().entries {
        let by_id = get_ok(&format!("/schemas/ids/{}", entry.id)).await;
        assert_eq!(by_id["schema"], entry.schema.get());
        let subject = record_name(entry);
        let of = get_ok(&format!("/subjects/{subject}/versions/{}", entry.version)).await;
        assert_eq!((of["id"].as_u64(), &of["schema"]), (Some(entry.id.into()), &by_id["schema"]));
        let body = json!({"schema": entry.schema.get()});
        for subject in [subject.clone(), format!("journey.inbox-{subject}"), "journey.inbox-value".to_owned()] {
            for path in [format!("/subjects/{subject}"), format!("/subjects/{subject}/versions?normalize=true")] {
                let (status, found) = ask("POST", &path, Some(body.clone())).await;
                assert_eq!((status, found["id"].as_u64()), (200, Some(entry.id.into())), "{path}");
                assert_eq!(found["subject"], *subject);
            }
        }
    }
    let latest = get_ok(&format!("/subjects/{NAME}/versions/latest")).await;
    assert_eq!(latest["id"].as_u64(), Some(newest().id.into()));
    let of_topic = get_ok(&format!("/subjects/journey.inbox-value/versions/{}", newest().id)).await;
    assert_eq!((&of_topic["id"], &of_topic["schema"]), (&latest["id"], &latest["schema"]));
    let where_ = get_ok(&format!("/schemas/ids/{}/versions", newest().id)).await;
    assert!(where_.as_array().unwrap().contains(&json!({"subject": NAME, "version": newest().version})));
    assert_eq!(get_ok(&format!("/schemas/ids/{}/schema", newest().id)).await["name"], "AppointmentBooked");
    assert_eq!(get_ok("/schemas/types").await, json!(["AVRO"]));
    assert_eq!(get_ok("/mode").await, json!({"mode": "READONLY"}));
    assert_eq!(get_ok("/config").await, json!({"compatibilityLevel": "FULL_TRANSITIVE"}));
}

#[tokio::test]
async fn what_is_not_there_is_said_in_the_registrys_words() {
    let other = json!({"schema": r#"{"type":"record","name":"Other","fields":[]}"#});
    let known = json!({"schema": newest().schema.get()});
    let referring =
        json!({"schema": newest().schema.get(), "references": [{"name": "a", "subject": "b", "version": 1}]});
    let cases = [
        ("GET", "/subjects/nobody/versions", None, 404, 40401),
        ("GET", "/subjects/journey.other-value/versions/latest", None, 404, 40401),
        ("GET", "/subjects/journey.inbox-key/versions/latest", None, 404, 40401),
        ("GET", "/subjects/org.journeylog.event.AppointmentBooked/versions/99", None, 404, 40402),
        ("GET", "/subjects/org.journeylog.event.AppointmentBooked/versions/x", None, 422, 42202),
        ("GET", "/schemas/ids/4000000", None, 404, 40403),
        ("GET", "/schemas/ids/x", None, 404, 40403),
        ("GET", "/exporters", None, 404, 404),
        ("PATCH", "/subjects", None, 405, 405),
        ("POST", "/subjects/journey.inbox-value", Some(other.clone()), 404, 40403),
        ("POST", "/subjects/journey.inbox-value/versions", Some(other), 422, 42205),
        ("POST", "/subjects/org.journeylog.event.PatientCheckedIn/versions", Some(known), 422, 42205),
        ("POST", "/subjects/journey.inbox-value", Some(json!({"schema": "{"})), 422, 42201),
        ("POST", "/subjects/journey.inbox-value", Some(json!({})), 422, 42201),
        ("POST", "/subjects/journey.inbox-value", Some(referring), 422, 42201),
        ("POST", "/subjects/journey.inbox-value", Some(json!("x".repeat(MOST_BODY_BYTES))), 422, 42201),
        ("DELETE", "/subjects/journey.inbox-value", None, 422, 42205),
        ("PUT", "/config", Some(json!({"compatibility": "NONE"})), 422, 42205),
    ];
    for (method, path, body, status, code) in cases {
        let (s, answer) = ask(method, path, body).await;
        assert_eq!((s, answer["error_code"].as_u64()), (status, Some(code)), "{method} {path}: {answer}");
        assert!(answer["message"].is_string());
    }
}

#[tokio::test]
async fn compatibility_is_checked_both_ways() {
    let schema: Value = serde_json::from_str(newest().schema.get()).unwrap();
    let with = |field: Value| {
        let mut schema = schema.clone();
        schema["fields"].as_array_mut().unwrap().push(field);
        // spelt as another parser would
        schema["name"] = NAME.into();
        schema.as_object_mut().unwrap().remove("namespace");
        json!({"schema": schema.to_string()})
    };
    let optional = with(json!({"name": "x", "type": ["null", "string"], "default": null}));
    let required = with(json!({"name": "x", "type": "string"}));
    for path in
        [format!("/compatibility/subjects/{NAME}/versions"), format!("/compatibility/subjects/{NAME}/versions/latest")]
    {
        assert_eq!(ask("POST", &path, Some(optional.clone())).await, (200, json!({"is_compatible": true})));
        // Python's client writes its booleans so
        let short = ask("POST", &format!("{path}?normalize=False&verbose=False"), Some(required.clone())).await;
        assert_eq!(short, (200, json!({"is_compatible": false})));
        let (_, no) = ask("POST", &format!("{path}?verbose=true"), Some(required.clone())).await;
        assert_eq!(no["is_compatible"], false);
        assert!(no["messages"][0].as_str().unwrap().contains("x the writer has no such field"), "{no}");
    }
    let (_, topic) = ask("POST", "/compatibility/subjects/journey.inbox-value/versions", Some(optional)).await;
    assert_eq!(topic["is_compatible"], true);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let never = Body::from_stream(futures::stream::pending::<Result<String, std::io::Error>>());
    let request = Request::post(format!("{PATH}/subjects/{NAME}")).body(never).unwrap();
    let answer = tokio::time::timeout(Duration::from_secs(20), router(Vec::new()).oneshot(request)).await;
    assert_eq!(answer.unwrap().unwrap().status().as_u16(), 408);
}

#[tokio::test]
async fn a_large_schema_is_compared_at_once() {
    let symbols: Vec<String> = (0..20_000).map(|n| format!("S{n}")).collect();
    let innermost = json!({"type": "enum", "name": "E", "symbols": symbols});
    let nested = |inner: Value, n: i32| json!({"type": "record", "name": format!("R{n}"), "fields": [{"name": "f", "type": inner}]});
    let schema = (0..25).fold(innermost, nested).to_string();
    let begun = std::time::Instant::now();
    let path = "/compatibility/subjects/journey.inbox-value/versions";
    assert_eq!(ask("POST", path, Some(json!({"schema": schema}))).await.1["is_compatible"], false);
    // Copying each record for its name, with all within, took half a minute.
    assert!(begun.elapsed().as_secs() < 12, "{:?}", begun.elapsed());
}
