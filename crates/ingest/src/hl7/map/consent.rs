//! Consents: CON segments, and what PD1-11 and PD1-12 say.

use super::super::message::Segment;
use super::super::wrong::{Code, Place};
use super::context::{Context, HAPPENED, Patient};
use domain::Micros;
use domain::event::{ConsentGiven, ConsentWithdrawn, Event, Grantee};
use std::borrow::Cow;

/// Whatever the message is about otherwise.
pub fn map(c: &mut Context<'_>) {
    let message = c.message;
    let about = |s: &Segment<'_>| {
        s.name() == "CON" || s.name() == "PD1" && [11, 12].iter().any(|n| s.field(*n).present().is_some())
    };
    if !message.segments().iter().any(about) {
        return;
    }
    // A message about two patients says of neither whose the consent is.
    if message.all("PID").count() != 1 {
        return;
    }
    let patient = c.patient(message.first("PID"));
    let written = c.first_time(HAPPENED);
    let written = c.need(written, Place::field("MSH", 7), "a message needs its time");
    let (Some(patient), Some(written)) = (patient, written) else { return };
    for con in message.all("CON") {
        consent(c, &patient, con, written);
    }
    if let Some(pd1) = message.first("PD1") {
        publicity(c, &patient, pd1, written);
    }
}

fn consent(c: &mut Context<'_>, patient: &Patient, con: &Segment<'_>, written: Micros) {
    let place = |n: u16| Place::field("CON", n).in_sequence(con.sequence);
    let kind = con.field(2).id().map(Cow::into_owned);
    let kind = c.need(kind, place(2), "a consent needs its type");
    let status = con.field(11).id().map(Cow::into_owned);
    let status = c.need(status, place(11), "a consent needs its status");
    // When it was decided, else when it was spoken of.
    let decided = c.time(con.field(13), place(13));
    let spoken = if decided.is_none() { c.time(con.field(12), place(12)) } else { None };
    let effective = c.time(con.field(14), place(14)).or(decided);
    let until = c.time(con.field(15), place(15));
    let (Some(kind), Some(status)) = (kind, status) else { return };
    let given = match status.as_str() {
        "A" | "L" => true,
        "R" | "X" => false,
        // Pending, or done without it in an emergency: nothing was decided.
        "P" | "B" => return,
        _ => return c.wrong(place(11), Code::Table, "is no status of a consent: A, L, P, R, X or B"),
    };
    if until.zip(effective).is_some_and(|(until, from)| until < from) {
        return c.wrong(place(15), Code::DataType, "is before the consent begins");
    }
    let (scope, grantee) = match c.rules.consents.get(&kind) {
        Some(own) => (own.scope.clone(), own.grantee),
        // Table 0496: release of information.
        None if kind == "001" => ("share_records".to_owned(), Grantee::Provider),
        None => (kind, Grantee::Other),
    };
    put(c, patient, decided.or(spoken).unwrap_or(written), scope, grantee, given, [effective, until]);
}

/// PD1-11 (table 0215): whether the patient may be reminded and recalled. PD1-12: whether the records are kept from others.
fn publicity(c: &mut Context<'_>, patient: &Patient, pd1: &Segment<'_>, at: Micros) {
    let contact = match pd1.field(11).id().as_deref() {
        Some("02" | "04" | "06") => Some(true),
        // Not at all, not by a call, or only through the patient's own doctor.
        Some("01" | "03" | "05" | "07" | "08" | "09" | "10" | "11" | "12") => Some(false),
        _ => None,
    };
    if let Some(given) = contact {
        let from = c.time(pd1.field(18), Place::field("PD1", 18));
        put(c, patient, at, "follow_up_contact".to_owned(), Grantee::Contact, given, [from, None]);
    }
    let kept = match pd1.field(12).id().as_deref() {
        Some("Y") => Some(true),
        Some("N") => Some(false),
        _ => None,
    };
    if let Some(kept) = kept {
        let from = c.time(pd1.field(13), Place::field("PD1", 13));
        put(c, patient, at, "share_records".to_owned(), Grantee::Provider, !kept, [from, None]);
    }
}

fn put(
    c: &mut Context<'_>,
    patient: &Patient,
    at: Micros,
    scope: String,
    grantee: Grantee,
    given: bool,
    [valid_from, valid_until]: [Option<Micros>; 2],
) {
    let place = c.message.field("PV1", 3);
    let header = c.header(patient, at, place);
    c.push(if given {
        Event::ConsentGiven(ConsentGiven { header, scope, grantee, valid_from, valid_until })
    } else {
        Event::ConsentWithdrawn(ConsentWithdrawn { header, scope, grantee })
    });
}
