//! The signals of what comes after a visit: referrals, calls, bills; and whether what came up was solved at once.

use super::{Context, Observed};
use crate::event::RefKind;
use crate::time::{DAY, HOUR};
use crate::views::mot::facts::What;
use crate::views::mot::standard::{Signal, Standard};
use crate::views::mot::touchpoint::{Subject, Touch, TouchKind};
use crate::views::mot::value::Value;
use std::collections::HashSet;

impl Context<'_, '_> {
    /// Days from made to booked (else completed). Declined or expired is a failure, cancelled takes the signal away.
    pub fn referral(&self, subject: Subject<'_>, touch: &Touch, standard: &Standard) -> Option<Observed> {
        let failed = standard.scale(Signal::ReferralBooking).fail;
        let first = |which: fn(&What) -> bool| touch.own.iter().copied().find(|i| which(self.what(*i)));
        if first(|w| matches!(w, What::ReferralCancelled)).is_some() {
            return None;
        }
        let booked = self.booked(subject).or_else(|| first(|w| matches!(w, What::ReferralCompleted)));
        let lost = first(|w| matches!(w, What::ReferralLost));
        let Some(made) = first(|w| matches!(w, What::ReferralMade)) else {
            return Some((Err("when the referral was made is not known"), Vec::new()));
        };
        let days = |until: i64| Value::over(until.saturating_sub(self.at(made)).max(0), DAY);
        let open = days(self.horizon);
        Some(match (booked, lost) {
            (Some(booked), _) => (Ok(days(self.at(booked))), vec![made, booked]),
            (None, Some(lost)) if open.reaches(failed) => (Ok(open), vec![made, lost]),
            (None, Some(lost)) => (Ok(Value::over(failed, 1000)), vec![made, lost]),
            (None, None) if open.reaches(failed) => (Ok(open), vec![made]),
            (None, None) => (Err("not booked yet"), vec![made]),
        })
    }

    /// The booking from which on the referral has had an appointment, if it still has one. An appointment is the referral's
    /// when a `ReferralBooked` names it or its own booking names the referral; cancelled, it is none until it is booked anew.
    /// A `ReferralBooked` that names no appointment is about one of these, and stands by itself where there are none.
    fn booked(&self, subject: Subject<'_>) -> Option<usize> {
        let Subject::Reference(RefKind::Referral, referral) = subject else { return None };
        let (mut ours, mut standing, mut since) = (HashSet::new(), HashSet::new(), None);
        for (i, e) in self.events.iter().enumerate() {
            let appointment = e.fact.reference(RefKind::Appointment);
            let named = e.fact.reference(RefKind::Referral) == Some(referral);
            if !named && !appointment.is_some_and(|a| ours.contains(a)) {
                continue;
            }
            if matches!(e.fact.what, What::ReferralBooked | What::Booked { .. } | What::Rescheduled { .. }) {
                ours.extend(appointment);
                standing.extend(appointment);
                since = since.or(Some(i));
            } else if let (What::Cancelled { .. }, Some(appointment)) = (&e.fact.what, appointment) {
                standing.remove(appointment);
                since = since.filter(|_| !standing.is_empty());
            }
        }
        since
    }

    /// Hours from the end of the visit to the first call in which a human reached the patient (F8). Attempts that reached
    /// nobody say nothing: who never tried has no touchpoint at all, and must not be better off.
    pub fn call(&self, subject: Subject<'_>, touch: &Touch) -> Observed {
        let ends = self.touches.ended.get(&subject).map_or(&[][..], Vec::as_slice);
        let (Some(&first_end), Some(&last_end)) = (ends.first(), ends.last()) else {
            return (Err("when the visit ended is not known"), Vec::new());
        };
        let reached =
            |i: &usize| matches!(self.what(*i), What::Call { human: true, .. }) && self.at(*i) >= self.at(first_end);
        let Some(call) = touch.own.iter().copied().find(reached) else {
            return (Err("no human has reached the patient yet"), vec![last_end]);
        };
        let end = ends.iter().rev().copied().find(|e| self.at(*e) <= self.at(call)).unwrap_or(first_end);
        (Ok(Value::over(self.at(call).saturating_sub(self.at(end)).max(0), HOUR)), vec![end, call])
    }

    /// How often the claim was sent again.
    pub fn rework(&self, touch: &Touch) -> Observed {
        let again = self.pick(&touch.own, |w| matches!(w, What::Rework { .. }));
        if !again.is_empty() {
            let highest = again.iter().map(|i| match self.what(*i) {
                What::Rework { no } => usize::try_from(*no).unwrap_or(0),
                _ => 0,
            });
            let count = again.len().max(highest.max().unwrap_or(0));
            return (Ok(Value::count(count)), again);
        }
        let billed = self.pick(&touch.own, |w| matches!(w, What::Bill));
        if billed.is_empty() { (Err("not billed yet"), billed) } else { (Ok(Value::count(0)), billed) }
    }

    /// The longest dispute, days; one that is still open counts once it has failed.
    pub fn dispute(&self, touch: &Touch, standard: &Standard) -> Option<Observed> {
        let disputes = self.pick(&touch.own, |w| matches!(w, What::Disputed));
        let mut worst: Option<(i64, Vec<usize>)> = None;
        let mut open = None;
        let failed = standard.scale(Signal::DisputeResolution).fail;
        for d in &disputes {
            let resolved =
                touch.own.iter().copied().find(|i| *i > *d && matches!(self.what(*i), What::DisputeResolved { .. }));
            let until = resolved.map_or(self.horizon, |r| self.at(r));
            let lasted = until.saturating_sub(self.at(*d)).max(0);
            if resolved.is_none() && !Value::over(lasted, DAY).reaches(failed) {
                open = Some(*d);
            } else if worst.as_ref().is_none_or(|(w, _)| lasted > *w) {
                worst = Some((lasted, std::iter::once(*d).chain(resolved).collect()));
            }
        }
        match (worst, open) {
            (Some((lasted, events)), _) => Some((Ok(Value::over(lasted, DAY)), events)),
            (None, Some(d)) => Some((Err("the dispute is still open"), vec![d])),
            (None, None) => None,
        }
    }

    /// Share of matters solved at the first contact; applies where something was to be solved.
    pub fn first_contact(&self, kind: TouchKind, touch: &Touch) -> Option<Observed> {
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
        let share = Value::over(solved, i64::try_from(events.len()).unwrap_or(i64::MAX));
        Some((Ok(share), events))
    }
}
