//! Fixed tables. Each migration runs once, under a lock, and is remembered with a checksum.

use crate::{Durability, Engine, StoreError, Tx, now_ms};
use xxhash_rust::xxh3::xxh3_64;

/// Version, name, text. Released ones are never edited.
const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "spine", include_str!("../migrations/0001_spine.sql")),
    (2, "follow_up_requests", include_str!("../migrations/0002_follow_up_requests.sql")),
    (3, "operations", include_str!("../migrations/0003_operations.sql")),
    (4, "intake", include_str!("../migrations/0004_intake.sql")),
    (5, "repairs", include_str!("../migrations/0005_repairs.sql")),
];

const REMEMBERED: &str = "CREATE TABLE IF NOT EXISTS schema_migrations \
    (version bigint PRIMARY KEY, name text NOT NULL, checksum text NOT NULL, applied_ms bigint NOT NULL)";

/// Brings the fixed tables up to this version's. Safe when several processes start at once.
pub(crate) async fn run(engine: &Engine) -> Result<(), StoreError> {
    let mut tx = engine.begin(Durability::Full).await?;
    tx.lock_schema().await?;
    tx.execute(REMEMBERED, &[]).await?;
    let done = tx.query("SELECT version, checksum FROM schema_migrations ORDER BY version", &[]).await?;
    if let Some(newer) = done.iter().find(|d| MIGRATIONS.iter().all(|m| m.0 != d.int(0))) {
        let message = format!("the database has migration {}, which this version doesn't know", newer.int(0));
        return Err(StoreError::Configuration(message));
    }
    for (version, name, sql) in MIGRATIONS {
        let checksum = format!("{:016x}", xxh3_64(sql.as_bytes()));
        match done.iter().find(|d| d.int(0) == *version) {
            Some(d) if d.text(1) == checksum => {}
            Some(_) => {
                return Err(StoreError::Configuration(format!("migration {version} was edited after it was applied")));
            }
            None => apply(&mut tx, *version, name, sql, checksum).await?,
        }
    }
    tx.commit().await
}

async fn apply(tx: &mut Tx, version: i64, name: &str, sql: &str, checksum: String) -> Result<(), StoreError> {
    tx.batch(sql).await?;
    let sql = "INSERT INTO schema_migrations VALUES ($1, $2, $3, $4)";
    tx.execute(sql, &[version.into(), name.into(), checksum.into(), now_ms().into()]).await?;
    tracing::info!(migration.version = version, migration.name = name, "applied migration");
    Ok(())
}
