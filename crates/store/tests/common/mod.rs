//! Databases for tests: SQLite in a file of its own, PostgreSQL in a database of its own. Also used by the projector's tests.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

use super::Engine;

/// A database that goes when it is dropped.
pub struct Database {
    pub url: String,
    _dir: Option<tempfile::TempDir>,
}

/// SQLite in a file.
pub fn sqlite() -> Database {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", dir.path().join("store.db").display());
    Database { url, _dir: Some(dir) }
}

/// PostgreSQL, or `None` (told loudly) when no server is named. In CI a missing server is a failure.
pub async fn postgres() -> Option<Database> {
    let Ok(base) = std::env::var("JOURNEYLOG_TEST_POSTGRES") else {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "JOURNEYLOG_TEST_POSTGRES is not set");
        eprintln!("SKIPPED: no PostgreSQL (set JOURNEYLOG_TEST_POSTGRES=postgres://user@host:port/postgres)");
        return None;
    };
    let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    let name = format!("jl_{}_{nanos}", std::process::id());
    let admin = Engine::connect(&base, 1).await.unwrap();
    // Tests that make databases at once meet at the template's lock.
    for attempt in 0.. {
        match admin.execute(&format!("CREATE DATABASE {name}"), &[]).await {
            Ok(_) => break,
            Err(e) => assert!(attempt < 20, "{e}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let (server, _) = base.rsplit_once('/').unwrap();
    Some(Database { url: format!("{server}/{name}"), _dir: None })
}

/// The databases there are to test on.
pub async fn all() -> Vec<Database> {
    std::iter::once(sqlite()).chain(postgres().await).collect()
}
