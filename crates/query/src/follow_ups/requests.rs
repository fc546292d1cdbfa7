//! What may be asked of an item, checked.

use crate::Problem;
use domain::Micros;
use domain::event::{ItemClosure, Outcome};
use domain::parse::FieldError;
use domain::views::follow_ups::item::ItemKind;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Most bytes of a name (holder, channel, purpose).
const MAX_NAME: usize = 128;
/// Most bytes of an answer or a note.
const MAX_TEXT: usize = 4_000;
/// How many answers a post-visit call has.
pub const ANSWERS: usize = 5;

/// Claims, or renews a claim.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// Pseudonymous id of the member of staff.
    pub holder: String,
    /// The token of the claim to renew.
    pub token: Option<i64>,
}

/// Gives back.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// Who holds it.
    pub holder: String,
    /// The token of the claim.
    pub token: i64,
}

/// An attempt to reach the patient.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Attempt {
    /// Who holds the item.
    pub holder: String,
    /// The token of the claim.
    pub token: i64,
    /// phone, sms, email, letter …
    pub channel: String,
    /// Whether a human made it.
    pub human: bool,
    /// reached, no_answer, voicemail, wrong_number, refused, callback_at, language_barrier, deceased, escalated or other.
    pub outcome: String,
    /// When the patient asked to be called back (RFC 3339); with the outcome callback_at.
    pub callback_at: Option<String>,
    /// What it was for; that of the item unless given.
    pub purpose: Option<String>,
}

/// Completes: a call with its answers, a resolution, or both.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Complete {
    /// Who holds the item.
    pub holder: String,
    /// The token of the claim.
    pub token: i64,
    /// The five answers in order: how the patient feels; state of referral, test or re-exam; questions; help with booking;
    /// invited to call back. A post-visit item takes all five; a call about something else may have none.
    pub answers: Option<Vec<String>>,
    /// Channel of the call; phone unless given.
    pub channel: Option<String>,
    /// Whether a human made the call; true unless given.
    pub human: Option<bool>,
    /// What came of the call; reached unless given.
    pub outcome: Option<String>,
    /// Duration of the call, seconds.
    pub duration_s: Option<i32>,
    /// Whether the matter was solved at the first contact.
    pub first_contact_resolution: Option<bool>,
    /// Why it can be closed: resolved, declined, duplicate, not_needed, deceased, do_not_contact or other.
    pub resolution: Option<String>,
    /// Remark on the resolution.
    pub note: Option<String>,
}

/// What was published.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Done {
    /// The item.
    pub item_id: String,
    /// The last event published.
    pub event_id: String,
    /// Its position: `?after=` it reads this write.
    pub position: String,
    /// All events published, in order.
    pub events: Vec<Event>,
}

/// An event published.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Its id.
    pub event_id: String,
    /// Its type.
    pub r#type: String,
    /// Its position.
    pub position: String,
}

/// Gathers what is wrong with a body.
#[derive(Default)]
struct Wrong(Vec<FieldError>);

impl Wrong {
    fn when(&mut self, is: bool, pointer: &str, reason: &str) {
        if is {
            self.0.push(FieldError::new(pointer, reason));
        }
    }

    fn name(&mut self, value: &str, pointer: &str) {
        let wrong = value.trim().is_empty() || value.len() > MAX_NAME || value.chars().any(char::is_control);
        self.when(wrong, pointer, "must be 1 to 128 bytes of text");
    }

    fn outcome(&mut self, value: &str) -> Outcome {
        let found = Outcome::ALL.iter().copied().find(|o| o.as_str() == value);
        self.when(found.is_none(), "/outcome", "not one of the outcomes");
        found.unwrap_or(Outcome::Other)
    }

    fn end<T>(self, value: T) -> Result<T, Problem> {
        if self.0.is_empty() {
            return Ok(value);
        }
        let mut p = Problem::bad_field("", "");
        p.errors = self.0;
        Err(p)
    }
}

/// Refuses a holder that is no name.
pub fn check_holder(holder: &str) -> Result<(), Problem> {
    let mut wrong = Wrong::default();
    wrong.name(holder, "/holder");
    wrong.end(())
}

impl Attempt {
    /// Outcome and call-back time, once all is well.
    pub(super) fn check(&self) -> Result<(Outcome, Option<Micros>), Problem> {
        let mut wrong = Wrong::default();
        wrong.name(&self.holder, "/holder");
        wrong.name(&self.channel, "/channel");
        if let Some(p) = &self.purpose {
            wrong.name(p, "/purpose");
        }
        let outcome = wrong.outcome(&self.outcome);
        let callback = self.callback_at.as_deref().map(Micros::parse);
        wrong.when(callback == Some(None), "/callback_at", "not an RFC 3339 time with offset");
        let expected = outcome == Outcome::CallbackAt;
        wrong.when(expected && callback.is_none(), "/callback_at", "is needed with the outcome callback_at");
        wrong.when(!expected && callback.is_some(), "/callback_at", "goes with the outcome callback_at");
        wrong.end((outcome, callback.flatten()))
    }
}

/// A completion that was checked.
pub struct Completion {
    /// Outcome of the call; `None` when there was none.
    pub call: Option<Outcome>,
    /// Why the item is closed.
    pub closure: Option<ItemClosure>,
}

impl Complete {
    /// What is to be published for an item of this kind.
    pub(super) fn check(&self, kind: &str) -> Result<Completion, Problem> {
        let mut wrong = Wrong::default();
        let post_visit = kind == ItemKind::PostVisit.as_str();
        wrong.name(&self.holder, "/holder");
        if let Some(c) = &self.channel {
            wrong.name(c, "/channel");
        }
        let outcome = wrong.outcome(self.outcome.as_deref().unwrap_or("reached"));
        let closure = self.resolution.as_deref().map(|r| ItemClosure::ALL.iter().copied().find(|c| c.as_str() == r));
        wrong.when(closure == Some(None), "/resolution", "not one of the reasons to close");
        let resolved = closure == Some(Some(ItemClosure::Resolved));
        let nothing = self.answers.is_none() && closure.is_none();
        wrong.when(nothing, "", "needs answers, a resolution, or both");
        if let Some(answers) = &self.answers {
            let long = answers.iter().any(|a| a.len() > MAX_TEXT);
            wrong.when(long, "/answers", "an answer has at most 4000 bytes");
            wrong.when(answers.len() > ANSWERS, "/answers", "at most five");
            let five = answers.len() == ANSWERS && answers.iter().all(|a| !a.trim().is_empty());
            wrong.when(post_visit && !five, "/answers", "a post-visit call has five answers, none of them empty");
            wrong.when(outcome != Outcome::Reached, "/outcome", "a call that did not reach the patient is an attempt");
            let robot = self.human == Some(false) || domain::views::unattended(self.channel.as_deref());
            wrong.when(post_visit && robot, "/human", "an automated contact can't complete a post-visit item");
        } else {
            wrong.when(post_visit && resolved, "/answers", "a post-visit item is resolved by a call with five answers");
        }
        wrong.when(self.duration_s.is_some_and(|d| d < 0), "/duration_s", "must not be negative");
        wrong.when(self.note.as_ref().is_some_and(|n| n.len() > MAX_TEXT), "/note", "has at most 4000 bytes");
        wrong.end(Completion { call: self.answers.as_ref().map(|_| outcome), closure: closure.flatten() })
    }
}
