//! A request for an attempt or a completion: checked against the lease, and remembered, so that it is published once.
//!
//! Of an item that a merge has united, a request is about the one whose lease it is made with; if that lease is on several, about
//! the one that it names. It is remembered there and looked for under all of them, so that a merge in between makes no other
//! events of it.

use super::requests::{Done, Event as Shown};
use super::unite::United;
use crate::problem::Json;
use crate::{App, Problem};
use axum::http::StatusCode;
use domain::event::{Actor, Header, Modality, Role, Source};
use domain::{Event, EventId, Micros, PatientId};
use serde::Serialize;
use store::Engine;
use store::views::follow_ups::leases::{self, Lease};
use store::views::follow_ups::{ItemRow, find};
use uuid::Uuid;

/// Namespace of the ids of events that are published once however often they are asked for.
const REQUESTS: Uuid = Uuid::from_u128(0x3b0c_8c52_77f4_5f0a_9a64_51f2_7f0d_c2e9);

/// 409 for a token that no longer holds.
pub fn stale() -> Problem {
    Problem::new(StatusCode::CONFLICT, "stale-token", "Stale token", "the claim has run out or is somebody else's now")
}

/// 409 for an item that another person holds.
pub fn claimed(detail: String) -> Problem {
    Problem::new(StatusCode::CONFLICT, "claimed", "Claimed", detail)
}

/// Renews a claim.
pub async fn renewed(engine: &Engine, item: &United, holder: &str, token: i64, now: i64) -> Result<Lease, Problem> {
    match leases::renew(engine, &item.ids, holder, token, now).await? {
        leases::Asked::Given(lease) => Ok(lease),
        leases::Asked::Stale => Err(stale()),
        leases::Asked::Held(other) => Err(claimed(format!(
            "a merge of patients has made this item one with another, which {} had claimed and goes on with",
            other.holder
        ))),
    }
}

/// 409 unless the item is open.
pub fn must_be_open(row: &ItemRow) -> Result<(), Problem> {
    if row.status == "open" {
        return Ok(());
    }
    let detail = format!("the item is {}", row.status);
    Err(Problem::new(StatusCode::CONFLICT, "not-open", "Not open", detail))
}

/// What a request is remembered under, and a hash of what it asks.
pub(super) struct Key {
    text: String,
    kind: Asked,
    print: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// Under an `Idempotency-Key`.
    ByKey,
    /// An attempt under a token. The same again is a further attempt once this one is answered.
    Attempt,
    /// A completion under a token. Another one waits until this one is answered; the same again never is another one.
    Completion,
}

impl Key {
    /// The `Idempotency-Key`, or without one what tells the request apart. No header has a U+001F.
    pub(super) fn new<T: Serialize>(given: Option<String>, kind: Asked, token: i64, body: &T) -> Self {
        // the same for every version of this program, unlike a hash of the standard library
        let json = serde_json::to_vec(body).unwrap_or_default();
        let print = Uuid::new_v5(&REQUESTS, &json).to_string();
        let (text, kind) = match (given, kind) {
            (Some(text), _) => (text, Asked::ByKey),
            (None, Asked::Attempt) => (format!("\u{1f}{token}\u{1f}{print}"), kind),
            (None, _) => (format!("\u{1f}{token}"), kind),
        };
        Self { text, kind, print }
    }
}

/// A request on its way: what it is about, who asks, when it counts as asked.
pub(super) struct Ask<'a> {
    app: &'a App,
    /// The item that it is about, as stored: whatever it is united with, a retry makes the same events.
    pub(super) row: Box<ItemRow>,
    /// All ids of the item.
    ids: &'a [String],
    holder: &'a str,
    token: i64,
    key: Key,
    at: Micros,
}

/// How a request begins.
pub(super) enum Begun<'a> {
    /// It was answered before.
    Answered(Done),
    /// It is to be carried out.
    Go(Ask<'a>),
}

impl<'a> Ask<'a> {
    /// Checks the lease, unless a retry of the same request had passed that before.
    pub(super) async fn begin(
        app: &'a App,
        item: &'a United,
        (holder, token): (&'a str, i64),
        key: Key,
    ) -> Result<Begun<'a>, Problem> {
        let (engine, now) = (app.engine(), (app.now)());
        let known = leases::requests(engine, &item.ids, &key.text).await?;
        // without an answer first: that attempt is under way still
        let same = known.iter().filter(|r| r.fingerprint == key.print).min_by_key(|r| r.answer.is_some());
        if key.kind == Asked::ByKey && same.is_none() && !known.is_empty() {
            return Err(reused());
        }
        let go = async |about: &str, at, key| {
            let row = Box::new(find(engine, about).await?.ok_or_else(|| Problem::not_found("follow-up item"))?);
            Ok(Begun::Go(Self { app, row, ids: &item.ids, holder, token, key, at: Micros(at) }))
        };
        if let Some(same) = same.filter(|s| key.kind != Asked::Attempt || s.answer.is_none()) {
            return match &same.answer {
                Some(answer) => Ok(Begun::Answered(read(answer)?)),
                None => go(&same.item_id, same.at, key).await,
            };
        }
        must_be_open(&item.row)?;
        renewed(engine, item, holder, token, now.0).await?;
        if key.kind == Asked::Completion && known.iter().any(|r| r.answer.is_none()) {
            return Err(under_way());
        }
        let about = about(engine, item, (holder, token), now.0).await?;
        // Of requests that run side by side none knows another one's answer: they are one, or exclude each other.
        let further = |b: &&leases::Request| key.kind == Asked::Attempt || b.fingerprint != key.print;
        let before = known.iter().find(|b| b.item_id == about);
        let done = before.filter(|b| b.answer.is_some()).filter(further).map(|b| b.at);
        let at = done.map_or(now.0, |done| now.0.max(done + 1));
        let known = leases::remember(engine, &about, &key.text, &key.print, at, done).await?;
        if known.fingerprint != key.print {
            return Err(if key.kind == Asked::ByKey { reused() } else { under_way() });
        }
        match known.answer {
            Some(answer) => Ok(Begun::Answered(read(&answer)?)),
            None => go(&about, known.at, key).await,
        }
    }

    pub(super) fn header(&self, nth: u8, channel: Option<&str>) -> Header {
        let (row, key) = (&self.row, &self.key.text);
        let name = match self.key.kind {
            Asked::ByKey => format!("{}\u{1f}{key}\u{1f}{nth}", row.item_id),
            Asked::Attempt | Asked::Completion => format!("{}\u{1f}{key}\u{1f}{}\u{1f}{nth}", row.item_id, self.at.0),
        };
        Header {
            event_id: EventId(Uuid::new_v5(&REQUESTS, name.as_bytes())),
            // the second event of a request happened after the first
            occurred_at: self.at.plus(i64::from(nth)),
            zone: if row.zone.is_empty() { "UTC".into() } else { row.zone.clone() },
            recorded_at: self.at.plus(i64::from(nth)),
            source: Source {
                system: "journeylog".into(),
                facility: None,
                message_id: None,
                trigger: Some("follow_up_queue".into()),
            },
            actor: Some(Actor { id: Some(self.holder.to_owned()), role: Role::CallAgent }),
            patient_id: Some(PatientId(row.patient_id.clone())),
            // where no publisher named the journey, the references lead to it
            journey_id: (row.journey_id != row.trigger_event_id).then(|| row.journey_id.clone()),
            site: row.site.clone(),
            department: row.department.clone(),
            modality: channel.map(modality),
            causation_id: Some(row.trigger_event_id.clone()),
            correlation_id: None,
            confidentiality: Vec::new(),
        }
    }

    /// Publishes, and keeps the answer for a retry.
    pub(super) async fn publish(self, events: Vec<Event>, gives_back: bool) -> Result<Json<Done>, Problem> {
        let mut shown = Vec::new();
        for event in events {
            let (event_id, kind) = (event.header().event_id.to_string(), event.kind().as_str().to_owned());
            let published = self.app.publish.publish(event).await?;
            shown.push(Shown { event_id, r#type: kind, position: published.position });
        }
        let Some(last) = shown.last().cloned() else { return Err(Problem::conflict("there is nothing to publish")) };
        let done =
            Done { item_id: self.row.item_id.clone(), event_id: last.event_id, position: last.position, events: shown };
        let engine = self.app.engine();
        // In this order: who finds the answer and wants something else finds the token stale, too.
        if gives_back {
            let now = (self.app.now)().0;
            leases::release(engine, self.ids, self.holder, self.token, now).await?;
        }
        let answer = serde_json::to_string(&done).unwrap_or_default();
        leases::answer(engine, &self.row.item_id, &self.key.text, self.at.0, &answer).await?;
        Ok(Json(done))
    }
}

/// The item that a request with this lease is about.
async fn about(engine: &Engine, item: &United, lease: (&str, i64), now: i64) -> Result<String, Problem> {
    let held = leases::held(engine, &item.ids.iter().collect::<Vec<_>>(), now).await?;
    let own = |id: &String| held.get(id).is_some_and(|l| (l.holder.as_str(), l.token) == lease);
    if !own(&item.asked) {
        for id in item.ids.iter().filter(|id| own(id)) {
            // a claim is under ids, too, that no item has yet
            if find(engine, id).await?.is_some() {
                return Ok(id.clone());
            }
        }
    }
    Ok(item.asked.clone())
}

fn reused() -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "key-reused",
        "Key reused",
        "another request was made under this Idempotency-Key",
    )
}

fn under_way() -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "under-way",
        "Under way",
        "another completion is under way under this token, or ended without an answer: send that one again, or give the item back \
         and claim it anew",
    )
}

fn read(answer: &str) -> Result<Done, Problem> {
    serde_json::from_str(answer).map_err(|_| store::StoreError::Data("a remembered answer can't be read".into()).into())
}

fn modality(channel: &str) -> Modality {
    match channel {
        "phone" | "robocall" => Modality::Phone,
        "video" => Modality::Video,
        "web" => Modality::Web,
        "sms" | "email" | "kakao" | "message" | "chat" => Modality::Message,
        "letter" | "post" => Modality::Post,
        "desk" => Modality::InPerson,
        _ => Modality::Other,
    }
}
