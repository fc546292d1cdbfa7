//! One item: what opens it, what its steps do to it.

mod bookings;
mod contacts;
mod kind;
mod step;

pub use kind::{ItemKind, Status};
pub use step::{Act, Step, Trigger};

use self::bookings::{Booked, Bookings};
use crate::EventId;
use crate::event::{ItemClosure, Outcome};

/// What an order or a referral has come to: whoever tells of it once more, as with a change of its record, doesn't ask for it again.
const SETTLED: [&str; 3] = ["final_result", "completed", "completed_with_outcome"];

/// An item as its steps leave it.
#[derive(Debug, Clone)]
pub struct Item<'a> {
    pub kind: ItemKind,
    pub status: Status,
    pub reason: Option<&'static str>,
    pub trigger: Option<Trigger<'a>>,
    pub opened_at: i64,
    pub due: Option<i64>,
    pub closed: Option<(i64, EventId)>,
    /// How often it was opened.
    pub times_opened: u32,
    /// How often its trigger came in this cycle.
    pub triggers: u32,
    pub attempts: u32,
    /// Failed attempts by [`Channel`](super::facts::Channel).
    pub failed: [u32; 4],
    pub last_outcome: Option<Outcome>,
    pub last_attempt_at: Option<i64>,
    pub callback: Option<i64>,
    pub attention: Vec<&'static str>,
    pub wrong_number: bool,
    call: Option<(i64, EventId)>,
    resolution: Option<(i64, EventId)>,
    bookings: Bookings<'a>,
    done: bool,
}

impl<'a> Item<'a> {
    /// Runs the steps, which are in order.
    #[must_use]
    pub fn run(kind: ItemKind, steps: &[Step<'a>]) -> Self {
        let mut item = Self {
            kind,
            status: Status::Closed,
            reason: None,
            trigger: None,
            opened_at: 0,
            due: None,
            closed: None,
            times_opened: 0,
            triggers: 0,
            attempts: 0,
            failed: [0; 4],
            last_outcome: None,
            last_attempt_at: None,
            callback: None,
            attention: Vec::new(),
            wrong_number: false,
            call: None,
            resolution: None,
            bookings: Bookings::default(),
            done: false,
        };
        for step in steps {
            item.step(step);
        }
        item
    }

    /// Whether it was ever opened.
    #[must_use]
    pub const fn exists(&self) -> bool {
        self.trigger.is_some()
    }

    fn is_open(&self) -> bool {
        self.exists() && self.status == Status::Open
    }

    /// Ends it.
    pub fn end(&mut self, status: Status, reason: &'static str, at: i64, id: EventId) {
        self.status = status;
        self.reason = Some(reason);
        self.closed = Some((at.max(self.opened_at), id));
        self.callback = None;
    }

    fn close(&mut self, reason: &'static str, step: &Step<'_>) {
        if self.is_open() {
            self.end(Status::Closed, reason, step.at, step.id);
        }
    }

    fn step(&mut self, step: &Step<'a>) {
        match &step.act {
            Act::Open(t) => self.open(t),
            Act::Close(reason) => self.close(reason, step),
            Act::Finish(reason) => {
                self.close(reason, step);
                self.done = true;
            }
            Act::Cancel(reason) => {
                if self.is_open() {
                    self.end(Status::Cancelled, reason, step.at, step.id);
                }
                self.done = true;
            }
            Act::Booked { appointment, starts } | Act::Moved { appointment, starts } => {
                self.bookings.add(Booked { appointment: *appointment, starts: *starts, at: step.at, id: step.id });
                self.close("booked", step);
            }
            Act::Unbooked { appointment, missed, due } => self.unbooked(appointment, *missed, *due, step),
            Act::Visit { appointment } => self.visit(appointment, step),
            Act::Resolution => self.resolve(step),
            Act::Contact(c) => self.contact(c, step),
            Act::Hand { closure, by_system } => self.by_hand(*closure, *by_system, step),
            Act::Attention(reason) => self.attend(reason),
            Act::DueBy(due) => {
                if self.is_open() {
                    self.due = Some(self.due.map_or(*due, |d| d.min(*due)));
                }
            }
        }
    }

    fn open(&mut self, t: &Trigger<'a>) {
        if self.is_open() {
            self.again(t);
            return;
        }
        if self.reason.is_some_and(|r| SETTLED.contains(&r)) {
            return;
        }
        let same_day = t.day.is_some() && self.trigger.as_ref().is_some_and(|old| old.day == t.day);
        if same_day && self.reason == Some("visited") {
            return;
        }
        // a booking that doesn't say when it starts: a referral is always the same one, of recalls the day tells
        let same = same_day || self.kind == ItemKind::ReferralBooking;
        let booked_ahead = self.bookings.ahead(t.at, same);
        self.cycle(t.at, t.due);
        self.trigger = Some(t.clone());
        if let Some(b) = booked_ahead {
            self.end(Status::Closed, "booked", b.at, b.id);
        }
    }

    /// A further trigger of what is open anyway: it puts nothing off, and makes nothing less severe.
    fn again(&mut self, t: &Trigger<'a>) {
        self.triggers += 1;
        let Some(old) = &mut self.trigger else { return };
        // for a visit that had a consult and a discharge, the discharge counts
        if old.outranks && !t.outranks {
            return;
        }
        if t.outranks != old.outranks || self.kind.goes_by_the_latest() {
            self.due = t.due;
            *old = t.clone();
            return;
        }
        let earliest = [self.due, t.due].into_iter().flatten().min();
        self.due = if t.names_due { t.due } else { earliest };
        let clinical = [old.clinical, t.clinical].into_iter().flatten().max_by_key(|c| c.1);
        if t.severity.1 > old.severity.1 {
            *old = t.clone();
        }
        old.clinical = clinical;
    }

    /// A new round: attempts count anew.
    fn cycle(&mut self, at: i64, due: Option<i64>) {
        self.status = Status::Open;
        self.reason = None;
        self.closed = None;
        self.opened_at = at;
        self.due = due;
        self.times_opened += 1;
        self.triggers = 1;
        self.attempts = 0;
        self.failed = [0; 4];
        self.last_outcome = None;
        self.last_attempt_at = None;
        self.callback = None;
        self.attention.clear();
        self.wrong_number = false;
        self.call = None;
        self.resolution = None;
        self.done = false;
    }

    fn unbooked(&mut self, appointment: &str, missed: bool, due: i64, step: &Step<'a>) {
        if !self.bookings.remove(appointment) || self.bookings.ahead(step.at, true).is_some() {
            return;
        }
        if self.exists() && self.status == Status::Closed && self.reason == Some("booked") && !self.done {
            let due = self.due.map_or(due, |d| d.max(due));
            self.cycle(step.at, Some(due));
            self.reason = Some(if missed { "no_show" } else { "booking_cancelled" });
        }
    }

    fn visit(&mut self, appointment: &str, step: &Step<'a>) {
        if !self.bookings.remove(appointment) {
            return;
        }
        if self.exists() && matches!(self.status, Status::Open | Status::Closed) {
            self.end(Status::Closed, "visited", step.at, step.id);
            self.done = true;
        }
    }

    fn resolve(&mut self, step: &Step<'a>) {
        if self.is_open() {
            self.resolution.get_or_insert((step.at, step.id));
            self.close_when_called_and_resolved();
        }
    }

    fn close_when_called_and_resolved(&mut self) {
        if let (Some(call), Some(resolution)) = (self.call, self.resolution) {
            let (at, id) = call.max(resolution);
            self.end(Status::Closed, "called_and_resolved", at, id);
        }
    }

    fn attend(&mut self, reason: &'static str) {
        if self.is_open() && !self.attention.contains(&reason) {
            self.attention.push(reason);
        }
    }

    fn by_hand(&mut self, closure: ItemClosure, by_system: bool, step: &Step<'a>) {
        if by_system && self.kind.needs_human() {
            return;
        }
        let reason = match closure {
            ItemClosure::Resolved if self.kind.needs_call_and_resolution() => return self.resolve(step),
            ItemClosure::Resolved => "resolved",
            ItemClosure::Declined => "declined",
            ItemClosure::Duplicate => "duplicate",
            ItemClosure::NotNeeded => "not_needed",
            ItemClosure::Deceased => "deceased",
            ItemClosure::DoNotContact if by_system && self.is_open() => {
                return self.end(Status::Suppressed, "do_not_contact", step.at, step.id);
            }
            // a matter of the patient, not of one item, where a human says so
            ItemClosure::DoNotContact => return,
            ItemClosure::Other => "closed_by_hand",
        };
        self.close(reason, step);
    }

    /// Whether it is under way with a call but no resolution, or the other way round.
    #[must_use]
    pub fn missing(&self) -> Option<&'static str> {
        if !self.is_open() || !self.kind.needs_call_and_resolution() {
            return None;
        }
        match (self.call, self.resolution) {
            (None, None) => Some("call_and_resolution"),
            (None, Some(_)) => Some("call"),
            (Some(_), None) => Some("resolution"),
            (Some(_), Some(_)) => None,
        }
    }
}
