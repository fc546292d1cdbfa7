//! The checked-in tree agrees with its lock, and each way of breaking that is found.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use journeylog_codec::check::{Problem, Rule, check, update};
use journeylog_codec::compat::{Reader, can_read};
use journeylog_codec::lock::Lock;
use journeylog_codec::tree::{Tree, file_name};
use serde_json::{Value, json};
use std::{fs, path::Path};

struct Files {
    header: Value,
    types: Value,
    events: Vec<(String, Value)>,
}

/// The tree as it is.
fn all_files() -> Files {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas");
    let read = |p: &Path| -> Value { serde_json::from_str(&fs::read_to_string(p).unwrap()).unwrap() };
    let events = fs::read_dir(dir.join("events"))
        .unwrap()
        .map(|f| f.unwrap().path())
        .map(|p| (p.file_name().unwrap().to_str().unwrap().to_owned(), read(&p)))
        .collect();
    Files { header: read(&dir.join("header.avsc")), types: read(&dir.join("types.avsc")), events }
}

/// A few of its events: enough for a test, and quick.
fn files() -> Files {
    let mut f = all_files();
    f.events
        .retain(|(_, v)| ["WaitEstimated", "AppointmentBooked", "FollowUpItemClosed"].iter().any(|n| v["name"] == *n));
    f.events.sort_by(|a, b| a.0.cmp(&b.0));
    f
}

impl Files {
    fn tree(&self) -> Tree {
        let events: Vec<_> = self.events.iter().map(|(f, v)| (f.clone(), v.to_string())).collect();
        Tree::parse(&self.header.to_string(), &self.types.to_string(), &events).unwrap()
    }

    fn event(&mut self, name: &str) -> &mut Value {
        &mut self.events.iter_mut().find(|(_, v)| v["name"] == name).unwrap().1
    }

    fn field(&mut self, event: &str, field: &str) -> &mut Value {
        find(self.event(event), field)
    }

    fn symbols(&mut self, name: &str) -> &mut Vec<Value> {
        let e = self.types.as_array_mut().unwrap().iter_mut().find(|t| t["name"] == name).unwrap();
        e["symbols"].as_array_mut().unwrap()
    }
}

fn find<'a>(record: &'a mut Value, field: &str) -> &'a mut Value {
    record["fields"].as_array_mut().unwrap().iter_mut().find(|f| f["name"] == field).unwrap()
}

fn add(record: &mut Value, at: usize, field: Value) {
    record["fields"].as_array_mut().unwrap().insert(at, field);
}

/// The lock of the tree as it is: tests start from one that agrees, whatever is checked in.
fn lock() -> Lock {
    update(&files().tree(), &Lock::default()).unwrap().0
}

/// The rules broken by an edit, with event and path, without [`Rule::Unlocked`].
fn broken(edit: impl FnOnce(&mut Files)) -> Vec<(Rule, String)> {
    let mut f = files();
    edit(&mut f);
    let mut all: Vec<_> = check(&f.tree(), &lock())
        .into_iter()
        .filter(|p| p.rule != Rule::Unlocked)
        .map(|p| (p.rule, format!("{}.{}", p.event, p.path)))
        .collect();
    all.dedup();
    all
}

fn one(rule: Rule, place: &str) -> Vec<(Rule, String)> {
    vec![(rule, place.to_owned())]
}

#[test]
fn the_tree_agrees_with_the_lock() {
    let lock = Lock::parse(include_str!("../../../schemas/lock.json")).unwrap();
    let found = check(&all_files().tree(), &lock);
    assert!(found.is_empty(), "{}", found.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n"));
    assert_eq!(lock.to_text(), include_str!("../../../schemas/lock.json"));
}

#[test]
fn a_nullable_field_is_allowed_and_gets_the_next_id() {
    let mut f = files();
    add(
        f.event("WaitEstimated"),
        1,
        json!({"name": "queue", "type": ["null", "string"], "default": null, "doc": "Queue."}),
    );
    let before = lock();
    let found = check(&f.tree(), &before);
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].rule, found[0].event.as_str()), (Rule::Unlocked, "WaitEstimated"));
    let (after, changed) = update(&f.tree(), &before).unwrap();
    assert_eq!(changed, ["WaitEstimated"]);
    let newest = after.newest()["WaitEstimated"];
    assert_eq!((newest.id, newest.version), (u32::try_from(before.entries.len()).unwrap() + 1, 2));
    assert!(check(&f.tree(), &after).is_empty());
    assert!(update(&f.tree(), &after).unwrap().1.is_empty());
}

#[test]
fn a_new_wording_is_no_new_version_but_another_default_is_one() {
    let mut f = files();
    f.field("WaitEstimated", "wait_told_min")["doc"] = json!("The wait as it was told, minutes.");
    assert!(check(&f.tree(), &lock()).is_empty());
    f.symbols("ItemClosure").push(json!("moved"));
    assert!(check(&f.tree(), &lock()).iter().all(|p| p.rule == Rule::Unlocked));
    assert!(!check(&f.tree(), &lock()).is_empty());
}

#[test]
fn a_named_type_may_be_used_earlier_than_before() {
    // The definition of Priority moves from `urgency` to the new field; apache-avro's own check refuses that.
    let field =
        json!({"name": "level", "type": ["null", "org.journeylog.type.Priority"], "default": null, "doc": "Level."});
    assert_eq!(broken(|f| add(f.event("AppointmentBooked"), 1, field)), []);
}

#[test]
fn incompatible_changes_are_refused() {
    use Rule::Incompatible;
    let place = "WaitEstimated.wait_told_min";
    assert_eq!(broken(|f| f.field("WaitEstimated", "wait_told_min")["type"] = json!("long")), one(Incompatible, place));
    assert_eq!(
        broken(|f| f.field("WaitEstimated", "wait_told_min")["type"] = json!("string")),
        one(Incompatible, place)
    );
    let nullable = broken(|f| {
        let field = f.field("WaitEstimated", "wait_told_min");
        field["type"] = json!(["null", "int"]);
        field["default"] = Value::Null;
    });
    assert_eq!(nullable, one(Incompatible, place));
    let removed =
        broken(|f| f.event("WaitEstimated")["fields"].as_array_mut().unwrap().retain(|x| x["name"] != "wait_told_min"));
    assert_eq!(removed, one(Incompatible, place));
    let renamed = broken(|f| f.field("WaitEstimated", "wait_told_min")["name"] = json!("told_min"));
    assert!(renamed.contains(&(Incompatible, place.to_owned())), "{renamed:?}");
    let meaning = broken(|f| f.field("AppointmentBooked", "starts_at")["type"] = json!("long"));
    assert_eq!(meaning, one(Incompatible, "AppointmentBooked.starts_at"));
    let symbol = broken(|f| f.symbols("ItemClosure").retain(|s| s != "duplicate"));
    assert_eq!(symbol, one(Incompatible, "FollowUpItemClosed.closure"));
    let header = broken(|f| find(&mut f.header, "zone")["type"] = json!("bytes"));
    assert_eq!(header.len(), files().events.len());
}

#[test]
fn every_released_version_counts_not_only_the_last() {
    let mut f = files();
    add(
        f.event("WaitEstimated"),
        1,
        json!({"name": "queue", "type": ["null", "string"], "default": null, "doc": "Queue."}),
    );
    let (two, _) = update(&f.tree(), &lock()).unwrap();
    // Version 3 gives the field of version 2 another type: version 1 would not mind.
    f.field("WaitEstimated", "queue")["type"] = json!(["null", "int"]);
    let found = check(&f.tree(), &two);
    assert!(found.iter().any(|p| p.rule == Rule::Incompatible && p.reason.contains("version 2")), "{found:?}");
    assert!(!found.iter().any(|p| p.rule == Rule::Incompatible && p.reason.contains("version 1")), "{found:?}");
    assert!(update(&f.tree(), &two).is_err());
    // And dropping it is fine: it has a default on both sides.
    f.event("WaitEstimated")["fields"].as_array_mut().unwrap().remove(1);
    assert_eq!(update(&f.tree(), &two).unwrap().1, ["WaitEstimated"]);
}

#[test]
fn the_rules_of_the_house_are_held() {
    use Rule::House;
    let place = "WaitEstimated.queue";
    let adding = |field: Value| broken(move |f| add(f.event("WaitEstimated"), 1, field));
    assert_eq!(adding(json!({"name": "queue", "type": ["null", "string"], "default": null})), one(House, place));
    assert_eq!(
        adding(json!({"name": "queue", "type": ["null", "string"], "default": null, "doc": "Q.", "personal": ""})),
        one(House, place)
    );
    assert_eq!(adding(json!({"name": "queue", "type": "string", "default": "none", "doc": "Q."})), one(House, place));
    assert_eq!(
        adding(json!({"name": "queue", "type": ["null", "string", "int"], "default": null, "doc": "Q."})),
        one(House, place)
    );
    let bare = adding(json!({"name": "queue", "type": "string", "doc": "Q."}));
    assert_eq!(
        bare,
        [(House, place.to_owned()), (Rule::Incompatible, place.to_owned())].into_iter().rev().collect::<Vec<_>>()
    );
    assert_eq!(broken(|f| f.event("WaitEstimated")["stage"] = json!("somewhere")), one(House, "WaitEstimated."));
    assert_eq!(broken(|f| f.event("WaitEstimated")["key"] = json!("ward")), one(House, "WaitEstimated."));
    assert_eq!(broken(|f| f.events[0].0 = "other.avsc".to_owned()).len(), 1);
    assert_eq!(
        broken(|f| f.events.retain(|(_, v)| v["name"] != "WaitEstimated")),
        one(Rule::Removed, "WaitEstimated.")
    );
}

#[test]
fn an_edited_lock_is_found() {
    let tree = files().tree();
    let damaged = |damage: &dyn Fn(&mut Lock)| {
        let mut lock = lock();
        damage(&mut lock);
        check(&tree, &lock).iter().any(|p| p.rule == Rule::Lock)
    };
    assert!(!damaged(&|_| {}));
    assert!(damaged(&|l| l.entries[1].id = 1));
    assert!(damaged(&|l| l.entries[1].version = 2));
    assert!(damaged(&|l| l.entries[1].fingerprint = "0".repeat(16)));
    assert!(damaged(&|l| l.entries[1].event = "WaitEstimated".to_owned()));
    assert!(damaged(&|l| l.entries[1].schema = l.entries[2].schema.clone()));
}

#[test]
fn an_unknown_type_or_broken_json_names_its_file() {
    let e = |text: &str| Tree::parse("{}", "[]", &[("x.avsc".to_owned(), text.to_owned())]).unwrap_err();
    assert_eq!(e("{").file, "x.avsc");
    let missing = e(r#"{"name":"X","fields":[{"name":"a","type":"org.journeylog.type.Nope"}]}"#);
    assert_eq!(missing.to_string(), "x.avsc: type org.journeylog.type.Nope is not in types.avsc");
}

#[test]
fn file_names_follow_event_names() {
    assert_eq!(file_name("AppointmentNoShow"), "appointment_no_show.avsc");
}

/// The rules of Avro itself, on small schemas; apache-avro agrees wherever it does not know better or worse.
#[test]
fn avro_resolution() {
    let record = |fields: Value| json!({"type": "record", "name": "R", "fields": fields});
    let symbols = |list: Value, default: Value| {
        let mut e = json!({"type": "enum", "name": "E", "symbols": list});
        if !default.is_null() {
            e["default"] = default;
        }
        record(json!([{"name": "a", "type": e}]))
    };
    let a = |t: Value| record(json!([{"name": "a", "type": t}]));
    let with_default = |t: Value, d: Value| record(json!([{"name": "a", "type": t, "default": d}]));
    // reader, writer, whether it can always be read
    let cases = [
        (a(json!("int")), a(json!("int")), true),
        (a(json!("long")), a(json!("int")), true),
        (a(json!("int")), a(json!("long")), false),
        (a(json!("double")), a(json!("float")), true),
        (a(json!("string")), a(json!("int")), false),
        (a(json!(["null", "int"])), a(json!("int")), true),
        (a(json!("int")), a(json!(["null", "int"])), false),
        (a(json!(["null", "long"])), a(json!(["null", "int"])), true),
        (a(json!(["null", "string"])), a(json!(["null", "int"])), false),
        (a(json!(["int", "null"])), a(json!(["null", "int"])), true),
        (record(json!([])), a(json!("int")), true),
        (a(json!("int")), record(json!([])), false),
        (with_default(json!("int"), json!(0)), record(json!([])), true),
        (a(json!({"type": "array", "items": "long"})), a(json!({"type": "array", "items": "int"})), true),
        (a(json!({"type": "array", "items": "int"})), a(json!({"type": "array", "items": "string"})), false),
        (symbols(json!(["x", "y"]), Value::Null), symbols(json!(["x"]), Value::Null), true),
        (symbols(json!(["x"]), Value::Null), symbols(json!(["x", "y"]), Value::Null), false),
        (symbols(json!(["x"]), json!("x")), symbols(json!(["x", "y"]), Value::Null), true),
        (
            a(json!({"type": "record", "name": "S", "fields": []})),
            a(json!({"type": "record", "name": "T", "fields": []})),
            false,
        ),
    ];
    for (reader, writer, can) in cases {
        assert_eq!(can_read(&reader, &writer, Reader::Avro).is_empty(), can, "{writer} read as {reader}");
        let parse = |v: &Value| apache_avro::Schema::parse(v).unwrap();
        let theirs = apache_avro::schema_compatibility::SchemaCompatibility::can_read(&parse(&writer), &parse(&reader));
        let full = theirs == Ok(apache_avro::schema_compatibility::Compatibility::Full);
        assert_eq!(full, can, "apache-avro: {writer} read as {reader}: {theirs:?}");
    }
    let times = (
        a(json!({"type": "long", "logicalType": "timestamp-micros"})),
        a(json!({"type": "int", "logicalType": "date"})),
    );
    assert!(!can_read(&times.0, &times.1, Reader::Avro).is_empty());
    let unknown = (symbols(json!(["x"]), json!("x")), symbols(json!(["x", "y"]), Value::Null));
    assert!(!can_read(&unknown.0, &unknown.1, Reader::Generated).is_empty());
}
