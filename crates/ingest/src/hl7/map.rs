//! A message as events, or everything that is wrong with it. A pure function of the message, the site's rules and what is known
//! of its appointments: the same message gives the same events, so that a resend is recognised.
//!
//! The trigger event in MSH-9 decides, not a field that contradicts it.

mod adt;
mod billing;
mod consent;
mod context;
mod identity;
mod numbers;
mod order;
mod referral;
mod scheduling;

use context::Context;
pub use context::{Known, key, text};

use super::head::Head;
use super::message::Message;
use super::wrong::Wrong;
use crate::site::Pseudonyms;
use domain::Event;

/// The events of a message; none where it carries no step of a journey.
///
/// # Errors
/// Everything that is wrong with it.
pub fn events(
    head: &Head<'_>,
    message: &Message<'_>,
    pseudonyms: &Pseudonyms,
    known: &dyn Known,
    digest: &str,
) -> Result<Vec<Event>, Vec<Wrong>> {
    // Results of several patients may come in one message.
    let patients =
        if head.kind() == "ORU" && message.all("PID").count() > 1 { message.by_patient() } else { Vec::new() };
    let mut c = Context::new(head, message, pseudonyms, known, digest);
    if c.too_long() {
        return c.end();
    }
    match (head.kind(), head.trigger()) {
        ("SIU", trigger) => scheduling::map(&mut c, trigger),
        ("ADT", "A18" | "A24" | "A34" | "A36" | "A37" | "A40" | "A47") => identity::map(&mut c, head.trigger()),
        ("ADT", trigger) => adt::map(&mut c, trigger),
        ("REF" | "RRI", trigger) => referral::map(&mut c, head.kind(), trigger),
        ("ORM", "O01") | ("OML", "O21") | ("OMG", "O19") => order::orders(&mut c),
        ("ORU", "R01") if patients.is_empty() => order::results(&mut c),
        ("ORU", "R01") => {
            for patient in &patients {
                c.message = patient;
                order::results(&mut c);
            }
            c.message = message;
        }
        ("DFT", "P03" | "P11") => billing::transactions(&mut c),
        ("BAR", trigger @ ("P01" | "P05" | "P06")) => billing::account(&mut c, trigger),
        _ => {}
    }
    consent::map(&mut c);
    c.end()
}

#[cfg(test)]
mod tests;
