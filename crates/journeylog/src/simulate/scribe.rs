//! Writes one patient's events: headers, ids of references, delays of recording, resends.

use super::buckets::Buckets;
use super::clock;
use super::dice::{Dice, mix};
use super::phrases::Phrases;
use super::world::{Department, Site};
use domain::event::{Actor, Header, Modality, Role, Source};
use domain::time::{DAY, HOUR, MINUTE};
use domain::views::follow_ups::item::ItemKind;
use domain::views::follow_ups::item_id;
use domain::{Event, EventId, Kind, Micros, PatientId};
use std::fmt::Write as _;
use std::io;
use uuid::Uuid;

/// A second, µs.
pub const SECOND: i64 = 1_000_000;

/// A publishing system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Src {
    Crm,
    Scheduling,
    Messaging,
    Kiosk,
    Desk,
    Emr,
    Lis,
    Adt,
    Partner,
    CallCentre,
    Billing,
    Voice,
    Consent,
    Mpi,
    Staff,
}

impl Src {
    const fn name(self) -> &'static str {
        match self {
            Self::Crm => "crm",
            Self::Scheduling => "scheduling",
            Self::Messaging => "messaging",
            Self::Kiosk => "kiosk",
            Self::Desk => "desk",
            Self::Emr => "emr",
            Self::Lis => "lis",
            Self::Adt => "adt",
            Self::Partner => "partner_gateway",
            Self::CallCentre => "call_centre",
            Self::Billing => "billing",
            Self::Voice => "experience",
            Self::Consent => "consent_desk",
            Self::Mpi => "mpi",
            Self::Staff => "staff_portal",
        }
    }

    /// Whether people type it in, rather than a system noticing it.
    const fn typed(self) -> bool {
        matches!(self, Self::Crm | Self::Desk | Self::Emr | Self::CallCentre | Self::Billing)
    }
}

/// Where the lines go, and what they add up to.
pub struct Sink {
    /// The sorter.
    pub buckets: Buckets,
    /// Nothing may be recorded after this time (µs).
    pub until: i64,
    /// Events by kind, in the order of `Kind::ALL`, resends not counted.
    pub counts: Vec<u64>,
    /// Lines that repeat an earlier one.
    pub resent: u64,
    /// The first error of the sorter, to be raised by the caller between two patients.
    pub error: Option<io::Error>,
}

impl Sink {
    fn line(&mut self, at: i64, line: &str) {
        if self.error.is_none()
            && let Err(e) = self.buckets.add(at, line)
        {
            self.error = Some(e);
        }
    }
}

/// Writes the events of one patient, or of one site's staff.
pub struct Scribe<'a> {
    pub dice: Dice,
    pub sink: &'a mut Sink,
    /// The patient's pseudonym; `None` for events about staff.
    pub patient: Option<PatientId>,
    /// Index that makes the ids of references unique.
    pub index: u64,
    /// Where the patient is now.
    pub site: &'static Site,
    pub dept: &'static Department,
    /// Explicit journey, where the publisher names one.
    pub journey: Option<String>,
    /// A treatment of years, whose visits all belong to one explicit journey (D7).
    pub treatment: Option<String>,
    /// Demonstration patients: recorded at once, never late, never resent.
    pub plain: bool,
    next_ref: u32,
}

impl<'a> Scribe<'a> {
    /// A scribe for the patient `index` (stream of the dice as well).
    pub fn new(
        sink: &'a mut Sink,
        dice: Dice,
        patient: Option<PatientId>,
        index: u64,
        site: &'static Site,
        dept: &'static Department,
    ) -> Self {
        Self { dice, sink, patient, index, site, dept, journey: None, treatment: None, plain: false, next_ref: 0 }
    }

    /// A fresh id of a reference, unique at its site: `hn-apt-00001f-3`.
    pub fn reference(&mut self, kind: &str) -> String {
        self.next_ref += 1;
        let mut s = String::with_capacity(24);
        let _ = write!(s, "{}-{kind}-{:06x}-{}", self.site.code, self.index, self.next_ref);
        s
    }

    /// The follow-up queue's id for the item about `subject` of this patient.
    pub fn item(&self, kind: ItemKind, subject: &str) -> String {
        let patient = self.patient.as_ref().map_or("", PatientId::as_str);
        item_id(patient, kind, subject).to_string()
    }

    /// A practitioner of the department, by pseudonym.
    pub fn practitioner(&mut self) -> String {
        let n = self.dice.below(self.dept.doctors) + 1;
        format!("pr-{}-{}-{n}", self.site.code, self.dept.id)
    }

    /// A phrase in the site's language.
    pub fn say(&mut self, phrases: &Phrases) -> Option<String> {
        Some(self.dice.pick(phrases.of(self.site.zone)).to_owned())
    }

    /// Whether that time lies after the end of the output.
    pub const fn over(&self, at: i64) -> bool {
        at > self.sink.until
    }

    /// Load of the site at that time, percent.
    pub fn load(&self, at: i64) -> i64 {
        clock::load(self.site.zone, self.site.code.as_bytes()[0].into(), at)
    }

    /// A header: `role` acted through `src` at `at`.
    pub fn head(&mut self, at: i64, src: Src, role: Role, modality: Modality) -> Header {
        let delay = self.delay(src);
        let recorded = at + delay;
        let actor = match role {
            Role::Patient | Role::Family => None,
            Role::System => Some(src.name().to_owned()),
            _ => Some(format!("st-{}-{}-{}", self.site.code, role.as_str(), self.dice.range(1, 9))),
        };
        let typed = src.typed() && self.dice.percent(35);
        Header {
            event_id: self.event_id(recorded),
            occurred_at: Micros(at),
            zone: self.site.zone.name().to_owned(),
            recorded_at: Micros(recorded),
            source: Source {
                system: src.name().to_owned(),
                facility: Some(self.site.id.to_owned()),
                message_id: None,
                trigger: typed.then(|| "manual_entry".to_owned()),
            },
            actor: Some(Actor { id: actor, role }),
            patient_id: self.patient.clone(),
            journey_id: self.journey.clone(),
            site: Some(self.site.id.to_owned()),
            department: Some(self.dept.id.to_owned()),
            modality: Some(modality),
            causation_id: None,
            correlation_id: None,
            confidentiality: if self.dept.restricted { vec!["R".to_owned()] } else { Vec::new() },
        }
    }

    /// A header whose actor is a certain practitioner.
    pub fn head_of(&mut self, at: i64, practitioner: &str) -> Header {
        let mut h = self.head(at, Src::Emr, Role::Doctor, Modality::InPerson);
        h.actor = Some(Actor { id: Some(practitioner.to_owned()), role: Role::Doctor });
        h
    }

    /// How long a source takes to record what happened, µs: seconds for systems, minutes where people type, and for one
    /// event in fifty hours or days.
    fn delay(&mut self, src: Src) -> i64 {
        if self.plain {
            return 2 * SECOND;
        }
        match self.dice.range(0, 999) {
            0..=2 => self.dice.range(3 * 24, 14 * 24) * HOUR + self.dice.range(0, HOUR),
            3..=19 => self.dice.range(2 * HOUR, 3 * DAY),
            _ if src.typed() => self.dice.tail(3 * MINUTE),
            _ => self.dice.range(50_000, 4 * SECOND),
        }
    }

    /// A UUIDv7 of that time.
    fn event_id(&mut self, recorded: i64) -> EventId {
        let millis = (recorded.max(0) / 1000) as u128;
        let random = u128::from(self.dice.word()) << 64 | u128::from(self.dice.word());
        let bits = millis << 80 | 0x7 << 76 | (random >> 52 & 0xfff) << 64 | 0b10 << 62 | random & ((1 << 62) - 1);
        EventId(Uuid::from_u128(bits))
    }

    /// Writes an event, unless it would be recorded after the end. Returns its id.
    pub fn put(&mut self, event: Event) -> EventId {
        let h = event.header();
        let (id, at) = (h.event_id, h.recorded_at.0);
        if at > self.sink.until {
            return id;
        }
        let line = event.to_json();
        self.sink.counts[event.kind() as usize] += 1;
        self.sink.line(at, &line);
        self.resend(at, &line);
        id
    }

    /// Seven events in a thousand come twice; after an interface restart (some afternoons) every third one.
    fn resend(&mut self, at: i64, line: &str) {
        if self.plain {
            return;
        }
        let (day, minute) = self.site.zone.local(at);
        let storm = (840..850).contains(&minute)
            && mix(day as u64 ^ u64::from(self.site.code.as_bytes()[0])).is_multiple_of(19);
        if !self.dice.permille(if storm { 333 } else { 7 }) {
            return;
        }
        let again = at + self.dice.tail(20 * MINUTE) + SECOND;
        if again <= self.sink.until {
            self.sink.resent += 1;
            self.sink.line(again, line);
        }
    }
}

/// Events by kind, zeroes included.
pub fn no_counts() -> Vec<u64> {
    vec![0; Kind::ALL.len()]
}
