//! From a patient's facts to the steps of each item.

use super::facts::{Booking, Contact, Fact, Place, ReferralStep, ResultState, What};
use super::item::{Act, ItemKind, Step, Trigger};
use super::{item_id, rules};
use crate::amendments::Amendments;
use crate::event::{Outcome, Severity};
use crate::facts::Facts;
use crate::{EventId, time::DAY};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What identifies an item of a patient.
pub type Key<'a> = (ItemKind, Cow<'a, str>);

/// The subject of every booking friction: the next booking, whichever it will be.
const NEXT_BOOKING: &str = "booking";
/// The kind of recall that a consult asks for.
const RE_EXAM: &str = "re_exam";
/// A booking that names no recall counts for a re-exam of its department when it starts this close to the day.
const RE_EXAM_WINDOW: i64 = 14 * DAY;

/// A fact as corrections and retractions leave it.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    pub id: EventId,
    pub at: i64,
    pub what: &'a What,
}

/// A trigger that no longer holds.
pub struct Ghost<'a> {
    pub key: Key<'a>,
    pub trigger: Trigger<'a>,
    pub reason: &'static str,
    pub at: i64,
    pub by: EventId,
}

/// What stands ([`crate::amendments`]), in order of occurrence, and the triggers that don't any more: those of what was
/// retracted, and those of earlier versions of what was corrected.
pub fn effective(facts: &Facts<Fact>) -> (Vec<Known<'_>>, Vec<Ghost<'_>>) {
    let amendments = Amendments::new(facts.iter());
    let mut known = Vec::with_capacity(facts.len());
    let mut ghosts = Vec::new();
    for (id, published) in facts.iter() {
        if matches!(published.what, What::Corrected { .. } | What::Retracted { .. }) {
            continue;
        }
        let stands = amendments.standing(id, published);
        known.extend(stands.map(|f| Known { id, at: f.at, what: &f.what }));
        let Some(now) = amendments.of(id) else { continue };
        let retraction = now.retractions.first().map(|by| (*by, "trigger_retracted"));
        let because = retraction.or_else(|| now.correction().map(|(by, _)| (by, "trigger_corrected")));
        let Some((by, reason)) = because else { continue };
        let at = facts.get(by).map_or(published.at, |f| f.at);
        let versions = std::iter::once(published).chain(now.corrections.iter().map(|(_, with)| *with));
        for version in versions.filter(|v| stands.is_none_or(|s| !std::ptr::eq(s, *v))) {
            haunt(&mut ghosts, Known { id, at: version.at, what: &version.what }, reason, at, by);
        }
    }
    known.sort_by_key(|k| (k.at, k.id));
    (known, ghosts)
}

fn haunt<'a>(ghosts: &mut Vec<Ghost<'a>>, was: Known<'a>, reason: &'static str, at: i64, by: EventId) {
    each_trigger(was, |key, trigger| ghosts.push(Ghost { key, trigger, reason, at, by }));
}

fn severity_points(s: Severity) -> (&'static str, i64) {
    match s {
        Severity::Low => ("complaint_low", 10),
        Severity::Medium | Severity::Other => ("complaint_medium", 20),
        Severity::High => ("complaint_high", 30),
        Severity::Severe => ("complaint_severe", 40),
    }
}

fn urgency_points(urgency: u8) -> Option<(&'static str, i64)> {
    match urgency {
        3 => Some(("priority_stat", 25)),
        2 => Some(("priority_asap", 20)),
        1 => Some(("priority_urgent", 15)),
        _ => None,
    }
}

/// The subject of a recall. A re-exam belongs to the visit that asked for it.
fn recall_subject<'a>(kind: &'a str, encounter: Option<&str>) -> Cow<'a, str> {
    match encounter {
        Some(e) if kind == RE_EXAM => format!("{RE_EXAM}/{e}").into(),
        _ => kind.into(),
    }
}

/// The items that a fact opens.
pub fn each_trigger<'a>(k: Known<'a>, mut open: impl FnMut(Key<'a>, Trigger<'a>)) {
    let base = |place: &'a Place, encounter: Option<&'a String>, due: Option<i64>, severity| Trigger {
        id: k.id,
        at: k.at,
        due,
        day: None,
        severity,
        clinical: None,
        place,
        encounter: encounter.map(String::as_str),
        appointment: None,
        outranks: false,
    };
    let after = |delay: i64| Some(k.at.saturating_add(delay));
    let high = |risk: bool| risk.then_some(("high_risk_visit", 25));
    match k.what {
        What::Consult { encounter, appointment, high_risk, reexam, place } => {
            let t = base(place, Some(encounter), after(rules::AFTER_CONSULT), ("post_visit", 15));
            let t = Trigger { clinical: high(*high_risk), appointment: appointment.as_deref(), ..t };
            open((ItemKind::PostVisit, encounter.as_str().into()), t);
            if let Some((day, due)) = *reexam {
                let due = due.max(k.at.saturating_add(rules::RECALL_LEAST));
                let t = base(place, Some(encounter), Some(due), ("re_exam", 8));
                let t = Trigger { clinical: high(*high_risk), day: Some(day), ..t };
                open((ItemKind::Recall, recall_subject(RE_EXAM, Some(encounter))), t);
            }
        }
        What::Discharge { encounter, high_risk, place, .. } => {
            let delay = if *high_risk { rules::AFTER_CONSULT } else { rules::AFTER_DISCHARGE };
            let t = base(place, Some(encounter), after(delay), ("post_visit", 15));
            let clinical = high(*high_risk).or(Some(("after_discharge", 5)));
            open((ItemKind::PostVisit, encounter.as_str().into()), Trigger { clinical, outranks: true, ..t });
        }
        What::ReferralMade { referral, encounter, urgency, expires, place } => {
            let clinical = urgency_points(*urgency);
            let t = base(place, encounter.as_ref(), after(rules::REFERRAL_BOOKED), ("referral_booking", 10));
            open((ItemKind::ReferralBooking, referral.as_str().into()), Trigger { clinical, ..t });
            let due = expires.or_else(|| after(rules::REFERRAL_EXPIRY));
            let t = base(place, encounter.as_ref(), due, ("referral_completion", 12));
            open((ItemKind::ReferralCompletion, referral.as_str().into()), Trigger { clinical, ..t });
        }
        What::Order { order, encounter, urgency, due, place } => {
            let due = due.unwrap_or_else(|| k.at.saturating_add(rules::RESULT_DUE));
            let due = due.saturating_add(rules::RESULT_GRACE);
            let t = base(place, encounter.as_ref(), Some(due), ("order_result", 15));
            open((ItemKind::OrderResult, order.as_str().into()), Trigger { clinical: urgency_points(*urgency), ..t });
        }
        What::RecallDue { kind, on, due, encounter, place, .. } => {
            let due = (*due).max(k.at.saturating_add(rules::RECALL_LEAST));
            let severity = if kind == RE_EXAM { ("re_exam", 8) } else { ("recall", 5) };
            let t = base(place, encounter.as_ref(), Some(due), severity);
            let key = (ItemKind::Recall, recall_subject(kind, encounter.as_deref()));
            open(key, Trigger { day: Some(*on), ..t });
        }
        What::Breach { encounter, appointment, severity, place } => {
            let named = encounter.as_deref().or(appointment.as_deref());
            let subject = named.map_or_else(|| Cow::Owned(k.id.to_string()), Cow::Borrowed);
            let severity = match severity {
                Some(Severity::Severe) => ("dignity_breach_severe", 45),
                _ => ("dignity_breach", 40),
            };
            let t = base(place, encounter.as_ref(), after(rules::CRITICAL), severity);
            open((ItemKind::CriticalMot, subject), Trigger { appointment: appointment.as_deref(), ..t });
        }
        What::Complaint { complaint, encounter, severity, place } => {
            let (kind, delay) = match severity {
                Severity::Severe => (ItemKind::CriticalMot, rules::CRITICAL),
                Severity::Low | Severity::Medium | Severity::High | Severity::Other => {
                    (ItemKind::Complaint, rules::COMPLAINT)
                }
            };
            let t = base(place, encounter.as_ref(), after(delay), severity_points(*severity));
            open((kind, complaint.as_str().into()), t);
        }
        What::NoShow { appointment, due, place } => {
            let t = base(place, None, Some(*due), ("no_show", 10));
            let t = Trigger { appointment: Some(appointment), ..t };
            open((ItemKind::NoShow, appointment.as_str().into()), t);
        }
        What::Bill { claim, encounter, place } => {
            let t = base(place, encounter.as_ref(), after(rules::UNPAID), ("unpaid_bill", 2));
            open((ItemKind::UnpaidBill, claim.as_str().into()), t);
        }
        What::Disputed { claim, encounter, place } => {
            let t = base(place, encounter.as_ref(), after(rules::DISPUTED), ("disputed_bill", 8));
            open((ItemKind::DisputedBill, claim.as_str().into()), t);
        }
        What::Asked { question, encounter, place } => {
            let t = base(place, encounter.as_ref(), after(rules::QUESTION), ("unanswered_question", 12));
            open((ItemKind::UnansweredQuestion, question.as_str().into()), t);
        }
        What::Friction { appointment, place } => {
            let t = base(place, None, None, ("booking_friction", 5));
            let t = Trigger { appointment: appointment.as_deref(), ..t };
            open((ItemKind::BookingFriction, NEXT_BOOKING.into()), t);
        }
        _ => {}
    }
}

/// The items of a patient while their steps are gathered.
pub struct Steps<'a> {
    pub items: BTreeMap<Key<'a>, Vec<Step<'a>>>,
    pub ghosts: Vec<Ghost<'a>>,
    ids: HashMap<String, Key<'a>>,
    /// The items for which an appointment was booked.
    booked_for: HashMap<&'a str, BTreeSet<Key<'a>>>,
}

/// Gathers the steps of every item, each item's in order.
pub fn gather<'a>(aliases: &[&str], known: &[Known<'a>], ghosts: Vec<Ghost<'a>>) -> Steps<'a> {
    let mut s = Steps { items: BTreeMap::new(), ghosts, ids: HashMap::new(), booked_for: HashMap::new() };
    s.open_all(known);
    // most patients have no event that names an item; ids are hashes, and worth sparing
    if known.iter().any(|k| names_item(k.what)) {
        let ids = |p| s.items.keys().map(move |k| (item_id(p, k.0, &k.1).to_string(), k.clone()));
        s.ids = aliases.iter().flat_map(|p| ids(*p)).collect();
    }
    for k in known {
        s.bookings(*k);
    }
    for k in known {
        s.follow(*k);
    }
    for ((kind, _), steps) in &mut s.items {
        // a referral or an order is made before anything comes of it, whatever the clocks of two systems say
        let always_first =
            matches!(kind, ItemKind::ReferralBooking | ItemKind::ReferralCompletion | ItemKind::OrderResult)
                || *kind == ItemKind::UnansweredQuestion;
        steps.sort_by_key(|s| {
            let at = if always_first && s.rank() == 0 { i64::MIN } else { s.at };
            (at, s.rank(), s.at, s.id)
        });
    }
    s
}

fn names_item(what: &What) -> bool {
    matches!(what, What::ItemClosed { .. } | What::Contact(Contact { item: Some(_), .. }))
}

impl<'a> Steps<'a> {
    fn open_all(&mut self, known: &[Known<'a>]) {
        for k in known {
            if let What::Discharge { encounter, .. } = k.what
                && let Some(undone) = known.iter().find(|u| {
                    u.at >= k.at && matches!(u.what, What::DischargeUndone { encounter: e } if e == encounter)
                })
            {
                let (at, by) = (undone.at, undone.id);
                let ghosts = &mut self.ghosts;
                each_trigger(*k, |key, trigger| {
                    ghosts.push(Ghost { key, trigger, reason: "discharge_cancelled", at, by });
                });
                continue;
            }
            each_trigger(*k, |key, t| {
                self.items.entry(key).or_default().push(open(t));
            });
        }
    }

    /// Adds a step to an item, if there is such an item.
    fn add(&mut self, kind: ItemKind, subject: &'a str, k: Known<'a>, act: Act<'a>) {
        self.add_to(&(kind, subject.into()), k, act);
    }

    fn add_to(&mut self, key: &Key<'a>, k: Known<'a>, act: Act<'a>) {
        if let Some(steps) = self.items.get_mut(key) {
            steps.push(Step { at: k.at, id: k.id, act });
        }
    }

    fn keys_of(&self, kind: ItemKind, mut matches: impl FnMut(&str, &Trigger<'a>) -> bool) -> Vec<Key<'a>> {
        let opens = |steps: &[Step<'a>], subject: &str, matches: &mut dyn FnMut(&str, &Trigger<'a>) -> bool| {
            steps.iter().any(|s| if let Act::Open(t) = &s.act { matches(subject, t) } else { false })
        };
        self.items
            .range((kind, Cow::Borrowed(""))..)
            .take_while(|((k, _), _)| *k == kind)
            .filter(|((_, subject), steps)| opens(steps, subject, &mut matches))
            .map(|(key, _)| key.clone())
            .collect()
    }

    fn book(&mut self, key: &Key<'a>, k: Known<'a>, appointment: Option<&'a str>, starts: Option<i64>) {
        if let Some(a) = appointment {
            self.booked_for.entry(a).or_default().insert(key.clone());
        }
        self.add_to(key, k, Act::Booked { appointment, starts });
    }

    /// What bookings do to referrals and recalls.
    fn bookings(&mut self, k: Known<'a>) {
        match k.what {
            What::ReferralBooked { referral, appointment, starts } => {
                let key = (ItemKind::ReferralBooking, referral.as_str().into());
                self.book(&key, k, appointment.as_deref(), *starts);
            }
            What::RecallBooked { kind, appointment, starts, department } => {
                let department = department.as_deref();
                let keys = self.keys_of(ItemKind::Recall, |subject, t| {
                    is_recall(subject, kind) && may_be_same(department, t.place.department.as_deref())
                });
                for key in keys {
                    self.book(&key, k, appointment.as_deref(), *starts);
                }
            }
            What::Booked(b) => self.booked(k, b),
            _ => {}
        }
    }

    fn booked(&mut self, k: Known<'a>, b: &'a Booking) {
        if let Some(referral) = &b.referral {
            self.book(&(ItemKind::ReferralBooking, referral.as_str().into()), k, Some(&b.appointment), Some(b.starts));
        }
        let keys = self.keys_of(ItemKind::Recall, |subject, t| answers_recall(b, subject, t));
        for key in keys {
            self.book(&key, k, Some(&b.appointment), Some(b.starts));
        }
        let keys = self.keys_of(ItemKind::NoShow, |subject, t| {
            let same_department = may_be_same(b.department.as_deref(), t.place.department.as_deref());
            t.at <= k.at && (subject == b.appointment || same_department)
        });
        for key in keys {
            self.add_to(&key, k, Act::Close("rebooked"));
        }
        let help = if b.with_help { Act::Close("booked_with_help") } else { Act::DueBy(k.at) };
        self.add(ItemKind::BookingFriction, NEXT_BOOKING, k, help);
    }

    fn unbook(&mut self, k: Known<'a>, appointment: &'a str, reason: &'static str) {
        let due = k.at.saturating_add(rules::RECALL_LEAST);
        for key in self.booked_for.get(appointment).cloned().unwrap_or_default() {
            self.add_to(&key, k, Act::Unbooked { appointment, reason, due });
        }
    }

    fn visit(&mut self, k: Known<'a>, appointment: &'a str) {
        for key in self.booked_for.get(appointment).cloned().unwrap_or_default() {
            if key.0 == ItemKind::Recall {
                self.add_to(&key, k, Act::Visit { appointment });
            }
        }
        self.add(ItemKind::NoShow, appointment, k, Act::Close("visited"));
    }

    /// What everything else does.
    fn follow(&mut self, k: Known<'a>) {
        match k.what {
            What::Consult { appointment: Some(a), .. } | What::Visit { appointment: a } => self.visit(k, a),
            What::Referral { referral, step } => self.referral(k, referral, *step),
            What::Result { order, state: ResultState::Final, .. } => {
                self.add(ItemKind::OrderResult, order, k, Act::Close("final_result"));
            }
            What::Result { order, state: ResultState::Cancelled, .. } | What::OrderCancelled { order } => {
                self.add(ItemKind::OrderResult, order, k, Act::Cancel("order_cancelled"));
            }
            What::RecallLapsed { kind } => {
                for key in self.keys_of(ItemKind::Recall, |subject, _| is_recall(subject, kind)) {
                    self.add_to(&key, k, Act::Close("recall_lapsed"));
                }
            }
            What::Rescheduled { appointment, starts } => {
                for key in self.booked_for.get(appointment.as_str()).cloned().unwrap_or_default() {
                    self.add_to(&key, k, Act::Booked { appointment: Some(appointment), starts: Some(*starts) });
                }
                self.add(ItemKind::NoShow, appointment, k, Act::Close("rebooked"));
            }
            What::Cancelled { appointment, by_patient } => {
                self.unbook(k, appointment, "booking_cancelled");
                if *by_patient {
                    self.add(ItemKind::NoShow, appointment, k, Act::Close("declined"));
                }
            }
            What::NoShow { appointment, .. } => self.unbook(k, appointment, "no_show"),
            What::ComplaintResolved { complaint } => {
                self.add(ItemKind::Complaint, complaint, k, Act::Resolution);
                self.add(ItemKind::CriticalMot, complaint, k, Act::Resolution);
            }
            What::Paid { claim } => self.add(ItemKind::UnpaidBill, claim, k, Act::Close("paid")),
            What::DisputeResolved { claim } => {
                self.add(ItemKind::DisputedBill, claim, k, Act::Close("dispute_resolved"));
            }
            What::Answered { question } => {
                self.add(ItemKind::UnansweredQuestion, question, k, Act::Close("answered"));
            }
            What::Contact(c) => self.contact(k, c),
            What::ItemClosed { item, closure, by_system } => {
                if let Some(key) = self.ids.get(item).cloned() {
                    self.add_to(&key, k, Act::Hand { closure: *closure, by_system: *by_system });
                }
            }
            _ => {}
        }
    }

    fn referral(&mut self, k: Known<'a>, referral: &'a str, step: ReferralStep) {
        let (booking, completion) = match step {
            ReferralStep::CompletedWithOutcome => (Act::Finish("completed"), Act::Finish("completed_with_outcome")),
            ReferralStep::Completed => (Act::Finish("completed"), Act::Attention("outcome_missing")),
            ReferralStep::Cancelled => (Act::Cancel("referral_cancelled"), Act::Cancel("referral_cancelled")),
            ReferralStep::Declined => (Act::Attention("referral_declined"), Act::Attention("referral_declined")),
            // what is left to do is in the other item
            ReferralStep::Expired => (Act::Finish("referral_expired"), Act::DueBy(k.at)),
        };
        self.add(ItemKind::ReferralBooking, referral, k, booking);
        self.add(ItemKind::ReferralCompletion, referral, k, completion);
    }

    /// A contact belongs to the item that it names; else to what is open about the visit that it names; else to the
    /// latest visit before it.
    fn contact(&mut self, k: Known<'a>, c: &'a Contact) {
        if c.outcome == Outcome::Deceased && c.item.is_none() && c.encounter.is_none() {
            return;
        }
        if let Some(item) = &c.item {
            if let Some(key) = self.ids.get(item).cloned() {
                self.add_to(&key, k, Act::Contact(c));
            }
            return;
        }
        let mut keys = Vec::new();
        if let Some(e) = &c.encounter {
            keys.push((ItemKind::PostVisit, e.as_str().into()));
            for kind in [ItemKind::CriticalMot, ItemKind::Complaint] {
                keys.extend(self.keys_of(kind, |_, t| t.encounter == Some(e)));
            }
        } else {
            keys.extend(self.latest_visit(k.at));
        }
        for key in keys {
            self.add_to(&key, k, Act::Contact(c));
        }
    }

    fn latest_visit(&self, before: i64) -> Option<Key<'a>> {
        let opened = |steps: &[Step<'_>]| {
            steps.iter().filter(|s| matches!(s.act, Act::Open(_)) && s.at <= before).map(|s| (s.at, s.id)).max()
        };
        self.items
            .iter()
            .filter(|((kind, _), _)| *kind == ItemKind::PostVisit)
            .filter_map(|(key, steps)| Some((opened(steps)?, key)))
            .max()
            .map(|(_, key)| key.clone())
    }
}

fn is_recall(subject: &str, kind: &str) -> bool {
    subject == kind || (kind == RE_EXAM && subject.strip_prefix(RE_EXAM).is_some_and(|rest| rest.starts_with('/')))
}

/// Whether two names are the same, as far as both are known.
fn may_be_same(a: Option<&str>, b: Option<&str>) -> bool {
    a.is_none() || b.is_none() || a == b
}

fn answers_recall(b: &Booking, subject: &str, t: &Trigger<'_>) -> bool {
    if let Some(kind) = &b.recall {
        return is_recall(subject, kind) && may_be_same(b.department.as_deref(), t.place.department.as_deref());
    }
    let same_department = b.department.is_some() && b.department.as_deref() == t.place.department.as_deref();
    let day = i64::from(t.day.unwrap_or_default()) * DAY;
    is_recall(subject, RE_EXAM) && same_department && (b.starts - day).abs() <= RE_EXAM_WINDOW
}

/// The step that a trigger is.
pub fn open(trigger: Trigger<'_>) -> Step<'_> {
    Step { at: trigger.at, id: trigger.id, act: Act::Open(trigger) }
}
