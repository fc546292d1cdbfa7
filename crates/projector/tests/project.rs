//! The projector on every store there is: exactly once, in whatever way it is disturbed.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
#[path = "../../store/tests/common/mod.rs"]
mod databases;

use common::faulty::Faulty;
use common::folding::{dump, equals_the_fold};
use common::running::{Running, follow_ups, mot, options, seen, seen_by, timeline};
use common::{MemoryLog, event, some};
use domain::Event;
use domain::table::Row;
use domain::views::EventRows;
use domain::views::follow_ups::FollowUps;
use domain::views::timeline::Timeline;
use journeylog_projector::{Options, Projection as _};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use store::{Engine, State, Store};

/// From one small transaction of a folded view to the next, at least, milliseconds.
const GATHER_MS: u128 = 25;

/// Ids and places of a timeline without repetition.
async fn timeline_is_right(store: &Store, log: &MemoryLog) {
    let mut first: BTreeMap<(String, String), Row> = BTreeMap::new();
    for r in log.all() {
        let e = codec::decode(&r.value).unwrap();
        for (table, row) in Timeline.rows(&e, r.position.partition, r.position.offset).1 {
            if table == 0 {
                first.entry((e.key().into_owned(), e.header().event_id.to_string())).or_insert(row);
            }
        }
    }
    let wanted: Vec<Row> = first.into_values().collect();
    assert!(dump(store, &Timeline::TABLES[0]).await == wanted, "timeline_entries differs");
}

fn publish(log: &MemoryLog, range: std::ops::Range<u64>) {
    for n in range {
        log.publish(&some(n, 23));
        if n % 5 == 0 {
            log.publish(&some(n / 2, 23)); // resent, late
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_one_by_one_is_gathered() {
    let store = Store::connect("sqlite::memory:", 1).await.unwrap();
    let (log, transactions) = (MemoryLog::new(1), Arc::new(AtomicU32::new(0)));
    let counted = transactions.clone();
    let written = Arc::new(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
    });
    let view = Arc::new(Faulty { written, ..Faulty::new(follow_ups()) });
    let begun = Instant::now();
    let running = Running::start(view.clone(), &log, &store, &Options { workers: 1, ..options() });
    for n in 0..200 {
        log.publish(&some(n, 23));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    seen(&store, "follow_ups", &log).await;
    let most = begun.elapsed().as_millis() / GATHER_MS + 1;
    running.stop().await;
    let transactions = transactions.load(Ordering::Relaxed);
    assert!(transactions > 1 && u128::from(transactions) <= most, "{transactions} transactions, at most {most}");
    equals_the_fold(&FollowUps, &store, &log).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn views_equal_the_fold_of_the_log() {
    for db in databases::all().await {
        let store = Store::connect(&db.url, 12).await.unwrap();
        let log = MemoryLog::new(6);
        publish(&log, 0..600);
        let running = [
            Running::start(timeline(), &log, &store, &options()),
            Running::start(mot(), &log, &store, &options()),
            Running::start(follow_ups(), &log, &store, &options()),
        ];
        publish(&log, 600..1_000);
        for view in ["timeline", "mot", "follow_ups"] {
            seen(&store, view, &log).await;
        }
        for r in running {
            r.stop().await;
        }
        timeline_is_right(&store, &log).await;
        equals_the_fold(&mot().1, &store, &log).await;
        equals_the_fold(&follow_ups().1, &store, &log).await;
        assert!(store.dead_letters(None, None, 10).await.unwrap().is_empty());
    }
}

/// SQLite rolls back by itself when the disk is full.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_waited_out() {
    let db = databases::sqlite();
    let store = Store::connect(&db.url, 1).await.unwrap();
    let log = MemoryLog::new(1);
    let running = Running::start(timeline(), &log, &store, &options());
    publish(&log, 0..10);
    seen(&store, "timeline", &log).await;
    // no page more than there are, for the only connection that there is
    store.engine().query("PRAGMA max_page_count = 1", &[]).await.unwrap();
    publish(&log, 10..600);
    tokio::time::sleep(Duration::from_millis(300)).await;
    store.engine().query("PRAGMA max_page_count = 1000000", &[]).await.unwrap();
    seen(&store, "timeline", &log).await;
    running.stop().await;
    timeline_is_right(&store, &log).await;
}

/// Killed anywhere, also between commit and report; two at once on every partition.
#[tokio::test(flavor = "multi_thread")]
async fn killed_and_fenced() {
    for db in databases::all().await {
        let store = Store::connect(&db.url, 16).await.unwrap();
        let log = MemoryLog::new(6);
        let other = Store::connect(&db.url, 16).await.unwrap();
        for round in 0..12_u64 {
            publish(&log, round * 150..(round + 1) * 150);
            let a = Running::start(follow_ups(), &log, &store, &options());
            let b = Running::start(follow_ups(), &log, &other, &options());
            let t = Running::start(timeline(), &log, &store, &options());
            let u = Running::start(timeline(), &log, &other, &Options { workers: 2, ..options() });
            tokio::time::sleep(Duration::from_millis(5 + round * 7 % 60)).await;
            a.kill().await;
            t.kill().await;
            tokio::time::sleep(Duration::from_millis(round * 5 % 30)).await;
            b.kill().await;
            u.kill().await;
        }
        let a = Running::start(follow_ups(), &log, &store, &options());
        let b = Running::start(follow_ups(), &log, &other, &options());
        let t = Running::start(timeline(), &log, &store, &options());
        let u = Running::start(timeline(), &log, &other, &options());
        seen(&store, "follow_ups", &log).await;
        seen(&store, "timeline", &log).await;
        for r in [a, b, t, u] {
            r.stop().await;
        }
        equals_the_fold(&follow_ups().1, &store, &log).await;
        timeline_is_right(&store, &log).await;
        assert!(store.dead_letters(None, None, 10).await.unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_parks_one_patient() {
    for db in databases::all().await {
        let store = Store::connect(&db.url, 12).await.unwrap();
        let log = MemoryLog::new(2);
        log.publish(&event("PatientCheckedIn", 1, 1, ""));
        let poison = log.put(b"p-1", b"\x07nonsense".to_vec());
        let running = Running::start(timeline(), &log, &store, &options());
        seen(&store, "timeline", &log).await;
        let mut waiting = Vec::new();
        for n in 2..8 {
            waiting.push(log.publish(&event("PatientCheckedIn", 1, n, "")));
            log.publish(&event("PatientCheckedIn", 2, 100 + n, ""));
        }
        let keyless = log.put(b"", b"\x07".to_vec());
        let (misled, mut value) = (event("PatientCheckedIn", 2, 52, ""), Vec::new());
        codec::encode(&misled, &mut value);
        let partitions = u32::try_from(log.ends().len()).unwrap();
        let key = misled.key().as_bytes().to_vec();
        let misled = log.put_into((eventlog::partition_of(&key, partitions) + 1) % partitions, &key, value);
        let mut stranger = Vec::new();
        codec::encode(&event("PatientCheckedIn", 2, 50, ""), &mut stranger);
        let stranger = log.put(b"p-3", stranger);
        log.publish(&event("PatientCheckedIn", 3, 51, ""));
        // What no PostgreSQL takes: U+0000 in a text, and more than 2,704 bytes in an index.
        let long: String = (0..800).map(|n| format!("{:08x}", u32::wrapping_mul(n, 2_654_435_761))).collect();
        let nul = log.publish(&event("PatientCheckedIn", 4, 60, r#""appointment_id":"a\u0000""#));
        let reference = log.publish(&event("PatientCheckedIn", 5, 61, &format!(r#""encounter_id":"{long}""#)));
        let key = log.put(long.as_bytes(), b"\x07".to_vec());
        seen(&store, "timeline", &log).await;
        running.stop().await;
        let letters = store.dead_letters(Some("timeline"), None, 100).await.unwrap();
        let at = |p: &eventlog::Position| {
            letters
                .iter()
                .find(|l| (l.partition, l.offset) == (p.partition.into(), p.offset.try_into().unwrap()))
                .unwrap()
        };
        assert_eq!(letters.len(), 7 + waiting.len());
        assert_eq!((at(&misled).code.as_str(), at(&misled).parked_behind), ("wrong_partition", false));
        assert_eq!(at(&nul).code, "undecodable");
        assert_eq!((at(&reference).code.as_str(), at(&key).code.as_str()), ("unstorable", "unstorable"));
        assert_eq!((at(&poison).code.as_str(), at(&poison).parked_behind), ("undecodable", false));
        assert_eq!(at(&keyless).code, "no_key");
        assert_eq!(at(&stranger).code, "wrong_key");
        assert!(waiting.iter().all(|p| at(p).parked_behind && at(p).key_hash == at(&poison).key_hash));
        let rows = "SELECT patient_id, count(*) FROM timeline_entries GROUP BY patient_id ORDER BY patient_id";
        let rows = store.engine().query(rows, &[]).await.unwrap();
        let rows: Vec<_> = rows.iter().map(|r| (r.text(0), r.int(1))).collect();
        assert_eq!(rows, [("p-1", 1), ("p-2", 6), ("p-3", 1)]);
    }
}

/// Makes the database refuse rows of a table, as an operator's constraint or a limit of the engine would.
async fn refuse(store: &Store, table: &str, column: &str, value: &str) {
    let sql = if store.engine().is_postgres() {
        format!("ALTER TABLE {table} ADD CONSTRAINT refused CHECK ({column} <> '{value}')")
    } else {
        format!(
            "CREATE TRIGGER refused_{table} BEFORE INSERT ON {table} WHEN NEW.{column} = '{value}' \
             BEGIN SELECT RAISE(ABORT, 'refused'); END"
        )
    };
    store.engine().execute(&sql, &[]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_database_refuses_parks_one_patient() {
    for db in databases::all().await {
        let store = Store::connect(&db.url, 12).await.unwrap();
        store.ensure_view(timeline().spec(), "{}").await.unwrap();
        store.ensure_view(follow_ups().spec(), "{}").await.unwrap();
        refuse(&store, "timeline_entries_g1", "department", "refused").await;
        refuse(&store, "follow_up_items_g1", "subject", "refused").await;
        let (log, sound) = (MemoryLog::new(2), MemoryLog::new(2));
        let complaint =
            |n, id: &str| event("ComplaintFiled", 1, n, &format!(r#""complaint_id":"{id}","severity":"severe""#));
        let both = |e: &Event| {
            log.publish(e);
            sound.publish(e);
        };
        publish(&log, 0..70);
        publish(&sound, 0..70);
        both(&complaint(9_001, "before"));
        let Event::ComplaintFiled(mut bad) = complaint(9_002, "refused") else { unreachable!() };
        bad.header.department = Some("refused".into());
        let bad = log.publish(&Event::ComplaintFiled(bad));
        let mut behind = vec![log.publish(&complaint(9_003, "behind"))];
        publish(&log, 70..72);
        publish(&sound, 70..72);
        let many = Options { batch: 1_000, in_flight: 1_000, workers: 1, ..Options::default() };
        let running =
            [Running::start(timeline(), &log, &store, &many), Running::start(follow_ups(), &log, &store, &many)];
        seen(&store, "timeline", &log).await;
        seen(&store, "follow_ups", &log).await;
        behind.push(log.publish(&complaint(9_004, "later")));
        publish(&log, 72..90);
        for n in 72..90 {
            // p-1 is parked; its later events wait.
            for e in [Some(some(n, 23)), (n % 5 == 0).then(|| some(n / 2, 23))].into_iter().flatten() {
                if e.key() != "p-1" {
                    sound.publish(&e);
                }
            }
        }
        seen(&store, "timeline", &log).await;
        seen(&store, "follow_ups", &log).await;
        for r in running {
            r.stop().await;
        }
        for view in ["timeline", "follow_ups"] {
            let letters = store.dead_letters(Some(view), None, 100).await.unwrap();
            let at = |p: &eventlog::Position| {
                letters
                    .iter()
                    .find(|l| (l.partition, l.offset) == (p.partition.into(), p.offset.cast_signed()))
                    .unwrap()
            };
            assert_eq!((at(&bad).code.as_str(), at(&bad).parked_behind), ("unstorable", false), "{view}");
            assert!(behind.iter().all(|p| at(p).parked_behind), "{view}");
            assert_eq!(letters.iter().filter(|l| !l.parked_behind).count(), 1, "{view}");
            assert!(letters.iter().all(|l| l.key_hash == at(&bad).key_hash), "{view}");
        }
        equals_the_fold(&follow_ups().1, &store, &sound).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_content_under_a_used_id_parks_nobody() {
    for db in databases::all().await {
        let store = Store::connect(&db.url, 12).await.unwrap();
        let log = MemoryLog::new(2);
        let complaint =
            |severity: &str| event("ComplaintFiled", 1, 1, &format!(r#""complaint_id":"c","severity":"{severity}""#));
        log.publish(&complaint("low"));
        let same_batch = log.publish(&complaint("high"));
        let running = [
            Running::start(timeline(), &log, &store, &options()),
            Running::start(follow_ups(), &log, &store, &options()),
        ];
        seen(&store, "timeline", &log).await;
        seen(&store, "follow_ups", &log).await;
        let later = log.publish(&complaint("severe"));
        log.publish(&complaint("low"));
        log.publish(&event("PatientCheckedIn", 1, 2, ""));
        seen(&store, "timeline", &log).await;
        seen(&store, "follow_ups", &log).await;
        for r in running {
            r.stop().await;
        }
        for view in ["timeline", "follow_ups"] {
            let letters = store.dead_letters(Some(view), None, 100).await.unwrap();
            let at: Vec<_> = letters.iter().map(|l| (l.offset.unsigned_abs(), l.code.as_str())).collect();
            assert_eq!(at, [(same_batch.offset, "conflict"), (later.offset, "conflict")], "{view}");
        }
        assert_eq!(dump(&store, &Timeline::TABLES[0]).await.len(), 2);
        equals_the_fold(&follow_ups().1, &store, &log).await;
    }
}

/// A database that lost commits, or was restored: the log gives them again.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_went_back_is_filled_again() {
    for db in databases::all().await {
        let store = Store::connect(&db.url, 12).await.unwrap();
        let log = MemoryLog::new(3);
        publish(&log, 0..200);
        let running = Running::start(timeline(), &log, &store, &options());
        seen(&store, "timeline", &log).await;
        store.engine().execute("DELETE FROM timeline_entries_g1 WHERE log_offset >= 10", &[]).await.unwrap();
        store.engine().execute("UPDATE checkpoints SET next_offset = 10, last_hash = 0", &[]).await.unwrap();
        publish(&log, 200..210);
        seen(&store, "timeline", &log).await;
        running.stop().await;
        timeline_is_right(&store, &log).await;
    }
}

/// A further generation is followed as soon as there is one, a paused view rests, and a dropped generation stops nobody.
#[tokio::test(flavor = "multi_thread")]
async fn generations_are_followed_paused_and_dropped() {
    for db in databases::all().await {
        let store = Store::connect(&db.url, 16).await.unwrap();
        let log = MemoryLog::new(3);
        publish(&log, 0..100);
        let running = Running::start(timeline(), &log, &store, &options());
        seen(&store, "timeline", &log).await;
        let second = store.add_generation(timeline().spec(), State::Following, "{}").await.unwrap();
        assert_eq!(second.number, 2);
        publish(&log, 100..150);
        seen_by(&store, "timeline", 2, &log).await;
        seen(&store, "timeline", &log).await;

        assert!(store.pause("timeline", true).await.unwrap() && !store.pause("timeline", true).await.unwrap());
        tokio::time::sleep(Duration::from_secs(1)).await;
        let before = (store.checkpoints("timeline", 1).await.unwrap(), store.checkpoints("timeline", 2).await.unwrap());
        publish(&log, 150..200);
        tokio::time::sleep(Duration::from_millis(300)).await;
        let after = (store.checkpoints("timeline", 1).await.unwrap(), store.checkpoints("timeline", 2).await.unwrap());
        assert_eq!(before, after);
        assert!(store.pause("timeline", false).await.unwrap());
        seen_by(&store, "timeline", 2, &log).await;
        seen(&store, "timeline", &log).await;

        let entries = |g: i64| format!("SELECT * FROM timeline_entries_g{g} ORDER BY patient_id, event_id");
        let (first, second) =
            (store.engine().query(&entries(1), &[]).await, store.engine().query(&entries(2), &[]).await);
        assert_eq!(first.unwrap(), second.unwrap());

        assert!(store.drop_generation("timeline", 1).await.is_err(), "readers see it");
        store.drop_generation("timeline", 2).await.unwrap();
        publish(&log, 200..250);
        seen(&store, "timeline", &log).await;
        assert!(store.engine().query(&entries(2), &[]).await.is_err());
        // A number is never used again.
        assert_eq!(store.add_generation(timeline().spec(), State::Building, "{}").await.unwrap().number, 3);
        running.stop().await;
        timeline_is_right(&store, &log).await;
    }
}
