//! Acknowledgements: MSH, MSA and ERR, in the original and in the enhanced mode.

use super::head::Head;
use super::message::Delimiters;
use super::wrong::{Code, Place, Verdict, Wrong};
use chrono::{DateTime, Utc};
use domain::Micros;
use std::io::Write as _;

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
    out.safe(version.as_bytes());
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
    let mut out = Writer {
        out: Vec::with_capacity(256 + answers.iter().map(Vec::len).sum::<usize>()),
        delimiters: head.delimiters,
    };
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
        self.out.extend(
            text.bytes().map(|b| if !(b' '..=b'~').contains(&b) || taken.contains(&Some(b)) { b' ' } else { b }),
        );
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
mod tests;
