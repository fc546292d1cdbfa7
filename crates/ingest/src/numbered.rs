//! Events whose sender names the patient by a record number: `"patient": {"authority": …, "number": …}` beside `type`,
//! in the place of `header.patient_id`.

use crate::problem::Problem;
use crate::site::Pseudonyms;
use domain::Event;
use domain::parse::{self, FieldError, ParseError};
use serde_json::{Map, Value};

/// Reads an event. Only one that can't be read as it is is looked at for a record number.
pub(crate) fn event(text: &str, known: Option<&Pseudonyms>) -> Result<Event, Problem> {
    match parse::event_str(text) {
        Err(ParseError::Fields(errors)) if errors.iter().any(|e| e.pointer == "/patient") => numbered(text, known),
        other => other.map_err(Problem::of_parse),
    }
}

fn numbered(text: &str, known: Option<&Pseudonyms>) -> Result<Event, Problem> {
    let mut value = parse::value(text.as_bytes()).map_err(Problem::of_parse)?;
    if let Value::Object(event) = &mut value {
        identify(event, known).map_err(|e| Problem::invalid(vec![e]))?;
    }
    parse::event_value(&value).map_err(Problem::of_parse)
}

/// Puts the pseudonym in the place of the record number, where there is one. Beside `patient` nothing may say who it is.
pub(crate) fn identify(event: &mut Map<String, Value>, known: Option<&Pseudonyms>) -> Result<(), FieldError> {
    let Some(patient) = event.remove("patient") else { return Ok(()) };
    let Some(known) = known else {
        let reason = "record numbers are not taken here: the configuration's site.file names no site file";
        return Err(FieldError::new("/patient", reason));
    };
    let Value::Object(patient) = patient else { return Err(FieldError::new("/patient", "must be an object")) };
    if let Some(other) = patient.keys().find(|k| !["authority", "number"].contains(&k.as_str())) {
        let pointer = format!("/patient/{}", other.replace('~', "~0").replace('/', "~1"));
        return Err(FieldError::new(pointer, "is neither authority nor number"));
    }
    let text = |name: &str| match patient.get(name) {
        Some(Value::String(s)) if !s.trim().is_empty() => Ok(s.as_str()),
        Some(_) => Err(FieldError::new(format!("/patient/{name}"), "must be a string that isn't empty")),
        None => Err(FieldError::new(format!("/patient/{name}"), "is required")),
    };
    let pseudonym = known.patient(text("authority")?, text("number")?);
    match event.get_mut("header") {
        Some(Value::Object(header)) if header.get("patient_id").is_none_or(Value::is_null) => {
            header.insert("patient_id".into(), pseudonym.into());
            Ok(())
        }
        Some(Value::Object(_)) => Err(FieldError::new("/patient", "header.patient_id says already who it is")),
        // Whoever reads the event says what is wrong with its header.
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{MemoryLog, booking};
    use crate::{Gateway, Limits, Pseudonyms, Publisher, Settings, Site, router};
    use axum::body::Body;
    use axum::http::Request;
    use http_body_util::BodyExt as _;
    use serde_json::{Value, json};
    use std::sync::Arc;
    use tower::ServiceExt as _;

    fn known() -> Pseudonyms {
        let site = "zone = \"Asia/Seoul\"\n[authorities.main]\naliases = [\"HOSP\"]";
        Pseudonyms::new(&[1; 32], Arc::new(Site::parse(site).unwrap())).unwrap()
    }

    fn by_number() -> Value {
        let mut event = booking(1);
        event["header"].as_object_mut().unwrap().remove("patient_id");
        event["patient"] = json!({"authority": "HOSP", "number": "0012"});
        event
    }

    /// Status, answer, and the patients in the log.
    async fn post(known: Option<Pseudonyms>, kind: &str, body: impl std::fmt::Display) -> (u16, String, Vec<String>) {
        let log = MemoryLog::new();
        let publisher = Arc::new(Publisher::new(log.clone(), Settings::default()).with_pseudonyms(known));
        let router = router(Arc::new(Gateway::new(publisher, Limits::default())));
        let request =
            Request::post("/v1/events").header("content-type", kind).body(Body::from(body.to_string())).unwrap();
        let answer = router.oneshot(request).await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.into_body().collect().await.unwrap().to_bytes();
        let keys =
            log.records.lock().unwrap().iter().flatten().map(|r| String::from_utf8(r.key.to_vec()).unwrap()).collect();
        (status, String::from_utf8(text.to_vec()).unwrap(), keys)
    }

    #[tokio::test]
    async fn a_record_number_becomes_the_pseudonym_in_every_format() {
        let event = by_number();
        let mut data = event.clone();
        let (id, at) = (data["header"]["event_id"].clone(), data["header"]["occurred_at"].clone());
        data.as_object_mut().unwrap().remove("type");
        let kind = "org.journeylog.event.AppointmentBooked";
        let cloud = json!({"specversion": "1.0", "id": id, "source": "s", "type": kind, "time": at, "data": data});
        let pseudonym = known().patient("main", "0012");
        for (kind, body) in [
            ("application/json", event.clone()),
            ("application/json", json!([event])),
            ("application/x-ndjson", event.clone()),
            ("application/cloudevents+json", cloud),
        ] {
            let (status, answer, keys) = post(Some(known()), kind, &body).await;
            assert_eq!((status / 100, keys), (2, vec![pseudonym.clone()]), "{kind}: {answer}");
            assert!(!answer.contains("0012"));
        }
    }

    #[tokio::test]
    async fn what_is_wrong_with_a_record_number_is_named() {
        let mut both = by_number();
        both["header"]["patient_id"] = "p-1".into();
        let with = |patient: Value| {
            let mut event = by_number();
            event["patient"] = patient;
            event
        };
        let mut unknown = by_number();
        unknown["colour"] = "red".into();
        let cases = [
            (Some(known()), both, "/patient"),
            (None, by_number(), "/patient"),
            (Some(known()), with(json!("0012")), "/patient"),
            (Some(known()), with(json!({"authority": "HOSP"})), "/patient/number"),
            (Some(known()), with(json!({"authority": " ", "number": "0012"})), "/patient/authority"),
            (Some(known()), with(json!({"authority": "HOSP", "number": 12})), "/patient/number"),
            (Some(known()), with(json!({"authority": "HOSP", "number": "1", "name": "Kim"})), "/patient/name"),
            (Some(known()), unknown, "/colour"),
        ];
        for (known, body, pointer) in cases {
            let (status, answer, keys) = post(known, "application/json", &body).await;
            let answer: Value = serde_json::from_str(&answer).unwrap();
            assert_eq!((status, &answer["errors"][0]["pointer"]), (422, &json!(pointer)), "{answer}");
            assert!(keys.is_empty() && !answer.to_string().contains("Kim"));
        }
        let twice = by_number().to_string().replacen('{', r#"{"patient": {"authority": "HOSP", "number": "7"}, "#, 1);
        let (status, answer, keys) = post(Some(known()), "application/json", &twice).await;
        assert!(status == 422 && answer.contains("has a field twice") && keys.is_empty(), "{answer}");
        let (_, answer, _) = post(None, "application/json", &by_number()).await;
        assert!(answer.contains("site.file"), "{answer}");
    }
}
