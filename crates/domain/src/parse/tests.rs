use super::*;
use crate::time::Micros;
use proptest::prelude::*;

fn booked() -> serde_json::Value {
    serde_json::json!({
        "type": "AppointmentBooked",
        "header": {
            "event_id": "0191d1d1-0000-7000-8000-000000000001", "occurred_at": "2026-03-02T09:00:00+09:00",
            "zone": "Asia/Seoul", "recorded_at": "2026-03-02T09:00:01+09:00", "source": {"system": "scheduling"},
            "patient_id": "p-1"
        },
        "appointment_id": "a-1", "starts_at": "2026-03-05T10:00:00+09:00"
    })
}

fn now() -> Micros {
    Micros::parse("2026-03-03T00:00:00Z").unwrap()
}

fn errors(v: &serde_json::Value) -> Vec<(String, String)> {
    let all = match event(v.to_string().as_bytes()) {
        Err(e) => e.into_fields(),
        Ok(e) => validate(&e, &e.to_json(), &Limits::default(), now()).unwrap_err(),
    };
    all.into_iter().map(|f| (f.pointer, f.reason)).collect()
}

fn with(pointer: &str, value: serde_json::Value) -> serde_json::Value {
    let mut v = booked();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    v.pointer_mut(parent).unwrap()[name] = value;
    v
}

#[test]
fn a_generic_value_has_no_name_twice() {
    let json = r#"{"a": [1, -2, 3.5, 1e999, true, null, {"b": "c\u00e9"}], "d": {"a": 18446744073709551615}}"#;
    assert!(value(json.as_bytes()).is_err(), "no number");
    let json = json.replace("1e999, ", "");
    assert_eq!(value(json.as_bytes()).unwrap(), serde_json::from_str::<serde_json::Value>(&json).unwrap());
    for twice in [r#"{"a":1,"a":1}"#, r#"[{"x":{"a":1,"b":2,"\u0061":3}}]"#] {
        let ParseError::Fields(fields) = value(twice.as_bytes()).unwrap_err() else { panic!("{twice}") };
        assert!(fields[0].reason.starts_with("has a field twice"), "{fields:?}");
    }
    assert!(matches!(value(b"{"), Err(ParseError::Json(_))));
    assert!(matches!(value(b"\"\xff\""), Err(ParseError::Json(_))));
    assert!(matches!(value("[".repeat(500).as_bytes()), Err(ParseError::Json(_))), "no deeper than the stack is");
}

#[test]
fn reads_an_event_and_writes_it_again() {
    let e = event(booked().to_string().as_bytes()).unwrap();
    assert_eq!(event(e.to_json().as_bytes()).unwrap(), e);
    assert_eq!(event_value(&booked()).unwrap(), e);
    validate(&e, &e.to_json(), &Limits::default(), now()).unwrap();
}

#[test]
fn the_type_may_stand_anywhere_but_once() {
    let text = booked().to_string();
    let body =
        text.strip_prefix('{').unwrap().strip_suffix('}').unwrap().replace("\"type\":\"AppointmentBooked\"", "\"x\":1");
    let body = body.replace(",\"x\":1", "").replace("\"x\":1,", "");
    let at_end = format!("{{{body},\"type\":\"AppointmentBooked\"}}");
    assert!(event(at_end.as_bytes()).is_ok(), "{at_end}");
    let twice = format!("{{\"type\":\"AppointmentNoShow\",{body},\"type\":\"AppointmentBooked\"}}");
    assert!(event(twice.as_bytes()).is_err());
    let twice = format!("{{\"type\":\"AppointmentBooked\",{body},\"type\":\"AppointmentBooked\"}}");
    assert_eq!(event(twice.as_bytes()).unwrap_err().into_fields()[0].reason, "has a field twice");
}

#[test]
fn names_every_wrong_field() {
    let v = serde_json::json!({
        "type": "AppointmentCancelled", "colour": 1,
        "header": {"event_id": "x", "occurred_at": 12, "zone": 3, "recorded_at": "yesterday",
            "source": {"sys/tem": "s"}, "actor": {"role": "wizard"}, "confidentiality": ["R", 1], "patient_id": "p-1"},
        "appointment_id": "a", "by": "nobody"
    });
    let mut found: Vec<String> = errors(&v).into_iter().map(|(p, _)| p).collect();
    found.sort();
    assert_eq!(
        found,
        [
            "/by",
            "/colour",
            "/header/actor/role",
            "/header/confidentiality/1",
            "/header/event_id",
            "/header/occurred_at",
            "/header/recorded_at",
            "/header/source/system",
            "/header/source/sys~1tem",
            "/header/zone"
        ]
    );
    let by = errors(&v).into_iter().find(|(p, _)| p == "/by").unwrap();
    assert_eq!(by.1, "must be one of patient, hospital, other");
}

#[test]
fn refuses_what_is_no_event() {
    assert_eq!(event(b"\xff").unwrap_err(), ParseError::Utf8);
    assert!(matches!(event(b"{\"type\":").unwrap_err(), ParseError::Json(_)));
    assert!(matches!(event(b"").unwrap_err(), ParseError::Json(_)));
    assert_eq!(errors(&serde_json::json!([]))[0].0, "");
    assert_eq!(
        errors(&serde_json::json!({"type": "Nothing"}))[0],
        ("/type".into(), "is not a known event type".into())
    );
    assert_eq!(errors(&serde_json::json!({}))[0], ("/type".into(), "is required".into()));
    assert_eq!(errors(&serde_json::json!({"type": 7}))[0].0, "/type");
}

#[test]
fn a_time_is_never_a_number() {
    assert_eq!(errors(&with("/starts_at", 1_700_000_000.into()))[0].0, "/starts_at");
    assert_eq!(errors(&with("/starts_at", "2026-03-05T10:00:00".into()))[0].0, "/starts_at");
    assert_eq!(errors(&with("/header/occurred_at", 1_700_000_000.into()))[0].0, "/header/occurred_at");
}

#[test]
fn rules_on_values() {
    let cases: Vec<(&str, serde_json::Value)> = vec![
        ("/header/zone", "Mars/Olympus".into()),
        ("/header/patient_id", "p 1".into()),
        ("/header/patient_id", "".into()),
        ("/header/patient_id", "p".repeat(200).into()),
        ("/header/patient_id", serde_json::Value::Null),
        ("/header/occurred_at", "2026-03-03T00:05:01Z".into()),
        ("/header/recorded_at", "2999-03-03T00:05:01Z".into()),
        ("/header/causation_id", "x".into()),
        ("/header/journey_id", " ".into()),
        ("/appointment_id", "".into()),
        ("/service", "x".repeat(9_000).into()),
        ("/service", "a\u{0}b".into()),
        ("/hold_s", (-1).into()),
    ];
    for (at, value) in cases {
        let found = errors(&with(at, value));
        assert_eq!(found.len(), 1, "{at}: {found:?}");
        assert_eq!(found[0].0, at);
    }
}

/// By the clock of [`now`], 2026-03-03T00:00:00Z, and of [`Limits::default`], five minutes.
#[test]
fn clocks_may_be_ahead_by_the_skew_and_no_more() {
    let checked = |name: &str, time: &str, limits: &Limits| {
        let e = event(with(&format!("/header/{name}"), time.into()).to_string().as_bytes()).unwrap();
        validate(&e, &e.to_json(), limits, now())
    };
    for name in ["occurred_at", "recorded_at"] {
        checked(name, "2026-03-03T00:04:59Z", &Limits::default()).unwrap();
        checked(name, "2026-03-03T00:05:00Z", &Limits::default()).unwrap();
        let refused = checked(name, "2026-03-03T00:05:01Z", &Limits::default()).unwrap_err();
        assert_eq!(refused[0].pointer, format!("/header/{name}"), "{refused:?}");
        assert!(refused[0].reason.contains("5 min"), "{refused:?}");
        let other = Limits { clock_skew: 10 * crate::time::MINUTE, ..Limits::default() };
        checked(name, "2026-03-03T00:05:01Z", &other).unwrap();
    }
}

#[test]
fn identifiers_fit_an_index() {
    let long = "x".repeat(MOST_IDENTIFIER_BYTES + 1);
    for at in ["/header/journey_id", "/header/site", "/header/department", "/appointment_id"] {
        let v = with(at, long.clone().into());
        assert_eq!(errors(&v), [(at.to_owned(), "is longer than 512 bytes".to_owned())]);
        assert!(!storable(&event(v.to_string().as_bytes()).unwrap()));
    }
    assert!(storable(&event(with("/appointment_id", long[1..].into()).to_string().as_bytes()).unwrap()));
}

#[test]
fn a_correction_holds_its_target_again() {
    let replacement = with("/appointment_id", "a-2".into());
    let mut v = serde_json::json!({
        "type": "EventCorrected", "header": booked()["header"], "reason": "typing error",
        "target_event_id": "0191d1d1-0000-7000-8000-000000000001", "replacement": replacement
    });
    v["header"]["event_id"] = "0191d1d1-0000-7000-8000-000000000002".into();
    let e = event(v.to_string().as_bytes()).unwrap();
    validate(&e, &e.to_json(), &Limits::default(), now()).unwrap();
    v["replacement"]["header"]["patient_id"] = "p-2".into();
    v["replacement"]["header"]["event_id"] = "0191d1d1-0000-7000-8000-000000000003".into();
    let at: Vec<_> = errors(&v).into_iter().map(|(p, _)| p).collect();
    assert_eq!(at, ["/replacement/header/event_id", "/replacement/header/patient_id"]);
    v["replacement"]["starts_at"] = 5.into();
    assert_eq!(errors(&v)[0].0, "/replacement/starts_at");
}

#[test]
fn money_scales_and_counts() {
    let mut v = booked();
    v["type"] = "FeedbackGiven".into();
    let o = v.as_object_mut().unwrap();
    o.remove("starts_at");
    for (k, x) in [("raw", 6), ("scale_min", 1), ("scale_max", 5)] {
        o.insert(k.into(), x.into());
    }
    o.insert("instrument".into(), "csat-1".into());
    o.insert("dimension".into(), "empathy".into());
    assert_eq!(errors(&v)[0].0, "/raw");
    v["scale_max"] = 1.into();
    assert_eq!(errors(&v)[0].0, "/scale_max");
    let mut v = booked();
    v["type"] = "ChargePosted".into();
    let o = v.as_object_mut().unwrap();
    o.remove("starts_at");
    o.remove("appointment_id");
    o.insert("claim_id".into(), "c".into());
    o.insert("amount_minor".into(), 5000.into());
    o.insert("currency".into(), "won".into());
    assert_eq!(errors(&v)[0].0, "/currency");
}

proptest! {
    #[test]
    fn never_panics_on_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = event(&bytes);
    }

    #[test]
    fn never_panics_on_changed_events(at in 0usize..600, with in any::<u8>(), cut in 0usize..600) {
        let mut bytes = booked().to_string().into_bytes();
        let n = bytes.len();
        bytes[at % n] = with;
        bytes.truncate(n - cut % n);
        if let Ok(e) = event(&bytes) {
            let _ = validate(&e, &e.to_json(), &Limits::default(), now());
            prop_assert_eq!(event(e.to_json().as_bytes()).unwrap(), e);
        }
    }
}
