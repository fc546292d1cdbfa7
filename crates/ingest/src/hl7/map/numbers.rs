//! Who a message is about: the patient's number among several, and the staff's, as pseudonyms.

use super::super::message::{Part, Segment};
use super::super::wrong::Place;
use super::context::{Context, Patient};
use std::borrow::Cow;
use std::collections::BTreeSet;

impl Context<'_> {
    /// The patient of a PID segment, whose identifiers are in PID-3, in old messages in PID-2.
    pub fn patient(&mut self, pid: Option<&Segment<'_>>) -> Option<Patient> {
        let sequence = pid.map_or(1, |p| p.sequence);
        let place = Place::field("PID", 3).in_sequence(sequence);
        let found = pid.and_then(|p| self.identifier(p.field(3), None).or_else(|| self.identifier(p.field(2), None)));
        self.need(found, place.component(1), "a patient needs an identifier")
    }

    /// The one of some repeated identifiers (CX) that is the patient's: of the authority that ranks highest in the site
    /// file, else of type MR, else the first. Where `like` names an authority, one of that goes before all.
    pub fn identifier(&self, field: Part<'_>, like: Option<&str>) -> Option<Patient> {
        self.alike(field, like).into_iter().next().map(|(authority, number)| self.numbered(authority, &number))
    }

    /// The same, and the others of its authority and type after it: a patient may have had several numbers there.
    pub fn identifiers(&self, field: Part<'_>, like: Option<&str>) -> Vec<Patient> {
        let mut seen = BTreeSet::new();
        let mut all = self.alike(field, like);
        all.retain(|(_, number)| seen.insert(number.clone()));
        all.into_iter().map(|(authority, number)| self.numbered(authority, &number)).collect()
    }

    /// Authority and number of those identifiers.
    fn alike<'x>(&'x self, field: Part<'x>, like: Option<&str>) -> Vec<(Cow<'x, str>, Cow<'x, str>)> {
        let read = |cx: Part<'x>| {
            let number = cx.id()?;
            let (authority, rank) = self.authority(cx);
            let kind = cx.component(5).value().unwrap_or_default();
            let weight = (like == Some(&*authority), rank.is_some(), rank.unwrap_or_default(), kind == "MR");
            Some((weight, authority, kind, number))
        };
        let all: Vec<_> = field.repetitions().filter_map(read).collect();
        let Some((_, authority, kind, _)) = all.iter().reduce(|a, b| if b.0 > a.0 { b } else { a }) else {
            return Vec::new();
        };
        let (authority, kind) = (authority.clone(), kind.clone());
        let is_alike = |(_, a, k, number)| (a == authority && k == kind).then_some((a, number));
        all.into_iter().filter_map(is_alike).collect()
    }

    fn numbered(&self, authority: Cow<'_, str>, number: &str) -> Patient {
        Patient { id: self.pseudonyms.patient(&authority, number), authority: authority.into_owned() }
    }

    /// Who gave an identifier out, and the rank where the site file knows it. An identifier that names nobody is of the
    /// sender's own authority, else of the sending facility, else of the sending application.
    fn authority<'x>(&'x self, cx: Part<'x>) -> (Cow<'x, str>, Option<i32>) {
        let site = self.site();
        let hd = cx.component(4);
        // By its name or by its universal id, whichever the site file knows.
        for part in [hd.subcomponent(1), hd.subcomponent(2)] {
            if let Some((name, rank)) = part.value().and_then(|n| site.authority(&n)) {
                return (Cow::Borrowed(name), Some(rank));
            }
        }
        if let Some(named) = hd.subcomponent(1).value().or_else(|| hd.subcomponent(2).value()) {
            return (named, None);
        }
        if let Some(own) = self.sender.and_then(|s| s.authority.as_deref()) {
            return site.authority(own).map_or((Cow::Borrowed(own), None), |(n, r)| (Cow::Borrowed(n), Some(r)));
        }
        let named = |n| self.message.field("MSH", n).id();
        (named(4).or_else(|| named(3)).unwrap_or_default(), None)
    }

    /// A practitioner (XCN) by a pseudonym; nothing where there is no number. Names are left alone.
    pub fn staff(&self, field: Part<'_>) -> Option<String> {
        let xcn = field.repetitions().find(|x| x.id().is_some())?;
        let authority = xcn.component(9);
        let named = authority.subcomponent(1).value().or_else(|| authority.subcomponent(2).value());
        let own = || self.sender.and_then(|s| s.authority.as_deref()).map(Cow::Borrowed);
        let authority = named.or_else(own).or_else(|| self.message.field("MSH", 4).id());
        let number = xcn.id()?;
        Some(self.pseudonyms.staff(&authority.unwrap_or_default(), &number))
    }
}
