//! A fold that panics parks one patient: the letter says `unfoldable`, the others go on.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::running::{follow_ups, project};
use common::{MemoryLog, event};
use domain::Event;
use domain::facts::Facts;
use domain::table::{Row, Table};
use domain::views::PatientFold;
use domain::views::follow_ups::FollowUps;
use journeylog_projector::{Folded, Projection as _};
use store::Store;

/// The follow-up queue, with a fault in taking one kind of event and one in making rows of another.
#[derive(Clone)]
struct Faults;

impl PatientFold for Faults {
    type Fact = <FollowUps as PatientFold>::Fact;

    const VERSION: u32 = FollowUps::VERSION;

    const TABLES: &'static [Table] = FollowUps::TABLES;

    fn fact(&self, event: &Event) -> Option<Self::Fact> {
        assert!(!matches!(event, Event::BillDisputed(_)), "a fault in taking it");
        FollowUps.fact(event)
    }

    fn rows(&self, patient: &str, facts: &Facts<Self::Fact>) -> Vec<Vec<Row>> {
        let rows = FollowUps.rows(patient, facts);
        let complaint = |row: &Row| row[2] == "complaint".into();
        assert!(!rows.iter().flatten().any(complaint), "a fault in making rows");
        rows
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fold_that_panics_parks_one_patient() {
    let store = Store::connect("sqlite::memory:", 1).await.unwrap();
    let log = MemoryLog::new(2);
    let ended = |p: u64, n: u64| event("ConsultEnded", p, n, &format!(r#""encounter_id":"e-{n}""#));
    log.publish(&ended(1, 1));
    let taken = log.publish(&event("BillDisputed", 1, 2, r#""claim_id":"c""#));
    let after_taken = log.publish(&ended(1, 3));
    log.publish(&ended(2, 4));
    let folded = log.publish(&event("ComplaintFiled", 2, 5, r#""complaint_id":"x","severity":"low""#));
    let after_folded = log.publish(&ended(2, 6));
    log.publish(&ended(3, 7));
    let view = Folded(follow_ups().spec().name, Faults);
    project(&view, &log, &store).await;

    let mut letters = store.dead_letters(Some("follow_ups"), None, 100).await.unwrap();
    letters.sort_by_key(|l| (l.partition, l.offset));
    let of = |p: &eventlog::Position| {
        let l =
            letters.iter().find(|l| (l.partition, l.offset) == (p.partition.into(), p.offset.cast_signed())).unwrap();
        (l.code.as_str(), l.parked_behind)
    };
    assert_eq!(letters.len(), 4, "{letters:?}");
    assert_eq!((of(&taken), of(&folded)), (("unfoldable", false), ("unfoldable", false)));
    assert!(of(&after_taken).1 && of(&after_folded).1, "they wait");
    let rows = "SELECT patient_id, count(*) FROM follow_up_items GROUP BY patient_id ORDER BY patient_id";
    let rows = store.engine().query(rows, &[]).await.unwrap();
    let rows: Vec<_> = rows.iter().map(|r| (r.text(0), r.int(1))).collect();
    assert_eq!(rows, [("p-1", 1), ("p-2", 1), ("p-3", 1)], "what came before the fault counts");
}
