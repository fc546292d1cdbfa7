//! Patient: records that turned out to be one person's.

use super::{MOST_EVENTS, Mapped, Told, Unit};
use crate::fhir::outcome::Issue;
use crate::fhir::reference::Subject;
use domain::Event;
use domain::event::{PatientIdentifiersChanged, PatientsMerged};

pub(super) fn map(unit: &Unit<'_>) -> Result<Mapped, Issue> {
    let bare = unit.bare_pseudonym();
    let own = unit.self_pseudonym()?;
    let this = own.as_ref().map_or_else(|| bare.clone(), |(own, _)| own.clone());
    let when = unit.updated()?;
    let mut all = Vec::new();
    for e in unit.root.few("link", MOST_EVENTS + 1) {
        let (kind, other) = (e.required("type")?, e.get("other").ok_or_else(|| e.missing("other"))?);
        let other_link = unit.link(&other)?;
        let other = match kind {
            // By its place in a bundle nobody will ever know it again.
            "replaced-by" | "replaces" if own.is_none() && !unit.is_named() => {
                return Err(unit.root.missing("identifier"));
            }
            "replaced-by" | "replaces" => unit.patient(&other_link)?.id,
            "refer" | "seealso" => continue,
            _ => return Err(Issue::unknown_code(format!("{}.type", e.path))),
        };
        let (surviving, retired) = if kind == "replaced-by" { (other, this.clone()) } else { (this.clone(), other) };
        if surviving == retired {
            continue;
        }
        // Both records may tell of the merge: it is one event.
        let state = format!("merged with {retired}");
        let header = unit.header_about("Patient", &state, &when, &Subject::known(&surviving))?;
        let event = PatientsMerged { header, surviving, retired, authority: None };
        all.push(Told { event: Event::PatientsMerged(event), when: when.path.clone() });
    }
    // Others may refer to it by nothing but the server's id: both pseudonyms are one patient.
    if let Some((own, authority)) = own.filter(|(own, _)| *own != bare && unit.is_named_by_server()) {
        let header = unit.header("known", &when, &Subject::known(&own))?;
        let event = PatientIdentifiersChanged { header, retired: Some(bare), authority: Some(authority) };
        all.push(Told { event: Event::PatientIdentifiersChanged(event), when: when.path });
    }
    Ok(match all.is_empty() {
        true => Mapped::Nothing("who a patient is is no step of a journey"),
        false => Mapped::Events(all),
    })
}
