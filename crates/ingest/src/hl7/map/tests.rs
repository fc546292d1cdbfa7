//! What the sample messages don't say.

mod orders;

use super::*;
use crate::hl7::head::Head;
use crate::hl7::memory::Memory;
use crate::hl7::message::Message;
use crate::hl7::tests::{SITE, pseudonyms};
use crate::hl7::wrong::{Code, Place};
use serde_json::{Value, json};

/// A message of segments; MSH-9 is `kind`, `PID` a usual one.
fn text(kind: &str, segments: &[&str]) -> String {
    let usual = "PID|1||12^^^HOSP^MR";
    let mut all = format!("MSH|^~\\&|APP|FAC|JL|HOSP|20260302090000+0900||{kind}|m1|P|2.5\r");
    segments.iter().for_each(|s| all += &format!("{}\r", if *s == "PID" { usual } else { s }));
    all
}

fn mapped(kind: &str, segments: &[&str]) -> Result<Vec<Event>, Vec<Wrong>> {
    mapped_under(SITE, kind, segments)
}

fn mapped_under(site: &str, kind: &str, segments: &[&str]) -> Result<Vec<Event>, Vec<Wrong>> {
    read(site, &text(kind, segments))
}

fn read(site: &str, text: &str) -> Result<Vec<Event>, Vec<Wrong>> {
    let head = Head::of(text.as_bytes()).unwrap();
    let message = Message::new(text, head.delimiters).unwrap();
    events(&head, &message, &pseudonyms(site), &Memory::new(10), "m-0")
}

/// The type and some fields of each event.
fn shown(kind: &str, segments: &[&str], pointers: &[&str]) -> Vec<Value> {
    let show = |e: Event| {
        let all: Value = serde_json::from_str(&e.to_json()).unwrap();
        let fields = pointers.iter().map(|p| all.pointer(p).cloned().unwrap_or_default());
        std::iter::once(json!(e.kind().as_str())).chain(fields).collect()
    };
    mapped(kind, segments).unwrap().into_iter().map(show).collect()
}

/// Places and codes of what is wrong.
fn wrong(kind: &str, segments: &[&str]) -> Vec<(&'static str, u16, u16, u16)> {
    let wrongs = mapped(kind, segments).unwrap_err();
    wrongs.iter().map(|w| (w.place.segment, w.place.sequence, w.place.field, w.code.number())).collect()
}

#[test]
fn the_start_of_an_appointment_is_where_it_is_first() {
    let (tq1, ais, aip) = ("TQ1|||||||2026031010+0900", "AIS|1||X|2026031012+0900", "AIP|1||7|||2026031013+0900");
    let (sch, bare) = ("SCH|A|||||||||||^^^2026031011+0900", "SCH||F1");
    let start = |segments: &[&str]| shown("SIU^S12", segments, &["/starts_at", "/appointment_id"]).remove(0);
    assert_eq!(start(&[bare, tq1, "PID", ais, aip]), json!(["AppointmentBooked", "2026-03-10T01:00:00Z", "F1"]));
    let sch = &sch.replace("|||||||||||^", "||||||||||^");
    assert_eq!(start(&[sch, "PID", ais, aip]), json!(["AppointmentBooked", "2026-03-10T02:00:00Z", "A"]));
    assert_eq!(start(&[bare, "PID", ais, aip])[1], "2026-03-10T03:00:00Z");
    assert_eq!(start(&[bare, "PID", aip])[1], "2026-03-10T04:00:00Z");
    assert_eq!(wrong("SIU^S12", &[bare, "PID"]), [("TQ1", 1, 7, 101)]);
    assert_eq!(wrong("SIU^S13", &["SCH|", "TQ1|||||||soon", "PID"]), [("SCH", 1, 1, 101)]);
    assert_eq!(wrong("SIU^S13", &[bare, "TQ1|||||||soon", "PID"]), [("TQ1", 1, 7, 102)]);
    assert_eq!(wrong("SIU^S12", &[bare, tq1]), [("PID", 1, 0, 100)]);
}

#[test]
fn durations_in_their_units() {
    let minutes = |sch: &str, ais: &str| {
        let sch = format!("SCH|A||||||||{sch}|^^^2026031010+0900");
        let ais = format!("AIS|1||X||||{ais}");
        shown("SIU^S14", &[&sch, "PID", &ais], &["/duration_min"]).remove(0)[1].clone()
    };
    assert_eq!(minutes("60|s", "50|min^Minutes^ISO"), json!(50));
    assert_eq!(minutes("61|s", "|"), json!(2));
    assert_eq!(minutes("1.5|HR", "|"), json!(90));
    assert_eq!(minutes("20|", "|"), json!(20));
    assert_eq!(minutes("|", "|"), Value::Null);
    let sch = "SCH|A||||||||20|furlongs|^^^2026031010+0900";
    assert_eq!(wrong("SIU^S12", &[sch, "PID"]), [("SCH", 1, 10, 103)]);
    let sch = sch.replace("20|furlongs", "-5|min");
    assert_eq!(wrong("SIU^S12", &[&sch, "PID"]), [("SCH", 1, 9, 102)]);
}

#[test]
fn who_wanted_it_and_why_is_not_what_contradicts_the_trigger() {
    let told = |trigger: &str, reason: &str, note: &str| {
        let sch = format!("SCH|A|||||{reason}|||||^^^2026031010+0900");
        shown(&format!("SIU^{trigger}"), &[&sch, note, "PID"], &["/by", "/reason"]).remove(0)
    };
    assert_eq!(
        told("S15", "PAT^feels better", "NTE|1||note"),
        json!(["AppointmentCancelled", "patient", "feels better"])
    );
    assert_eq!(told("S15", "PROV", "NTE|1||doctor\\R\\ill"), json!(["AppointmentCancelled", "hospital", "PROV"]));
    assert_eq!(told("S13", "Add", "NTE|1||moved~twice"), json!(["AppointmentRescheduled", "other", "moved twice"]));
    assert_eq!(told("S16", "Add", ""), json!(["AppointmentCancelled", "other", "discontinued"]));
    assert_eq!(told("S20", "PAT", ""), json!(["AppointmentModified", "patient", "PAT"]));
    for trigger in ["SIU^S23", "SIU^S24", "ADT^A60", "VXU^V04", "ORM^O02", "BAR^P12"] {
        assert!(mapped(trigger, &["SCH|A", "PID"]).unwrap().is_empty(), "{trigger}");
    }
}

#[test]
fn of_several_identifiers_the_one_that_ranks() {
    let p = pseudonyms(SITE);
    let of = |pid: &str| shown("ADT^A08", &[pid], &["/header/patient_id"]).remove(0)[1].as_str().unwrap().to_owned();
    assert_eq!(of("PID|1||1^^^X^MR~12^^^HOSP^PI~3^^^Y^MR"), p.patient("main", "12"));
    assert_eq!(of("PID|1||12^^^&1.2.3&ISO"), p.patient("main", "12"), "by its OID");
    assert_eq!(of("PID|1||1^^^X^PI~3^^^Y^MR"), p.patient("Y", "3"));
    assert_eq!(of("PID|1||\"\"^^^X^MR~1^^^X^PI~3^^^Y"), p.patient("X", "1"));
    assert_eq!(of("PID|1|77^^^X"), p.patient("X", "77"), "old messages have it in PID-2");
    assert_eq!(of("PID|1||77"), p.patient("FAC", "77"), "the sending facility's");
    assert_eq!(wrong("ADT^A08", &["PID|1||^^^X~\"\""]), [("PID", 1, 3, 101)]);
    assert_eq!(wrong("ADT^A08", &["PV1|1|I"]), [("PID", 1, 0, 100)]);
}

#[test]
fn merges_match_numbers_of_one_authority() {
    let p = pseudonyms(SITE);
    let merged = |kind: &str, segments: &[&str]| {
        shown(kind, segments, &["/surviving", "/retired", "/authority", "/header/patient_id"]).remove(0)
    };
    let (a, b) = (p.patient("X", "1"), p.patient("X", "9"));
    let both = ["PID|1||1^^^X^MR", "MRG|8^^^HOSP~9^^^X"];
    assert_eq!(merged("ADT^A40", &both), json!(["PatientsMerged", a, b, "X", a]));
    let two = ["PID|1||1^^^X", "PV1|1|I", "PID|2||7^^^Z~9^^^X"];
    assert_eq!(merged("ADT^A37", &two), json!(["PatientsUnmerged", a, b, "X", a]));
    assert_eq!(merged("ADT^A24", &two)[0], "PatientsMerged");
    let several = ["PID|1||1^^^X", "MRG|9^^^X", "PID|2||2^^^X", "MRG|8^^^X"];
    assert_eq!(mapped("ADT^A40", &several).unwrap().len(), 2);
    assert_eq!(wrong("ADT^A40", &["PID", "MRG|12^^^HOSP"]), [("MRG", 1, 1, 103)]);
    assert_eq!(wrong("ADT^A34", &["PID"]), [("MRG", 1, 1, 101)]);
    assert_eq!(wrong("ADT^A37", &["PID"]), [("PID", 2, 0, 100)]);
}

/// MRG-1 of a message about X's patient 1, of one MRG or more: who retires.
fn retired(kind: &str, former: &[&str]) -> Vec<String> {
    let segments: Vec<String> = former.iter().map(|m| format!("MRG|{m}")).collect();
    let segments: Vec<&str> = ["PID|1||1^^^X^MR"].into_iter().chain(segments.iter().map(String::as_str)).collect();
    let all = mapped(kind, &segments).unwrap();
    let ids: std::collections::BTreeSet<_> = all.iter().map(|e| e.header().event_id).collect();
    assert_eq!(ids.len(), all.len(), "each event has an id of its own");
    let retired = |e: Event| match e {
        Event::PatientsMerged(e) => e.retired,
        Event::PatientIdentifiersChanged(e) => e.retired.unwrap(),
        other => panic!("{other:?}"),
    };
    all.into_iter().map(retired).collect()
}

#[test]
fn every_patient_of_a_merge_is_merged() {
    let p = pseudonyms(SITE);
    let x = |numbers: &[&str]| numbers.iter().map(|n| p.patient("X", n)).collect::<Vec<_>>();
    for kind in ["ADT^A40", "ADT^A34", "ADT^A18", "ADT^A36", "ADT^A47"] {
        assert_eq!(retired(kind, &["8^^^X^MR", "9^^^X^MR"]), x(&["8", "9"]), "{kind}: an MRG is a patient");
        assert_eq!(retired(kind, &["8^^^X^MR~9^^^X^MR~8^^^X^MR"]), x(&["8", "9"]), "{kind}: so many numbers");
    }
    // Numbers of another type or authority are other names of the same former patient, as in PID-3.
    assert_eq!(retired("ADT^A40", &["5^^^X^PI~8^^^X^MR~3^^^X^AN~7^^^Z^MR"]), x(&["8"]));
    assert_eq!(retired("ADT^A40", &["5^^^X^PI~3^^^X^AN~6^^^X^PI"]), x(&["5", "6"]));
    // The number that stays may be listed, but not alone.
    assert_eq!(retired("ADT^A40", &["1^^^X^MR~9^^^X^MR"]), x(&["9"]));
    let two = |second: &str| wrong("ADT^A40", &["PID|1||1^^^X^MR", "MRG|9^^^X^MR", &format!("MRG|{second}")]);
    assert_eq!(two("1^^^X^MR"), [("MRG", 2, 1, 103)]);
    assert_eq!(two("\"\""), [("MRG", 2, 1, 101)]);
    let three = ["PID|1||1^^^X", "PID|2||2^^^X", "PID|3||3^^^X"];
    assert_eq!(wrong("ADT^A24", &three), [("PID", 3, 0, 100)], "a link is of two");
}

#[test]
fn a_message_that_means_too_many_events_is_refused() {
    let former = |n: usize| (0..n).map(|n| format!("f{n}^^^X^MR")).collect::<Vec<_>>().join("~");
    assert_eq!(retired("ADT^A40", &[&former(10_000)]).len(), 10_000);
    let mrg = format!("MRG|{}", former(10_001));
    assert_eq!(wrong("ADT^A40", &["PID|1||1^^^X^MR", &mrg]), [("MSH", 1, 0, 207)]);
}

#[test]
fn an_appointment_has_hundreds_of_patients_and_not_thousands() {
    let patients: Vec<String> = (0..501).map(|n| format!("PID|{n}||{n}^^^X")).collect();
    let mut segments: Vec<&str> = vec!["SCH|A", "TQ1|||||||2026031010+0900"];
    segments.extend(std::iter::repeat_n("AIP|1||", 9_000));
    segments.push("AIP|1||7");
    segments.extend(patients[..500].iter().map(String::as_str));
    let staff = json!(pseudonyms(SITE).staff("FAC", "7"));
    let all = shown("SIU^S12", &segments, &["/practitioner", "/starts_at"]);
    assert_eq!(all, vec![json!(["AppointmentBooked", staff, "2026-03-10T01:00:00Z"]); 500]);
    segments.push(&patients[500]);
    assert_eq!(wrong("SIU^S12", &segments), [("PID", 501, 0, 207)]);
}

#[test]
fn what_each_event_repeats_is_not_too_long() {
    let pv1 = |bytes: usize| format!("PV1|1|I|{}", "x".repeat(bytes - "PV1|1|I|".len()));
    let result = format!("OBR|1|7||GLU{}F", "|".repeat(21));
    let all = |bytes: usize| mapped("ORU^R01", &["PID", &pv1(bytes), &result, &result]);
    assert_eq!(all(16 << 10).unwrap().len(), 2);
    assert_eq!(all((16 << 10) + 1).unwrap_err()[0].place, Place::segment("PV1"));
    let document = format!("OBX|1|ED|||{}", "x".repeat(100_000));
    assert_eq!(mapped("ORU^R01", &["PID", &result, &document]).unwrap().len(), 1);
}

#[test]
fn visits_need_their_number_and_say_when() {
    assert_eq!(wrong("ADT^A01", &["PID", "PV1|1|I|W1"]), [("PV1", 1, 19, 101)]);
    assert_eq!(wrong("ADT^A02", &["PID", "PV1|1|I|^^^F"]), [("PV1", 1, 19, 101), ("PV1", 1, 3, 101)]);
    assert_eq!(wrong("ADT^A01", &["EVN||||||now", "PID"]), [("EVN", 1, 6, 102)]);
    let pv1 = format!("PV1|1|I|W1{}V9{}EXP{}2026030101|2026030205", "|".repeat(16), "|".repeat(17), "|".repeat(8));
    let at = |kind: &str, evn: &str, pid: &str| {
        shown(kind, &[evn, pid, &pv1], &["/header/occurred_at", "/disposition", "/encounter_id"]).remove(0)
    };
    let evn = "EVN||2026030300+0900";
    assert_eq!(at("ADT^A03", evn, "PID"), json!(["PatientDischarged", "2026-03-01T20:00:00Z", "EXP", "V9"]));
    assert_eq!(at("ADT^A01", evn, "PID")[1], "2026-03-02T15:00:00Z");
    assert_eq!(at("ADT^A01", "EVN|", "PID")[1], "2026-02-28T16:00:00Z");
    assert_eq!(at("ADT^A11", "EVN|", "PID")[1], "2026-03-02T00:00:00Z");
    let site = SITE.replace("[[senders]]", "[hl7.dispositions]\nEXP = \"expired\"\n[[senders]]");
    let all = mapped_under(&site, "ADT^A03", &["PID", &pv1]).unwrap();
    let Event::PatientDischarged(e) = &all[0] else { panic!("{all:?}") };
    assert_eq!(e.disposition.as_deref(), Some("expired"));
    // Without PV1-36, PID-30 says who has died.
    let dead = format!("PID|1||12^^^HOSP{}Y", "|".repeat(27));
    let left = format!("PV1|1|I|W1{}V9", "|".repeat(16));
    assert_eq!(shown("ADT^A03", &[&dead, &left], &["/disposition"]), [json!(["PatientDischarged", "expired"])]);
}

#[test]
fn what_is_no_time_is_told_also_where_it_only_says_when_it_was_recorded() {
    let pv1 = format!("PV1|1|I|W1{}V9", "|".repeat(16));
    let of = |written: &str, noted: &str| {
        let evn = format!("EVN||{noted}||||20260302085900+0900");
        read(SITE, &text("ADT^A01", &[&evn, "PID", &pv1]).replace("20260302090000+0900", written))
    };
    let place =
        |written: &str, noted: &str| of(written, noted).unwrap_err().iter().map(|w| w.place).collect::<Vec<_>>();
    assert_eq!(place("20260302090000+9900", "20260302085930"), [Place::field("MSH", 7)]);
    assert_eq!(place("20260302090000+0900", "soon"), [Place::field("EVN", 2)]);
    assert_eq!(of("", "20260302085930").unwrap().len(), 1, "it may be left out");
    assert!(read(SITE, &text("VXU^V04", &["PID"]).replace("20260302090000", "now")).unwrap().is_empty());
}

#[test]
fn referrals_go_by_their_trigger_then_by_their_status() {
    let kinds = |kind: &str, status: &str| {
        let rf1 = format!("RF1|{status}|S||||R7|||20260401|O^no room");
        let all = shown(kind, &[&rf1, "PRD|RT|Lee||W^^^CLINIC", "PID"], &["/referral_id"]);
        all.into_iter().map(|v| v[0].as_str().unwrap().to_owned()).collect::<String>()
    };
    for (kind, status, event) in [
        ("REF^I12", "A", "ReferralMade"),
        ("REF^I13", "P", "ReferralMade"),
        ("REF^I13", "A", "ReferralAccepted"),
        ("REF^I14", "A", "ReferralCancelled"),
        ("RRI^I12", "A^Accepted", "ReferralAccepted"),
        ("RRI^I12", "R", "ReferralDeclined"),
        ("RRI^I13", "E", "ReferralExpired"),
        ("RRI^I12", "P", ""),
        ("RRI^I14", "A", ""),
    ] {
        assert_eq!(kinds(kind, status), event, "{kind} {status}");
    }
    let declined = shown("RRI^I12", &["RF1|R|||||R7||||O^no room", "PID"], &["/reason", "/referral_id"]);
    assert_eq!(declined, [json!(["ReferralDeclined", "no room", "R7"])]);
    let made = shown("REF^I12", &["RF1||||||R7", "PRD|RP||||||||", "PRD|RT||||||5^SL", "PID"], &["/from", "/to"]);
    assert_eq!(made, [json!(["ReferralMade", "FAC", pseudonyms(SITE).staff("FAC", "5")])]);
    assert_eq!(wrong("RRI^I12", &["RF1|Q|||||R7", "PID"]), [("RF1", 1, 1, 103)]);
    assert_eq!(wrong("REF^I12", &["RF1|P", "PRD|RT||||||5", "PID"]), [("RF1", 1, 6, 101)]);
    assert_eq!(wrong("REF^I14", &["PID"]), [("RF1", 1, 0, 100)]);
}

#[test]
fn what_is_known_of_a_patient() {
    let known = |pid: &str, pv1: &str| {
        shown("ADT^A08", &[pid, pv1], &["/fields", "/special_requirements", "/deceased"]).remove(0)
    };
    let pv1 = |needs: &str| format!("PV1|1|I|||||||||||||{needs}");
    assert_eq!(
        known("PID", &pv1("A2~A6")),
        json!(["DemographicsUpdated", null, ["wheelchair", "hearing_impaired"], null])
    );
    assert_eq!(known("PID", &pv1("A0")), json!(["DemographicsUpdated", ["special_requirements"], null, null]));
    assert_eq!(known("PID", &pv1("B6")), json!(["DemographicsUpdated", null, null, null]));
    let dead = format!("PID|1||12^^^HOSP{}Y", "|".repeat(27));
    assert_eq!(known(&dead, "PV1|1|I")[3], true);
}

#[test]
fn the_same_message_gives_the_same_events_and_another_index_another_id() {
    let segments = ["EVN||20260302", "PID", "PD1|||||||||||02|N", "PV1|1|I|W|||||||||||||||||V1"];
    let (a, b) = (mapped("ADT^A04", &segments).unwrap(), mapped("ADT^A04", &segments).unwrap());
    assert_eq!(a.iter().map(Event::to_json).collect::<Vec<_>>(), b.iter().map(Event::to_json).collect::<Vec<_>>());
    let ids: std::collections::BTreeSet<_> = a.iter().map(|e| e.header().event_id).collect();
    assert_eq!((a.len(), ids.len()), (3, 3));
}
