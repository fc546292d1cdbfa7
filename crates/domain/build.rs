//! Generates the event types from `schemas/`, so that schema and type can't drift apart.

// A build script's errors are its panics.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "src/inline.rs"]
mod inline;

use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::{env, fs, path::Path};

fn main() {
    let schemas = Path::new(&env::var("CARGO_MANIFEST_DIR").expect("set by cargo")).join("../../schemas");
    println!("cargo::rerun-if-changed=src/inline.rs");
    println!("cargo::rerun-if-changed={}", schemas.join("events").display());
    println!("cargo::rerun-if-changed={}", schemas.join("header.avsc").display());
    println!("cargo::rerun-if-changed={}", schemas.join("types.avsc").display());

    let types = read(&schemas.join("types.avsc"));
    let header = read(&schemas.join("header.avsc"));
    let mut files: Vec<_> = fs::read_dir(schemas.join("events"))
        .expect("schemas/events is a folder")
        .map(|f| f.expect("readable").path())
        .filter(|f| f.extension().is_some_and(|e| e == "avsc"))
        .collect();
    files.sort();
    let events: Vec<Value> = files.iter().map(|f| read(f)).collect();

    let mut out = String::new();
    for e in types.as_array().expect("types.avsc is a list") {
        enumeration(&mut out, e);
    }
    record(&mut out, &header);
    for e in &events {
        record(&mut out, e);
    }
    event_enum(&mut out, &events);
    schema_texts(&mut out, &types, &header, &events);
    let path = Path::new(&env::var("OUT_DIR").expect("set by cargo")).join("events.rs");
    fs::write(path, out).expect("OUT_DIR is writable");
}

fn read(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn text<'a>(v: &'a Value, key: &str) -> &'a str {
    v[key].as_str().unwrap_or_else(|| panic!("{key} missing in {}", v["name"]))
}

fn list<'a>(v: &'a Value, key: &str) -> &'a [Value] {
    v[key].as_array().unwrap_or_else(|| panic!("{key} missing in {}", v["name"]))
}

fn camel(snake: &str) -> String {
    snake.split('_').map(|w| w[..1].to_uppercase() + &w[1..]).collect()
}

/// A field's Rust identifier.
fn ident(name: &str) -> String {
    if ["type", "ref", "match"].contains(&name) { format!("r#{name}") } else { name.to_owned() }
}

/// What stands for a field's name in the content of its record (FNV-1a): fields that are added later don't change it.
fn id_of(name: &str, ids: &mut Vec<u32>) -> u32 {
    let id = name.bytes().fold(0x811c_9dc5_u32, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193));
    assert!(id != 0 && !ids.contains(&id), "two fields of a record have one number: {name}");
    ids.push(id);
    id
}

fn enumeration(out: &mut String, e: &Value) {
    let name = text(e, "name");
    let symbols: Vec<&str> = list(e, "symbols").iter().map(|s| s.as_str().expect("symbol")).collect();
    writeln!(out, "/// {}\n#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ::serde::Serialize, ::serde::Deserialize)]\n#[serde(rename_all = \"snake_case\")]\n#[allow(missing_docs)]\npub enum {name} {{", text(e, "doc")).unwrap();
    for s in &symbols {
        writeln!(out, "    {},", camel(s)).unwrap();
    }
    writeln!(out, "}}\nimpl {name} {{\n    /// Every value, in the schema's order.\n    pub const ALL: &'static [Self] = &[{}];\n    /// The symbol, as the schema writes it.\n    #[must_use]\n    pub const fn as_str(self) -> &'static str {{\n        match self {{", symbols.iter().map(|s| format!("Self::{}", camel(s))).collect::<Vec<_>>().join(", ")).unwrap();
    for s in &symbols {
        writeln!(out, "            Self::{} => \"{s}\",", camel(s)).unwrap();
    }
    writeln!(out, "        }}\n    }}\n}}\nimpl crate::json::Json for {name} {{\n    fn write(&self, out: &mut String) {{\n        self.as_str().write(out);\n    }}\n}}").unwrap();
    writeln!(out, "impl crate::avro::Datum for {name} {{\n    fn put(&self, out: &mut Vec<u8>) {{\n        crate::avro::put_index(*self as usize, out);\n    }}\n    fn get(from: &mut crate::avro::Bytes<'_>) -> Option<Self> {{\n        Self::ALL.get(from.index()?).copied()\n    }}\n    fn content(&self, out: &mut Vec<u8>) {{\n        crate::avro::put_str(self.as_str(), out);\n    }}\n}}").unwrap();
}

/// The Rust type of a schema type; nested records are written out as they are met.
fn rust_type(out: &mut String, field: &Value, t: &Value) -> String {
    match t {
        Value::String(s) => match s.as_str() {
            "string" if field["name"] == "patient_id" => "crate::ids::PatientId".into(),
            "string" if field["contains"] == "event" => "crate::ids::Embedded".into(),
            "string" => "String".into(),
            "int" => "i32".into(),
            "long" => "i64".into(),
            "double" => "f64".into(),
            "boolean" => "bool".into(),
            named => named.rsplit('.').next().expect("name").into(),
        },
        Value::Array(union) => {
            assert!(union.len() == 2 && union[0] == "null", "only [null, T] unions: {field}");
            format!("Option<{}>", rust_type(out, field, &union[1]))
        }
        Value::Object(o) => match (o["type"].as_str(), o.get("logicalType").and_then(Value::as_str)) {
            (Some("long"), Some("timestamp-micros")) => "crate::time::Micros".into(),
            (Some("int"), Some("date")) => "crate::time::Date".into(),
            (Some("string"), Some("uuid")) => "crate::ids::EventId".into(),
            (Some("array"), _) => format!("Vec<{}>", rust_type(out, field, &o["items"])),
            (Some("record"), _) => {
                let mut nested = String::new();
                record(&mut nested, t);
                out.insert_str(0, &nested);
                text(t, "name").into()
            }
            other => panic!("unsupported type {other:?} in {field}"),
        },
        other => panic!("unsupported type {other}"),
    }
}

fn record(out: &mut String, r: &Value) {
    let name = text(r, "name");
    let mut body = String::new();
    let mut json = String::new();
    let (mut content, mut ids) = (String::new(), Vec::new());
    let mut put = String::new();
    let mut get = String::new();
    for f in list(r, "fields") {
        let t = rust_type(out, f, &f["type"]);
        let field = ident(text(f, "name"));
        let personal = f["personal"].as_str().map(|p| format!(" Personal data: {p}.")).unwrap_or_default();
        let default = if f.get("default").is_some() { "    #[serde(default)]\n" } else { "" };
        writeln!(body, "    /// {}{personal}\n{default}    pub {field}: {t},", text(f, "doc")).unwrap();
        writeln!(json, "        crate::json::field(out, \",\\\"{}\\\":\", &self.{field});", text(f, "name")).unwrap();
        writeln!(content, "        crate::avro::field(out, {}, &self.{field});", id_of(text(f, "name"), &mut ids))
            .unwrap();
        writeln!(put, "        crate::avro::Datum::put(&self.{field}, out);").unwrap();
        writeln!(get, "            {field}: crate::avro::Datum::get(from)?,").unwrap();
    }
    writeln!(out, "impl crate::avro::Datum for {name} {{\n    fn put(&self, out: &mut Vec<u8>) {{\n{put}    }}\n    fn get(from: &mut crate::avro::Bytes<'_>) -> Option<Self> {{\n        Some(Self {{\n{get}        }})\n    }}\n    fn content(&self, out: &mut Vec<u8>) {{\n{content}        crate::avro::end(out);\n    }}\n}}").unwrap();
    writeln!(
        out,
        "/// {}\n#[derive(Clone, PartialEq, ::serde::Serialize, ::serde::Deserialize)]\npub struct {name} {{\n{body}}}",
        text(r, "doc")
    )
    .unwrap();
    writeln!(out, "impl crate::json::Json for {name} {{\n    fn write(&self, out: &mut String) {{\n        out.push('{{');\n{json}        out.push('}}');\n    }}\n}}").unwrap();
    writeln!(out, "impl ::std::fmt::Debug for {name} {{\n    /// Names the type alone: the fields are about a patient.\n    fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {{\n        f.debug_struct(\"{name}\").finish_non_exhaustive()\n    }}\n}}").unwrap();
}

fn event_enum(out: &mut String, events: &[Value]) {
    let names: Vec<&str> = events.iter().map(|e| text(e, "name")).collect();
    let variants = |f: &dyn Fn(&str) -> String| names.iter().map(|n| f(n)).collect::<String>();
    write!(out, "/// The type of an event.\n#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ::serde::Serialize, ::serde::Deserialize)]\n#[allow(missing_docs)]\npub enum Kind {{{}}}\n", variants(&|n| format!("{n},"))).unwrap();
    write!(out, "/// One event of the catalogue.\n#[derive(Debug, Clone, PartialEq)]\n#[allow(missing_docs, clippy::large_enum_variant)]\npub enum Event {{{}}}\n", variants(&|n| format!("{n}({n}),"))).unwrap();
    let stage = |e: &Value| format!("            Self::{} => Stage::{},\n", text(e, "name"), camel(text(e, "stage")));
    let key = |e: &Value| format!("            Self::{} => KeyRule::{},\n", text(e, "name"), camel(text(e, "key")));
    write!(out, "impl Kind {{\n    /// Every type, by name.\n    pub const ALL: &'static [Self] = &[{}];\n    /// The name, as in the schema.\n    #[must_use]\n    pub const fn as_str(self) -> &'static str {{\n        match self {{\n{}        }}\n    }}\n    /// The type of that name.\n    #[must_use]\n    pub fn from_name(name: &str) -> Option<Self> {{\n        match name {{\n{}            _ => None,\n        }}\n    }}\n    /// The stage of the journey that it belongs to.\n    #[must_use]\n    pub const fn stage(self) -> Stage {{\n        match self {{\n{}        }}\n    }}\n    /// What its Kafka key is.\n    #[must_use]\n    pub const fn key_rule(self) -> KeyRule {{\n        match self {{\n{}        }}\n    }}\n}}\n",
        variants(&|n| format!("Self::{n},")),
        variants(&|n| format!("            Self::{n} => \"{n}\",\n")),
        variants(&|n| format!("            \"{n}\" => Some(Self::{n}),\n")),
        events.iter().map(stage).collect::<String>(),
        events.iter().map(key).collect::<String>()).unwrap();
    let dispatch = |f: &dyn Fn(&str) -> String| variants(&|n| format!("            Self::{n}(e) => {},\n", f(n)));
    write!(out, "impl Event {{\n    /// Its type.\n    #[must_use]\n    pub const fn kind(&self) -> Kind {{\n        match self {{\n{}        }}\n    }}\n    /// Its header.\n    #[must_use]\n    pub const fn header(&self) -> &Header {{\n        match self {{\n{}        }}\n    }}\n    /// Its header, to change.\n    pub const fn header_mut(&mut self) -> &mut Header {{\n        match self {{\n{}        }}\n    }}\n    fn write_body(&self, out: &mut String) {{\n        match self {{\n{}        }}\n    }}\n    /// Serialises the record alone, in the schema's field order.\n    ///\n    /// # Errors\n    /// Those of the serialiser.\n    pub fn serialize_record<S: ::serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {{\n        match self {{\n{}        }}\n    }}\n    /// Appends the record's Avro datum, as the type's schema has it.\n    pub fn put_datum(&self, out: &mut Vec<u8>) {{\n        match self {{\n{}        }}\n    }}\n    fn put_content(&self, out: &mut Vec<u8>) {{\n        match self {{\n{}        }}\n    }}\n    /// Takes a datum that the type's schema wrote off the front; `None` when it is none.\n    #[must_use]\n    pub fn get_datum(kind: Kind, from: &mut crate::avro::Bytes<'_>) -> Option<Self> {{\n        use crate::avro::Datum as _;\n        Some(match kind {{\n{}        }})\n    }}\n    /// Reads the record of a type.\n    ///\n    /// # Errors\n    /// Those of the deserialiser.\n    pub fn deserialize_record<'de, D: ::serde::Deserializer<'de>>(kind: Kind, d: D) -> Result<Self, D::Error> {{\n        use ::serde::Deserialize as _;\n        Ok(match kind {{\n{}        }})\n    }}\n",
        variants(&|n| format!("            Self::{n}(_) => Kind::{n},\n")),
        dispatch(&|_| "&e.header".into()), dispatch(&|_| "&mut e.header".into()),
        dispatch(&|_| "crate::json::Json::write(e, out)".into()),
        dispatch(&|_| "::serde::Serialize::serialize(e, s)".into()),
        dispatch(&|_| "crate::avro::Datum::put(e, out)".into()),
        dispatch(&|_| "crate::avro::Datum::content(e, out)".into()),
        variants(&|n| format!("            Kind::{n} => Self::{n}({n}::get(from)?),\n")),
        variants(&|n| format!("            Kind::{n} => Self::{n}({n}::deserialize(d)?),\n"))).unwrap();
    let mut refs = String::new();
    for e in events {
        let fields: String = list(e, "fields")
            .iter()
            .filter(|f| f["reference"] == true)
            .map(|f| {
                let n = text(f, "name");
                let r = format!("RefKind::{}", camel(n.trim_end_matches("_id")));
                if f["type"].is_array() {
                    format!("if let Some(v) = &e.{n} {{ f({r}, v); }}\n")
                } else {
                    format!("f({r}, &e.{n});\n")
                }
            })
            .collect();
        let bind = if fields.is_empty() { "_" } else { "e" };
        writeln!(refs, "            Self::{}({bind}) => {{ {fields} }}", text(e, "name")).unwrap();
    }
    write!(out, "    /// Calls `f` with each reference that links this event to others.\n    pub fn each_reference<'a>(&'a self, mut f: impl FnMut(RefKind, &'a str)) {{\n        match self {{\n{refs}        }}\n    }}\n}}\n").unwrap();
    let kinds: BTreeSet<String> = events
        .iter()
        .flat_map(|e| list(e, "fields"))
        .filter(|f| f["reference"] == true)
        .map(|f| text(f, "name").trim_end_matches("_id").to_owned())
        .collect();
    write!(out, "/// What a reference identifies.\n#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ::serde::Serialize, ::serde::Deserialize)]\n#[allow(missing_docs)]\npub enum RefKind {{{}}}\nimpl RefKind {{\n    /// The name, as in `appointment`.\n    #[must_use]\n    pub const fn as_str(self) -> &'static str {{\n        match self {{\n{}        }}\n    }}\n}}\n",
        kinds.iter().map(|k| format!("{},", camel(k))).collect::<String>(),
        kinds.iter().map(|k| format!("            Self::{} => \"{k}\",\n", camel(k))).collect::<String>()).unwrap();
}

/// Each event's schema with everything it names written out where it is first used.
fn schema_texts(out: &mut String, types: &Value, header: &Value, events: &[Value]) {
    out.push_str("impl Kind {\n    /// Its schema, self-contained.\n    #[must_use]\n    pub const fn schema(self) -> &'static str {\n        match self {\n");
    for e in events {
        let e = inline::self_contained(e, types, header).unwrap_or_else(|e| panic!("{e}"));
        writeln!(out, "            Self::{} => {:?},", text(&e, "name"), e.to_string()).unwrap();
    }
    out.push_str("        }\n    }\n}\n");
}
