//! What the timeline keeps of an event.

use crate::event::Event;
use crate::table::{Row, Table, Type, Value};
use crate::views::EventRows;

/// The timeline view: one entry per event, and a link per merge or unmerge.
#[derive(Debug, Clone, Copy, Default)]
pub struct Timeline;

/// Index of `timeline_entries` in [`Timeline::TABLES`].
pub const ENTRIES: usize = 0;
/// Index of `patient_links` in [`Timeline::TABLES`].
pub const LINKS: usize = 1;

impl EventRows for Timeline {
    /// `timeline_entries`: `patient_id` is the log key (the site or the event's own id where there is no patient);
    /// `refs` is a JSON array of `kind:id`, null where there is none; `target_event_id` names what a correction,
    /// a retraction or a feedback link is about; `event` is the whole event as published.
    ///
    /// A correction carries the `journey_id` of its replacement, so that a journey first named by a correction is found.
    ///
    /// `patient_links`: `merged` is 1 where `retired` became an alias of `surviving`, 0 where that was undone. A correction of
    /// a merge is a row too: it leads to the pseudonyms that it names. Which links hold is decided on reading.
    const VERSION: u32 = 2;

    const TABLES: &'static [Table] = &[
        Table {
            name: "timeline_entries",
            columns: &[
                ("patient_id", Type::Text),
                ("event_id", Type::Text),
                ("content_hash", Type::Int),
                ("partition", Type::Int),
                ("log_offset", Type::Int),
                ("occurred_at", Type::Int),
                ("recorded_at", Type::Int),
                ("zone", Type::Text),
                ("kind", Type::Text),
                ("stage", Type::Text),
                ("journey_id", Type::Text),
                ("site", Type::Text),
                ("department", Type::Text),
                ("actor_role", Type::Text),
                ("modality", Type::Text),
                ("source_system", Type::Text),
                ("refs", Type::Json),
                ("target_event_id", Type::Text),
                ("event", Type::Json),
            ],
            key: 2,
            indexes: &[&["event_id"], &["journey_id"]],
        },
        Table {
            name: "patient_links",
            columns: &[
                ("patient_id", Type::Text),
                ("event_id", Type::Text),
                ("content_hash", Type::Int),
                ("surviving", Type::Text),
                ("retired", Type::Text),
                ("merged", Type::Int),
                ("occurred_at", Type::Int),
                ("recorded_at", Type::Int),
            ],
            key: 2,
            indexes: &[&["surviving"], &["retired"]],
        },
    ];

    fn rows(&self, event: &Event, partition: u32, offset: u64) -> (u64, Vec<(usize, Row)>) {
        let (json, hash) = (event.to_json(), event.content_hash());
        let replacement = match event {
            Event::EventCorrected(e) => crate::amendments::replacement(e),
            _ => None,
        };
        let holds = replacement.as_ref().unwrap_or(event);
        let mut out = vec![(ENTRIES, entry(event, holds, &json, hash, partition, offset))];
        if let Some((surviving, retired, merged)) = link(holds) {
            let h = event.header();
            let row = vec![
                (&*event.key()).into(),
                h.event_id.into(),
                Value::Int(hash.cast_signed()),
                surviving.into(),
                retired.into(),
                merged.into(),
                h.occurred_at.into(),
                h.recorded_at.into(),
            ];
            out.push((LINKS, row));
        }
        (hash, out)
    }
}

fn entry(event: &Event, holds: &Event, json: &str, hash: u64, partition: u32, offset: u64) -> Row {
    let h = event.header();
    let kind = event.kind();
    vec![
        (&*event.key()).into(),
        h.event_id.into(),
        Value::Int(hash.cast_signed()),
        Value::Int(i64::from(partition)),
        Value::Int(offset.cast_signed()),
        h.occurred_at.into(),
        h.recorded_at.into(),
        h.zone.as_str().into(),
        kind.as_str().into(),
        kind.stage().as_str().into(),
        holds.header().journey_id.clone().or_else(|| h.journey_id.clone()).into(),
        h.site.clone().into(),
        h.department.clone().into(),
        h.actor.as_ref().map(|a| a.role.as_str()).into(),
        h.modality.map(crate::event::Modality::as_str).into(),
        h.source.system.as_str().into(),
        refs(event).into(),
        target(event).into(),
        json.into(),
    ]
}

/// The references as a JSON array of `kind:id`.
fn refs(event: &Event) -> Option<String> {
    use crate::json::Json as _;
    let mut out = String::new();
    event.each_reference(|kind, id| {
        out.push(if out.is_empty() { '[' } else { ',' });
        format!("{}:{id}", kind.as_str()).write(&mut out);
    });
    (!out.is_empty()).then(|| out + "]")
}

/// The event that this one is about: what a correction replaces, a retraction takes back, or a link attributes.
#[must_use]
pub fn target(event: &Event) -> Option<&str> {
    match event {
        Event::EventCorrected(e) => Some(&e.target_event_id),
        Event::EventRetracted(e) => Some(&e.target_event_id),
        Event::FeedbackLinked(e) => Some(&e.target_event_id),
        _ => None,
    }
}

/// Whether the event ties two pseudonyms together or parts them: (surviving, retired, merged).
///
/// Changed identifiers count as a merge of the former pseudonym into the present one.
#[must_use]
pub fn link(event: &Event) -> Option<(&str, &str, bool)> {
    match event {
        Event::PatientsMerged(e) => Some((e.surviving.as_str(), e.retired.as_str(), true)),
        Event::PatientsUnmerged(e) => Some((e.surviving.as_str(), e.retired.as_str(), false)),
        Event::PatientIdentifiersChanged(e) => {
            Some((e.header.patient_id.as_ref()?.as_str(), e.retired.as_deref()?, true))
        }
        _ => None,
    }
    .filter(|(surviving, retired, _)| surviving != retired)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Kind;

    fn parse(json: &serde_json::Value) -> Event {
        Event::deserialize_record(Kind::from_name(json["type"].as_str().unwrap()).unwrap(), json).unwrap()
    }

    fn header(patient: Option<&str>) -> serde_json::Value {
        serde_json::json!({"event_id": "0190f5d0-0000-7000-8000-000000000001", "occurred_at": "2026-03-01T09:00:00+09:00",
            "zone": "Asia/Seoul", "recorded_at": "2026-03-01T00:05:00Z", "source": {"system": "emr"}, "patient_id": patient,
            "site": "s1", "modality": "in_person", "actor": {"role": "nurse"}})
    }

    fn get<'a>(table: usize, row: &'a Row, name: &str) -> &'a Value {
        let at = Timeline::TABLES[table].columns.iter().position(|(c, _)| *c == name).unwrap();
        &row[at]
    }

    #[test]
    fn an_event_is_one_row_of_the_tables_width() {
        let e =
            parse(&serde_json::json!({"type": "ConsultStarted", "header": header(Some("p1")), "encounter_id": "e\"1",
            "appointment_id": "a1"}));
        let (hash, rows) = Timeline.rows(&e, 3, 9);
        assert_eq!(hash, e.content_hash());
        assert_eq!(rows.len(), 1);
        let row = &rows[0].1;
        assert_eq!(row.len(), Timeline::TABLES[ENTRIES].columns.len());
        assert_eq!(get(ENTRIES, row, "patient_id"), &"p1".into());
        assert_eq!(get(ENTRIES, row, "content_hash"), &Value::Int(hash.cast_signed()));
        assert_eq!(get(ENTRIES, row, "occurred_at"), &Value::Int(1_772_323_200_000_000));
        assert_eq!(get(ENTRIES, row, "stage"), &"service".into());
        assert_eq!(get(ENTRIES, row, "refs"), &r#"["encounter:e\"1","appointment:a1"]"#.into());
        assert_eq!(get(ENTRIES, row, "actor_role"), &"nurse".into());
        assert_eq!(get(ENTRIES, row, "event"), &e.to_json().into());
    }

    #[test]
    fn staff_events_lie_under_the_site() {
        let e = parse(
            &serde_json::json!({"type": "StaffPulseAnswered", "header": header(None), "instrument": "x", "role": "nurse",
            "raw": 3.0, "scale_min": 1.0, "scale_max": 5.0}),
        );
        let (_, rows) = Timeline.rows(&e, 0, 0);
        assert_eq!(get(ENTRIES, &rows[0].1, "patient_id"), &"s1".into());
        assert_eq!(get(ENTRIES, &rows[0].1, "refs"), &Value::Null);
    }

    #[test]
    fn merges_unmerges_and_changed_identifiers_are_links() {
        let of = |kind: &str, more: serde_json::Value| {
            let mut e = serde_json::json!({"type": kind, "header": header(Some("p1"))});
            e.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let (_, rows) = Timeline.rows(&parse(&e), 0, 0);
            rows.get(1).map(|(table, row)| {
                assert_eq!((*table, row.len()), (LINKS, Timeline::TABLES[LINKS].columns.len()));
                (
                    get(LINKS, row, "surviving").clone(),
                    get(LINKS, row, "retired").clone(),
                    get(LINKS, row, "merged").clone(),
                )
            })
        };
        let both = serde_json::json!({"surviving": "p1", "retired": "p2"});
        assert_eq!(of("PatientsMerged", both.clone()), Some(("p1".into(), "p2".into(), Value::Int(1))));
        assert_eq!(of("PatientsUnmerged", both), Some(("p1".into(), "p2".into(), Value::Int(0))));
        let former = serde_json::json!({"retired": "p0"});
        assert_eq!(of("PatientIdentifiersChanged", former), Some(("p1".into(), "p0".into(), Value::Int(1))));
        assert_eq!(of("PatientIdentifiersChanged", serde_json::json!({})), None);
    }

    #[test]
    fn a_correction_is_found_by_what_it_puts_in_place() {
        let mut h = header(Some("p1"));
        h["journey_id"] = "j9".into();
        let with = serde_json::json!({"type": "PatientsMerged", "header": h, "surviving": "p1", "retired": "p3"});
        let e = parse(&serde_json::json!({"type": "EventCorrected", "header": header(Some("p1")), "reason": "r",
            "target_event_id": "0190f5d0-0000-7000-8000-000000000001", "replacement": with}));
        let (_, rows) = Timeline.rows(&e, 0, 0);
        assert_eq!(get(ENTRIES, &rows[0].1, "journey_id"), &"j9".into());
        assert_eq!(get(ENTRIES, &rows[0].1, "kind"), &"EventCorrected".into());
        assert_eq!(get(LINKS, &rows[1].1, "retired"), &"p3".into());
    }

    #[test]
    fn no_event_type_with_a_target_is_forgotten() {
        let with: Vec<&str> =
            Kind::ALL.iter().filter(|k| k.schema().contains("\"target_event_id\"")).map(|k| k.as_str()).collect();
        assert_eq!(with, ["EventCorrected", "EventRetracted", "FeedbackLinked"]);
        let linking: Vec<&str> =
            Kind::ALL.iter().filter(|k| k.schema().contains("\"retired\"")).map(|k| k.as_str()).collect();
        assert_eq!(linking, ["PatientIdentifiersChanged", "PatientsMerged", "PatientsUnmerged"]);
    }
}
