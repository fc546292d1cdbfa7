//! Two generations of the view mot, compared.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use domain::table::Value;
use domain::views::mot::Mot;
use domain::views::{PatientFold as _, View};
use journeylog_store::views::mot::compare::{Group, journeys, touchpoints};
use journeylog_store::views::spec;
use journeylog_store::{Durability, Engine, Generation, State, Store, ViewSpec};

const SPEC: ViewSpec = spec(View::Mot);

/// Patient, id, kind, department, score.
type Touchpoint = (&'static str, &'static str, &'static str, Option<&'static str>, Option<i64>);

async fn fill(store: &Store, g: &Generation, rows: &[Touchpoint]) {
    let touchpoints: Vec<Vec<Value>> = rows
        .iter()
        .map(|(patient, id, kind, department, score)| {
            let mut row = vec![Value::Null; Mot::TABLES[0].columns.len()];
            let columns = ["patient_id", "touchpoint_id", "journey_id", "touchpoint", "department", "score"];
            let values =
                [(*patient).into(), (*id).into(), "j".into(), (*kind).into(), (*department).into(), (*score).into()];
            for (name, value) in columns.into_iter().zip(values) {
                row[Mot::TABLES[0].columns.iter().position(|c| c.0 == name).unwrap()] = value;
            }
            row
        })
        .collect();
    let journeys: Vec<Vec<Value>> = rows
        .iter()
        .map(|(patient, id, _, department, score)| {
            let mut row = vec![Value::Null; Mot::TABLES[2].columns.len()];
            row[..3].clone_from_slice(&[(*patient).into(), format!("j-{id}").into(), (*score).into()]);
            row[10] = (*department).into();
            row
        })
        .collect();
    let mut tx = store.begin(Durability::FromLog).await.unwrap();
    tx.upsert(g.target(0), &touchpoints.iter().map(Vec::as_slice).collect::<Vec<_>>()).await.unwrap();
    tx.upsert(g.target(2), &journeys.iter().map(Vec::as_slice).collect::<Vec<_>>()).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn generations_are_compared_by_touchpoint_department_and_journey() {
    for db in common::all().await {
        let store = Store::connect(&db.url, 2).await.unwrap();
        let before = store.ensure_view(SPEC, "{}").await.unwrap();
        let after = store.add_generation(SPEC, State::Frozen, "{}").await.unwrap();
        let waits = [
            ("p1", "a", "wait", Some("surgery"), Some(8_000)),
            ("p1", "b", "wait", None, Some(9_500)),
            ("p2", "a", "wait", Some("surgery"), None),
            ("p2", "c", "booking", Some("surgery"), Some(5_000)),
        ];
        fill(&store, &before, &waits).await;
        let later = [
            ("p1", "a", "wait", Some("surgery"), Some(9_000)),
            ("p1", "b", "wait", None, Some(9_400)),
            ("p2", "a", "wait", Some("surgery"), Some(100)),
            ("p2", "c", "booking", Some("surgery"), Some(5_000)),
            ("p3", "d", "wait", Some("surgery"), Some(7_000)),
        ];
        fill(&store, &after, &later).await;
        let pair = [before.number, after.number];
        let by = touchpoints(store.engine(), pair, Group::Touchpoint).await.unwrap();
        let wait = &by[0];
        assert_eq!((wait.name.as_deref(), wait.touchpoints, wait.changed), (Some("wait"), 4, 4));
        assert_eq!((wait.up, wait.down, wait.scored), (1, 1, [2, 4]));
        assert_eq!((wait.sum, wait.top), ([17_500, 25_500], [1, 2]));
        assert_eq!((by[1].name.as_deref(), by[1].changed, by.len()), (Some("booking"), 0, 2));
        let by = touchpoints(store.engine(), pair, Group::Department).await.unwrap();
        let names: Vec<_> = by.iter().map(|c| (c.name.as_deref(), c.changed)).collect();
        assert_eq!(names, [(Some("surgery"), 3), (None, 1)]);
        let (all, changed, examples) = journeys(store.engine(), pair, 3).await.unwrap();
        assert_eq!((all, changed), (5, 4));
        let shown: Vec<_> = examples.iter().map(|j| (j.journey_id.as_str(), j.score)).collect();
        let wanted = [("j-a", [None, Some(100)]), ("j-d", [None, Some(7_000)]), ("j-a", [Some(8_000), Some(9_000)])];
        assert_eq!(shown, wanted);
        assert!(touchpoints(store.engine(), [1, 9], Group::Touchpoint).await.is_err(), "there is no generation 9");
    }
}
