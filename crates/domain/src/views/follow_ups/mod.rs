//! The follow-up queue: what staff still owe a patient (domain.md §5).
//!
//! Facts are ids, times, flags and what bills come to; the items are made of them by one pure function. Whether an item is overdue is
//! never said here: rows hold the due time, and the reader has the clock.

mod bills;
pub mod contact;
mod extract;
pub mod facts;
pub mod item;
mod person;
pub mod priority;
pub mod rules;
mod steps;
#[cfg(test)]
mod tests;
mod triggers;

use self::facts::Fact;
use self::item::{Item, ItemKind, Status};
use self::person::Person;
use self::priority::Priority;
use self::triggers::Key;
use super::PatientFold;
use crate::Map;
use crate::event::Event;
use crate::facts::Facts;
use crate::table::{Row, Table, Type, Value};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use uuid::Uuid;

/// The follow-up queue.
#[derive(Debug, Clone, Copy, Default)]
pub struct FollowUps;

/// Columns of [`ITEMS`], in order.
pub const COLUMNS: &[(&str, Type)] = &[
    ("patient_id", Type::Text),
    ("item_id", Type::Text),
    ("kind", Type::Text),
    ("subject", Type::Text),
    ("status", Type::Text),
    ("status_reason", Type::Text),
    ("site", Type::Text),
    ("department", Type::Text),
    ("zone", Type::Text),
    ("journey_id", Type::Text),
    ("encounter_id", Type::Text),
    ("appointment_id", Type::Text),
    ("trigger_event_id", Type::Text),
    ("opened_at", Type::Int),
    ("due_at", Type::Int),
    ("act_at", Type::Int),
    ("closed_at", Type::Int),
    ("closed_by", Type::Text),
    ("times_opened", Type::Int),
    ("severity", Type::Int),
    ("clinical_risk", Type::Int),
    ("vulnerability", Type::Int),
    ("points", Type::Int),
    ("reasons", Type::Json),
    ("channel", Type::Text),
    ("attempts", Type::Int),
    ("failed_attempts", Type::Int),
    ("last_outcome", Type::Text),
    ("last_attempt_at", Type::Int),
    ("callback_at", Type::Int),
    ("needs_human", Type::Int),
    ("escalated", Type::Int),
    ("missing", Type::Text),
];

/// The table of items.
pub const ITEMS: Table = Table {
    name: "follow_up_items",
    columns: COLUMNS,
    key: 2,
    indexes: &[&["item_id"], &["status", "department"], &["status", "site"]],
};

/// Namespace of item ids.
const ITEM_NAMESPACE: Uuid = Uuid::from_u128(0x6a1d_5f0e_93c2_5b57_8d14_0f7c_2b9e_4a31);

/// The id of an item: derived from whom and what it is about, so that a rebuild gives the same one.
#[must_use]
pub fn item_id(patient: &str, kind: ItemKind, subject: &str) -> Uuid {
    let name = format!("{patient}\u{1f}{}\u{1f}{subject}", kind.as_str());
    Uuid::new_v5(&ITEM_NAMESPACE, name.as_bytes())
}

impl PatientFold for FollowUps {
    type Fact = Fact;

    const VERSION: u32 = 3;

    const TABLES: &'static [Table] = &[ITEMS];

    fn fact(&self, event: &Event) -> Option<Fact> {
        extract::fact(event)
    }

    fn rows(&self, patient: &str, facts: &Facts<Fact>) -> Vec<Vec<Row>> {
        vec![made(&[patient], facts, |_| patient)]
    }
}

impl FollowUps {
    /// The items of a patient who has several pseudonyms, made of all their facts together: where two pseudonyms have an
    /// item of the same kind and subject, there is one. The first of `members` is the present pseudonym.
    ///
    /// An item keeps the id that it had under the first of the pseudonyms that know it, and names that pseudonym.
    #[must_use]
    pub fn united(&self, members: &[(String, Facts<Fact>)]) -> Vec<Row> {
        let mut owners: Map<(String, String), &str> = Map::default();
        let mut all = Facts::default();
        for (patient, facts) in members {
            for row in made(&[patient], facts, |_| patient) {
                if let [_, _, Value::Text(kind), Value::Text(subject), ..] = row.as_slice() {
                    owners.entry((kind.clone(), subject.clone())).or_insert(patient);
                }
            }
            all.absorb(facts.clone());
        }
        let names: Vec<&str> = members.iter().map(|m| m.0.as_str()).collect();
        let present = names.first().copied().unwrap_or_default();
        made(&names, &all, |key| {
            owners.get(&(key.0.as_str().to_owned(), key.1.to_string())).copied().unwrap_or(present)
        })
    }
}

/// The rows of a patient with these pseudonyms; `owner` says under which of them an item lies.
fn made<'o>(aliases: &[&str], facts: &Facts<Fact>, owner: impl Fn(&Key<'_>) -> &'o str) -> Vec<Row> {
    let (known, ghosts) = triggers::effective(facts);
    let person = Person::of(&known);
    let gathered = steps::gather(aliases, &known, ghosts);
    let mut items: BTreeMap<Key<'_>, Item<'_>> = gathered
        .items
        .into_iter()
        .map(|(key, steps)| {
            let item = Item::run(key.0, &steps);
            (key, item)
        })
        .filter(|(_, item)| item.exists())
        .collect();
    for ghost in gathered.ghosts {
        items.entry(ghost.key).or_insert_with_key(|key| {
            let step = steps::open(ghost.trigger);
            let mut item = Item::run(key.0, &[step]);
            item.end(Status::Cancelled, ghost.reason, ghost.at, ghost.by);
            item
        });
    }
    before_the_next_booking(&mut items);
    for item in items.values_mut() {
        bar(item, &person);
    }
    items.iter().map(|(key, item)| row(owner(key), key, item, &person)).collect()
}

/// Trouble with booking should be settled before the next booking, which is when something else is to be booked.
fn before_the_next_booking(items: &mut BTreeMap<Key<'_>, Item<'_>>) {
    let to_book = [ItemKind::Recall, ItemKind::ReferralBooking, ItemKind::NoShow];
    let next =
        items.values().filter(|i| i.status == Status::Open && to_book.contains(&i.kind)).filter_map(|i| i.due).min();
    for item in items.values_mut().filter(|i| i.kind == ItemKind::BookingFriction && i.status == Status::Open) {
        let next = next.map(|due| due.max(item.opened_at));
        item.due = [item.due, next].into_iter().flatten().min();
    }
}

/// Death closes what is open; it is suppressed for who is not to be contacted.
fn bar(item: &mut Item<'_>, person: &Person<'_>) {
    if item.status != Status::Open {
        return;
    }
    if let Some((at, id)) = person.deceased {
        item.end(Status::Closed, "deceased", at, id);
    } else if let Some(((at, id), reason)) = person.no_contact() {
        item.end(Status::Suppressed, reason, at, id);
    }
}

fn reasons_json(priority: &Priority) -> String {
    let mut out = String::with_capacity(64 * priority.reasons.len() + 2);
    for r in &priority.reasons {
        out.push(if out.is_empty() { '[' } else { ',' });
        let _ = write!(out, "{{\"part\":\"{}\",\"reason\":\"{}\",\"points\":{}}}", r.part, r.code, r.points);
    }
    out.push_str(if out.is_empty() { "[]" } else { "]" });
    out
}

fn row(patient: &str, key: &Key<'_>, item: &Item<'_>, person: &Person<'_>) -> Row {
    let (kind, subject) = (key.0, key.1.as_ref());
    let t = item.trigger.as_ref();
    let place = t.map(|t| t.place);
    let text = |v: Option<&String>| Value::from(v.cloned());
    let str = |v: Option<&str>| Value::from(v.map(str::to_owned));
    let priority = Priority::of(item, subject, person);
    let journey = place.and_then(|p| p.journey.clone()).or_else(|| t.map(|t| t.id.to_string()));
    let needs_human = kind.needs_human() || item.wrong_number || !item.attention.is_empty();
    let (closed_at, closed_by) = item.closed.unzip();
    let row = vec![
        patient.into(),
        item_id(patient, kind, subject).to_string().into(),
        kind.as_str().into(),
        subject.into(),
        item.status.as_str().into(),
        str(item.reason.or_else(|| item.attention.last().copied())),
        text(place.and_then(|p| p.site.as_ref())),
        text(place.and_then(|p| p.department.as_ref())),
        text(place.map(|p| &p.zone)),
        journey.into(),
        str(t.and_then(|t| t.encounter)),
        str(t.and_then(|t| t.appointment)),
        t.map(|t| t.id).into(),
        item.opened_at.into(),
        item.due.into(),
        item.callback.or(item.due).into(),
        closed_at.into(),
        closed_by.into(),
        i64::from(item.times_opened).into(),
        priority.severity.into(),
        priority.clinical.into(),
        priority.vulnerability.into(),
        priority.points().into(),
        reasons_json(&priority).into(),
        item.channel().into(),
        i64::from(item.attempts).into(),
        i64::from(item.failed.iter().sum::<u32>()).into(),
        str(item.last_outcome.map(crate::event::Outcome::as_str)),
        item.last_attempt_at.into(),
        item.callback.into(),
        needs_human.into(),
        item.attention.contains(&"escalated").into(),
        str(item.missing()),
    ];
    debug_assert_eq!(row.len(), COLUMNS.len());
    row
}
