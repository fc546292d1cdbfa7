//! Where in a message a wrong field of an event comes from.

use super::head::Head;
use super::message::Message;
use super::wrong::{Code, Place, Wrong};
use domain::parse::FieldError;

/// The places of wrong fields, as far as they can be told.
pub fn of(errors: &[FieldError], head: &Head<'_>, message: &Message<'_>) -> Vec<Wrong> {
    let wrong = |e: &FieldError| Wrong::new(place(&e.pointer, head, message), Code::DataType, e.reason.clone());
    errors.iter().map(wrong).collect()
}

fn place(pointer: &str, head: &Head<'_>, message: &Message<'_>) -> Place {
    let said = |segment, field: u16| message.field(segment, usize::from(field)).present().is_some();
    match pointer {
        "/header/occurred_at" => match head.kind() {
            "ADT" | "BAR" => {
                let ways = [("EVN", 6), ("EVN", 2)];
                let (segment, field) = ways.into_iter().find(|(s, f)| said(s, *f)).unwrap_or(("MSH", 7));
                Place::field(segment, field)
            }
            "DFT" => Place::field("FT1", 4),
            "ORM" | "OML" | "OMG" if said("ORC", 9) => Place::field("ORC", 9),
            "ORU" if said("OBR", 22) => Place::field("OBR", 22),
            _ => Place::field("MSH", 7),
        },
        "/header/recorded_at" => Place::field("MSH", 7),
        "/header/patient_id" => Place::field("PID", 3),
        "/header/site" => Place::field("PV1", 3).component(4),
        "/header/department" => Place::field("PV1", 10),
        "/header/source/message_id" => Place::field("MSH", 10),
        "/appointment_id" if head.kind() == "SIU" => Place::field("SCH", 1),
        "/appointment_id" => Place::field("PV1", 5),
        "/starts_at" => Place::field("TQ1", 7),
        "/service" if head.kind() == "SIU" => Place::field("AIS", 3),
        "/service" => Place::field("FT1", 25),
        "/reason" if head.kind() == "SIU" => Place::field("SCH", 6),
        "/reason" if head.kind() == "REF" => Place::field("RF1", 10),
        "/reason" => Place::field("ORC", 16),
        "/encounter_id" => Place::field("PV1", 19),
        "/location" => Place::field("PV1", 3),
        "/disposition" => Place::field("PV1", 36),
        "/referral_id" => Place::field("RF1", 6),
        "/to" | "/from" => Place::field("PRD", 10),
        "/order_id" => Place::field("ORC", 2),
        "/code" => Place::field("OBR", 4),
        "/claim_id" => Place::field("FT1", 2),
        "/currency" => Place::field("FT1", 11),
        "/adjustment_code" => Place::field("FT1", 7),
        "/surviving" => Place::field("PID", 3),
        "/retired" => Place::field("MRG", 1),
        "/note_ref" => Place::field("PID", 18),
        "/scope" => Place::field("CON", 2),
        "/valid_until" => Place::field("CON", 15),
        _ => Place::segment("MSH"),
    }
}
