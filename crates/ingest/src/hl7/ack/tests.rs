use super::*;
use crate::hl7::wrong::{Code, Place, Wrong};

const AT: Micros = Micros(1_700_000_000_000_000);

fn text(msh: &str, verdict: &Verdict) -> String {
    let head = Head::of(msh.as_bytes()).unwrap();
    answer(&head, verdict, AT).map_or_else(String::new, |a| String::from_utf8(a).unwrap().replace('\r', "\n"))
}

fn wrong() -> Wrong {
    Wrong::new(Place::field("PID", 3).in_sequence(2).component(1), Code::Missing, "a patient needs an identifier")
}

#[test]
fn the_original_mode() {
    let msh = "MSH|^~\\&|A^1.2^ISO|B|C|D|20200101||ADT^A01^ADT_A01|id1|P|2.5";
    let accepted = text(msh, &Verdict::Accepted);
    assert!(accepted.starts_with("MSH|^~\\&|C|D|A^1.2^ISO|B|20231114221320+0000||ACK^A01^ACK|ACK"), "{accepted}");
    assert!(accepted.ends_with("|P|2.5\nMSA|AA|id1\n"), "{accepted}");
    let error = text(msh, &Verdict::Error(vec![wrong()]));
    assert!(
        error.ends_with(
            "MSA|AE|id1|a patient needs an identifier\n\
             ERR||PID^2^3^1^1|101^Required field missing^HL70357|E||||a patient needs an identifier\n"
        ),
        "{error}"
    );
    let msh = "MSH|^~\\&|A|B|C|D|20200101||ADT^A01|id1||2.3|||||KOR|8859/1";
    let rejected = text(msh, &Verdict::Rejected(wrong()));
    assert!(rejected.contains("||ACK^A01|ACK"), "{rejected}");
    assert!(rejected.contains("|P|2.3||||||8859/1\nMSA|AR|id1|"), "{rejected}");
    assert!(rejected.ends_with("ERR|PID^2^3^101&Required field missing&HL70357\n"), "{rejected}");
}

#[test]
fn the_enhanced_mode_answers_when_it_is_asked_to() {
    let bad = Verdict::Error(vec![wrong()]);
    for (asked, good, error) in [
        ("|", Some("AA"), Some("AE")),
        ("AL|NE", Some("CA"), Some("CE")),
        ("AL|AL", Some("CA"), Some("CE")),
        ("|NE", Some("CA"), Some("CE")),
        ("ER|", None, Some("CE")),
        ("SU|", Some("CA"), None),
        ("NE|NE", None, None),
        ("NE|", None, None),
        ("NE|AL", Some("AA"), Some("AE")),
        ("NE|ER", None, Some("AE")),
    ] {
        let msh = format!("MSH|^~\\&|A|B|C|D|20200101||ADT^A01|id1|P|2.8|||{asked}");
        let head = Head::of(msh.as_bytes()).unwrap();
        assert_eq!((code(&head, &Verdict::Accepted), code(&head, &bad)), (good, error), "{asked}");
    }
}

#[test]
fn nothing_that_a_sender_wrote_breaks_the_frame() {
    let msh = "MSH|^~\\&|A\u{1c}|B|C|D|20200101||ADT^A01|id\u{b}1\u{1c}|P\0|2.5\u{1c}";
    let answer = text(msh, &Verdict::Accepted);
    assert!(answer.bytes().all(|b| b >= b' ' || b == b'\n'), "{answer:?}");
    assert!(answer.contains("MSA|AA|id1\n"), "{answer:?}");
    assert!(String::from_utf8(unreadable("no MSH", AT)).unwrap().contains("\rMSA|AR||no MSH\rERR||MSH^1|100^"));
}

#[test]
fn a_batch_is_answered_by_one() {
    let (fhs, bhs) = ("FHS|^~\\&|A|B|C|D|2020||f1||F-1", "BHS|^~\\&|A|B|C|D|2020||b1||B-7");
    let file = Head::named(fhs.as_bytes(), b"FHS").unwrap();
    let head = Head::named(bhs.as_bytes(), b"BHS").unwrap();
    let out = String::from_utf8(batch(Some(&file), &head, &[b"MSH|1\r".to_vec()], AT)).unwrap();
    assert_eq!(
        out.replace('\r', "\n"),
        "FHS|^~\\&|C|D|A|B|20231114221320+0000|||||F-1\nBHS|^~\\&|C|D|A|B|20231114221320+0000|||||B-7\nMSH|1\nBTS|1\nFTS|1\n"
    );
}
