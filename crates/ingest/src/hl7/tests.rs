//! Messages into a log in memory, and what is answered.

mod many;
mod samples;

use super::*;
use crate::testing::{MemoryLog, Mood};
use crate::{Settings, Site};
use bytes::Bytes;

pub(super) const SITE: &str = r#"
    zone = "Asia/Seoul"
    [authorities.main]
    aliases = ["HOSP", "1.2.3"]
    rank = 1
    [departments]
    SUR = "surgery"
    [hl7]
    currency = "KRW"
    [[senders]]
    application = "KOR"
    charset = "EUC-KR"
    a04 = "requested"
    authority = "main"
"#;

pub(super) struct Bed {
    pub log: Arc<MemoryLog>,
    pub receiver: Arc<Receiver>,
}

pub(super) fn pseudonyms(site: &str) -> Pseudonyms {
    Pseudonyms::new(&[7; 32], Arc::new(Site::parse(site).unwrap())).unwrap()
}

impl Bed {
    pub fn new() -> Self {
        Self::on(MemoryLog::new(), SITE)
    }

    pub fn on(log: Arc<MemoryLog>, site: &str) -> Self {
        let publisher = Arc::new(Publisher::new(log.clone(), Settings::default()));
        let limits = parse::Limits::default();
        Self { log, receiver: Arc::new(Receiver::new(publisher, pseudonyms(site), limits, 1_000)) }
    }

    /// Learns from the log, as at start.
    pub async fn warm(&self) -> usize {
        self.receiver.publisher.warm_with(1_000, |event| self.receiver.learn(event)).await.unwrap()
    }

    /// The answers to a block, segments ended by line feeds.
    pub async fn answers(&self, block: impl AsRef<[u8]>) -> Vec<String> {
        let answers = self.receiver.receive(&[Block::Whole(Bytes::copy_from_slice(block.as_ref()))]).await;
        answers.into_iter().map(|a| String::from_utf8(a).unwrap().replace('\r', "\n")).collect()
    }

    /// The answer to a message.
    pub async fn answer(&self, message: impl AsRef<[u8]>) -> String {
        let mut all = self.answers(message).await;
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    /// The events in the log: those of one patient in order.
    pub fn events(&self) -> Vec<Event> {
        let records = self.log.records.lock().unwrap();
        records.iter().flatten().map(|r| codec::decode(&r.value).unwrap()).collect()
    }
}

pub(super) fn code(answer: &str) -> &str {
    let msa = answer.lines().find(|l| l.starts_with("MSA")).unwrap();
    msa.split('|').nth(1).unwrap()
}

/// A small message of a visit.
pub(super) fn message(kind: &str, id: &str, more: &str) -> String {
    format!(
        "MSH|^~\\&|APP|FAC|JL|HOSP|20260302090000+0900||{kind}|{id}|P|2.5\rEVN||20260302090000+0900\r\
         PID|1||12^^^HOSP^MR||Kim^Minsu\rPV1|1|I|W1^2^3|||||||SUR|||||||||V-{id}\r{more}"
    )
}

#[tokio::test]
async fn a_resend_gets_its_first_answer_again_and_another_body_is_refused() {
    let bed = Bed::new();
    let first = bed.answer(message("ADT^A01", "m1", "")).await;
    assert_eq!(code(&first), "AA");
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    assert_eq!(bed.answer(message("ADT^A01", "m1", "").replace('\r', "\r\n")).await, first);
    let other = bed.answer(message("ADT^A01", "m1", "NTE|1||not mapped, but another body")).await;
    assert!(other.contains("MSA|AE|m1|") && other.contains("ERR||MSH^1^10^1|205^Duplicate key identifier"), "{other}");
    assert_eq!(bed.log.len(), 1);
    // Another sender's or receiver's id is another one.
    for (a, b) in [("|APP|", "|APQ|"), ("|FAC|", "|FAD|"), ("|JL|", "|JM|"), ("|HOSP|2", "|HOSQ|2")] {
        assert_eq!(code(&bed.answer(message("ADT^A01", "m1", "").replace(a, b)).await), "AA");
    }
    assert_eq!(bed.log.len(), 5);
}

#[tokio::test]
async fn another_message_under_an_id_is_kept_once_and_refused_after_that() {
    let (log, quarantine) = (MemoryLog::new(), MemoryLog::new());
    let publisher = Arc::new(Publisher::new(log.clone(), Settings::default()));
    let receiver = Receiver::new(publisher, pseudonyms(SITE), parse::Limits::default(), 1_000);
    let bed = Bed { log, receiver: Arc::new(receiver.with_quarantine(quarantine.clone(), 1_000)) };
    let other = message("ADT^A01", "m1", "NTE|1||other");
    bed.answer(message("ADT^A01", "m1", "")).await;
    quarantine.set(Mood::Away);
    assert_eq!(code(&bed.answer(&other).await), "AR", "it is not kept yet");
    quarantine.set(Mood::Fine);
    assert_eq!(code(&bed.answer(&other).await), "AE");
    assert_eq!(code(&bed.answer(&other).await), "AE");
    let kept: Vec<_> = quarantine.records.lock().unwrap().iter().flatten().cloned().collect();
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].value, other.trim_end());
    let accepted = bed.events()[0].header().event_id.to_string();
    assert_eq!(crate::testing::header(&kept[0], "refused-event-id").unwrap(), &accepted);
    assert_eq!((bed.log.len(), kept[0].key.as_ref()), (1, accepted.as_bytes()));
}

/// The receiver knows nothing of the other message, as when two connections bring both in one moment.
#[tokio::test]
async fn a_conflict_that_only_the_publisher_sees_is_kept_too() {
    let (log, quarantine) = (MemoryLog::new(), MemoryLog::new());
    let publisher = Arc::new(Publisher::new(log.clone(), Settings::default()));
    let receiver = || Receiver::new(publisher.clone(), pseudonyms(SITE), parse::Limits::default(), 1_000);
    let first = Bed { log: log.clone(), receiver: Arc::new(receiver()) };
    let second = Bed { log, receiver: Arc::new(receiver().with_quarantine(quarantine.clone(), 1_000)) };
    assert_eq!(code(&first.answer(message("ADT^A01", "m1", "")).await), "AA");
    let other = message("ADT^A01", "m1", "NTE|1||other");
    for _ in 0..2 {
        assert_eq!(code(&second.answer(&other).await), "AE");
    }
    let kept: Vec<_> = quarantine.records.lock().unwrap().iter().flatten().cloned().collect();
    assert_eq!(kept.iter().map(|r| &r.value[..]).collect::<Vec<_>>(), [other.trim_end().as_bytes()], "once");
    let accepted = first.events()[0].header().event_id.to_string();
    assert_eq!((second.log.len(), kept[0].key.as_ref()), (1, accepted.as_bytes()));
    // What was accepted is still answered as accepted.
    assert_eq!(code(&first.answer(message("ADT^A01", "m1", "")).await), "AA");
}

#[tokio::test]
async fn a_restart_knows_what_is_in_the_log() {
    let bed = Bed::new();
    bed.answer(message("ADT^A01", "m1", "")).await;
    let later = Bed::on(bed.log.clone(), &SITE.replace("[hl7]", "[hl7]\na04 = \"admitted\""));
    assert_eq!(later.warm().await, 1);
    assert_eq!(code(&later.answer(message("ADT^A01", "m1", "")).await), "AA");
    assert_eq!(code(&later.answer(message("ADT^A01", "m1", "NTE|1||x")).await), "AE");
    // Another body with more events than the first: none of them gets in.
    let more = message("ADT^A01", "m1", "PD1|||||||||||02|N");
    assert_eq!(code(&later.answer(more).await), "AE");
    assert_eq!(bed.log.len(), 1);
}

#[tokio::test]
async fn a_resend_is_one_also_when_the_site_s_rules_have_changed() {
    let bed = Bed::new();
    bed.answer(message("ADT^A04", "m1", "")).await;
    let later = Bed::on(bed.log.clone(), &SITE.replace("[hl7]", "[hl7]\na04 = \"admitted\""));
    later.warm().await;
    assert_eq!(code(&later.answer(message("ADT^A04", "m1", "")).await), "AA");
    assert_eq!(bed.log.len(), 1);
}

#[tokio::test]
async fn what_was_half_published_is_completed_by_the_resend() {
    let bed = Bed::new();
    let two = message("ADT^A01", "m1", "PD1|||||||||||02|");
    bed.answer(&two).await;
    assert_eq!(bed.log.len(), 2);
    // As if the process had been killed between the two.
    let half = MemoryLog::new();
    for (to, from) in half.records.lock().unwrap().iter_mut().zip(bed.log.records.lock().unwrap().iter()) {
        to.extend(from.iter().take(1).cloned());
    }
    let later = Bed::on(half.clone(), SITE);
    later.warm().await;
    assert_eq!(code(&later.answer(&two).await), "AA");
    assert_eq!(half.len(), 2);
}

#[tokio::test]
async fn one_bad_message_holds_up_no_other() {
    let bed = Bed::new();
    let blocks: Vec<Block> = [
        message("ADT^A01", "m1", ""),
        message("ADT^A02", "m2", "").replace("PID|1||12^^^HOSP^MR", "PID|1||"),
        "garbage".to_owned(),
        message("ADT^A99", "m3", ""),
        message("QBP^Q22", "m4", ""),
        message("ADT^A03", "m5", ""),
    ]
    .into_iter()
    .map(|m| Block::Whole(Bytes::from(m)))
    .collect();
    let answers = bed.receiver.receive(&blocks).await;
    let texts: Vec<String> = answers.into_iter().map(|a| String::from_utf8(a).unwrap().replace('\r', "\n")).collect();
    assert_eq!(texts.iter().map(|t| code(t)).collect::<Vec<_>>(), ["AA", "AE", "AR", "AA", "AR", "AA"]);
    assert!(texts[1].contains("ERR||PID^1^3^1^1|101^Required field missing^HL70357|E|"), "{}", texts[1]);
    assert!(texts[4].contains("ERR||MSH^1^9^1|200^"), "{}", texts[4]);
    let kinds: Vec<&str> = bed.events().iter().map(|e| e.kind().as_str()).collect();
    assert_eq!(kinds, ["PatientAdmitted", "PatientDischarged"]);
}

#[tokio::test]
async fn a_log_that_is_busy_or_away_is_no_reason_to_change_a_message() {
    let bed = Bed::new();
    for mood in [Mood::Busy, Mood::Away] {
        bed.log.set(mood);
        let no = bed.answer(message("ADT^A01", "m1", "")).await;
        assert!(no.contains("MSA|AR|m1|not taken") && no.contains("|207^"), "{no}");
        // Enhanced, and another body meanwhile: the first came to nothing.
        let enhanced = message("ADT^A01", "m1", "NTE|1||x").replace("|P|2.5", "|P|2.5|||AL|NE");
        assert_eq!(code(&bed.answer(enhanced).await), "CR");
    }
    bed.log.set(Mood::Fine);
    assert_eq!(code(&bed.answer(message("ADT^A01", "m1", "")).await), "AA");
    assert_eq!(bed.log.len(), 1);
}

#[tokio::test]
async fn answers_are_not_answered_and_never_asked_for_is_never_given() {
    let bed = Bed::new();
    assert!(bed.answers("MSH|^~\\&|A|B|C|D|20260302||ACK|1|P|2.5\rMSA|AA|7\r").await.is_empty());
    let quiet = message("ADT^A01", "m1", "").replace("|P|2.5", "|P|2.5|||NE|NE");
    assert!(bed.answers(quiet).await.is_empty());
    assert_eq!(bed.log.len(), 1, "it is taken all the same");
}

#[tokio::test]
async fn a_batch_is_answered_by_one_and_an_incomplete_one_not_taken() {
    let bed = Bed::new();
    let two = format!("{}{}", message("ADT^A01", "m1", ""), message("ADT^A99", "m2", "").replace("A99", "S12"));
    let batch =
        |n: u8| format!("FHS|^~\\&|APP|FAC|JL|HOSP\rBHS|^~\\&|APP|FAC|JL|HOSP|2026||||B7\r{two}BTS|{n}\rFTS|1\r");
    let answer = bed.answer(batch(3)).await;
    assert_eq!(answer.matches("MSA|AE|").count(), 2, "{answer}");
    assert_eq!(bed.log.len(), 0);
    let answer = bed.answer(batch(2)).await;
    assert!(answer.starts_with("FHS|^~\\&|JL|HOSP|APP|FAC|"), "{answer}");
    assert!(answer.contains("|B7\nMSH") && answer.ends_with("BTS|2\nFTS|1\n"), "{answer}");
    assert!(answer.contains("MSA|AA|m1\n") && answer.contains("MSA|AR|m2|"), "{answer}");
    assert_eq!(bed.log.len(), 1);
    // Several messages in a block without a header are answered one by one.
    assert_eq!(bed.answers(&two).await.len(), 2);
}

#[tokio::test]
async fn an_appointment_that_is_deleted_is_retracted_or_cancelled_where_it_is_not_known() {
    let bed = Bed::new();
    let siu = |trigger: &str, id: &str| {
        message(&format!("SIU^{trigger}"), id, "SCH|A1|F1||||PAT^ill|||30|min|^^^20260310100000+0900\r")
    };
    for (trigger, id) in [("S12", "m1"), ("S13", "m2"), ("S17", "m3")] {
        assert_eq!(code(&bed.answer(siu(trigger, id)).await), "AA");
    }
    let events = bed.events();
    let targets: Vec<String> = events
        .iter()
        .filter_map(|e| if let Event::EventRetracted(r) = e { Some(r.target_event_id.clone()) } else { None })
        .collect();
    let about: Vec<String> = events[..2].iter().map(|e| e.header().event_id.to_string()).collect();
    assert_eq!(targets, about);
    let unknown = Bed::new();
    unknown.answer(siu("S17", "m4")).await;
    let events = unknown.events();
    let Event::AppointmentCancelled(e) = &events[0] else { panic!("{events:?}") };
    assert_eq!(
        (e.appointment_id.as_str(), e.by, e.reason.as_deref()),
        ("A1", domain::event::Party::Other, Some("ill"))
    );
    // After a restart it is known from the log.
    let log = MemoryLog::new();
    Bed::on(log.clone(), SITE).answer(siu("S12", "m1")).await;
    let later = Bed::on(log, SITE);
    later.warm().await;
    later.answer(siu("S17", "m3")).await;
    assert!(matches!(later.events()[1], Event::EventRetracted(_)));
}

#[tokio::test]
async fn what_is_deleted_in_the_same_breath_is_taken_back_too() {
    let bed = Bed::new();
    let siu = |trigger: &str, id: &str, appointment: &str| {
        let sch = format!("SCH|{appointment}|F1|||||||30|min|^^^20260310100000+0900\r");
        Block::Whole(Bytes::from(message(&format!("SIU^{trigger}"), id, &sch)))
    };
    let answers = bed.receiver.receive(&[siu("S12", "m1", "A1"), siu("S12", "m2", "A2"), siu("S17", "m3", "A1")]).await;
    assert_eq!(answers.len(), 3);
    let events = bed.events();
    let Event::EventRetracted(e) = &events[2] else { panic!("{events:?}") };
    assert_eq!((events.len(), &e.target_event_id), (3, &events[0].header().event_id.to_string()));
}

#[tokio::test]
async fn hospitals_are_told_apart_in_whatever_bytes_their_names_are() {
    let bed = Bed::new();
    for hospital in ["강남병원", "서남병원"] {
        let text = message("ADT^A01", "000001", "").replace("|FAC|", &format!("|{hospital}|"));
        let text = text.replace("|P|2.5", "|P|2.5||||||KS X 1001");
        let (bytes, ..) = encoding_rs::EUC_KR.encode(&text);
        let answers = bed.receiver.receive(&[Block::Whole(Bytes::from(bytes.into_owned()))]).await;
        assert!(String::from_utf8_lossy(&answers[0]).contains("MSA|AA|000001"), "{hospital}");
    }
    assert_eq!(bed.log.len(), 2);
}

#[tokio::test]
async fn korean_as_it_is_sent_and_the_sender_s_own_rules() {
    let bed = Bed::new();
    let text =
        message("ADT^A04", "m1", "").replace("|APP|", "|KOR|").replace("12^^^HOSP^MR", "12").replace("W1^2", "병동^2");
    let (bytes, ..) = encoding_rs::EUC_KR.encode(&text);
    let answers = bed.receiver.receive(&[Block::Whole(Bytes::from(bytes.into_owned()))]).await;
    assert!(String::from_utf8_lossy(&answers[0]).contains("MSA|AA|m1"));
    let events = bed.events();
    let Event::AppointmentRequested(e) = &events[0] else { panic!("{events:?}") };
    assert_eq!(e.appointment_id, "V-m1");
    // The number without an authority is of the sender's own.
    assert_eq!(e.header.patient_id.as_ref().unwrap().0, pseudonyms(SITE).patient("main", "12"));
    let declared = text.replace("ADT^A04|m1|P|2.5", "ADT^A01|m2|P|2.5||||||KS X 1001");
    let (bytes, ..) = encoding_rs::EUC_KR.encode(&declared);
    bed.receiver.receive(&[Block::Whole(Bytes::from(bytes.into_owned()))]).await;
    let events = bed.events();
    let Event::PatientAdmitted(e) = &events[1] else { panic!("{events:?}") };
    assert_eq!(e.location.as_deref(), Some("병동"));
    let wrong = bed.answer(declared.replace("m2", "m3").replace("KS X 1001", "UNICODE UTF-8")).await;
    assert_eq!(code(&wrong), "AA", "it is UTF-8 indeed");
    let wrong = bed.answer(text.replace("m1|P|2.5", "m4|P|2.5||||||KLINGON")).await;
    assert!(wrong.contains("ERR||MSH^1^18^1|103^"), "{wrong}");
}

#[tokio::test]
async fn rules_of_an_event_are_told_by_their_place_and_values_never() {
    let bed = Bed::new();
    let future = message("ADT^A01", "m1", "").replace("EVN||20260302090000+0900", "EVN||29990302090000+0900");
    let answer = bed.answer(future).await;
    assert!(answer.contains("MSA|AE|m1|lies in the future") && answer.contains("ERR||EVN^1^2^1|102^"), "{answer}");
    assert!(!answer.contains("2999"), "{answer}");
    let long = message("ADT^A01", "m2", "").replace("V-m2", &"secret".repeat(200));
    let answer = bed.answer(long).await;
    assert!(answer.contains("ERR||PV1^1^19^1|102^") && !answer.contains("secret"), "{answer}");
}
