//! What was done so far.

use super::{Consult, History, Order, Seen, Stay, at, latest};
use crate::event::{Event, RefKind, ResultStatus};
use crate::views::timeline::Entry;
use std::collections::BTreeMap;

/// Consults, stays and orders.
pub fn history(seen: &Seen<'_>) -> History {
    let (consults, stays, orders) = (consults(seen), stays(seen), orders(seen));
    History {
        consults_total: consults.len(),
        consults: latest(consults, |c| c.at),
        stays_total: stays.len(),
        stays: latest(stays, |s| s.admitted_at),
        orders_total: orders.len(),
        orders: latest(orders, |o| o.at),
    }
}

/// The id of this kind that the event refers to.
pub fn reference(event: &Event, wanted: RefKind) -> Option<&str> {
    let mut found = None;
    event.each_reference(|kind, id| {
        if kind == wanted {
            found = Some(id);
        }
    });
    found
}

fn consults(seen: &Seen<'_>) -> Vec<Consult> {
    let mut all: BTreeMap<&str, Consult> = BTreeMap::new();
    for (entry, event) in seen.iter() {
        if let (Event::ConsultStarted(_) | Event::ConsultEnded(_), Some(id)) =
            (event, reference(event, RefKind::Encounter))
        {
            all.entry(id).or_insert_with(|| consult(id, entry));
        }
    }
    // A second pass: an explanation may be dated before the consult that it was part of.
    for (_, event) in seen.iter() {
        let Some(c) = reference(event, RefKind::Encounter).and_then(|id| all.get_mut(id)) else { continue };
        match event {
            Event::ConsultStarted(e) => {
                c.practitioner = e.practitioner.clone().or_else(|| c.practitioner.take());
                c.service.clone_from(&e.service);
            }
            Event::ConsultEnded(e) => {
                c.practitioner = c.practitioner.take().or_else(|| e.practitioner.clone());
                c.surgery_recommended = e.surgery_recommended;
            }
            Event::OptionsExplained(e) => {
                c.options_explained |= e.pros_and_cons;
                c.decision_deferred = e.decision_deferred;
            }
            Event::NextStepsExplained(_) => c.next_steps_explained = true,
            Event::NoteRecorded(e) => c.notes.push(e.note_ref.clone()),
            _ => {}
        }
    }
    all.into_values().collect()
}

fn consult(id: &str, entry: &Entry) -> Consult {
    let h = entry.event.header();
    Consult {
        encounter_id: id.to_owned(),
        at: at(entry),
        practitioner: None,
        service: None,
        site: h.site.clone(),
        department: h.department.clone(),
        surgery_recommended: None,
        options_explained: false,
        decision_deferred: false,
        next_steps_explained: false,
        notes: Vec::new(),
        journey_id: entry.journey.journey.clone(),
    }
}

fn stays(seen: &Seen<'_>) -> Vec<Stay> {
    let mut all: BTreeMap<&str, Stay> = BTreeMap::new();
    for (entry, event) in seen.iter() {
        match event {
            Event::PatientAdmitted(e) => {
                let stay = Stay {
                    encounter_id: e.encounter_id.clone(),
                    admitted_at: at(entry),
                    discharged_at: None,
                    location: e.location.clone(),
                    disposition: None,
                    site: e.header.site.clone(),
                    journey_id: entry.journey.journey.clone(),
                };
                // A second admission under the same id is a move to another unit (sepsis.csv: ward, then intensive care).
                let known = all.entry(&e.encounter_id).or_insert_with(|| stay.clone());
                known.location = stay.location.or_else(|| known.location.take());
            }
            Event::AdmissionCancelled(e) => {
                all.remove(e.encounter_id.as_str());
            }
            Event::PatientTransferred(e) => {
                if let Some(s) = all.get_mut(e.encounter_id.as_str()) {
                    s.location = Some(e.location.clone());
                }
            }
            Event::PatientDischarged(e) => {
                if let Some(s) = all.get_mut(e.encounter_id.as_str()) {
                    s.discharged_at = Some(at(entry));
                    s.disposition.clone_from(&e.disposition);
                }
            }
            Event::DischargeCancelled(e) => {
                if let Some(s) = all.get_mut(e.encounter_id.as_str()) {
                    (s.discharged_at, s.disposition) = (None, None);
                }
            }
            _ => {}
        }
    }
    all.into_values().collect()
}

/// Orders as their events, in order, leave them.
pub fn orders(seen: &Seen<'_>) -> Vec<Order> {
    let mut all: BTreeMap<&str, Order> = BTreeMap::new();
    for (entry, event) in seen.iter() {
        if let Event::OrderPlaced(e) = event {
            all.entry(&e.order_id).or_insert_with(|| Order {
                order_id: e.order_id.clone(),
                code: e.code.clone(),
                at: at(entry),
                state: "placed".to_owned(),
                result_at: None,
                abnormal: None,
                journey_id: entry.journey.journey.clone(),
            });
        }
    }
    for (entry, event) in seen.iter() {
        let Some(o) = reference(event, RefKind::Order).and_then(|id| all.get_mut(id)) else { continue };
        let mut result = |status: ResultStatus, abnormal: Option<bool>| {
            o.state = status.as_str().to_owned();
            o.result_at = Some(at(entry));
            o.abnormal = abnormal.or(o.abnormal);
        };
        match event {
            Event::ResultReported(e) => result(e.status, e.abnormal),
            Event::ResultCorrected(e) => result(ResultStatus::Corrected, e.abnormal),
            Event::SpecimenCollected(_) if o.state == "placed" => o.state = "collected".to_owned(),
            Event::OrderCancelled(_) => o.state = "cancelled".to_owned(),
            _ => {}
        }
    }
    all.into_values().collect()
}
