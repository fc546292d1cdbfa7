//! From what stands to the steps of each item.

mod bookings;

use super::facts::{Contact, ReferralStep, ResultState, What};
use super::item::{Act, ItemKind, Step, Trigger};
use super::triggers::{Ghost, Key, Known, each_trigger, undone};
use super::{bills, item_id};
use crate::Map;
use crate::event::Outcome;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// The items of a patient while their steps are gathered.
pub struct Steps<'a> {
    pub items: BTreeMap<Key<'a>, Vec<Step<'a>>>,
    pub ghosts: Vec<Ghost<'a>>,
    ids: Map<String, Key<'a>>,
    /// The items for which an appointment was booked.
    booked_for: Map<&'a str, BTreeSet<Key<'a>>>,
}

/// Gathers the steps of every item, each item's in order.
pub fn gather<'a>(aliases: &[&str], known: &[Known<'a>], ghosts: Vec<Ghost<'a>>) -> Steps<'a> {
    let mut s = Steps { items: BTreeMap::new(), ghosts, ids: Map::default(), booked_for: Map::default() };
    let undone = s.open_all(known);
    // what stands and was undone goes before earlier versions of it
    s.ghosts.splice(0..0, undone);
    // most patients have no event that names an item; ids are hashes, and worth sparing
    if known.iter().any(|k| names_item(k.what)) {
        let ids = |p| s.items.keys().map(move |k| (item_id(p, k.0, &k.1).to_string(), k.clone()));
        s.ids = aliases.iter().flat_map(|p| ids(*p)).collect();
    }
    // at one time, bookings go before moves of them, and those before what else befalls them
    let mut in_effect = known.to_vec();
    in_effect.sort_by_key(|k| (k.at, bookings::order(k.what), k.id));
    for k in in_effect {
        s.follow(k);
    }
    bills::settle(known, &mut s.items);
    for ((kind, _), steps) in &mut s.items {
        in_order(*kind, steps);
    }
    s
}

fn in_order(kind: ItemKind, steps: &mut [Step<'_>]) {
    let opens = |s: &Step<'_>| matches!(s.act, Act::Open(_));
    let made = steps.iter().filter(|s| kind.is_made_first() && opens(s)).map(|s| s.at).min();
    steps.sort_by_key(|s| {
        // what is made again later has that time
        let at = if opens(s) && Some(s.at) == made { i64::MIN } else { s.at };
        (at, s.rank(), s.id)
    });
}

fn names_item(what: &What) -> bool {
    matches!(what, What::ItemClosed { .. } | What::Contact(Contact { item: Some(_), .. }))
}

impl<'a> Steps<'a> {
    /// Opens the items of what stands; answers with the discharges that were undone.
    fn open_all(&mut self, known: &[Known<'a>]) -> Vec<Ghost<'a>> {
        let mut ghosts = Vec::new();
        for k in known {
            if let Some(undone) = undone(*k, known) {
                let (at, by) = (undone.at, undone.id);
                each_trigger(*k, |key, trigger| {
                    ghosts.push(Ghost { key, trigger, reason: "discharge_cancelled", at, by });
                });
                continue;
            }
            each_trigger(*k, |key, t| {
                self.items.entry(key).or_default().push(open(t));
            });
        }
        ghosts
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

    /// What everything else does.
    fn follow(&mut self, k: Known<'a>) {
        match k.what {
            What::ReferralBooked { .. } | What::RecallBooked { .. } | What::Booked(_) => self.bookings(k),
            What::Consult { appointment: Some(a), .. } | What::Visit { appointment: a } => self.visit(k, a),
            What::Referral { referral, step } => self.referral(k, referral, *step),
            What::Result { order, state: ResultState::Final, .. } => {
                self.add(ItemKind::OrderResult, order, k, Act::Finish("final_result"));
            }
            What::Result { order, state: ResultState::Cancelled, .. } | What::OrderCancelled { order } => {
                self.add(ItemKind::OrderResult, order, k, Act::Cancel("order_cancelled"));
            }
            What::RecallLapsed { kind } => {
                for key in self.keys_of(ItemKind::Recall, |subject, _| bookings::is_recall(subject, kind)) {
                    self.add_to(&key, k, Act::Close("recall_lapsed"));
                }
            }
            What::Rescheduled { appointment, starts } => self.moved(k, appointment, *starts),
            What::Cancelled { appointment, by_patient } => {
                self.unbook(k, appointment, false);
                if *by_patient {
                    self.add(ItemKind::NoShow, appointment, k, Act::Close("declined"));
                }
            }
            What::NoShow { appointment, .. } => self.unbook(k, appointment, true),
            What::ComplaintResolved { complaint } => {
                self.add(ItemKind::Complaint, complaint, k, Act::Resolution);
                self.add(ItemKind::CriticalMot, complaint, k, Act::Resolution);
            }
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

/// The step that a trigger is.
pub fn open(trigger: Trigger<'_>) -> Step<'_> {
    Step { at: trigger.at, id: trigger.id, act: Act::Open(trigger) }
}
