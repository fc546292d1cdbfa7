//! What all messages have in common: times, place, visit; the patient is in `numbers`.

use super::super::head::Head;
use super::super::message::{Message, Part};
use super::super::rules::{self, Hl7, Sender};
use super::super::time::{Zones, instant, offset_of};
use super::super::wrong::{Code, Place, Wrong};
use crate::site::{self, Pseudonyms, Site};
use domain::event::{Header, Modality, Source};
use domain::{Event, EventId, Micros, PatientId};
use std::borrow::Cow;

/// Most wrong things that are noted of one message.
const MOST_WRONG: usize = 100;

/// Most events of one message; one that means more is refused. A segment seldom means two.
const MOST_EVENTS: usize = 10_000;

/// Segments that each event of a message may be read from, and how long one of them may be, bytes: a message has thousands of
/// events, and none takes a longer text.
const SHARED: [&str; 10] = ["MSH", "EVN", "PID", "PV1", "SCH", "TQ1", "AIS", "AIG", "AIL", "AIP"];
const MOST_SHARED_BYTES: usize = 16 << 10;

/// The fields that say when it happened, where nothing more exact does.
pub const HAPPENED: &[(&str, u16)] = &[("EVN", 6), ("EVN", 2), ("MSH", 7)];

/// What was published before, as far as a message can be about it.
pub trait Known {
    /// The events about a patient's appointment.
    fn appointment(&self, patient: &str, appointment: &str) -> Vec<EventId>;
}

/// A patient as a message names one.
#[derive(Debug, Clone)]
pub struct Patient {
    /// The pseudonym.
    pub id: String,
    /// Who gave the number out, by the site file's name or as the message names it.
    pub authority: String,
}

/// A message that is being read.
pub struct Context<'a> {
    pub message: &'a Message<'a>,
    pub rules: &'a Hl7,
    pub sender: Option<&'a Sender>,
    pub pseudonyms: &'a Pseudonyms,
    pub known: &'a dyn Known,
    head: &'a Head<'a>,
    zones: Zones,
    /// Sender and receiver: what the ids of events are made from.
    key: String,
    digest: &'a str,
    events: Vec<Event>,
    wrong: Vec<Wrong>,
}

impl<'a> Context<'a> {
    pub fn new(
        head: &'a Head<'a>,
        message: &'a Message<'a>,
        pseudonyms: &'a Pseudonyms,
        known: &'a dyn Known,
        digest: &'a str,
    ) -> Self {
        let site = pseudonyms.site();
        let named = |n| message.field("MSH", n).id().unwrap_or_default();
        let sender = rules::of(&site.senders, &named(3), &named(4));
        let zones = Zones {
            message: offset_of(message.field("MSH", 7).component(1).raw()),
            sender: sender.and_then(|s| s.zone).unwrap_or(site.zone),
        };
        let (events, wrong) = (Vec::with_capacity(2), Vec::new());
        let key = key(head);
        Self { message, rules: &site.hl7, sender, pseudonyms, known, head, zones, key, digest, events, wrong }
    }

    pub fn end(self) -> Result<Vec<Event>, Vec<Wrong>> {
        if self.wrong.is_empty() { Ok(self.events) } else { Err(self.wrong) }
    }

    pub fn site(&self) -> &'a Site {
        self.pseudonyms.site()
    }

    pub fn push(&mut self, event: Event) {
        if self.events.len() == MOST_EVENTS {
            return self.wrong(Place::segment("MSH"), Code::Internal, "the message means more than 10000 events");
        }
        self.events.push(event);
    }

    /// Notes that something is wrong.
    pub fn wrong(&mut self, place: Place, code: Code, reason: &'static str) {
        let wrong = Wrong::new(place, code, reason);
        if self.wrong.len() < MOST_WRONG && !self.wrong.contains(&wrong) {
            self.wrong.push(wrong);
        }
    }

    /// What is required; notes where it is missing.
    pub fn need<T>(&mut self, value: Option<T>, place: Place, reason: &'static str) -> Option<T> {
        if value.is_none() {
            self.wrong(place, Code::Missing, reason);
        }
        value
    }

    /// What `read` finds, which is required; where it has noted something wrong itself, no more is noted.
    pub fn needed<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Option<T>,
        place: Place,
        reason: &'static str,
    ) -> Option<T> {
        let before = self.wrong.len();
        let found = read(self);
        if self.wrong.len() > before { found } else { self.need(found, place, reason) }
    }

    /// Whether segments are too long to be read for each event, and notes that.
    pub fn too_long(&mut self) -> bool {
        for s in self.message.segments().iter().filter(|s| s.length() > MOST_SHARED_BYTES) {
            if let Some(name) = SHARED.into_iter().find(|n| *n == s.name()) {
                let place = Place::segment(name).in_sequence(s.sequence);
                self.wrong(place, Code::Internal, "the segment is longer than 16384 bytes");
            }
        }
        !self.wrong.is_empty()
    }

    /// Whether a segment is missing, and notes that.
    pub fn lacks(&mut self, segment: &'static str, reason: &'static str) -> bool {
        let missing = self.message.first(segment).is_none();
        if missing {
            self.wrong(Place::segment(segment), Code::Segment, reason);
        }
        missing
    }

    /// The time that a field names; notes one that is no time.
    pub fn time(&mut self, part: Part<'_>, place: Place) -> Option<Micros> {
        let text = part.component(1).present()?.raw();
        let time = instant(text, self.zones);
        if time.is_none() {
            self.wrong(place, Code::DataType, "is not a time to the day at least");
        }
        time
    }

    /// The first of these fields that says anything, as a time.
    pub fn first_time(&mut self, places: &[(&'static str, u16)]) -> Option<Micros> {
        let (segment, field) =
            places.iter().find(|(s, f)| self.message.field(s, usize::from(*f)).component(1).present().is_some())?;
        self.time(self.message.field(segment, usize::from(*field)), Place::field(segment, *field))
    }

    /// A number that isn't negative; notes what is none.
    pub fn natural(&mut self, part: Part<'_>, place: Place) -> Option<f64> {
        let number = part.component(1).value()?.parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0);
        if number.is_none() {
            self.wrong(place, Code::DataType, "is not a number of zero or more");
        }
        number
    }

    /// The visit: PV1-19.
    pub fn encounter(&self) -> Option<String> {
        self.message.field("PV1", 19).id().map(Cow::into_owned)
    }

    /// The visit, which the event needs.
    pub fn needed_encounter(&mut self) -> Option<String> {
        let visit = self.encounter();
        self.need(visit, Place::field("PV1", 19).component(1), "the event needs the visit's number")
    }

    /// When MSH-7 says that the message was written.
    pub fn written(&mut self) -> Option<Micros> {
        self.time(self.message.field("MSH", 7), Place::field("MSH", 7))
    }

    /// A header. `place` is where the patient is (PL: point of care, room, bed, facility).
    pub fn header(&mut self, patient: &Patient, occurred_at: Micros, place: Part<'_>) -> Header {
        let (message, site) = (self.message, self.site());
        // Nothing is recorded after the message that says so; a recording time that lies later is no such thing.
        let noted = self.time(message.field("EVN", 2), Place::field("EVN", 2));
        let written = self.written();
        let recorded_at = match (noted, written) {
            (Some(a), Some(b)) => a.min(b),
            (a, b) => a.or(b).unwrap_or(occurred_at),
        };
        let named = |n: usize| message.field("MSH", n).id().map(Cow::into_owned);
        let facility = named(4);
        let facility_of = |p: Part<'_>| p.subcomponent(1).value().map(Cow::into_owned);
        let at = facility_of(place.component(4)).or_else(|| site.site.clone()).or_else(|| facility.clone());
        let department = message.field("PV1", 10).id().or_else(|| place.id());
        Header {
            event_id: site::event_id(&self.key, &text(self.head.control_id()), self.events.len()),
            occurred_at,
            zone: self.zones.sender.name().to_owned(),
            recorded_at,
            source: Source {
                system: named(3).or_else(|| facility.clone()).unwrap_or_else(|| "hl7".to_owned()),
                facility,
                message_id: Some(text(self.head.control_id()).into_owned()),
                trigger: Some(format!("{}^{}", self.head.kind(), self.head.trigger())),
            },
            actor: None,
            patient_id: Some(PatientId(patient.id.clone())),
            journey_id: None,
            site: at,
            department: department.map(|code| site.department(&code).to_owned()),
            modality: None,
            causation_id: None,
            correlation_id: Some(self.digest.to_owned()),
            confidentiality: Vec::new(),
        }
    }

    /// The same for a touchpoint at which the patient is there.
    pub fn header_in_person(&mut self, patient: &Patient, occurred_at: Micros, place: Part<'_>) -> Header {
        Header { modality: Some(Modality::InPerson), ..self.header(patient, occurred_at, place) }
    }
}

/// Sender and receiver of a message, as one text.
pub fn key(head: &Head<'_>) -> String {
    let mut key = String::with_capacity(64);
    for n in [3, 4, 5, 6] {
        key.push_str(&text(head.raw(n)));
        key.push('|');
    }
    key
}

/// Bytes as a text that no other bytes become: names in EUC-KR must not turn into the same row of replacement characters.
pub fn text(bytes: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(bytes).map_or_else(|_| bytes.iter().copied().map(char::from).collect(), Cow::Borrowed)
}
