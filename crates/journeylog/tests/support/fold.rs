//! What the views must be: the pure fold of the log, computed without any store.

use domain::Event;
use domain::facts::Facts;
use domain::table::{Row, Table, Value};
use domain::views::{EventRows, PatientFold, View, follow_ups::FollowUps, mot::Mot, timeline::Timeline};
use eventlog::Position;
use std::collections::{BTreeMap, BTreeSet};

/// Rows of each table, as text to compare.
pub type Tables = BTreeMap<&'static str, BTreeSet<String>>;

/// All events of the log that can be read, in each partition's order.
pub async fn events(log: &dyn eventlog::Log) -> Vec<(Position, Event)> {
    let mut all = Vec::new();
    for (p, (first, end)) in log.bounds().await.unwrap().into_iter().enumerate() {
        let mut at = first;
        while at < end {
            let records = log.read(p as u32, at, 5000).await.unwrap();
            assert!(!records.is_empty(), "partition {p} ends at {at}, not {end}");
            at = records.last().unwrap().position.offset + 1;
            all.extend(records.into_iter().filter_map(|r| Some((r.position, codec::decode(&r.value).ok()?))));
        }
    }
    all
}

fn put(tables: &mut Tables, table: &Table, row: &Row) {
    tables.entry(table.name).or_default().insert(format!("{row:?}"));
}

fn timeline(events: &[(Position, Event)]) -> Tables {
    let mut tables: Tables = Timeline::TABLES.iter().map(|t| (t.name, BTreeSet::new())).collect();
    let mut seen = BTreeSet::new();
    for (at, event) in events {
        if seen.insert((event.key().into_owned(), event.header().event_id)) {
            for (t, row) in Timeline.rows(event, at.partition, at.offset).1 {
                put(&mut tables, &Timeline::TABLES[t], &row);
            }
        }
    }
    tables
}

fn patient_fold<V: PatientFold>(view: &V, events: &[(Position, Event)]) -> Tables {
    let mut tables: Tables = V::TABLES.iter().map(|t| (t.name, BTreeSet::new())).collect();
    let mut patients: BTreeMap<String, Facts<V::Fact>> = BTreeMap::new();
    for (_, event) in events {
        if let Some(fact) = view.fact(event) {
            patients.entry(view.key(event)).or_default().add(event.header().event_id, event.content_hash(), fact);
        }
    }
    for (patient, facts) in &patients {
        for (t, rows) in view.rows(patient, facts).into_iter().enumerate() {
            rows.iter().for_each(|r| put(&mut tables, &V::TABLES[t], r));
        }
    }
    tables
}

/// What a view must hold of these events.
pub fn of(view: View, events: &[(Position, Event)]) -> Tables {
    match view {
        View::Timeline => timeline(events),
        View::Mot => patient_fold(&Mot::new(domain::views::mot::Standards::shipped()), events),
        View::FollowUps => patient_fold(&FollowUps, events),
    }
}

/// What a view holds.
pub async fn stored(view: View, engine: &store::Engine) -> Tables {
    stored_in(view, "", engine).await
}

/// What the tables of a view with this behind their names hold: `_g2` for its second generation.
pub async fn stored_in(view: View, suffix: &str, engine: &store::Engine) -> Tables {
    let specs: &[Table] = match view {
        View::Timeline => Timeline::TABLES,
        View::Mot => Mot::TABLES,
        View::FollowUps => FollowUps::TABLES,
    };
    let mut tables = Tables::new();
    for t in specs {
        let columns: Vec<&str> = t.columns.iter().map(|c| c.0).collect();
        let sql = format!("SELECT {} FROM {}{suffix}", columns.join(", "), t.name);
        let rows = engine.query(&sql, &[]).await.unwrap();
        let all = tables.entry(t.name).or_default();
        assert_eq!(
            rows.len(),
            rows.iter().filter(|r| all.insert(format!("{:?}", r.0))).count(),
            "{} has twins",
            t.name
        );
    }
    tables
}

/// Fails, naming the first rows that differ, unless a view equals the pure fold of the log.
pub async fn assert_equals_log(view: View, engine: &store::Engine, log: &dyn eventlog::Log) -> usize {
    same(&stored(view, engine).await, &of(view, &events(log).await))
}

/// Fails, naming the first rows that differ; how many rows there are.
pub fn same(is: &Tables, must: &Tables) -> usize {
    for (table, must) in must {
        let is = &is[table];
        let missing: Vec<_> = must.difference(is).take(2).collect();
        let extra: Vec<_> = is.difference(must).take(2).collect();
        assert!(
            missing.is_empty() && extra.is_empty(),
            "{table}: {} rows, {} expected\nmissing {missing:#?}\nextra {extra:#?}",
            is.len(),
            must.len()
        );
    }
    must.values().map(BTreeSet::len).sum()
}

/// The next offset of each partition.
pub async fn checkpoints(engine: &store::Engine, view: View) -> BTreeMap<i64, i64> {
    let sql = "SELECT c.partition, c.next_offset FROM checkpoints c JOIN generations g \
               ON g.view = c.view AND g.generation = c.generation WHERE g.active = 1 AND c.view = $1";
    let rows = engine.query(sql, &[Value::from(view.as_str())]).await.unwrap_or_default();
    rows.iter().map(|r| (r.int(0), r.int(1))).collect()
}
