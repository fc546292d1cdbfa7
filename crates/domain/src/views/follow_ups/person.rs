//! What holds for the patient as a whole: may they be contacted, what makes them vulnerable.

use super::contact::ContactScope;
use super::facts::What;
use super::triggers::{Known, undone};
use crate::EventId;
use crate::event::{ItemClosure, Outcome};
use std::collections::{BTreeMap, BTreeSet};

/// Since when, and by which event.
pub type Since = (i64, EventId);

/// The patient as the facts tell.
#[derive(Debug, Default)]
pub struct Person<'a> {
    /// Died.
    pub deceased: Option<Since>,
    /// Why they may not be contacted: for want of a consent, or (`None`) since they said so.
    barred: BTreeMap<Option<ContactScope>, (Since, &'static str)>,
    /// How many standing needs there are.
    pub needs: u8,
    /// Whether the latest visit was a high-risk one.
    pub high_risk: bool,
    risky_visits: BTreeSet<&'a str>,
    abnormal: BTreeMap<&'a str, (Option<&'a str>, bool)>,
}

impl<'a> Person<'a> {
    /// Reads the facts, which are in order of occurrence: the later one holds.
    pub fn of(known: &[Known<'a>]) -> Self {
        let mut p = Self::default();
        for k in known.iter().filter(|k| undone(**k, known).is_none()) {
            p.see(*k);
        }
        p
    }

    fn see(&mut self, k: Known<'a>) {
        let since = (k.at, k.id);
        match k.what {
            What::Person { needs, deceased } => {
                self.needs = needs.unwrap_or(self.needs);
                match deceased {
                    Some(true) => self.died(since),
                    Some(false) => self.deceased = None,
                    None => {}
                }
            }
            What::Discharge { expired: true, .. } | What::ItemClosed { closure: ItemClosure::Deceased, .. } => {
                self.died(since);
            }
            What::Contact(c) if c.outcome == Outcome::Deceased => self.died(since),
            // what a program says of one item bars no call that only a human may give up
            What::ItemClosed { closure: ItemClosure::DoNotContact, by_system: false, .. } => {
                self.barred.insert(None, (since, "do_not_contact"));
            }
            What::ContactConsent { given: true, scope, .. } => {
                self.barred.retain(|bar, _| bar.is_some_and(|b| b != *scope));
            }
            What::ContactConsent { expired, scope, .. } => {
                let why = if *expired { "consent_expired" } else { "consent_withdrawn" };
                self.barred.insert(Some(*scope), (since, why));
            }
            What::Result { order, encounter, abnormal, .. } => {
                self.abnormal.insert(order, (encounter.as_deref(), *abnormal));
            }
            _ => {}
        }
        if let What::Consult { encounter, high_risk, .. } | What::Discharge { encounter, high_risk, .. } = k.what {
            self.high_risk = *high_risk;
            if *high_risk {
                self.risky_visits.insert(encounter);
            }
        }
    }

    fn died(&mut self, since: Since) {
        self.deceased.get_or_insert(since);
    }

    /// Since when they may not be contacted, and why: the latest that was said.
    pub fn no_contact(&self) -> Option<(Since, &'static str)> {
        self.barred.values().copied().max()
    }

    /// Whether an order has an abnormal result so far.
    pub fn abnormal_order(&self, order: &str) -> bool {
        self.abnormal.get(order).is_some_and(|(_, abnormal)| *abnormal)
    }

    /// Whether a visit has an abnormal result.
    pub fn abnormal_visit(&self, encounter: &str) -> bool {
        self.abnormal.values().any(|(e, abnormal)| *abnormal && *e == Some(encounter))
    }

    /// Whether a visit was a high-risk one.
    pub fn risky_visit(&self, encounter: &str) -> bool {
        self.risky_visits.contains(encounter)
    }
}
