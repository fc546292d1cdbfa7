//! What stands of each stored event, by the rules that all views share ([`crate::amendments`]).

use super::{Amendment, Entry, Status, Stored, link, target};
use crate::EventId;
use crate::amendments::{self, Amendable, Amendments, Amends};
use crate::event::Event;
use crate::journeys::{Placed, Rule};
use crate::views::timeline::identity::Link;
use crate::views::timeline::rows;
use std::borrow::Cow;
use std::collections::HashMap;

/// An event, and what a correction puts in another's place.
struct Said<'a> {
    event: Cow<'a, Event>,
    replacement: Option<Box<Self>>,
}

impl<'a> Said<'a> {
    fn of(event: Cow<'a, Event>) -> Self {
        let replacement = match &*event {
            Event::EventCorrected(e) => amendments::replacement(e).map(|e| Box::new(Self::of(Cow::Owned(e)))),
            _ => None,
        };
        Self { event, replacement }
    }

    fn id(&self) -> EventId {
        self.event.header().event_id
    }
}

impl Amendable for Said<'_> {
    fn tag(&self) -> u16 {
        amendments::tag(self.event.kind())
    }

    fn recorded(&self) -> i64 {
        self.event.header().recorded_at.0
    }

    fn amends(&self) -> Option<Amends<'_, Self>> {
        let about = target(&self.event)?;
        Some(match &*self.event {
            Event::EventCorrected(_) => Amends::Corrects(about, self.replacement.as_deref()),
            _ => Amends::Retracts(about),
        })
    }
}

fn said(stored: &[Stored]) -> Vec<Said<'_>> {
    stored.iter().map(|s| Said::of(Cow::Borrowed(&s.event))).collect()
}

fn amendments_of<'a>(said: &'a [Said<'_>]) -> Amendments<'a, Said<'a>> {
    Amendments::new(said.iter().map(|s| (s.id(), s)))
}

/// The merges and unmerges that stand, as corrected.
pub(super) fn links(stored: &[Stored]) -> Vec<Link> {
    let said = said(stored);
    let amendments = amendments_of(&said);
    let merges = said.iter().filter(|s| rows::link(&s.event).is_some());
    merges.filter_map(|s| link(&amendments.standing(s.id(), s)?.event)).collect()
}

pub(super) fn entries(stored: &[Stored]) -> Vec<Entry> {
    let said = said(stored);
    let amendments = amendments_of(&said);
    let known: HashMap<EventId, &Said<'_>> = said.iter().rev().map(|s| (s.id(), s)).collect();
    stored.iter().zip(&said).map(|(s, published)| entry(s, published, &known, &amendments)).collect()
}

fn entry<'a>(
    s: &Stored,
    published: &'a Said<'a>,
    known: &HashMap<EventId, &Said<'_>>,
    amendments: &Amendments<'a, Said<'a>>,
) -> Entry {
    let now = amendments.of(published.id());
    let retracted = now.is_some_and(|n| !n.retractions.is_empty());
    // A retraction wins over corrections: what was taken back is shown as it was published.
    let with = now.and_then(|n| n.correction()).map(|(_, with)| &*with.event).filter(|e| e.kind() == s.event.kind());
    let (mut corrections, mut retractions) = (Vec::new(), Vec::new());
    for by in amendments.about(published.id()).iter().filter_map(|id| known.get(id)) {
        let (list, reason) = match &*by.event {
            Event::EventCorrected(e) => (&mut corrections, &e.reason),
            Event::EventRetracted(e) => (&mut retractions, &e.reason),
            _ => continue,
        };
        list.push(Amendment {
            event_id: by.id(),
            recorded_at: by.event.header().recorded_at,
            reason: reason.clone(),
            in_force: now.is_some_and(|n| n.in_force(by.id())),
        });
    }
    Entry {
        event: with.unwrap_or(&s.event).clone(),
        original: with.map(|_| s.event.clone()),
        status: match (retracted, with) {
            (true, _) => Status::Retracted,
            (false, Some(_)) => Status::Corrected,
            (false, None) => Status::Normal,
        },
        corrections,
        retractions,
        filed_under: s.filed_under.clone(),
        partition: s.partition,
        offset: s.offset,
        journey: Placed { journey: String::new(), rule: Rule::Loose },
    }
}
