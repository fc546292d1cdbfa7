//! Who works on which item: operational state, in tables of its own, since no log brings it back.
//!
//! Every change is one statement that compares and sets, so that of several who claim at once exactly one wins. The token
//! of an item only grows, over expiry and release too: who holds an old one is told so.
//!
//! An item that a merge has united goes by several ids, each with a row here. What was claimed under one of them before the
//! merge holds for all of them after it; a claim made since then is in all their rows, so that an unmerge leaves each item its
//! own. The ids come in order: where two people had claimed both sides, the first lease that holds goes before the others.

use super::list_of;
use crate::{Durability, Engine, StoreError};
use domain::table::Value;
use std::collections::BTreeMap;

/// How long a claim lasts unless it is renewed, microseconds.
pub const LEASE: i64 = 15 * 60 * 1_000_000;
/// How long a request is remembered under its key, microseconds.
pub const REMEMBERED: i64 = 7 * 24 * 3_600 * 1_000_000;

/// A claim on an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Who holds it.
    pub holder: String,
    /// Fencing token.
    pub token: i64,
    /// Until when, microseconds since 1970.
    pub expires_at: i64,
}

/// What came of a claim, or of its renewal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// It is the asker's.
    Given(Lease),
    /// Somebody holds the item.
    Held(Lease),
    /// The asker's lease has run out, or never was.
    Stale,
}

/// The lease that holds for an item with these ids, of those that [`held`] found.
#[must_use]
pub fn first<'l>(held: &'l BTreeMap<String, Lease>, ids: &[String]) -> Option<&'l Lease> {
    ids.iter().find_map(|id| held.get(id))
}

/// Claims an item that nobody holds at `now`, under all its ids.
///
/// # Errors
/// Those of the database.
pub async fn claim(engine: &Engine, ids: &[String], holder: &str, now: i64) -> Result<Asked, StoreError> {
    const SET: &str = "ON CONFLICT (item_id) DO UPDATE SET holder = excluded.holder, token = excluded.token, \
        expires_at = excluded.expires_at \
        WHERE follow_up_leases.expires_at <= $4 AND follow_up_leases.token < excluded.token RETURNING token";
    // in one order, so that of two claims none waits for the other's second row
    let mut sorted: Vec<&String> = ids.iter().collect();
    sorted.sort_unstable();
    sorted.dedup();
    let rows: Vec<String> = (5..5 + sorted.len()).map(|n| format!("(${n}, $1, $2, $3)")).collect();
    let sql =
        format!("INSERT INTO follow_up_leases (item_id, holder, token, expires_at) VALUES {} {SET}", rows.join(", "));
    let expires_at = now.saturating_add(LEASE);
    // whoever changes a row between reading and setting has claimed it: this ends when somebody holds the item
    loop {
        let known = leases(engine, &sorted, i64::MIN).await?;
        let held = known.iter().filter(|(_, l)| l.expires_at > now).map(|(id, l)| (id.clone(), l.clone())).collect();
        if let Some(held) = first(&held, ids) {
            return Ok(Asked::Held(held.clone()));
        }
        let token = known.values().map(|l| l.token).max().unwrap_or(0) + 1;
        let mut args: Vec<Value> = vec![holder.into(), token.into(), expires_at.into(), now.into()];
        args.extend(sorted.iter().map(|id| id.as_str().into()));
        let mut tx = engine.begin(Durability::Full).await?;
        if tx.query(&sql, &args).await?.len() == sorted.len() {
            tx.commit().await?;
            return Ok(Asked::Given(Lease { holder: holder.to_owned(), token, expires_at }));
        }
        tx.rollback().await?;
    }
}

/// Renews the lease of `holder` with `token` (the heartbeat), unless another person's goes before it.
///
/// # Errors
/// Those of the database.
pub async fn renew(engine: &Engine, ids: &[String], holder: &str, token: i64, now: i64) -> Result<Asked, StoreError> {
    let keys: Vec<&String> = ids.iter().collect();
    let held = held(engine, &keys, now).await?;
    let own = |l: &Lease| l.holder == holder && l.token == token;
    let Some(first) = first(&held, ids).filter(|_| held.values().any(own)) else { return Ok(Asked::Stale) };
    if first.holder != holder {
        return Ok(Asked::Held(first.clone()));
    }
    let expires_at = now.saturating_add(LEASE);
    let renewed = set(engine, expires_at, &keys, (holder, token), now).await?;
    Ok(if renewed { Asked::Given(Lease { holder: holder.to_owned(), token, expires_at }) } else { Asked::Stale })
}

/// Gives the item back; whether `holder` had it with `token`.
///
/// # Errors
/// Those of the database.
pub async fn release(engine: &Engine, ids: &[String], holder: &str, token: i64, now: i64) -> Result<bool, StoreError> {
    let keys: Vec<&String> = ids.iter().collect();
    set(engine, 0, &keys, (holder, token), now).await
}

/// Sets until when a lease holds, in all its rows that still hold; whether there were any.
async fn set(
    engine: &Engine,
    expires_at: i64,
    ids: &[&String],
    (holder, token): (&str, i64),
    now: i64,
) -> Result<bool, StoreError> {
    let (marks, mut args) = list_of(ids);
    let n = args.len();
    args.extend([expires_at.into(), holder.into(), token.into(), now.into()]);
    let sql = format!(
        "UPDATE follow_up_leases SET expires_at = ${} \
         WHERE item_id IN ({marks}) AND holder = ${} AND token = ${} AND expires_at > ${}",
        n + 1,
        n + 2,
        n + 3,
        n + 4
    );
    Ok(engine.execute(&sql, &args).await? > 0)
}

/// The leases that hold at `now`, by item id.
///
/// # Errors
/// Those of the database.
pub async fn held(engine: &Engine, ids: &[&String], now: i64) -> Result<BTreeMap<String, Lease>, StoreError> {
    leases(engine, ids, now).await
}

async fn leases(engine: &Engine, ids: &[&String], after: i64) -> Result<BTreeMap<String, Lease>, StoreError> {
    let mut found = BTreeMap::new();
    for keys in ids.chunks(super::MAX_KEYS) {
        let (marks, mut args) = list_of(keys);
        args.push(after.into());
        let sql = format!(
            "SELECT item_id, holder, token, expires_at FROM follow_up_leases \
             WHERE item_id IN ({marks}) AND expires_at > ${}",
            args.len()
        );
        for r in engine.query(&sql, &args).await? {
            let lease = Lease { holder: r.text(1).to_owned(), token: r.int(2), expires_at: r.int(3) };
            found.insert(r.text(0).to_owned(), lease);
        }
    }
    Ok(found)
}

/// A request as it is remembered under its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The item that it was made for.
    pub item_id: String,
    /// Hash of what was asked.
    pub fingerprint: String,
    /// When it first came, microseconds since 1970.
    pub at: i64,
    /// The answer, once there was one.
    pub answer: Option<String>,
}

/// What is remembered under a key, for an item with these ids: at most one request for each of them, in no order.
///
/// # Errors
/// Those of the database.
pub async fn requests(engine: &Engine, ids: &[String], key: &str) -> Result<Vec<Request>, StoreError> {
    let mut found = Vec::new();
    for keys in ids.iter().collect::<Vec<_>>().chunks(super::MAX_KEYS) {
        let (marks, mut args) = list_of(keys);
        args.push(key.into());
        let sql = format!(
            "SELECT item_id, fingerprint, at, answer FROM follow_up_requests \
             WHERE item_id IN ({marks}) AND request_key = ${}",
            args.len()
        );
        found.extend(engine.query(&sql, &args).await?.iter().map(|r| Request {
            item_id: r.text(0).to_owned(),
            fingerprint: r.text(1).to_owned(),
            at: r.int(2),
            answer: r.opt_text(3).map(str::to_owned),
        }));
    }
    Ok(found)
}

/// Remembers a request under its key, and says what is remembered: of several at once, the first. The one that came at `done`
/// gives way to it. Forgets what is old.
///
/// # Errors
/// Those of the database.
pub async fn remember(
    engine: &Engine,
    item: &str,
    key: &str,
    fingerprint: &str,
    now: i64,
    done: Option<i64>,
) -> Result<Request, StoreError> {
    const SQL: &str = "INSERT INTO follow_up_requests (item_id, request_key, fingerprint, at) VALUES ($1, $2, $3, $4) \
        ON CONFLICT (item_id, request_key) DO UPDATE SET fingerprint = excluded.fingerprint, at = excluded.at, answer = NULL \
        WHERE follow_up_requests.at = $5";
    let old = now.saturating_sub(REMEMBERED);
    engine.execute("DELETE FROM follow_up_requests WHERE at < $1", &[old.into()]).await?;
    engine.execute(SQL, &[item.into(), key.into(), fingerprint.into(), now.into(), done.into()]).await?;
    let own = Request { item_id: item.to_owned(), fingerprint: fingerprint.to_owned(), at: now, answer: None };
    Ok(requests(engine, &[item.to_owned()], key).await?.pop().unwrap_or(own))
}

/// Keeps the answer to the request that came at `at`.
///
/// # Errors
/// Those of the database.
pub async fn answer(engine: &Engine, item: &str, key: &str, at: i64, answer: &str) -> Result<(), StoreError> {
    const SQL: &str = "UPDATE follow_up_requests SET answer = $4 WHERE item_id = $1 AND request_key = $2 AND at = $3";
    engine.execute(SQL, &[item.into(), key.into(), at.into(), answer.into()]).await.map(drop)
}
