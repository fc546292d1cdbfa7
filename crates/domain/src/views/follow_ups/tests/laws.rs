use super::*;
use crate::testing;
use proptest::prelude::*;

fn fold(events: &[Event]) -> Vec<Row> {
    Story(events.to_vec()).rows()
}

/// Believable events about few subjects, so that they meet.
fn any_event() -> impl Strategy<Value = Event> {
    let kinds = Kind::ALL.len();
    (0..kinds, 0..400_u64, 0..200_i32, 0..4_u8).prop_map(|(kind, seed, at, subject)| {
        let mut v: Json = serde_json::from_str(&testing::example(Kind::ALL[kind], seed).to_json()).unwrap();
        let name = v.as_object_mut().unwrap().remove("type").unwrap();
        let time = Micros(hours(f64::from(at))).to_string();
        v["header"]["occurred_at"] = json!(time);
        v["header"]["recorded_at"] = json!(time);
        v["header"]["patient_id"] = json!("p1");
        v["header"]["department"] = json!("ortho");
        for (field, kind) in [
            ("encounter_id", "e"),
            ("appointment_id", "a"),
            ("referral_id", "r"),
            ("order_id", "o"),
            ("claim_id", "b"),
            ("complaint_id", "c"),
            ("question_id", "q"),
        ] {
            if v.get(field).is_some() {
                v[field] = json!(format!("{kind}{subject}"));
            }
        }
        if v.get("recall_kind").is_some() {
            v["recall_kind"] = json!(if subject % 2 == 0 { "re_exam" } else { "scaling" });
        }
        if v.get("item_id").is_some() {
            let items = [(ItemKind::PostVisit, "e"), (ItemKind::Complaint, "c"), (ItemKind::NoShow, "a")];
            let (kind, prefix) = items[usize::try_from(seed % 3).unwrap()];
            v["item_id"] = json!(id(kind, &format!("{prefix}{subject}")));
        }
        Event::deserialize_record(Kind::from_name(name.as_str().unwrap()).unwrap(), v).unwrap()
    })
}

/// Each event with an id of its own, and corrections and retractions of some of them.
fn history() -> impl Strategy<Value = Vec<Event>> {
    let edits = prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..3_u8), 0..6);
    (prop::collection::vec(any_event(), 1..40), edits).prop_map(|(mut events, edits)| {
        for (i, e) in events.iter_mut().enumerate() {
            e.header_mut().event_id = id_of(i);
        }
        for (target, other, how) in edits {
            let (target, other) = (target.get(&events).clone(), other.get(&events).clone());
            let to = target.header().event_id;
            let at = f64::from(u8::try_from(events.len()).unwrap());
            let body = if how == 0 {
                ("EventRetracted", json!({"target_event_id": to.to_string(), "reason": "x"}))
            } else {
                let mut new = other;
                new.header_mut().event_id = to;
                (
                    "EventCorrected",
                    json!({"target_event_id": to.to_string(), "reason": "x", "replacement": new.to_json()}),
                )
            };
            events.push(event(id_of(events.len()), body.0, at, &body.1));
        }
        events
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_order_and_duplication_gives_the_same_rows(
        (events, shuffled) in history().prop_flat_map(|h| (Just(h.clone()), Just([h.clone(), h].concat()).prop_shuffle())),
    ) {
        prop_assert_eq!(fold(&events), fold(&shuffled));
    }

    #[test]
    fn any_batch_split_gives_the_same_rows(events in history(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..5)) {
        let mut cuts: Vec<usize> = cuts.iter().map(|c| c.index(events.len())).collect();
        cuts.extend([0, events.len()]);
        cuts.sort_unstable();
        let mut state = Facts::<Fact>::default().to_bytes();
        for w in cuts.windows(2) {
            let mut facts: Facts<Fact> = Facts::from_bytes(&state).unwrap();
            for e in &events[w[0]..w[1]] {
                if let Some(f) = FollowUps.fact(e) {
                    facts.add(e.header().event_id, e.content_hash(), f);
                }
            }
            state = facts.to_bytes();
        }
        let facts = Facts::from_bytes(&state).unwrap();
        prop_assert_eq!(fold(&events), FollowUps.rows("p1", &facts).remove(0));
    }

    #[test]
    fn items_are_unique_and_whole(events in history()) {
        let rows = fold(&events);
        let mut ids = std::collections::BTreeSet::new();
        for row in rows.into_iter().map(Seen) {
            prop_assert_eq!(row.0.len(), COLUMNS.len());
            prop_assert!(ids.insert(row.text("item_id").to_owned()));
            let ended = row.get("closed_at") != &Value::Null;
            prop_assert_eq!(ended, row.text("status") != "open");
            prop_assert!(!ended || row.int("closed_at") >= row.int("opened_at"));
            prop_assert!(!ended || !row.text("status_reason").is_empty());
            prop_assert!(serde_json::from_str::<Json>(row.text("reasons")).is_ok());
        }
    }
}

#[test]
fn ids_are_for_ever() {
    assert_eq!(id(ItemKind::PostVisit, "e1"), item_id("p1", ItemKind::PostVisit, "e1").to_string());
    assert_eq!(id(ItemKind::PostVisit, "e1"), "038f6f61-beb7-5209-b546-9174b7cfac9b");
    assert_ne!(id(ItemKind::PostVisit, "e1"), item_id("p2", ItemKind::PostVisit, "e1").to_string());
}
