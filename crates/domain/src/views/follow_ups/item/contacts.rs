//! Attempts to reach the patient about an item, and calls that were completed.

use super::{Item, ItemKind, Step};
use crate::event::Outcome;
use crate::views::follow_ups::facts::{Channel, Contact};
use crate::views::follow_ups::rules;

impl<'a> Item<'a> {
    pub(super) fn contact(&mut self, c: &Contact, step: &Step<'a>) {
        if !self.is_open() {
            return;
        }
        self.attempts += 1;
        self.last_outcome = Some(c.outcome);
        self.last_attempt_at = Some(step.at);
        self.callback = None;
        match c.outcome {
            Outcome::NoAnswer | Outcome::Voicemail => self.failed_on(c.channel),
            Outcome::WrongNumber => {
                self.failed_on(c.channel);
                self.wrong_number = true;
                self.attend("wrong_number");
            }
            Outcome::Refused if c.human && self.kind.can_be_declined() => self.close("declined", step),
            Outcome::Refused => self.attend("refused"),
            Outcome::CallbackAt => self.callback = c.callback,
            Outcome::LanguageBarrier => self.attend("language_barrier"),
            Outcome::Escalated => self.attend("escalated"),
            Outcome::Reached if c.human && c.answers.is_some() => self.called(c, step),
            // death is a matter of the patient, not of one item
            Outcome::Reached | Outcome::Deceased | Outcome::Other => {}
        }
    }

    fn failed_on(&mut self, channel: Channel) {
        if let Some(n) = self.failed.get_mut(channel as usize) {
            *n += 1;
        }
    }

    /// A human has completed a call.
    fn called(&mut self, c: &Contact, step: &Step<'a>) {
        if self.kind == ItemKind::PostVisit && c.answers.is_some_and(|n| n >= 5) {
            self.close("called", step);
        } else if self.kind.needs_call_and_resolution() {
            self.call.get_or_insert((step.at, step.id));
            self.close_when_called_and_resolved();
        }
    }

    /// The channel to try next: the first one that has not failed three times.
    #[must_use]
    pub fn channel(&self) -> &'static str {
        let spent = |c: Channel| {
            self.failed.get(c as usize).is_some_and(|n| *n >= rules::FAILED_ATTEMPTS)
                || (c == Channel::Phone && self.wrong_number)
        };
        match [Channel::Phone, Channel::Message, Channel::Letter].into_iter().find(|c| !spent(*c)) {
            Some(Channel::Phone) => "phone",
            Some(Channel::Message) => "message",
            Some(Channel::Letter) => "letter",
            Some(Channel::Other) | None => "next_visit",
        }
    }
}
