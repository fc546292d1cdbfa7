//! The signals of a touchpoint: which ones apply, what was observed, and the events behind it.

use super::facts::What;
use super::resolve::Ev;
use super::standard::{Evidence, Milli, Promise, Rule, Scale, Signal, Standard};
use super::touchpoint::{Subject, Touch, TouchKind, Touches};
use crate::event::Party;
use crate::time::{DAY, HOUR, MINUTE};

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
    /// The value in thousandths of its unit, or why there is none.
    pub value: Result<Milli, &'static str>,
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
type Observed = (Result<Milli, &'static str>, Vec<usize>);

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
                if let Some(options) = self.options(touch) {
                    add(Signal::OptionsExplained, options);
                }
            }
            TouchKind::Continuation => {
                if let Some(days) = self.referral(touch, standard) {
                    add(Signal::ReferralBooking, days);
                }
            }
            TouchKind::FollowUp => add(Signal::PostVisitCall, self.call(subject, touch, standard)),
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
            Some((s, i)) => Some((Ok(i64::from(s.max(0)) * 1000), vec![i])),
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
        let count = thousands(events.len() + usize::from(!requested));
        events.push(done);
        (Ok(count), events)
    }

    fn hospital_changes(&self, touch: &Touch) -> Observed {
        let changes = self.pick(&touch.own, |w| {
            matches!(w, What::Rescheduled { by: Party::Hospital, .. } | What::Cancelled { by: Party::Hospital })
        });
        if !changes.is_empty() {
            return (Ok(thousands(changes.len())), changes);
        }
        let booked = self.pick(&touch.own, |w| matches!(w, What::Booked { .. } | What::Confirmed));
        if booked.is_empty() { (Err("not booked yet"), booked) } else { (Ok(0), booked) }
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
        let waited = self.at(start).saturating_sub(self.at(from)) / (MINUTE / 1000);
        let mut events = vec![from, told, start];
        events.dedup();
        (Ok((waited - i64::from(minutes.max(0)) * 1000).max(0)), events)
    }

    fn no_estimate(&self, touch: &Touch) -> Observed {
        let told = self.pick(&touch.own, |w| matches!(w, What::WaitTold { .. }));
        if !told.is_empty() {
            return (Ok(0), told);
        }
        let arrived = self.pick(&touch.own, |w| matches!(w, What::CheckedIn));
        if arrived.is_empty() { (Err("the patient has not checked in"), arrived) } else { (Ok(1000), arrived) }
    }

    fn repeats(&self, touch: &Touch) -> Observed {
        let repeats = self.pick(&touch.own, |w| matches!(w, What::RepeatQuestion));
        if !repeats.is_empty() {
            return (Ok(thousands(repeats.len())), repeats);
        }
        let seen = self.pick(&touch.own, |w| matches!(w, What::CheckedIn | What::Questionnaire { .. }));
        if seen.is_empty() { (Err("the patient has not checked in"), seen) } else { (Ok(0), seen) }
    }

    /// Questions without an answer (P5). Nothing asked says nothing: it is no sign that all was clear.
    fn unanswered(&self, touch: &Touch) -> Observed {
        let asked = self.pick(&touch.own, |w| matches!(w, What::Asked));
        if asked.is_empty() {
            return (Err("no question was recorded"), asked);
        }
        let answered: std::collections::HashSet<&str> = self
            .events
            .iter()
            .filter(|e| matches!(e.fact.what, What::Answered))
            .filter_map(|e| e.fact.reference(crate::event::RefKind::Question))
            .collect();
        let open: Vec<usize> = asked
            .iter()
            .copied()
            .filter(|i| {
                let question = self.events[*i].fact.reference(crate::event::RefKind::Question);
                question.is_none_or(|q| !answered.contains(q))
            })
            .collect();
        let count = thousands(open.len());
        (Ok(count), if open.is_empty() { asked } else { open })
    }

    /// P4: applies when surgery was recommended; 1 when options with pros and cons, or a deferred decision, are on record.
    fn options(&self, touch: &Touch) -> Option<Observed> {
        let mut events = self.pick(&touch.own, |w| matches!(w, What::ConsultEnded { surgery: true }));
        if events.is_empty() {
            return None;
        }
        let explained = self.pick(&touch.own, |w| matches!(w, What::Options { explained: true }));
        let value = if explained.is_empty() { 0 } else { 1000 };
        events.extend(explained);
        Some((Ok(value), events))
    }

    /// Days from made to booked (else completed). Declined or expired is a failure, cancelled takes the signal away.
    fn referral(&self, touch: &Touch, standard: &Standard) -> Option<Observed> {
        let failed = standard.scale(Signal::ReferralBooking).fail;
        let first = |which: fn(&What) -> bool| touch.own.iter().copied().find(|i| which(self.what(*i)));
        if first(|w| matches!(w, What::ReferralCancelled)).is_some() {
            return None;
        }
        let booked =
            first(|w| matches!(w, What::ReferralBooked)).or_else(|| first(|w| matches!(w, What::ReferralCompleted)));
        let lost = first(|w| matches!(w, What::ReferralLost));
        let Some(made) = first(|w| matches!(w, What::ReferralMade)) else {
            return Some((Err("when the referral was made is not known"), Vec::new()));
        };
        let open = |at: i64| self.horizon.max(at).saturating_sub(at) / (DAY / 1000);
        Some(match (booked, lost) {
            (Some(booked), _) => {
                (Ok((self.at(booked).saturating_sub(self.at(made)) / (DAY / 1000)).max(0)), vec![made, booked])
            }
            (None, Some(lost)) => (Ok(failed.max(open(self.at(made)))), vec![made, lost]),
            (None, None) if open(self.at(made)) >= failed => (Ok(open(self.at(made))), vec![made]),
            (None, None) => (Err("not booked yet"), vec![made]),
        })
    }

    /// Hours from the end of the visit to the first call in which a human reached the patient (F8).
    fn call(&self, subject: Subject<'_>, touch: &Touch, standard: &Standard) -> Observed {
        let ends = self.touches.ended.get(&subject).map_or(&[][..], Vec::as_slice);
        let Some(&last_end) = ends.last() else {
            return (Err("when the visit ended is not known"), Vec::new());
        };
        let first_end = ends.first().copied().unwrap_or(last_end);
        let call = touch
            .own
            .iter()
            .copied()
            .find(|i| matches!(self.what(*i), What::Call { human: true, .. }) && self.at(*i) >= self.at(first_end));
        let hours = |from: usize, to: i64| (to.saturating_sub(self.at(from)) / (HOUR / 1000)).max(0);
        if let Some(call) = call {
            let end = ends.iter().rev().copied().find(|e| self.at(*e) <= self.at(call)).unwrap_or(first_end);
            return (Ok(hours(end, self.at(call))), vec![end, call]);
        }
        let open = hours(last_end, self.horizon);
        if open >= standard.scale(Signal::PostVisitCall).fail {
            return (Ok(open), vec![last_end]);
        }
        (Err("no human has reached the patient yet"), vec![last_end])
    }

    /// How often the claim was sent again.
    fn rework(&self, touch: &Touch) -> Observed {
        let again = self.pick(&touch.own, |w| matches!(w, What::Rework { .. }));
        if !again.is_empty() {
            let highest = again.iter().map(|i| match self.what(*i) {
                What::Rework { no } => i64::from(*no) * 1000,
                _ => 0,
            });
            let count = thousands(again.len()).max(highest.max().unwrap_or(0));
            return (Ok(count), again);
        }
        let billed = self.pick(&touch.own, |w| matches!(w, What::Bill));
        if billed.is_empty() { (Err("not billed yet"), billed) } else { (Ok(0), billed) }
    }

    /// The longest dispute, days; one that is still open counts once it has failed.
    fn dispute(&self, touch: &Touch, standard: &Standard) -> Option<Observed> {
        let disputes = self.pick(&touch.own, |w| matches!(w, What::Disputed));
        let mut worst: Option<(Milli, Vec<usize>)> = None;
        let mut open = None;
        for d in &disputes {
            let resolved =
                touch.own.iter().copied().find(|i| *i > *d && matches!(self.what(*i), What::DisputeResolved { .. }));
            let until = resolved.map_or(self.horizon, |r| self.at(r));
            let days = until.saturating_sub(self.at(*d)).max(0) / (DAY / 1000);
            if resolved.is_none() && days < standard.scale(Signal::DisputeResolution).fail {
                open = Some(*d);
            } else if worst.as_ref().is_none_or(|(w, _)| days > *w) {
                worst = Some((days, std::iter::once(*d).chain(resolved).collect()));
            }
        }
        match (worst, open) {
            (Some((days, events)), _) => Some((Ok(days), events)),
            (None, Some(d)) => Some((Err("the dispute is still open"), vec![d])),
            (None, None) => None,
        }
    }

    /// Share of matters solved at the first contact; applies where something was to be solved.
    fn first_contact(&self, kind: TouchKind, touch: &Touch) -> Option<Observed> {
        let matters = self.pick(&touch.own, |w| {
            matches!(w, What::Disputed | What::DisputeResolved { .. } | What::Call { human: true, .. })
        });
        if matters.is_empty() && touch.complaints.is_empty() {
            return None;
        }
        let mut events = Vec::new();
        let mut solved = 0;
        for &i in touch.own.iter().chain(&touch.complaints) {
            let (What::DisputeResolved { first_contact: Some(yes) }
            | What::ComplaintResolved { first_contact: Some(yes) }
            | What::Call { human: true, first_contact: Some(yes) }) = self.what(i)
            else {
                continue;
            };
            solved += i64::from(*yes);
            events.push(i);
        }
        if events.is_empty() {
            // A follow-up call in which nothing came up has nothing to solve.
            let nothing = kind == TouchKind::FollowUp && touch.complaints.is_empty();
            return (!nothing).then_some((Err("whether it was solved at the first contact is not recorded"), events));
        }
        let share = solved * 1000 / i64::try_from(events.len()).unwrap_or(i64::MAX);
        Some((Ok(share), events))
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
        (Ok(done * 1000 / total), events)
    }
}

fn thousands(n: usize) -> Milli {
    i64::try_from(n).unwrap_or(i64::MAX / 1000).saturating_mul(1000)
}
