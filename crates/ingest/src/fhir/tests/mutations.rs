//! Resources with anything wrong in them: no panic, an answer that says where, and nothing new when they come again.

use super::*;

/// Bodies that are tried (each twice); set `FHIR_MUTATIONS` for more.
const TRIES: usize = 3_000;

/// A generator of numbers that are the same in each run (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % n as u64).unwrap()
    }
}

/// The fuzz target's corpus.
fn corpus() -> Vec<Value> {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/fhir");
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    files.iter().filter_map(|f| serde_json::from_slice(&std::fs::read(f).unwrap()).ok()).collect()
}

/// How many values are in a value.
fn size(value: &Value) -> usize {
    1 + match value {
        Value::Array(all) => all.iter().map(size).sum(),
        Value::Object(fields) => fields.values().map(size).sum(),
        _ => 0,
    }
}

/// The `n`th value inside a value.
fn node(value: &mut Value, mut n: usize) -> &mut Value {
    if n == 0 {
        return value;
    }
    n -= 1;
    let children: Vec<&mut Value> = match value {
        Value::Array(all) => all.iter_mut().collect(),
        Value::Object(fields) => fields.values_mut().collect(),
        _ => unreachable!(),
    };
    for child in children {
        let inside = size(child);
        if n < inside {
            return node(child, n);
        }
        n -= inside;
    }
    unreachable!()
}

/// Changes something, anywhere.
fn mutate(dice: &mut Dice, value: &mut Value, all: &[Value]) {
    let strange = [
        json!(null),
        json!(true),
        json!(-1),
        json!(1e300),
        json!(0.1),
        json!(i64::MAX),
        json!(""),
        json!(" "),
        json!("#"),
        json!("#p1"),
        json!("Patient/p1"),
        json!("urn:uuid:1"),
        json!("https://x.example/fhir/Patient/p1"),
        json!("Patient?identifier=|"),
        json!("2026"),
        json!("0000-01-01"),
        json!("9999-12-31T23:59:59Z"),
        json!("2026-03-05T10:10:60Z"),
        json!("가나다라마바사아자차"),
        json!("entered-in-error"),
        json!("completed"),
        json!([]),
        json!({}),
        json!([null]),
        json!([[]]),
        json!("x".repeat(9_000)),
        json!({"coding": [{"code": "x"}]}),
        json!({"reference": "Patient/p1"}),
        json!({"value": -1, "currency": "XXX"}),
        json!("\0"),
    ];
    let place = dice.below(size(value));
    let other = {
        let mut other = all[dice.below(all.len())].clone();
        let n = dice.below(size(&other));
        node(&mut other, n).take()
    };
    let at = node(value, place);
    match (dice.below(5), at) {
        (0, Value::Object(fields)) if !fields.is_empty() => {
            let name = fields.keys().nth(dice.below(fields.len())).unwrap().clone();
            fields.remove(&name);
        }
        (1, Value::Array(items)) if !items.is_empty() => {
            let item = items[dice.below(items.len())].clone();
            items.push(item);
        }
        (2, at) => *at = other,
        (3, Value::Object(fields)) => {
            let names = [
                "status",
                "id",
                "period",
                "start",
                "subject",
                "identifier",
                "meta",
                "contained",
                "resourceType",
                "link",
                "item",
            ];
            fields.insert(names[dice.below(names.len())].into(), other);
        }
        (_, at) => *at = strange[dice.below(strange.len())].clone(),
    }
}

#[tokio::test]
async fn whatever_is_wrong_is_answered_and_nothing_is_told_twice() {
    let tries = std::env::var("FHIR_MUTATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(TRIES);
    let (all, s) = (corpus(), server());
    assert!(all.len() > 20);
    let mut dice = Dice(11);
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..tries {
        let mut body = all[dice.below(all.len())].clone();
        for _ in 0..=dice.below(4) {
            mutate(&mut dice, &mut body, &all);
        }
        let first = s.post(&body).await;
        assert!(matches!(first.status, 200 | 201 | 400 | 413 | 422), "{} {body}", first.status);
        let errors = first.json["issue"].as_array().into_iter().flatten().filter(|i| i["severity"] == "error");
        for error in errors {
            assert!(error["code"].is_string() && error["diagnostics"].is_string(), "{}", first.json);
        }
        let again = s.post(&body).await;
        let new = again.status == 201 || again.json.to_string().contains("201 Created");
        assert!(!new && again.status / 100 == first.status / 100, "{body}\n{}\n{}", first.json, again.json);
        if first.status < 300 { taken += 1 } else { refused += 1 }
    }
    assert!(taken > tries / 10 && refused > tries / 10, "{taken} taken, {refused} refused");
}
