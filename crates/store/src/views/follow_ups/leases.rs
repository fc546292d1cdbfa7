//! Who works on which item: operational state, in tables of its own, since no log brings it back.
//!
//! Every change is one statement that compares and sets, so that of several who claim at once exactly one wins. The token
//! of an item only grows, over expiry and release too: who holds an old one is told so.

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

async fn returning(engine: &Engine, sql: &str, args: &[Value]) -> Result<Option<i64>, StoreError> {
    let mut tx = engine.begin(Durability::Full).await?;
    let token = tx.query(sql, args).await?.first().map(|r| r.int(0));
    tx.commit().await?;
    Ok(token)
}

/// Claims an item that nobody holds at `now`; `None` when somebody does.
///
/// # Errors
/// Those of the database.
pub async fn claim(engine: &Engine, item: &str, holder: &str, now: i64) -> Result<Option<Lease>, StoreError> {
    const SQL: &str = "INSERT INTO follow_up_leases (item_id, holder, token, expires_at) VALUES ($1, $2, 1, $3) \
        ON CONFLICT (item_id) DO UPDATE SET holder = excluded.holder, token = follow_up_leases.token + 1, \
        expires_at = excluded.expires_at WHERE follow_up_leases.expires_at <= $4 RETURNING token";
    let expires_at = now.saturating_add(LEASE);
    let args = [item.into(), holder.into(), expires_at.into(), now.into()];
    let token = returning(engine, SQL, &args).await?;
    Ok(token.map(|token| Lease { holder: holder.to_owned(), token, expires_at }))
}

/// Renews the lease of `holder` with `token` (the heartbeat); `None` when it has run out or is somebody else's.
///
/// # Errors
/// Those of the database.
pub async fn renew(
    engine: &Engine,
    item: &str,
    holder: &str,
    token: i64,
    now: i64,
) -> Result<Option<Lease>, StoreError> {
    const SQL: &str = "UPDATE follow_up_leases SET expires_at = $4 \
        WHERE item_id = $1 AND holder = $2 AND token = $3 AND expires_at > $5";
    let expires_at = now.saturating_add(LEASE);
    let args = [item.into(), holder.into(), token.into(), expires_at.into(), now.into()];
    let renewed = engine.execute(SQL, &args).await? == 1;
    Ok(renewed.then(|| Lease { holder: holder.to_owned(), token, expires_at }))
}

/// Gives the item back; whether `holder` had it with `token`.
///
/// # Errors
/// Those of the database.
pub async fn release(engine: &Engine, item: &str, holder: &str, token: i64, now: i64) -> Result<bool, StoreError> {
    const SQL: &str = "UPDATE follow_up_leases SET expires_at = 0 \
        WHERE item_id = $1 AND holder = $2 AND token = $3 AND expires_at > $4";
    Ok(engine.execute(SQL, &[item.into(), holder.into(), token.into(), now.into()]).await? == 1)
}

/// The leases of the items that hold at `now`, by item id.
///
/// # Errors
/// Those of the database.
pub async fn held(engine: &Engine, items: &[&String], now: i64) -> Result<BTreeMap<String, Lease>, StoreError> {
    let mut found = BTreeMap::new();
    for keys in items.chunks(super::MAX_KEYS) {
        let (marks, mut args) = list_of(keys);
        args.push(now.into());
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
    /// Hash of what was asked.
    pub fingerprint: String,
    /// When it first came, microseconds since 1970.
    pub at: i64,
    /// The answer, once there was one.
    pub answer: Option<String>,
}

/// What is remembered under a key.
///
/// # Errors
/// Those of the database.
pub async fn request(engine: &Engine, item: &str, key: &str) -> Result<Option<Request>, StoreError> {
    const SQL: &str = "SELECT fingerprint, at, answer FROM follow_up_requests WHERE item_id = $1 AND request_key = $2";
    let rows = engine.query(SQL, &[item.into(), key.into()]).await?;
    Ok(rows.first().map(|r| Request {
        fingerprint: r.text(0).to_owned(),
        at: r.int(1),
        answer: r.opt_text(2).map(str::to_owned),
    }))
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
    let own = Request { fingerprint: fingerprint.to_owned(), at: now, answer: None };
    Ok(request(engine, item, key).await?.unwrap_or(own))
}

/// Keeps the answer to the request that came at `at`.
///
/// # Errors
/// Those of the database.
pub async fn answer(engine: &Engine, item: &str, key: &str, at: i64, answer: &str) -> Result<(), StoreError> {
    const SQL: &str = "UPDATE follow_up_requests SET answer = $4 WHERE item_id = $1 AND request_key = $2 AND at = $3";
    engine.execute(SQL, &[item.into(), key.into(), at.into(), answer.into()]).await.map(drop)
}
