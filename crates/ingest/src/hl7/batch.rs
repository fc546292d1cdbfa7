//! Blocks: one message each, or a batch (FHS, BHS … BTS, FTS) of them.

use super::ack;
use super::head::Head;
use super::judge;
use super::mllp::Block;
use super::wrong::{Code, Place, Verdict, Wrong};
use super::{Outcome, Taken};
use crate::intake;
use domain::Micros;

/// What a block holds.
pub(super) enum Unit<'a> {
    /// Nothing that could be answered but by a rejection.
    Unreadable(&'static str),
    /// Messages; each is answered by itself.
    Messages(Vec<Taken<'a>>),
    /// A batch, which is answered by one.
    Batch(Box<Batch<'a>>),
}

/// Messages under one header.
pub(super) struct Batch<'a> {
    file: Option<Head<'a>>,
    head: Head<'a>,
    messages: Vec<Taken<'a>>,
}

/// Looks at a block; `take` looks at each message in it.
pub(super) fn unit<'a>(block: &'a Block, mut take: impl FnMut(&'a [u8]) -> Option<Taken<'a>>) -> Unit<'a> {
    let bytes = match block {
        Block::Whole(bytes) => trim(bytes),
        Block::TooLong(start, limit) => {
            let Some(head) = Head::of(trim(start)) else { return Unit::Unreadable("the block is too long") };
            let reason = format!("the message is longer than the {limit} bytes that are taken");
            let wrong = Wrong::new(Place::segment("MSH"), Code::Internal, reason);
            return Unit::Messages(vec![decided(head, Verdict::Error(vec![wrong]), "too_large")]);
        }
    };
    let starts: Vec<usize> = lines(bytes).filter(|(_, line)| line.starts_with(b"MSH")).map(|(at, _)| at).collect();
    let ends = starts.iter().skip(1).copied().chain([bytes.len()]);
    let messages = starts.iter().zip(ends).map(|(from, to)| &bytes[*from..to]);
    let header = |name: &[u8; 3]| {
        let (at, _) = lines(bytes).find(|(_, line)| line.starts_with(name))?;
        Head::named(&bytes[at..], name)
    };
    if !bytes.starts_with(b"FHS") && !bytes.starts_with(b"BHS") {
        if !bytes.starts_with(b"MSH") {
            return Unit::Unreadable("the block does not begin with MSH");
        }
        let taken: Option<Vec<_>> = messages.map(take).collect();
        return taken.map_or(Unit::Unreadable("MSH declares no usable delimiters"), Unit::Messages);
    }
    let file = header(b"FHS");
    let Some(head) = header(b"BHS").or(file) else { return Unit::Unreadable("the batch header is not readable") };
    // A count that doesn't agree means that a part was lost on the way: nothing of it is taken.
    let promised = trailer(bytes, &head);
    let taken: Option<Vec<_>> = match promised.is_none_or(|n| n == starts.len()) {
        true => messages.map(|m| take(body(m))).collect(),
        false => messages.map(|m| Some(decided(Head::of(m)?, lost(), "incomplete"))).collect(),
    };
    let Some(messages) = taken else { return Unit::Unreadable("a message of the batch has no readable MSH") };
    Unit::Batch(Box::new(Batch { file, head, messages }))
}

impl<'a> Unit<'a> {
    /// Its messages.
    pub(super) fn messages(&mut self) -> &mut [Taken<'a>] {
        match self {
            Self::Unreadable(_) => &mut [],
            Self::Messages(all) => all,
            Self::Batch(batch) => &mut batch.messages,
        }
    }

    /// Puts what is to be sent back to `out`, a block each.
    pub(super) fn answers(
        self,
        at: Micros,
        mut answer: impl FnMut(&Taken<'_>) -> Option<Vec<u8>>,
        out: &mut Vec<Vec<u8>>,
    ) {
        match self {
            Self::Unreadable(reason) => {
                intake::count(domain::source::UNKNOWN, intake::Protocol::Hl7, intake::Outcome::Refused("malformed"));
                out.push(ack::unreadable(reason, at));
            }
            Self::Messages(all) => out.extend(all.iter().filter_map(answer)),
            Self::Batch(batch) => {
                let Batch { file, head, messages } = *batch;
                let answers: Vec<_> = messages.iter().filter_map(&mut answer).collect();
                if !answers.is_empty() || messages.is_empty() {
                    out.push(ack::batch(file.as_ref(), &head, &answers, at));
                }
            }
        }
    }
}

fn decided<'a>(head: Head<'a>, verdict: Verdict, reason: &'static str) -> Taken<'a> {
    let outcome = match head.is_answer() {
        true => Outcome::Silent,
        false => {
            judge::count(&head, intake::Outcome::Refused(reason));
            Outcome::Decided(verdict, crate::now())
        }
    };
    Taken { head, outcome }
}

fn lost() -> Verdict {
    let reason = "the batch has not as many messages as its trailer says; nothing of it was taken";
    Verdict::Error(vec![Wrong::new(Place::field("BTS", 1), Code::DataType, reason)])
}

/// Without a byte order mark and white space around it.
fn trim(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii()
}

/// Lines that aren't empty, and where they begin.
fn lines(bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = 0;
    bytes
        .split(|b| matches!(b, b'\r' | b'\n'))
        .map(move |line| {
            let start = at;
            at += line.len() + 1;
            (start, line)
        })
        .filter(|(_, line)| !line.is_empty())
}

/// A message of a batch without the trailers that follow the last one.
fn body(message: &[u8]) -> &[u8] {
    let end = lines(message).find(|(_, l)| [&b"BTS"[..], b"FTS", b"BHS"].iter().any(|t| l.starts_with(t)));
    end.map_or(message, |(at, _)| &message[..at])
}

/// How many messages the trailers (BTS-1) promise together; nothing where none does.
fn trailer(bytes: &[u8], head: &Head<'_>) -> Option<usize> {
    let counts = lines(bytes).filter(|(_, line)| line.starts_with(b"BTS")).filter_map(|(_, line)| {
        let count = line.split(|b| *b == head.delimiters.field).nth(1)?;
        std::str::from_utf8(count).ok()?.trim().parse::<usize>().ok()
    });
    counts.fold(None, |sum, n| Some(sum.unwrap_or(0_usize).saturating_add(n)))
}
