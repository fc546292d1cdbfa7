//! The signals of a touchpoint: which ones apply, what was observed, and the events behind it.

mod later;

use super::facts::What;
use super::resolve::Ev;
use super::standard::{Evidence, Promise, Rule, Scale, Signal, Standard};
use super::touchpoint::{Subject, Touch, TouchKind, Touches};
use super::value::Value;
use crate::event::{Party, RefKind};
use crate::time::MINUTE;
use std::collections::{BTreeSet, HashSet};

/// A signal of the model, or a promise of the standard (its place in the list).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Signal(Signal),
    Promise(usize),
}

/// A signal that applies to a touchpoint.
#[derive(Debug)]
pub(super) struct Measure {
    pub source: Source,
    pub scale: Scale,
    /// The value, or why there is none.
    pub value: Result<Value, &'static str>,
    /// Places of the events behind it.
    pub events: Vec<usize>,
}

/// What measuring needs.
pub(super) struct Context<'c, 'a> {
    pub events: &'c [Ev<'a>],
    pub touches: &'c Touches<'a>,
    /// When the patient's last known event happened: an interval that is still open is at least as long as until then.
    pub horizon: i64,
}

/// What is collected for one signal.
type Observed = (Result<Value, &'static str>, Vec<usize>);

impl Context<'_, '_> {
    fn what(&self, i: usize) -> &What {
        &self.events[i].fact.what
    }

    fn at(&self, i: usize) -> i64 {
        self.events[i].fact.at
    }

    fn pick(&self, of: &[usize], which: impl Fn(&What) -> bool) -> Vec<usize> {
        of.iter().copied().filter(|i| which(self.what(*i))).collect()
    }

    /// The signals that apply to a touchpoint, in the model's order, then the standard's promises.
    pub fn measure(&self, kind: TouchKind, subject: Subject<'_>, touch: &Touch, standard: &Standard) -> Vec<Measure> {
        let mut out = Vec::new();
        let mut add = |signal: Signal, (value, events): Observed| {
            let scale = standard.scale(signal);
            out.push(Measure { source: Source::Signal(signal), scale, value, events });
        };
        match kind {
            TouchKind::Scheduling => {
                if let Some(hold) = self.hold(touch) {
                    add(Signal::BookingHold, hold);
                }
                add(Signal::BookingContacts, self.contacts(touch));
                add(Signal::HospitalChanges, self.hospital_changes(touch));
            }
            TouchKind::CheckIn => {
                add(Signal::WaitGap, self.wait_gap(subject, touch));
                add(Signal::NoWaitEstimate, self.no_estimate(touch));
                add(Signal::RepeatQuestions, self.repeats(touch));
            }
            TouchKind::Consult | TouchKind::Stay => {
                add(Signal::UnansweredQuestions, self.unanswered(touch));
                if let Some(options) = self.options(subject, touch) {
                    add(Signal::OptionsExplained, options);
                }
            }
            TouchKind::Continuation => {
                if let Some(days) = self.referral(subject, touch, standard) {
                    add(Signal::ReferralBooking, days);
                }
            }
            TouchKind::FollowUp => add(Signal::PostVisitCall, self.call(subject, touch)),
            TouchKind::Billing => {
                add(Signal::ClaimRework, self.rework(touch));
                if let Some(days) = self.dispute(touch, standard) {
                    add(Signal::DisputeResolution, days);
                }
            }
        }
        if let Some(first) = self.first_contact(kind, touch) {
            add(Signal::FirstContact, first);
        }
        for (i, promise) in standard.promises.iter().enumerate().filter(|(_, p)| p.touchpoint == kind) {
            let (value, events) = self.promise(promise, touch);
            if value.is_ok() || promise.rule == Rule::Promised {
                let (target, fail) = if promise.rule == Rule::Promised { (1000, 0) } else { (0, 1000) };
                let scale = Scale { target, fail, weight: promise.weight };
                out.push(Measure { source: Source::Promise(i), scale, value, events });
            }
        }
        out
    }

    /// The longest hold of the booking. It doesn't apply to a patient who booked without staff.
    fn hold(&self, touch: &Touch) -> Option<Observed> {
        let mut longest: Option<(i32, usize)> = None;
        let mut alone = false;
        for &i in &touch.own {
            let seconds = match self.what(i) {
                What::Requested { hold_s, alone: a } | What::Booked { hold_s, alone: a } => {
                    alone |= *a;
                    *hold_s
                }
                What::Rescheduled { hold_s, .. } | What::Friction { hold_s } => *hold_s,
                _ => None,
            };
            if let Some(s) = seconds.filter(|s| longest.is_none_or(|(l, _)| *s > l)) {
                longest = Some((s, i));
            }
        }
        match longest {
            Some((s, i)) => Some((Ok(Value::over(i64::from(s.max(0)), 1)), vec![i])),
            None if alone => None,
            None => Some((Err("nobody recorded how long the patient was on hold"), Vec::new())),
        }
    }

    /// Requests, moves by the patient and troubles, up to the confirmation (else the booking); at least one.
    fn contacts(&self, touch: &Touch) -> Observed {
        let first = |which: fn(&What) -> bool| touch.own.iter().copied().find(|i| which(self.what(*i)));
        let Some(done) =
            first(|w| matches!(w, What::Confirmed)).or_else(|| first(|w| matches!(w, What::Booked { .. })))
        else {
            return (Err("not booked yet"), Vec::new());
        };
        let mut events = self.pick(&touch.own, |w| {
            matches!(w, What::Requested { .. } | What::Friction { .. } | What::Rescheduled { by: Party::Patient, .. })
        });
        events.retain(|i| *i <= done);
        let requested = events.iter().any(|i| matches!(self.what(*i), What::Requested { .. }));
        let count = Value::count(events.len() + usize::from(!requested));
        events.push(done);
        (Ok(count), events)
    }

    fn hospital_changes(&self, touch: &Touch) -> Observed {
        let changes = self.pick(&touch.own, |w| {
            matches!(w, What::Rescheduled { by: Party::Hospital, .. } | What::Cancelled { by: Party::Hospital })
        });
        if !changes.is_empty() {
            return (Ok(Value::count(changes.len())), changes);
        }
        let booked = self.pick(&touch.own, |w| matches!(w, What::Booked { .. } | What::Confirmed));
        if booked.is_empty() { (Err("not booked yet"), booked) } else { (Ok(Value::count(0)), booked) }
    }

    /// From check-in (else from when the wait was told) to the start of the consult, less what was told first; never below 0.
    fn wait_gap(&self, subject: Subject<'_>, touch: &Touch) -> Observed {
        let told = touch.own.iter().copied().find_map(|i| match self.what(i) {
            What::WaitTold { minutes } => Some((i, *minutes)),
            _ => None,
        });
        let Some((told, minutes)) = told else {
            return (Err("no wait was told"), Vec::new());
        };
        let Some(&start) = self.touches.started.get(&subject) else {
            return (Err("the consult has not started"), vec![told]);
        };
        let checked_in = touch.own.iter().copied().find(|i| matches!(self.what(*i), What::CheckedIn));
        let from = checked_in.unwrap_or(told);
        let waited = self.at(start).saturating_sub(self.at(from));
        let told_micros = i64::from(minutes.max(0)) * MINUTE;
        let mut events = vec![from, told, start];
        events.dedup();
        (Ok(Value::over(waited.saturating_sub(told_micros).max(0), MINUTE)), events)
    }

    fn no_estimate(&self, touch: &Touch) -> Observed {
        let told = self.pick(&touch.own, |w| matches!(w, What::WaitTold { .. }));
        if !told.is_empty() {
            return (Ok(Value::count(0)), told);
        }
        let arrived = self.pick(&touch.own, |w| matches!(w, What::CheckedIn));
        if arrived.is_empty() {
            (Err("the patient has not checked in"), arrived)
        } else {
            (Ok(Value::count(1)), arrived)
        }
    }

    fn repeats(&self, touch: &Touch) -> Observed {
        let repeats = self.pick(&touch.own, |w| matches!(w, What::RepeatQuestion));
        if !repeats.is_empty() {
            return (Ok(Value::count(repeats.len())), repeats);
        }
        let seen = self.pick(&touch.own, |w| matches!(w, What::CheckedIn | What::Questionnaire { .. }));
        if seen.is_empty() { (Err("the patient has not checked in"), seen) } else { (Ok(Value::count(0)), seen) }
    }

    /// Questions without an answer (P5), each once however often it was reported. Nothing asked says nothing: it is no sign
    /// that all was clear.
    fn unanswered(&self, touch: &Touch) -> Observed {
        let asked = self.pick(&touch.own, |w| matches!(w, What::Asked));
        if asked.is_empty() {
            return (Err("no question was recorded"), asked);
        }
        let question = |i: usize| self.events[i].fact.reference(RefKind::Question);
        let answered: HashSet<&str> =
            (0..self.events.len()).filter(|i| matches!(self.what(*i), What::Answered)).filter_map(question).collect();
        let is_open = |i: &usize| question(*i).is_none_or(|q| !answered.contains(q));
        let open: Vec<usize> = asked.iter().copied().filter(is_open).collect();
        let different: BTreeSet<_> = open.iter().map(|i| question(*i).ok_or(*i)).collect();
        (Ok(Value::count(different.len())), if open.is_empty() { asked } else { open })
    }

    /// P4: applies when surgery was recommended; 1 when options with pros and cons, or a deferred decision, are on record, in
    /// the consult or in the stay of the same encounter.
    fn options(&self, subject: Subject<'_>, touch: &Touch) -> Option<Observed> {
        let mut events = self.pick(&touch.own, |w| matches!(w, What::ConsultEnded { surgery: true }));
        if events.is_empty() {
            return None;
        }
        let stay = self.touches.all.get(&(TouchKind::Stay, subject)).map_or(&[][..], |t| &t.own);
        let explained = self.pick(&[&touch.own, stay].concat(), |w| matches!(w, What::Options { explained: true }));
        let value = Value::count(usize::from(!explained.is_empty()));
        events.extend(explained);
        Some((Ok(value), events))
    }

    fn promise(&self, promise: &Promise, touch: &Touch) -> Observed {
        let mut events = Vec::new();
        let (mut done, mut total) = (0i64, 0i64);
        for &i in &touch.own {
            let (d, t) = match (promise.evidence, self.what(i)) {
                (Evidence::Checklist, What::Checklist { name, done, total })
                    if promise.checklist.as_deref() == Some(&**name) && *total > 0 =>
                {
                    (i64::from((*done).clamp(0, *total)), i64::from(*total))
                }
                (Evidence::NextSteps, What::NextSteps) => (1, 1),
                (Evidence::HistoryReviewed, What::Questionnaire { reviewed: Some(yes) }) => (i64::from(*yes), 1),
                (Evidence::TeachBack, What::Aftercare { teach_back: Some(yes) }) => (i64::from(*yes), 1),
                _ => continue,
            };
            done += d;
            total += t;
            events.push(i);
        }
        if total == 0 {
            return (Err("nothing on record shows whether it was kept"), events);
        }
        (Ok(Value::over(done, total)), events)
    }
}
