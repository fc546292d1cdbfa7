//! ORM, OML, OMG: orders. ORU: results.

use super::super::message::{Part, Segment, named};
use super::super::wrong::{Code, Place};
use super::context::{Context, Patient};
use domain::Micros;
use domain::event::{Event, OrderCancelled, OrderPlaced, Priority, ResultCorrected, ResultReported, ResultStatus};
use std::borrow::Cow;
use std::collections::BTreeSet;

fn id(part: Option<Part<'_>>) -> Option<String> {
    part.and_then(Part::id).map(Cow::into_owned)
}

/// The patient and the time of the message, which every order needs.
fn whom(c: &mut Context<'_>) -> Option<(Patient, Micros)> {
    let message = c.message;
    if c.lacks("PID", "the message has no patient") {
        return None;
    }
    let patient = c.patient(message.first("PID"));
    let written = c.written();
    let written = c.need(written, Place::field("MSH", 7), "a message needs its time");
    Some((patient?, written?))
}

pub fn orders(c: &mut Context<'_>) {
    let Some((patient, written)) = whom(c) else { return };
    let message = c.message;
    if c.lacks("ORC", "the message has no order") {
        return;
    }
    for group in message.groups("ORC") {
        let Some((orc, rest)) = group.split_first() else { continue };
        // A patient below an order begins its prior results (OML, OMG), which nobody orders again.
        let rest = rest.split(|s| s.name() == "PID").next().unwrap_or_default();
        let timing = named(rest, "TQ1");
        // ORC-1 (table 0119): new; cancelled, discontinued, on whoever's wish. What else there is changes no order's state.
        let placed = match orc.field(1).id().as_deref() {
            Some("NW") => true,
            Some("CA" | "OC" | "CR" | "DC" | "OD" | "DR") => false,
            Some(_) => continue,
            None => {
                let place = Place::field("ORC", 1).in_sequence(orc.sequence);
                c.wrong(place, Code::Missing, "an order needs its control code");
                continue;
            }
        };
        let noted = c.time(orc.field(9), Place::field("ORC", 9).in_sequence(orc.sequence));
        let at = noted.unwrap_or(written);
        for (order_id, request) in requests(c, orc, rest) {
            match placed {
                true => place(c, &patient, at, order_id, request, timing),
                false => cancel(c, &patient, at, order_id, orc),
            }
        }
    }
}

/// The orders below an ORC: ids (ORC-2, else OBR-2, else ORC-3, else OBR-3) and the segments that say what is ordered.
fn requests<'a, 's>(
    c: &mut Context<'a>,
    orc: &Segment<'a>,
    rest: &'s [Segment<'a>],
) -> Vec<(String, Option<&'s Segment<'a>>)> {
    let mut found: Vec<(String, Option<&Segment<'_>>)> = Vec::with_capacity(1);
    let mut detail = rest.iter().filter(|s| matches!(s.name(), "OBR" | "RXO" | "ODS" | "RQD" | "RQ1"));
    let first = detail.next();
    let obr = first.filter(|s| s.name() == "OBR");
    let ids = [Some(orc.field(2)), obr.map(|o| o.field(2)), Some(orc.field(3)), obr.map(|o| o.field(3))];
    let place = Place::field("ORC", 2).in_sequence(orc.sequence).component(1);
    if let Some(order) = c.need(ids.into_iter().find_map(id), place, "an order needs an id in ORC-2 or ORC-3") {
        found.push((order, first));
    }
    // Further requests of the same order have no number of their own.
    let mut seen: BTreeSet<String> = found.iter().map(|(order, _)| order.clone()).collect();
    for obr in detail.filter(|s| s.name() == "OBR") {
        let own = id(Some(obr.field(2))).or_else(|| id(Some(obr.field(3))));
        if let Some(own) = own.filter(|own| seen.insert(own.clone())) {
            found.push((own, Some(obr)));
        }
    }
    found
}

fn place(
    c: &mut Context<'_>,
    patient: &Patient,
    at: Micros,
    order_id: String,
    request: Option<&Segment<'_>>,
    timing: Option<&Segment<'_>>,
) {
    let message = c.message;
    let header = c.header(patient, at, message.field("PV1", 3));
    let field = match request.map(Segment::name) {
        Some("RXO") => 1,
        Some("ODS" | "RQD") => 3,
        Some("RQ1") => 2,
        _ => 4,
    };
    let what = request.map(|s| s.field(field));
    let code = id(what).or_else(|| what.and_then(|w| w.component(2).value()).map(Cow::into_owned));
    let missing = Place::field("OBR", 4).in_sequence(request.map_or(1, |s| s.sequence)).component(1);
    let Some(code) = c.need(code, missing, "an order needs what is ordered") else { return };
    let due_at = timing.and_then(|t| c.time(t.field(8), Place::field("TQ1", 8).in_sequence(t.sequence)));
    let obr = request.filter(|s| s.name() == "OBR");
    let urgency = id(timing.map(|t| t.field(9))).or_else(|| id(obr.map(|o| o.field(27).component(6))));
    let urgency = urgency.or_else(|| id(obr.map(|o| o.field(5))));
    let priority = urgency.as_deref().map(|code| match code {
        "S" => Priority::Stat,
        "A" => Priority::Asap,
        "R" => Priority::Routine,
        "U" => Priority::Urgent,
        _ => Priority::Other,
    });
    let encounter_id = c.encounter();
    c.push(Event::OrderPlaced(OrderPlaced { header, order_id, encounter_id, code, due_at, priority }));
}

fn cancel(c: &mut Context<'_>, patient: &Patient, at: Micros, order_id: String, orc: &Segment<'_>) {
    let message = c.message;
    let header = c.header(patient, at, message.field("PV1", 3));
    // ORC-16: the reason of the control code.
    let why = orc.field(16);
    let reason = why.component(2).value().or_else(|| why.component(1).value()).map(Cow::into_owned);
    let encounter_id = c.encounter();
    c.push(Event::OrderCancelled(OrderCancelled { header, order_id, encounter_id, reason }));
}

pub fn results(c: &mut Context<'_>) {
    let Some((patient, written)) = whom(c) else { return };
    let message = c.message;
    if c.lacks("OBR", "the message has no result") {
        return;
    }
    let mut orc: Option<&Segment<'_>> = None;
    let segments = message.segments();
    for (n, obr) in segments.iter().enumerate() {
        match obr.name() {
            "ORC" => orc = Some(obr),
            "OBR" => {
                let below = segments[n + 1..].iter().take_while(|s| !matches!(s.name(), "OBR" | "ORC" | "PID"));
                let observations: Vec<&Segment<'_>> = below.filter(|s| s.name() == "OBX").collect();
                result(c, &patient, written, orc.take(), obr, &observations);
            }
            _ => {}
        }
    }
}

fn result(
    c: &mut Context<'_>,
    patient: &Patient,
    written: Micros,
    orc: Option<&Segment<'_>>,
    obr: &Segment<'_>,
    observations: &[&Segment<'_>],
) {
    let Some(status) = status(obr, observations) else { return };
    let ids = [orc.map(|o| o.field(2)), Some(obr.field(2)), orc.map(|o| o.field(3)), Some(obr.field(3))];
    let missing = Place::field("OBR", 2).in_sequence(obr.sequence).component(1);
    let order_id = c.need(ids.into_iter().find_map(id), missing, "a result needs its order's id");
    let reported = c.time(obr.field(22), Place::field("OBR", 22).in_sequence(obr.sequence));
    let message = c.message;
    let header = c.header(patient, reported.unwrap_or(written), message.field("PV1", 3));
    let Some(order_id) = order_id else { return };
    let (code, encounter_id, abnormal) = (id(Some(obr.field(4))), c.encounter(), abnormal(observations));
    c.push(match status {
        ResultStatus::Corrected => {
            Event::ResultCorrected(ResultCorrected { header, order_id, encounter_id, code, status, abnormal })
        }
        _ => Event::ResultReported(ResultReported { header, order_id, encounter_id, code, status, abnormal }),
    });
}

/// OBR-25 (table 0123), else what all of the observations are (OBX-11); nothing where there is no result yet.
fn status(obr: &Segment<'_>, observations: &[&Segment<'_>]) -> Option<ResultStatus> {
    let of = |code: &str| match code {
        "F" => Some(ResultStatus::Final),
        "P" | "A" | "R" => Some(ResultStatus::Preliminary),
        "C" | "M" => Some(ResultStatus::Corrected),
        "X" => Some(ResultStatus::Cancelled),
        // Ordered, scheduled, specimen received: no results yet.
        "O" | "S" | "I" => None,
        _ => Some(ResultStatus::Other),
    };
    if let Some(code) = obr.field(25).id() {
        return of(&code);
    }
    let mut all = observations.iter().filter_map(|o| o.field(11).id()).filter_map(|code| of(&code));
    let Some(first) = all.next() else { return Some(ResultStatus::Other) };
    Some(all.fold(first, |sum, next| match (sum, next) {
        (a, b) if a == b => a,
        (ResultStatus::Corrected, _) | (_, ResultStatus::Corrected) => ResultStatus::Corrected,
        _ => ResultStatus::Preliminary,
    }))
}

/// OBX-8: whether any observation is flagged; nothing where none says.
fn abnormal(observations: &[&Segment<'_>]) -> Option<bool> {
    let mut said = None;
    for flag in observations.iter().flat_map(|o| o.field(8).repetitions()).filter_map(Part::id) {
        said = Some(said == Some(true) || !matches!(&*flag, "N" | "NEG" | "ND" | "NR"));
    }
    said
}
