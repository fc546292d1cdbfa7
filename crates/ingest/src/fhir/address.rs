//! What an address says: `Type/id` on a server, an entry of a bundle, a search.

/// `https://server/fhir` of `https://server/fhir/Patient/1`.
pub(super) fn base_of(url: &str) -> Option<&str> {
    let (rest, _id) = url.rsplit_once('/').filter(|_| url.starts_with("http"))?;
    rest.rsplit_once('/').map(|(base, _kind)| base)
}

/// Type and id of `[base/]Type/id[/_history/version]`.
pub(super) fn type_and_id(reference: &str) -> Option<(&str, &str)> {
    let reference = reference.split("/_history/").next()?;
    let (rest, id) = reference.rsplit_once('/')?;
    let kind = rest.rsplit('/').next()?;
    super::types::known(kind).then_some((kind, id)).filter(|(_, id)| !id.is_empty())
}

/// Type and id that a request's `[base/]Type[/id][?search]` names; neither where it names an operation or nothing.
pub(super) fn asked_for(url: &str) -> (Option<&str>, Option<&str>) {
    let path = url.split(['?', '#', '$']).next().unwrap_or_default();
    let path = path.split("/_history").next().unwrap_or_default().trim_matches('/');
    match type_and_id(path) {
        _ if url.contains('$') || path.is_empty() => (None, None),
        Some((kind, id)) => (Some(kind), Some(id)),
        None => (path.rsplit('/').next(), None),
    }
}

/// What follows `urn:uuid:` or `urn:oid:`: an address that is made up for one bundle.
pub(super) fn made_up(url: &str) -> Option<&str> {
    url.strip_prefix("urn:uuid:").or_else(|| url.strip_prefix("urn:oid:"))
}

/// System and value of `identifier=system|value` in a search, which may be percent-encoded.
pub(super) fn searched(query: &str) -> Option<(Option<String>, String)> {
    let number = crate::http::percent_decoded(query.split('&').find_map(|p| p.strip_prefix("identifier="))?)?;
    let (system, value) = number.rsplit_once('|').map_or((None, &*number), |(s, v)| (Some(s), v));
    let system = system.filter(|s| !s.trim().is_empty()).map(str::to_owned);
    // Nobody is known by no number: it would be one patient for all of them.
    (!value.trim().is_empty()).then(|| (system, value.to_owned()))
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_a_request_asks_for() {
        let asked = |url, kind, id| assert_eq!(super::asked_for(url), (kind, id), "{url}");
        for url in
            ["Patient/1", "/Patient/1", "https://x.example/fhir/Patient/1", "Patient/1/_history/2", "Patient/1?x=y"]
        {
            asked(url, Some("Patient"), Some("1"));
        }
        for url in ["Patient", "/fhir/Patient/", "Patient?identifier=http://x.example/Encounter/1|2"] {
            asked(url, Some("Patient"), None);
        }
        for url in ["", "/", "?", "$process-message", "https://x.example/fhir/Subscription/1/$status"] {
            asked(url, None, None);
        }
        asked("Patients/1", Some("1"), None);
    }
}
