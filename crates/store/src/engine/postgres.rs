//! PostgreSQL: dynamic rows, and bulk writes by arrays through UNNEST.

use super::{OnConflict, Row, StoreError, Target, names};
use domain::table::{Type, Value};
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection, PgPoolOptions, PgRow, PgTypeInfo, PgValueRef};
use sqlx::{
    Arguments as _, AssertSqlSafe, Connection as _, Executor, PgPool, Postgres, Row as _, TypeInfo as _, ValueRef as _,
};
use std::time::Duration;

/// How long a caller waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of one message of a COPY.
const COPY_BYTES: usize = 64 << 10;
/// Statements kept prepared per connection.
const STATEMENTS: usize = 256;
/// What holds on every connection. No notices, such as that there is nothing to drop. And an end, after 30 s, to the transaction of a
/// process that sleeps in the middle of it, or of a machine that is gone, since others wait for its locks; what an operator has
/// set stays.
const SESSION: &str = "SET client_min_messages = warning; \
                       SELECT set_config(name, '30s', false) FROM pg_settings \
                       WHERE name = 'idle_in_transaction_session_timeout' AND source = 'default'";

pub(super) async fn connect(url: &str, connections: u32) -> Result<PgPool, StoreError> {
    let options: PgConnectOptions = url.parse::<PgConnectOptions>()?.statement_cache_capacity(STATEMENTS);
    let pool = PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .after_connect(|connection, _| Box::pin(async move { connection.execute(SESSION).await.map(drop) }));
    match pool.connect_with(options.clone()).await {
        // The pool says only that it took too long; a connection of its own says why.
        Err(sqlx::Error::PoolTimedOut) => {
            let alone = async { PgConnection::connect_with(&options).await?.execute(SESSION).await };
            Err(alone.await.err().unwrap_or(sqlx::Error::PoolTimedOut).into())
        }
        done => Ok(done?),
    }
}

pub(super) async fn query<'e>(
    on: impl Executor<'e, Database = Postgres>,
    sql: &str,
    args: &[Value],
) -> Result<Vec<Row>, StoreError> {
    let rows = sqlx::query_with(AssertSqlSafe(typed(sql, args)), arguments(args)?).fetch_all(on).await?;
    rows.iter().map(read).collect()
}

pub(super) async fn execute<'e>(
    on: impl Executor<'e, Database = Postgres>,
    sql: &str,
    args: &[Value],
) -> Result<u64, StoreError> {
    let done = sqlx::query_with(AssertSqlSafe(typed(sql, args)), arguments(args)?).execute(on).await?;
    Ok(done.rows_affected())
}

/// A statement is prepared for the types of its first arguments and found again by its text. Nulls have no type, so the
/// text must tell apart where they are.
fn typed(sql: &str, args: &[Value]) -> String {
    if !args.contains(&Value::Null) {
        return sql.to_owned();
    }
    let nulls: String = args.iter().map(|a| if *a == Value::Null { '0' } else { '1' }).collect();
    format!("{sql} /* {nulls} */")
}

/// A null whose type the server infers.
struct Untyped;

/// PostgreSQL's `unknown`.
const UNKNOWN: PgTypeInfo = PgTypeInfo::with_oid(Oid(705));

impl sqlx::Type<Postgres> for Untyped {
    fn type_info() -> PgTypeInfo {
        UNKNOWN
    }
}

impl sqlx::Encode<'_, Postgres> for Untyped {
    fn encode_by_ref(
        &self,
        _: &mut sqlx::postgres::PgArgumentBuffer,
    ) -> Result<sqlx::encode::IsNull, sqlx::error::BoxDynError> {
        Ok(sqlx::encode::IsNull::Yes)
    }
}

fn arguments(args: &[Value]) -> Result<PgArguments, StoreError> {
    let mut out = PgArguments::default();
    for arg in args {
        match arg {
            Value::Null => out.add(Untyped),
            Value::Text(v) => out.add(v),
            Value::Int(v) => out.add(v),
            Value::Float(v) => out.add(v),
            Value::Bytes(v) => out.add(v),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(out)
}

fn read(row: &PgRow) -> Result<Row, StoreError> {
    (0..row.len()).map(|i| value(row.try_get_raw(i)?)).collect::<Result<_, _>>().map(Row)
}

fn value(v: PgValueRef<'_>) -> Result<Value, StoreError> {
    if v.is_null() {
        return Ok(Value::Null);
    }
    let wrong = || StoreError::Data("a column of an unknown type or length".into());
    let ty = v.type_info();
    let bytes = v.as_bytes().map_err(|_| wrong())?;
    let text = |b: &[u8]| String::from_utf8(b.to_vec()).map(Value::Text).map_err(|_| wrong());
    Ok(match ty.name() {
        "TEXT" | "VARCHAR" | "CHAR" | "NAME" | "JSON" | "UNKNOWN" => text(bytes)?,
        "JSONB" => text(bytes.get(1..).unwrap_or_default())?,
        "INT8" => Value::Int(i64::from_be_bytes(bytes.try_into().map_err(|_| wrong())?)),
        "INT4" => Value::Int(i32::from_be_bytes(bytes.try_into().map_err(|_| wrong())?).into()),
        "INT2" => Value::Int(i16::from_be_bytes(bytes.try_into().map_err(|_| wrong())?).into()),
        "OID" => Value::Int(u32::from_be_bytes(bytes.try_into().map_err(|_| wrong())?).into()),
        "FLOAT8" => Value::Float(f64::from_be_bytes(bytes.try_into().map_err(|_| wrong())?)),
        "FLOAT4" => Value::Float(f32::from_be_bytes(bytes.try_into().map_err(|_| wrong())?).into()),
        "BOOL" => Value::Int(bytes.first().copied().unwrap_or_default().into()),
        "BYTEA" => Value::Bytes(bytes.to_vec()),
        "NUMERIC" => numeric(bytes).ok_or_else(wrong)?,
        "VOID" => Value::Null,
        other => return Err(StoreError::Data(format!("a column of type {other}"))),
    })
}

/// `numeric`, which sums of `bigint` are: an integer where it is whole and fits, else a float.
#[allow(clippy::cast_precision_loss)]
fn numeric(bytes: &[u8]) -> Option<Value> {
    let half = |i: usize| Some(i16::from_be_bytes(bytes.get(2 * i..2 * i + 2)?.try_into().ok()?));
    let (digits, weight, sign) = (usize::try_from(half(0)?).ok()?, i32::from(half(1)?), half(2)?);
    if sign != 0 && sign != 0x4000 {
        return Some(Value::Float(f64::NAN));
    }
    let (mut whole, mut float) = (Some(0_i64), 0.0_f64);
    for i in 0..digits.max(usize::try_from(weight + 1).unwrap_or(0)) {
        let digit = if i < digits { i64::from(half(4 + i)?) } else { 0 };
        let power = weight - i32::try_from(i).ok()?;
        float += digit as f64 * 10_000_f64.powi(power);
        whole = match (power >= 0, digit) {
            (true, _) => whole.and_then(|w| w.checked_mul(10_000)?.checked_add(digit)),
            (false, 0) => whole,
            (false, _) => None,
        };
    }
    let negative = sign == 0x4000;
    Some(match whole {
        Some(w) => Value::Int(if negative { -w } else { w }),
        None => Value::Float(if negative { -float } else { float }),
    })
}

/// One array per column. A value of another type than its column's counts as null.
fn arrays(columns: &[(&str, Type)], rows: &[&[Value]]) -> Result<PgArguments, StoreError> {
    let mut out = PgArguments::default();
    for (i, (_, ty)) in columns.iter().enumerate() {
        let cells = rows.iter().map(|r| &r[i]);
        match ty {
            Type::Text | Type::Json => {
                out.add(cells.map(|v| if let Value::Text(t) = v { Some(t.as_str()) } else { None }).collect::<Vec<_>>())
            }
            Type::Int => {
                out.add(cells.map(|v| if let Value::Int(n) = v { Some(*n) } else { None }).collect::<Vec<_>>())
            }
            Type::Float => {
                out.add(cells.map(|v| if let Value::Float(n) = v { Some(*n) } else { None }).collect::<Vec<_>>())
            }
            Type::Bytes => out.add(
                cells.map(|v| if let Value::Bytes(b) = v { Some(b.as_slice()) } else { None }).collect::<Vec<_>>(),
            ),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(out)
}

/// `UNNEST($1::text[], $2::bigint[])`.
fn unnest(columns: &[(&str, Type)]) -> String {
    let parts: Vec<_> = columns
        .iter()
        .enumerate()
        .map(|(i, (_, ty))| {
            let name = match ty {
                Type::Text | Type::Json => "text",
                Type::Int => "bigint",
                Type::Float => "double precision",
                Type::Bytes => "bytea",
            };
            format!("${}::{name}[]", i + 1)
        })
        .collect();
    format!("UNNEST({})", parts.join(", "))
}

pub(super) async fn insert(
    on: &mut PgConnection,
    target: Target<'_>,
    rows: &[&[Value]],
    conflict: OnConflict,
) -> Result<u64, StoreError> {
    let (table, columns) = (target.table, names(target.columns));
    let from = unnest(target.columns);
    let sql = format!("INSERT INTO \"{table}\" ({columns}) SELECT * FROM {from}{}", conflict.clause(target));
    let args = arrays(target.columns, rows)?;
    Ok(sqlx::query_with(AssertSqlSafe(sql), args).execute(on).await?.rows_affected())
}

/// Copies what [`super::Bulk`] encoded.
pub(super) async fn load(on: &mut PgConnection, target: Target<'_>, copied: &[u8]) -> Result<(), StoreError> {
    let (table, columns) = (target.table, names(target.columns));
    let sql = format!("COPY \"{table}\" ({columns}) FROM STDIN (FORMAT binary)");
    let mut copy = on.copy_in_raw(&sql).await?;
    for piece in copied.chunks(COPY_BYTES) {
        copy.send(piece).await?;
    }
    copy.finish().await?;
    Ok(())
}

pub(super) async fn delete(on: &mut PgConnection, target: Target<'_>, keys: &[&[Value]]) -> Result<u64, StoreError> {
    let columns = &target.columns[..target.key];
    let (table, list, from) = (target.table, names(columns), unnest(columns));
    let same: Vec<_> = columns.iter().map(|(c, _)| format!("t.\"{c}\" = k.\"{c}\"")).collect();
    let sql = format!("DELETE FROM \"{table}\" t USING {from} AS k({list}) WHERE {}", same.join(" AND "));
    let args = arrays(columns, keys)?;
    Ok(sqlx::query_with(AssertSqlSafe(sql), args).execute(on).await?.rows_affected())
}

pub(super) async fn select(on: &mut PgConnection, target: Target<'_>, keys: &[&str]) -> Result<Vec<Row>, StoreError> {
    let (table, list, first) = (target.table, names(target.columns), target.columns[0].0);
    let sql = format!("SELECT {list} FROM \"{table}\" WHERE \"{first}\" = ANY($1)");
    let mut args = PgArguments::default();
    args.add(keys).map_err(sqlx::Error::Encode)?;
    let rows = sqlx::query_with(AssertSqlSafe(sql), args).fetch_all(on).await?;
    rows.iter().map(read).collect()
}

pub(super) async fn select_keys(
    on: &mut PgConnection,
    target: Target<'_>,
    keys: &[&[Value]],
) -> Result<Vec<Row>, StoreError> {
    let columns = &target.columns[..target.key];
    let (table, list, key, from) = (target.table, names(target.columns), names(columns), unnest(columns));
    let sql = format!("SELECT {list} FROM \"{table}\" JOIN {from} AS k({key}) USING ({key})");
    let rows = sqlx::query_with(AssertSqlSafe(sql), arrays(columns, keys)?).fetch_all(on).await?;
    rows.iter().map(read).collect()
}
