//! Leases of follow-up items, and the list that they stand beside.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use domain::Micros;
use domain::table::Value;
use domain::time::{DAY, HOUR, MINUTE};
use domain::views::View;
use domain::views::follow_ups::{COLUMNS, priority};
use journeylog_store::views::follow_ups::leases::{Asked, Lease};
use journeylog_store::views::follow_ups::{Filter, ItemRow, Place, find, leases, list};
use journeylog_store::{Durability, Engine, Row, Store};

const ITEM: &str = "5e0bd9c8-0000-5000-8000-000000000001";
/// The same item under another pseudonym.
const OTHER: &str = "5e0bd9c8-0000-5000-8000-000000000002";
const NOW: i64 = 1_700_000_000_000_000;

fn ids(of: &[&str]) -> Vec<String> {
    of.iter().map(|id| (*id).to_owned()).collect()
}

/// The lease that a claim or a renewal gave.
fn given(asked: Asked) -> Option<Lease> {
    if let Asked::Given(lease) = asked { Some(lease) } else { None }
}

async fn claim(e: &Engine, of: &[&str], holder: &str, now: i64) -> Option<Lease> {
    given(leases::claim(e, &ids(of), holder, now).await.unwrap())
}

async fn renew(e: &Engine, of: &[&str], holder: &str, token: i64, now: i64) -> Asked {
    leases::renew(e, &ids(of), holder, token, now).await.unwrap()
}

async fn release(e: &Engine, of: &[&str], holder: &str, token: i64, now: i64) -> bool {
    leases::release(e, &ids(of), holder, token, now).await.unwrap()
}

async fn stores() -> Vec<(common::Database, Store)> {
    let mut all = Vec::new();
    for db in common::all().await {
        let store = Store::connect(&db.url, 12).await.unwrap();
        all.push((db, store));
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_who_claim_at_once_exactly_one_wins() {
    for (_db, store) in stores().await {
        for round in 0..8 {
            let now = NOW + round * HOUR;
            let claims = (0..40).map(|n| {
                let engine = store.engine().clone();
                // some know of a merge already, and not all which pseudonym goes first
                let of = [vec![ITEM], vec![ITEM, OTHER], vec![OTHER, ITEM]][if round < 3 { 0 } else { n % 3 }].clone();
                tokio::spawn(async move { claim(&engine, &of, &format!("nurse-{n}"), now).await })
            });
            let claims: Vec<_> = claims.collect();
            let mut won = Vec::new();
            for c in claims {
                won.extend(c.await.unwrap());
            }
            assert_eq!(won.len(), 1);
            assert_eq!(won[0].token, round + 1, "the token grows over expiry");
        }
    }
}

#[tokio::test]
async fn a_lease_is_renewed_released_and_runs_out() {
    for (_db, store) in stores().await {
        let e: &Engine = store.engine();
        let of = [ITEM];
        let first = claim(e, &of, "kim", NOW).await.unwrap();
        assert_eq!((first.token, first.expires_at), (1, NOW + 15 * MINUTE));
        let held = leases::claim(e, &ids(&of), "kim", NOW + MINUTE).await.unwrap();
        assert_eq!(held, Asked::Held(first), "even by the same name");
        let later = NOW + 10 * MINUTE;
        let renewed = given(renew(e, &of, "kim", 1, later).await).unwrap();
        assert_eq!(renewed.expires_at, later + 15 * MINUTE);
        assert_eq!(renew(e, &of, "kim", 2, later).await, Asked::Stale);
        assert_eq!(renew(e, &of, "lee", 1, later).await, Asked::Stale);
        assert_eq!(claim(e, &of, "lee", NOW + 20 * MINUTE).await, None, "it was renewed");
        let over = later + 15 * MINUTE;
        assert_eq!(renew(e, &of, "kim", 1, over).await, Asked::Stale, "it has run out");
        let keys = [&ITEM.to_owned()];
        assert!(leases::held(e, &keys, over).await.unwrap().is_empty());
        assert_eq!(claim(e, &of, "lee", over).await.unwrap().token, 2);
        assert!(!release(e, &of, "kim", 1, over).await, "stale");
        assert_eq!(leases::held(e, &keys, over).await.unwrap()[ITEM].holder, "lee");
        assert!(release(e, &of, "lee", 2, over).await);
        assert!(leases::held(e, &keys, over).await.unwrap().is_empty());
        assert_eq!(claim(e, &of, "kim", over).await.unwrap().token, 3, "over a release as well");
    }
}

#[tokio::test]
async fn the_leases_of_items_that_a_merge_unites_are_one() {
    for (_db, store) in stores().await {
        let e: &Engine = store.engine();
        let united = [OTHER, ITEM];
        for _ in 0..3 {
            let lease = claim(e, &[ITEM], "lee", NOW).await.unwrap();
            release(e, &[ITEM], "lee", lease.token, NOW).await;
        }
        let lee = claim(e, &[ITEM], "lee", NOW).await.unwrap();
        let (of, at) = (ids(&united), NOW + MINUTE);
        assert_eq!(leases::claim(e, &of, "kim", at).await.unwrap(), Asked::Held(lee.clone()));
        let lee = given(renew(e, &united, "lee", lee.token, at).await).unwrap();
        assert_eq!(leases::claim(e, &of, "kim", at + 14 * MINUTE).await.unwrap(), Asked::Held(lee.clone()));
        assert!(release(e, &united, "lee", lee.token, at).await);
        let kim = claim(e, &united, "kim", at).await.unwrap();
        assert_eq!(kim.token, 5, "above what either id had");
        assert_eq!(renew(e, &united, "lee", lee.token, at).await, Asked::Stale);
        for alone in [ITEM, OTHER] {
            assert!(given(renew(e, &[alone], "kim", kim.token, at).await).is_some(), "after an unmerge as well");
        }
        assert!(release(e, &[ITEM], "kim", kim.token, at).await);
        let lee = claim(e, &[ITEM], "lee", at).await.unwrap();
        assert_eq!(lee.token, 6);
        // both sides are held when they are united once more
        let now = given(renew(e, &united, "kim", kim.token, at).await).unwrap();
        assert_eq!(renew(e, &united, "lee", lee.token, at).await, Asked::Held(now), "the first id's goes before");
        assert!(release(e, &united, "kim", kim.token, at).await);
        assert!(given(renew(e, &united, "lee", lee.token, at).await).is_some(), "once that is given back");
    }
}

#[tokio::test]
async fn the_first_request_under_a_key_is_remembered_for_a_week() {
    for (_db, store) in stores().await {
        let e = store.engine();
        let first = leases::remember(e, ITEM, "k", "print", NOW, None).await.unwrap();
        assert_eq!((first.at, first.answer), (NOW, None));
        leases::answer(e, ITEM, "k", NOW, "{}").await.unwrap();
        let again = leases::remember(e, ITEM, "k", "other", NOW + DAY, None).await.unwrap();
        assert_eq!((again.fingerprint.as_str(), again.at, again.answer.as_deref()), ("print", NOW, Some("{}")));
        leases::remember(e, ITEM, "new", "print", NOW + 8 * DAY, None).await.unwrap();
        assert!(leases::requests(e, &ids(&[ITEM]), "k").await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_request_that_is_done_gives_way_to_one_that_knows_it() {
    for (_db, store) in stores().await {
        let e = store.engine();
        leases::remember(e, ITEM, "k", "first", NOW, None).await.unwrap();
        leases::answer(e, ITEM, "k", NOW, "{}").await.unwrap();
        let second = leases::remember(e, ITEM, "k", "second", NOW + 1, Some(NOW)).await.unwrap();
        assert_eq!((second.fingerprint.as_str(), second.at, second.answer.as_deref()), ("second", NOW + 1, None));
        let late = leases::remember(e, ITEM, "k", "late", NOW + 2, Some(NOW)).await.unwrap();
        assert_eq!(late, second);
        leases::answer(e, ITEM, "k", NOW, "late").await.unwrap();
        assert_eq!(leases::requests(e, &ids(&[OTHER, ITEM]), "k").await.unwrap(), [second]);
    }
}

/// An item's row, whose `i`-th column holds what tells it apart from all others.
fn row(id: usize, status: &str, points: i64, due: Option<i64>) -> Vec<Value> {
    let given = |name: &str| match name {
        "patient_id" => Some(Value::from("p")),
        "item_id" => Some(format!("{id:08}").into()),
        "status" => Some(status.into()),
        "points" => Some(points.into()),
        "due_at" | "act_at" => Some(due.into()),
        _ => None,
    };
    let filler = |i: usize, ty| match ty {
        domain::table::Type::Int => Value::Int(i64::try_from(i).unwrap()),
        _ => Value::Text(format!("c{i}")),
    };
    COLUMNS.iter().enumerate().map(|(i, (name, ty))| given(name).unwrap_or_else(|| filler(i, *ty))).collect()
}

async fn filled(store: &Store, rows: &[Vec<Value>]) {
    let generation = store.ensure_view(journeylog_store::views::spec(View::FollowUps), "{}").await.unwrap();
    let mut tx = store.begin(Durability::FromLog).await.unwrap();
    let refs: Vec<&[Value]> = rows.iter().map(Vec::as_slice).collect();
    tx.upsert(generation.target(0), &refs).await.unwrap();
    tx.commit().await.unwrap();
}

#[test]
fn every_column_is_read_from_its_place() {
    let r = ItemRow::from(&Row(row(1, "open", 7, None)));
    let at = |name: &str| COLUMNS.iter().position(|c| c.0 == name).unwrap();
    let text = |name: &str| format!("c{}", at(name));
    let int = |name: &str| i64::try_from(at(name)).unwrap();
    assert_eq!(
        (r.item_id.as_str(), r.status.as_str(), r.points, r.due_at, r.act_at),
        ("00000001", "open", 7, None, None)
    );
    assert_eq!(
        (r.kind, r.subject, r.zone, r.journey_id),
        (text("kind"), text("subject"), text("zone"), text("journey_id"))
    );
    assert_eq!((r.status_reason, r.site), (Some(text("status_reason")), Some(text("site"))));
    assert_eq!((r.encounter_id, r.appointment_id), (Some(text("encounter_id")), Some(text("appointment_id"))));
    assert_eq!((r.trigger_event_id, r.opened_at), (text("trigger_event_id"), int("opened_at")));
    assert_eq!((r.closed_at, r.closed_by), (Some(int("closed_at")), Some(text("closed_by"))));
    assert_eq!((r.severity, r.clinical_risk), (int("severity"), int("clinical_risk")));
    assert_eq!((r.vulnerability, r.reasons, r.channel), (int("vulnerability"), text("reasons"), text("channel")));
    assert_eq!((r.attempts, r.failed_attempts), (int("attempts"), int("failed_attempts")));
    assert_eq!((r.last_outcome, r.callback_at), (Some(text("last_outcome")), Some(int("callback_at"))));
    assert_eq!((r.needs_human, r.escalated, r.missing), (true, true, Some(text("missing"))));
}

#[tokio::test]
async fn the_order_is_that_of_the_pure_function_and_pages_fit_together() {
    for (_db, store) in stores().await {
        let due = |n: usize| match n % 11 {
            0 => None,
            k => Some(NOW + (i64::try_from(k).unwrap() - 5) * 17 * HOUR + i64::try_from(n).unwrap() * MINUTE),
        };
        let rows: Vec<_> = (0..300)
            .map(|n| row(n, if n % 7 == 0 { "closed" } else { "open" }, i64::try_from(n % 5).unwrap(), due(n)))
            .collect();
        filled(&store, &rows).await;
        let open = Filter { status: Some("open".into()), ..Filter::default() };
        let all = list(store.engine(), &open, NOW, None, 1000).await.unwrap();
        assert_eq!(all.len(), 257);
        for (r, place) in &all {
            assert_eq!(place.points, r.points + priority::time_points(r.act_at, NOW), "at {:?}", r.due_at.map(Micros));
        }
        let key = |p: &Place| (-p.points, p.due_at, p.item_id.clone());
        assert!(all.windows(2).all(|w| key(&w[0].1) < key(&w[1].1)), "sorted, and no two alike");
        let mut paged = Vec::new();
        let mut after: Option<Place> = None;
        loop {
            let page = list(store.engine(), &open, NOW, after.as_ref(), 17).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some(last.1.clone());
            paged.extend(page);
        }
        assert!(paged == all, "the pages are the list");
        let overdue = Filter { overdue: Some(true), ..open.clone() };
        let not = Filter { overdue: Some(false), ..open.clone() };
        let late = list(store.engine(), &overdue, NOW, None, 1000).await.unwrap();
        let rest = list(store.engine(), &not, NOW, None, 1000).await.unwrap();
        assert!(!late.is_empty() && late.iter().all(|(r, _)| r.due_at < Some(NOW)));
        assert_eq!(late.len() + rest.len(), all.len());
        claim(store.engine(), &[&all[3].0.item_id], "kim", NOW).await.unwrap();
        let mine = Filter { assignee: Some("kim".into()), ..open };
        let mine = list(store.engine(), &mine, NOW, None, 10).await.unwrap();
        assert!(mine.len() == 1 && mine[0].0 == all[3].0);
        assert!(find(store.engine(), &all[3].0.item_id).await.unwrap() == Some(all[3].0.clone()));
    }
}
