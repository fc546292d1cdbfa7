//! A batch writes the rows that differ from those that were written last, as the state remembers them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
#[path = "../../store/tests/common/mod.rs"]
mod databases;

use common::folding::{equals_the_fold, folded};
use common::running::{follow_ups, mot, project};
use common::{MemoryLog, event, some};
use domain::facts::Facts;
use domain::views::PatientFold;
use domain::views::mot::{Mot, SHIPPED, Standards};
use journeylog_projector::Folded;
use std::sync::Arc;
use store::{Engine, Store};

const PATIENTS: u64 = 10;

fn publish(log: &MemoryLog, range: std::ops::Range<u64>) {
    for n in range {
        log.publish(&some(n, PATIENTS));
    }
}

/// Takes back every third event, some of each patient: touchpoints and follow-ups that were made of it go.
fn retract(log: &MemoryLog, range: std::ops::Range<u64>) {
    for n in range.step_by(3) {
        let target = format!(r#""target_event_id":"00000000-0000-4000-8000-{n:012x}","reason":"entered twice""#);
        log.publish(&event("EventRetracted", n % PATIENTS, 1_000_000 + n, &target));
    }
}

/// Makes states of one view as they were before there were digests.
async fn forget<F: PatientFold>(view: &Folded<F>, store: &Store) -> usize {
    let table = format!("{}_state_g1", view.0);
    let sql = format!("SELECT patient_id, state FROM {table} ORDER BY patient_id");
    let states = store.engine().query(&sql, &[]).await.unwrap();
    let mut shorter = 0;
    for state in states.iter().step_by(2) {
        let bytes = Facts::<F::Fact>::from_bytes(state.bytes(1)).unwrap().to_bytes();
        shorter += usize::from(bytes.len() < state.bytes(1).len());
        let sql = format!("UPDATE {table} SET state = $2 WHERE patient_id = $1");
        store.engine().execute(&sql, &[state.text(0).into(), bytes.into()]).await.unwrap();
    }
    shorter
}

async fn rows_come_and_go<F: PatientFold + Clone>(view: &Folded<F>, store: &Store) {
    let log = MemoryLog::new(3);
    publish(&log, 0..210);
    project(view, &log, store).await;
    retract(&log, 0..70);
    publish(&log, 210..280);
    project(view, &log, store).await;
    equals_the_fold(&view.1, store, &log).await;
    assert!(forget(view, store).await > 0, "no state had digests");
    retract(&log, 70..280);
    publish(&log, 280..350);
    project(view, &log, store).await;
    equals_the_fold(&view.1, store, &log).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_and_go_over_states_of_every_version() {
    for db in databases::all().await {
        let store = Store::connect(&db.url, 8).await.unwrap();
        rows_come_and_go(&mot(), &store).await;
        rows_come_and_go(&follow_ups(), &store).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_another_standard_wrote_are_replaced() {
    for db in databases::all().await {
        let store = Store::connect(&db.url, 8).await.unwrap();
        let by = |n: usize| Folded("mot", Mot::new(Standards::parse(&[SHIPPED[n]]).unwrap()));
        let log: Arc<MemoryLog> = MemoryLog::new(3);
        publish(&log, 0..210);
        project(&by(0), &log, &store).await;
        assert!(folded(&by(0).1, &log) != folded(&by(1).1, &log), "the standards make the same rows");
        // One more event of each patient, after it one that takes others back, and over states that know nothing.
        publish(&log, 210..210 + PATIENTS);
        project(&by(1), &log, &store).await;
        equals_the_fold(&by(1).1, &store, &log).await;
        retract(&log, 0..70);
        project(&by(0), &log, &store).await;
        equals_the_fold(&by(0).1, &store, &log).await;
        assert!(forget(&by(0), &store).await > 0);
        publish(&log, 220..220 + PATIENTS);
        project(&by(1), &log, &store).await;
        equals_the_fold(&by(1).1, &store, &log).await;
    }
}
