//! What a reference leads to: a resource of the same bundle or contained in its holder, an identifier, or a server's own id;
//! and whom that makes an event's patient.

use super::address::{base_of, made_up, searched, type_and_id};
use super::element::Element;
use super::outcome::Issue;
use super::scope::{Person, Placed, Unit};
use domain::parse::MOST_IDENTIFIER_BYTES;
use std::borrow::Cow;

/// Identifiers of a resource that are looked at.
const MOST_IDENTIFIERS: usize = 50;

/// What a reference leads to.
#[derive(Clone)]
pub(super) struct Link<'a> {
    pub kind: Option<&'a str>,
    /// The server's own id.
    pub id: Option<&'a str>,
    /// System and value.
    identifier: Option<(Option<Cow<'a, str>>, Cow<'a, str>)>,
    pub resource: Option<Element<'a>>,
    pub display: Option<&'a str>,
    pub path: String,
    /// The server that an absolute reference is to.
    base: Option<&'a str>,
    /// Whether it lies inside its holder, where its id says nothing.
    contained: bool,
    /// Whether its address is made up for this bundle (`urn:uuid:…`): the next one may have another.
    made_up: bool,
}

/// The patient that an event is about.
#[derive(Clone)]
pub(super) struct Subject {
    /// The pseudonym.
    pub id: String,
    /// What tells the patient from others in the ids of events: two servers that nobody told apart may both have an
    /// Encounter/1. It is made of the reference's own words wherever they say who it is, so that it is the same whether the
    /// reference leads to the Patient or the Patient isn't here. Keyed as a pseudonym is, since ids are shown.
    pub key: String,
}

impl Subject {
    /// A patient of whom there is nothing but the pseudonym.
    pub(super) fn known(id: &str) -> Self {
        Self { id: id.to_owned(), key: id.to_owned() }
    }

    /// Whether both are one patient by either of what is known.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.id == other.id || self.key == other.key
    }
}

/// System, value and how good it is to go by: better is greater.
pub(super) type Identifier<'a> = (Option<&'a str>, &'a str, (bool, bool, bool));

/// System and value of the identifier to go by, if there is one.
pub(super) type Best = Result<Option<(Option<String>, String)>, Issue>;

/// A resource's identifiers in use.
pub(super) fn identifiers<'a>(of: &Element<'a>) -> Result<Vec<Identifier<'a>>, Issue> {
    let mut all = Vec::new();
    for e in of.few("identifier", MOST_IDENTIFIERS) {
        #[cfg(test)]
        super::element::READ.set(super::element::READ.get() + 1);
        let Some(value) = e.string("value")?.filter(|_| !matches!(e.string("use"), Ok(Some("old")))) else { continue };
        let (system, kind) = (e.string("system")?, e.code("type")?);
        let temporary = matches!(e.string("use"), Ok(Some("temp" | "secondary")));
        all.push((system, value, (system.is_some(), kind.code == Some("MR"), !temporary)));
    }
    Ok(all)
}

impl<'a> Link<'a> {
    /// The server's own id: the resource's where it is here, since an entry's address may be made up. That address counts
    /// where the resource has no id: others in the bundle call it so too.
    fn own_id(&self) -> Option<&'a str> {
        self.resource_id().or(self.id)
    }

    /// The same, where the next bundle has it too.
    fn lasting_id(&self) -> Option<&'a str> {
        self.resource_id().or(self.id.filter(|_| !self.made_up))
    }

    fn resource_id(&self) -> Option<&'a str> {
        let id = self.resource.as_ref().filter(|_| !self.contained)?.value.get("id")?.as_str();
        id.filter(|id| id.len() <= MOST_IDENTIFIER_BYTES)
    }

    /// The identifier that it names: system and value.
    fn identifier(&self) -> Option<(Option<&str>, &str)> {
        self.identifier.as_ref().map(|(system, value)| (system.as_deref(), &**value))
    }
}

impl<'a> Unit<'a> {
    /// What a Reference, or a `CodeableReference`, leads to.
    pub(super) fn link(&self, reference: &Element<'a>) -> Result<Link<'a>, Issue> {
        // R5: a CodeableReference has the Reference inside.
        let inner = reference.get("reference").filter(|r| r.value.is_object());
        let reference = inner.as_ref().unwrap_or(reference);
        let mut link = Link {
            kind: reference.string("type")?.and_then(|t| t.rsplit('/').next()),
            id: None,
            identifier: None,
            resource: None,
            display: reference.string("display")?,
            path: reference.path.clone(),
            base: None,
            contained: false,
            made_up: false,
        };
        if let Some(i) = reference.get("identifier") {
            let system = i.string("system")?.map(Cow::Borrowed);
            link.identifier = i.string("value")?.map(|value| (system, value.into()));
        }
        if let Some(text) = reference.string("reference")? {
            self.follow(text, &mut link);
        }
        // Whose it is nobody will ever know: the next bundle has another address for it.
        if link.made_up && link.resource.is_none() && link.identifier.is_none() {
            let path = format!("{}.reference", link.path);
            return Err(Issue::new("not-found", path, "refers to an entry that is not in the bundle"));
        }
        Ok(link)
    }

    /// The link under a name of the resource that a link leads to; not one to what lies inside that other resource.
    pub(super) fn onward(&self, link: &Link<'a>, name: &str) -> Result<Option<Link<'a>>, Issue> {
        let reason = |i: &Issue| format!("leads to a resource whose {name} {}", i.diagnostics);
        let here = |i: Issue| Issue { expression: link.path.clone(), diagnostics: reason(&i), ..i };
        let next = link.resource.as_ref().and_then(|r| r.get(name)).map(|e| self.link(&e)).transpose().map_err(here)?;
        Ok(next.filter(|n| link.contained || !n.contained))
    }

    fn follow(&self, text: &'a str, link: &mut Link<'a>) {
        if let Some(name) = text.strip_prefix('#') {
            link.contained = true;
            let found = self.contained.get(name);
            link.resource = found.map(|c| Element::new(c, format!("{}.contained", self.root.path)));
            link.kind = link.resource.as_ref().and_then(|r| r.value.get("resourceType")?.as_str()).or(link.kind);
            return;
        }
        if let Some((kind, query)) = text.split_once('?') {
            // A conditional reference, as in a transaction.
            link.kind = kind.rsplit('/').next();
            link.identifier = searched(query).map(|(system, value)| (system.map(Cow::Owned), value.into()));
            return;
        }
        link.made_up = text.starts_with("urn:");
        let named = type_and_id(text).filter(|_| !link.made_up);
        link.kind = named.map(|n| n.0).or(link.kind);
        link.id = named.map(|n| n.1);
        let url = text.split("/_history/").next().unwrap_or(text);
        let absolute = text.starts_with("http") || link.made_up;
        link.base = base_of(url);
        let found = match self.base.filter(|_| !absolute) {
            Some(base) => self.scope.index.get(format!("{base}/{url}").as_str()),
            None => self.scope.index.get(url),
        };
        // By type and id alone only where no server's address contradicts.
        let nameless = |p: &Placed<'a>| p.full_url.is_none_or(|u| u.starts_with("urn:"));
        let by_id = || self.scope.by_id.get(&named?).copied().flatten();
        let found = found.copied().or_else(|| by_id().filter(|p| (!absolute && self.base.is_none()) || nameless(p)));
        let Some(found) = found else { return };
        // What the entry is called where it has no id itself.
        link.id = link.id.or_else(|| made_up(text));
        link.resource = Element::resource(found.resource, "Bundle.entry.resource").ok().map(|(e, kind)| {
            link.kind = Some(kind);
            e
        });
    }

    /// The system of what a reference leads to: an absolute one may be to another server.
    fn system(&self, link: &Link<'a>) -> &'a str {
        link.base.map_or(self.source, |base| self.scope.rules().server(Some(base), None))
    }

    /// Whether a reference has a number of an authority that the site file knows.
    pub(super) fn is_record_number(&self, link: &Link<'a>) -> bool {
        let site = self.scope.site();
        link.identifier().is_some_and(|(system, _)| system.is_some_and(|s| site.authority(s).is_some()))
    }

    /// The patient that a reference is to.
    pub(super) fn patient(&self, link: &Link<'a>) -> Result<Subject, Issue> {
        let id = self.person(Person::Patient, "Patient", link)?;
        let source = self.system(link);
        let of = |system: &str, number: &str| self.scope.pseudonym(Person::Patient, system, number);
        let key = match (link.identifier(), link.lasting_id()) {
            (Some((system, value)), _) => of(system.unwrap_or(source), value),
            (None, Some(own)) => of(source, &format!("Patient/{own}")),
            (None, None) => id.clone(),
        };
        Ok(Subject { id, key })
    }

    /// The pseudonym of a member of staff.
    pub(super) fn staff(&self, link: &Link<'a>) -> Result<Option<String>, Issue> {
        if link.kind == Some("PractitionerRole")
            && let Some(inner) = self.onward(link, "practitioner")?
        {
            return self.person(Person::Staff, "Practitioner", &inner).map(Some);
        }
        match link.kind {
            Some(kind @ ("Practitioner" | "PractitionerRole")) => self.person(Person::Staff, kind, link).map(Some),
            _ => Ok(None),
        }
    }

    /// The pseudonym of this very resource's subject, by its own identifiers, and who gave the number out.
    pub(super) fn self_pseudonym(&self) -> Result<Option<(String, String)>, Issue> {
        let Some((system, value)) = self.best(&self.root)? else { return Ok(None) };
        let system = system.as_deref().unwrap_or(self.source);
        let authority = self.scope.site().authority(system).map_or(system, |(name, _)| name);
        Ok(Some((self.scope.pseudonym(Person::Patient, system, &value), authority.to_owned())))
    }

    /// The pseudonym that a bare reference to this resource gets.
    pub(super) fn bare_pseudonym(&self) -> String {
        self.scope.pseudonym(Person::Patient, self.source, &format!("{}/{}", self.kind, self.id))
    }

    fn person(&self, person: Person, kind: &str, link: &Link<'a>) -> Result<String, Issue> {
        let source = self.system(link);
        let own = match &link.resource {
            Some(r) => self.best(r)?,
            None => None,
        };
        let own = own.as_ref().map(|(system, value)| (system.as_deref(), &**value));
        if let Some((system, value)) = own.or(link.identifier()) {
            return Ok(self.scope.pseudonym(person, system.unwrap_or(source), value));
        }
        let id = link.lasting_id().ok_or_else(|| {
            let reason = match &link.resource {
                Some(_) => "leads to a resource with neither an identifier nor an id that lasts",
                None if link.contained => "refers to a contained resource that is not there",
                None => "has neither a reference to a resource nor an identifier with a value",
            };
            Issue::new("required", link.path.clone(), reason)
        })?;
        Ok(self.scope.pseudonym(person, source, &format!("{kind}/{id}")))
    }

    /// The identifier to go by: that of the site's authority of the highest rank; else one with a system, a record number
    /// before others; of equals the first.
    fn best(&self, of: &Element<'a>) -> Best {
        // Many may refer to one: it is looked at once.
        let mut known = self.scope.best.borrow_mut();
        known.entry(std::ptr::from_ref(of.value)).or_insert_with(|| self.best_of(of)).clone()
    }

    fn best_of(&self, of: &Element<'a>) -> Best {
        let site = self.scope.site();
        let rank = |system: Option<&str>| system.and_then(|s| site.authority(s)).map(|(_, rank)| rank);
        let mut best: Option<(Option<i32>, Identifier<'a>)> = None;
        for i in identifiers(of)? {
            let this = (rank(i.0), i);
            if best.as_ref().is_none_or(|b| (this.0, this.1.2) > (b.0, b.1.2)) {
                best = Some(this);
            }
        }
        Ok(best.map(|(_, (system, value, _))| (system.map(str::to_owned), value.to_owned())))
    }

    /// What this resource is called in events' references.
    pub(super) fn own_reference(&self) -> Result<String, Issue> {
        Ok(self.business(&self.root)?.unwrap_or_else(|| self.id.clone()))
    }

    /// What a linked resource is called in events' references: its identifier, where the site file knows who gave it out
    /// (other protocols then call it the same), else the server's own id.
    pub(super) fn reference(&self, link: &Link<'a>) -> Result<Option<String>, Issue> {
        if let Some(r) = &link.resource
            && let Some(name) = self.business(r)?
        {
            return Ok(Some(name));
        }
        let known = link.identifier().filter(|_| self.is_record_number(link));
        let name = known.map(|(_, v)| v).or_else(|| link.own_id()).or(link.identifier().map(|(_, v)| v));
        Ok(name.map(str::to_owned))
    }

    fn business(&self, of: &Element<'a>) -> Result<Option<String>, Issue> {
        let best = self.best(of)?;
        let known = |system: &str| self.scope.site().authority(system).is_some();
        Ok(best.filter(|(system, _)| system.as_deref().is_some_and(known)).map(|(_, value)| value))
    }

    /// `Type/id` of a linked resource, under which its events are told apart.
    pub(super) fn linked_name(&self, link: &Link<'a>, kind: &str) -> Option<String> {
        let id = link.own_id().or(link.identifier().map(|(_, v)| v))?;
        Some(format!("{kind}/{id}"))
    }
}
