//! What the log's answers mean for a message, and how it counts.

use super::head::Head;
use super::wrong::{Code, Place, Verdict, Wrong};
use crate::intake;
use crate::publisher::{Accepted, Refusal};

/// The log has another event under the id of a message's `n`th one, from 0.
pub(super) struct Conflict(pub usize);

/// What the log's answers for a message's events mean for the message, and how it counts; nothing is counted that is to be
/// sent again. `seen_before`: the same message has events in the log.
///
/// # Errors
/// Where another message has its id.
pub(super) fn verdict(
    answers: &[Result<Accepted, Refusal>],
    all: usize,
    seen_before: bool,
) -> Result<(Verdict, Option<intake::Outcome>), Conflict> {
    let internal = |reason: &'static str| Wrong::new(Place::segment("MSH"), Code::Internal, reason);
    let mut duplicates = 0;
    for (n, answer) in answers.iter().enumerate() {
        match answer {
            Ok(accepted) => duplicates += usize::from(accepted.duplicate),
            // The same message, which meant something else when it first came: the site's rules have changed since.
            Err(Refusal::Conflict) if seen_before => duplicates += 1,
            Err(Refusal::Conflict) => return Err(Conflict(n)),
            Err(Refusal::Refused(_)) => {
                let verdict = Verdict::Error(vec![internal("the log refuses the event")]);
                return Ok((verdict, Some(intake::Outcome::Refused("too_large"))));
            }
            Err(Refusal::Busy | Refusal::Unavailable) => {
                return Ok((Verdict::Rejected(internal("not taken: the log is away; send it again as it is")), None));
            }
        }
    }
    if answers.len() < all {
        return Ok((Verdict::Rejected(internal("not taken; send it again as it is")), None));
    }
    let outcome = if duplicates == all { intake::Outcome::Duplicate } else { intake::Outcome::Accepted };
    Ok((Verdict::Accepted, Some(outcome)))
}

/// Counts a message.
pub(super) fn count(head: &Head<'_>, outcome: intake::Outcome) {
    let named = [3, 4].into_iter().map(|n| head.component(n, 1)).find(|name| !name.is_empty());
    intake::count(named.unwrap_or(domain::source::UNKNOWN), intake::Protocol::Hl7, outcome);
}

/// The answer to a message that came under another one's id.
pub(super) fn conflict() -> Verdict {
    Verdict::Error(vec![Wrong::new(
        Place::field("MSH", 10),
        Code::Duplicate,
        "another message was accepted under this id",
    )])
}

/// A hash of a message, whatever its segments end with.
pub(super) fn hash(bytes: &[u8]) -> String {
    let mut hash = xxhash_rust::xxh3::Xxh3::new();
    for segment in bytes.split(|b| matches!(b, b'\r' | b'\n')).filter(|s| !s.is_empty()) {
        hash.update(segment);
        hash.update(b"\r");
    }
    format!("{:032x}", hash.digest128())
}
