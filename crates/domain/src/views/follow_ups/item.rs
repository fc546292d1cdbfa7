//! One item: what opens it, what its steps do to it.

mod kind;
mod step;

pub use kind::{ItemKind, Status};
pub use step::{Act, Step, Trigger};

use super::facts::{Channel, Contact};
use super::rules;
use crate::EventId;
use crate::event::{ItemClosure, Outcome};

/// The booking that stands for an item.
#[derive(Debug, Clone, Copy)]
struct Standing<'a> {
    appointment: Option<&'a str>,
    starts: Option<i64>,
    at: i64,
    id: EventId,
}

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
    pub failed: [u32; 3],
    pub last_outcome: Option<Outcome>,
    pub last_attempt_at: Option<i64>,
    pub callback: Option<i64>,
    pub attention: Vec<&'static str>,
    pub wrong_number: bool,
    call: Option<(i64, EventId)>,
    resolution: Option<(i64, EventId)>,
    standing: Option<Standing<'a>>,
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
            failed: [0; 3],
            last_outcome: None,
            last_attempt_at: None,
            callback: None,
            attention: Vec::new(),
            wrong_number: false,
            call: None,
            resolution: None,
            standing: None,
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
            Act::Booked { appointment, starts } => {
                self.standing = Some(Standing { appointment: *appointment, starts: *starts, at: step.at, id: step.id });
                self.close("booked", step);
            }
            Act::Unbooked { appointment, reason, due } => self.unbooked(appointment, reason, *due, step),
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
            self.triggers += 1;
            // a discharge is what counts for a visit that had a consult too; else the later trigger
            if t.outranks || !self.trigger.as_ref().is_some_and(|old| old.outranks) {
                self.due = t.due;
                self.trigger = Some(t.clone());
            }
            return;
        }
        let same_day = t.day.is_some() && self.trigger.as_ref().is_some_and(|old| old.day == t.day);
        if same_day && self.reason == Some("visited") {
            return;
        }
        let booked_ahead = self.standing.filter(|s| s.starts.map_or(same_day, |starts| starts > t.at));
        self.cycle(t.at, t.due);
        self.trigger = Some(t.clone());
        if let Some(s) = booked_ahead {
            self.end(Status::Closed, "booked", s.at, s.id);
        }
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
        self.failed = [0; 3];
        self.last_outcome = None;
        self.last_attempt_at = None;
        self.callback = None;
        self.attention.clear();
        self.wrong_number = false;
        self.call = None;
        self.resolution = None;
        self.done = false;
    }

    fn unbooked(&mut self, appointment: &str, reason: &'static str, due: i64, step: &Step<'a>) {
        if self.standing.is_none_or(|s| s.appointment != Some(appointment)) {
            return;
        }
        self.standing = None;
        if self.exists() && self.status == Status::Closed && self.reason == Some("booked") && !self.done {
            let due = self.due.map_or(due, |d| d.max(due));
            self.cycle(step.at, Some(due));
            self.reason = Some(reason);
        }
    }

    fn visit(&mut self, appointment: &str, step: &Step<'a>) {
        if self.standing.is_none_or(|s| s.appointment != Some(appointment)) {
            return;
        }
        self.standing = None;
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

    fn contact(&mut self, c: &Contact, step: &Step<'a>) {
        if !self.is_open() {
            return;
        }
        self.attempts += 1;
        self.last_outcome = Some(c.outcome);
        self.last_attempt_at = Some(step.at);
        self.callback = None;
        match c.outcome {
            Outcome::NoAnswer | Outcome::Voicemail => self.failed_on(c.channel),
            Outcome::WrongNumber => {
                self.failed_on(c.channel);
                self.wrong_number = true;
                self.attend("wrong_number");
            }
            Outcome::Refused if c.human && self.kind.can_be_declined() => self.close("declined", step),
            Outcome::Refused => self.attend("refused"),
            Outcome::CallbackAt => self.callback = c.callback,
            Outcome::LanguageBarrier => self.attend("language_barrier"),
            Outcome::Escalated => self.attend("escalated"),
            Outcome::Reached if c.human && c.answers.is_some() => self.called(c, step),
            // death is a matter of the patient, not of one item
            Outcome::Reached | Outcome::Deceased | Outcome::Other => {}
        }
    }

    fn failed_on(&mut self, channel: Channel) {
        if let Some(n) = self.failed.get_mut(channel as usize) {
            *n += 1;
        }
    }

    /// A human has completed a call.
    fn called(&mut self, c: &Contact, step: &Step<'a>) {
        if self.kind == ItemKind::PostVisit && c.answers.is_some_and(|n| n >= 5) {
            self.close("called", step);
        } else if self.kind.needs_call_and_resolution() {
            self.call.get_or_insert((step.at, step.id));
            self.close_when_called_and_resolved();
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

    /// The channel to try next: the first one that has not failed three times.
    #[must_use]
    pub fn channel(&self) -> &'static str {
        let spent = |c: Channel| {
            self.failed.get(c as usize).is_some_and(|n| *n >= rules::FAILED_ATTEMPTS)
                || (c == Channel::Phone && self.wrong_number)
        };
        match [Channel::Phone, Channel::Message, Channel::Letter].into_iter().find(|c| !spent(*c)) {
            Some(Channel::Phone) => "phone",
            Some(Channel::Message) => "message",
            Some(Channel::Letter) => "letter",
            Some(Channel::Other) | None => "next_visit",
        }
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
