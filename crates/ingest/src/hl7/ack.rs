//! Acknowledgements: MSH, MSA and ERR, in the original and in the enhanced mode.

use super::head::Head;
use super::message::Delimiters;
use chrono::{DateTime, Utc};
use domain::Micros;
use std::borrow::Cow;
use std::io::Write as _;

/// What is wrong (HL7 table 0357).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// 100: segments are missing or in the wrong order.
    Segment,
    /// 101: a required field is missing.
    Missing,
    /// 102: a field is not of its data type.
    DataType,
    /// 103: a code is not in its table.
    Table,
    /// 200: unsupported message type.
    Type,
    /// 201: unsupported event.
    Event,
    /// 202: unsupported processing id.
    Processing,
    /// 203: unsupported version.
    Version,
    /// 204: unknown key identifier.
    Unknown,
    /// 205: duplicate key identifier.
    Duplicate,
    /// 207: trouble here.
    Internal,
}

impl Code {
    /// Number and name.
    const fn table(self) -> (u16, &'static str) {
        match self {
            Self::Segment => (100, "Segment sequence error"),
            Self::Missing => (101, "Required field missing"),
            Self::DataType => (102, "Data type error"),
            Self::Table => (103, "Table value not found"),
            Self::Type => (200, "Unsupported message type"),
            Self::Event => (201, "Unsupported event code"),
            Self::Processing => (202, "Unsupported processing id"),
            Self::Version => (203, "Unsupported version id"),
            Self::Unknown => (204, "Unknown key identifier"),
            Self::Duplicate => (205, "Duplicate key identifier"),
            Self::Internal => (207, "Application internal error"),
        }
    }

    /// The number.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.table().0
    }
}

/// A place in a message (data type ERL); a count from 1 each, and 0 where it isn't that exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The segment's name.
    pub segment: &'static str,
    /// Which of the segments of that name.
    pub sequence: u16,
    /// The field.
    pub field: u16,
    /// Which of its repetitions.
    pub repetition: u16,
    /// The component.
    pub component: u16,
}

impl Place {
    /// A whole segment, the first of its name.
    #[must_use]
    pub const fn segment(segment: &'static str) -> Self {
        Self { segment, sequence: 1, field: 0, repetition: 0, component: 0 }
    }

    /// A field of the first segment of a name.
    #[must_use]
    pub const fn field(segment: &'static str, field: u16) -> Self {
        Self { segment, sequence: 1, field, repetition: 1, component: 0 }
    }

    /// The same in another segment of that name.
    #[must_use]
    pub const fn in_sequence(self, sequence: u16) -> Self {
        Self { sequence, ..self }
    }

    /// A component of it.
    #[must_use]
    pub const fn component(self, component: u16) -> Self {
        Self { component, ..self }
    }
}

/// One thing that is wrong with a message. Never quotes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// Where.
    pub place: Place,
    /// What, by the standard's table.
    pub code: Code,
    /// What, in words.
    pub reason: Cow<'static, str>,
}

impl Wrong {
    /// Something wrong there.
    #[must_use]
    pub fn new(place: Place, code: Code, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { place, code, reason: reason.into() }
    }
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Its events are in the log, or it has none (AA, CA).
    Accepted,
    /// Its content is wrong: the sender has to change it (AE, CE).
    Error(Vec<Wrong>),
    /// It was not taken, and not for its content (AR, CR).
    Rejected(Wrong),
}

impl Verdict {
    fn wrongs(&self) -> &[Wrong] {
        match self {
            Self::Accepted => &[],
            Self::Error(all) => all,
            Self::Rejected(one) => std::slice::from_ref(one),
        }
    }
}

/// Most ERR segments of one acknowledgement.
const MOST_ERRORS: usize = 20;

/// The code of MSA-1: by MSH-15 and MSH-16 the mode, and whether an answer is due at all.
///
/// Both empty is the original mode. Else MSH-15 says when an accept acknowledgement is due (empty: always). Where it is not,
/// and MSH-16 asks for an application acknowledgement, that is the answer: the two are the same here, since nothing is done
/// after the log has confirmed. More than one answer to one message is never given.
#[must_use]
pub fn code(head: &Head<'_>, verdict: &Verdict) -> Option<&'static str> {
    let [application, accept] = match verdict {
        Verdict::Accepted => ["AA", "CA"],
        Verdict::Error(_) => ["AE", "CE"],
        Verdict::Rejected(_) => ["AR", "CR"],
    };
    let due = |condition: &str| match condition {
        "NE" => false,
        "ER" => *verdict != Verdict::Accepted,
        "SU" => *verdict == Verdict::Accepted,
        _ => true,
    };
    match (head.component(15, 1), head.component(16, 1)) {
        ("", "") => Some(application),
        (condition, _) if due(condition) => Some(accept),
        (_, "") => None,
        (_, condition) => due(condition).then_some(application),
    }
}

/// The acknowledgement of a message; nothing where none is due. `at` is when it was first answered.
#[must_use]
pub fn answer(head: &Head<'_>, verdict: &Verdict, at: Micros) -> Option<Vec<u8>> {
    let code = code(head, verdict)?;
    let version = if head.version().is_empty() { "2.5" } else { head.version() };
    let mut out = Writer { out: Vec::with_capacity(256), delimiters: head.delimiters };
    out.head(head, at);
    out.message_type(head, version);
    out.field();
    out.control_id(head);
    out.echo(head, 11);
    if head.raw(11).is_empty() {
        out.plain(b"P");
    }
    out.field();
    out.plain(version.as_bytes());
    out.charset(head);
    out.plain(b"\rMSA");
    out.field();
    out.plain(code.as_bytes());
    out.field();
    out.safe(head.control_id());
    let wrongs = verdict.wrongs();
    if let Some(first) = wrongs.first() {
        out.field();
        out.text(&first.reason);
    }
    out.plain(b"\r");
    for wrong in wrongs.iter().take(MOST_ERRORS) {
        out.error(wrong, version);
    }
    Some(out.out)
}

/// The acknowledgement of bytes in which there is no MSH that could be answered.
#[must_use]
pub fn unreadable(reason: &'static str, at: Micros) -> Vec<u8> {
    let mut out = Writer { out: Vec::with_capacity(160), delimiters: Delimiters::default() };
    let _ = write!(out.out, "MSH|^~\\&|||||{}||ACK|{}|P|2.5\rMSA|AR||", time(at), at.0);
    out.text(reason);
    out.plain(b"\r");
    out.error(&Wrong::new(Place::segment("MSH"), Code::Segment, reason), "2.5");
    out.out
}

/// The answer to a batch: the acknowledgements of its messages, under headers that refer to its own.
#[must_use]
pub fn batch(file: Option<&Head<'_>>, head: &Head<'_>, answers: &[Vec<u8>], at: Micros) -> Vec<u8> {
    let mut out = Writer { out: Vec::with_capacity(256 + answers.iter().map(Vec::len).sum::<usize>()), delimiters: head.delimiters };
    let mut header = |name: &[u8], to: &Head<'_>| {
        out.delimiters = to.delimiters;
        out.head_of(name, to, at);
        // FHS and BHS: 8 security, 9 name, 10 comment, 11 own id, 12 the id that this answers.
        for n in 9..=12 {
            out.field();
            if n == 12 {
                out.safe(to.raw(11));
            }
        }
        out.plain(b"\r");
    };
    if let Some(file) = file {
        header(b"FHS", file);
    }
    header(b"BHS", head);
    for a in answers {
        out.plain(a);
    }
    let _ = write!(out.out, "BTS{}{}\r", char::from(head.delimiters.field), answers.len());
    if let Some(file) = file {
        let _ = write!(out.out, "FTS{}1\r", char::from(file.delimiters.field));
    }
    out.out
}

fn time(at: Micros) -> impl std::fmt::Display {
    DateTime::<Utc>::from_timestamp_micros(at.0).unwrap_or_default().format("%Y%m%d%H%M%S%z")
}

struct Writer {
    out: Vec<u8>,
    delimiters: Delimiters,
}

impl Writer {
    fn plain(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    fn field(&mut self) {
        self.out.push(self.delimiters.field);
    }

    /// What the sender wrote, without what would end a segment or a frame.
    fn safe(&mut self, bytes: &[u8]) {
        self.out.extend(bytes.iter().filter(|b| **b >= b' '));
    }

    fn echo(&mut self, head: &Head<'_>, n: usize) {
        self.field();
        self.safe(head.raw(n));
    }

    /// Text of ours: ASCII, and without delimiters.
    fn text(&mut self, text: &str) {
        let d = self.delimiters;
        let taken = [Some(d.field), Some(d.component), Some(d.repetition), d.escape, d.subcomponent];
        self.out.extend(text.bytes().map(|b| if !(b' '..=b'~').contains(&b) || taken.contains(&Some(b)) { b' ' } else { b }));
    }

    /// From the delimiters to field 8 (security), sender and receiver having changed places.
    fn head_of(&mut self, name: &[u8], head: &Head<'_>, at: Micros) {
        self.plain(name);
        self.field();
        self.safe(head.raw(2));
        for n in [5, 6, 3, 4] {
            self.echo(head, n);
        }
        self.field();
        let _ = write!(self.out, "{}", time(at));
        self.field();
    }

    fn head(&mut self, head: &Head<'_>, at: Micros) {
        self.head_of(b"MSH", head, at);
        self.field();
    }

    fn message_type(&mut self, head: &Head<'_>, version: &str) {
        self.plain(b"ACK");
        let trigger = head.trigger();
        if !trigger.is_empty() && trigger.bytes().all(|b| b.is_ascii_alphanumeric()) {
            self.out.push(self.delimiters.component);
            self.plain(trigger.as_bytes());
            if !version.starts_with("2.3") {
                self.out.push(self.delimiters.component);
                self.plain(b"ACK");
            }
        }
    }

    /// An id of the acknowledgement's own, the same for the same message; 20 characters are the most before version 2.6.
    fn control_id(&mut self, head: &Head<'_>) {
        let mut hash = xxhash_rust::xxh3::Xxh3::new();
        for n in [3, 4, 5, 6, 10] {
            hash.update(head.raw(n));
            hash.update(b"\x1f");
        }
        let _ = write!(self.out, "ACK{:016X}", hash.digest());
    }

    fn charset(&mut self, head: &Head<'_>) {
        if !head.raw(18).is_empty() {
            for _ in 13..18 {
                self.field();
            }
            self.echo(head, 18);
        }
    }

    fn error(&mut self, wrong: &Wrong, version: &str) {
        let (number, name) = wrong.code.table();
        let (p, d) = (wrong.place, self.delimiters);
        let (f, c) = (char::from(d.field), char::from(d.component));
        let sub = char::from(d.subcomponent.unwrap_or(b'&'));
        let count = |n: u16| if n == 0 { String::new() } else { n.to_string() };
        let place = |parts: &[u16]| {
            let mut all: Vec<String> = parts.iter().map(|n| count(*n)).collect();
            while all.last().is_some_and(String::is_empty) {
                all.pop();
            }
            all.into_iter().fold(p.segment.to_owned(), |text, part| format!("{text}{c}{part}"))
        };
        if version.starts_with("2.3") || version.starts_with("2.4") {
            // ERR-1 (ELD): segment, sequence, field, code.
            let (sequence, field) = (count(p.sequence), count(p.field));
            let _ = write!(self.out, "ERR{f}{}{c}{sequence}{c}{field}{c}{number}{sub}{name}{sub}HL70357", p.segment);
        } else {
            let at = place(&[p.sequence, p.field, p.repetition, p.component]);
            let _ = write!(self.out, "ERR{f}{f}{at}{f}{number}{c}{name}{c}HL70357{f}E{f}{f}{f}{f}");
            self.text(&wrong.reason);
        }
        self.plain(b"\r");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let msh = "MSH|^~\\&|A\u{1c}|B|C|D|20200101||ADT^A01|id\u{b}1\u{1c}|P|2.5";
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
}
