//! Items of merged pseudonyms, united when they are read.

use crate::Problem;
use domain::facts::Facts;
use domain::views::follow_ups::item::ItemKind;
use domain::views::follow_ups::{FollowUps, item_id};
use std::collections::{BTreeMap, BTreeSet};
use store::views::follow_ups::leases::{self, Lease};
use store::views::follow_ups::{self as items, Filter, ItemRow, Place};
use store::views::timeline;
use store::{Engine, Row, StoreError};

/// How many stored rows are looked at once more, and then again, where those of a page were not enough to fill it.
const MORE: usize = 200;

/// An item, and the pseudonym under which its patient is known now.
pub struct United {
    pub row: ItemRow,
    pub patient_id: String,
    /// The id that it was asked for under.
    pub asked: String,
    /// All ids that it goes by: its own first, then those that it would have under the patient's other pseudonyms.
    pub ids: Vec<String>,
    /// Who works on it, once [`leased`] was asked.
    pub lease: Option<Lease>,
}

/// All items of one patient with several pseudonyms.
struct Family {
    patient_id: String,
    /// The present pseudonym, then the others.
    names: Vec<String>,
    rows: Vec<ItemRow>,
}

impl Family {
    /// The items of whoever `patient` is now; `None` when no other pseudonym is involved.
    async fn of(engine: &Engine, patient: &str) -> Result<Option<Self>, Problem> {
        let identity = timeline::identity(engine, patient).await?;
        if identity.members.len() < 2 {
            return Ok(None);
        }
        let merged = identity.merged_from();
        let names: Vec<String> = std::iter::once(identity.patient_id.clone()).chain(merged).collect();
        let keys: Vec<&String> = names.iter().collect();
        let mut states: BTreeMap<String, Vec<u8>> = items::states(engine, &keys).await?.into_iter().collect();
        let mut members = Vec::new();
        for name in &names {
            let facts = match states.remove(name) {
                Some(bytes) => Facts::from_bytes(&bytes)
                    .map_err(|_| StoreError::Data("a patient's follow-up state can't be read".into()))?,
                None => Facts::default(),
            };
            members.push((name.clone(), facts));
        }
        let rows = FollowUps.united(&members).into_iter().map(|r| ItemRow::from(&Row(r))).collect();
        Ok(Some(Self { patient_id: identity.patient_id, names, rows }))
    }

    /// The item that a stored one was united with.
    fn same(&self, stored: &ItemRow) -> Option<United> {
        let row = self.rows.iter().find(|r| r.kind == stored.kind && r.subject == stored.subject)?.clone();
        let mut ids = vec![row.item_id.clone()];
        if let Some(kind) = ItemKind::named(&row.kind) {
            let all = self.names.iter().map(|name| item_id(name, kind, &row.subject).to_string());
            ids.extend(all.filter(|id| *id != row.item_id));
        }
        Some(United { row, patient_id: self.patient_id.clone(), asked: stored.item_id.clone(), ids, lease: None })
    }
}

fn alone(row: ItemRow) -> United {
    let id = row.item_id.clone();
    United { patient_id: row.patient_id.clone(), row, asked: id.clone(), ids: vec![id], lease: None }
}

/// The item with this id, or the one that it was united with.
pub async fn one(engine: &Engine, id: &str) -> Result<United, Problem> {
    // Ids may be written in capitals; they are stored as in RFC 9562.
    let id = id.parse::<domain::EventId>().map_err(|_| Problem::not_found("follow-up item"))?.to_string();
    let row = items::find(engine, &id).await?.ok_or_else(|| Problem::not_found("follow-up item"))?;
    let patient = BTreeSet::from([row.patient_id.clone()]);
    if items::linked(engine, &patient).await?.is_empty() {
        return Ok(alone(row));
    }
    let family = Family::of(engine, &row.patient_id).await?;
    Ok(family.and_then(|f| f.same(&row)).unwrap_or_else(|| alone(row)))
}

/// Looks up who works on the items.
pub async fn leased(engine: &Engine, items: &mut [&mut United], now: i64) -> Result<(), StoreError> {
    let ids: Vec<&String> = items.iter().flat_map(|i| &i.ids).collect();
    let held = leases::held(engine, &ids, now).await?;
    for item in items {
        item.lease = leases::first(&held, &item.ids).cloned();
    }
    Ok(())
}

/// The items that match, `limit` at most, those of merged pseudonyms united, with their leases; and after which one the next page begins, where
/// there may be one. The order is that of the stored rows.
pub async fn list(
    engine: &Engine,
    filter: &Filter,
    now: i64,
    from: Option<Place>,
    limit: usize,
) -> Result<(Vec<United>, Option<Place>), Problem> {
    let (mut found, mut last, mut more) = (Vec::new(), from, true);
    for rows in [limit, MORE, MORE] {
        let mut page = items::list(engine, filter, now, last.as_ref(), rows + 1).await?;
        more = page.len() > rows;
        page.truncate(rows);
        last = page.last().map(|(_, place)| place.clone()).or(last);
        found.extend(matching(engine, page, filter, now).await?);
        if !more || found.len() >= limit {
            break;
        }
    }
    if found.len() > limit {
        found.truncate(limit);
        more = true;
        last = found.last().map(|(_, place)| place.clone());
    }
    Ok((found.into_iter().map(|(united, _)| united).collect(), last.filter(|_| more)))
}

/// These rows with those of merged pseudonyms united: of two that are the same item one is left out, and so is what does not
/// match then.
async fn matching(
    engine: &Engine,
    rows: Vec<(ItemRow, Place)>,
    filter: &Filter,
    now: i64,
) -> Result<Vec<(United, Place)>, Problem> {
    let patients: BTreeSet<String> = rows.iter().map(|(r, _)| r.patient_id.clone()).collect();
    let linked = items::linked(engine, &patients).await?;
    let mut families = BTreeMap::new();
    for patient in &linked {
        families.insert(patient.clone(), Family::of(engine, patient).await?);
    }
    let mut out = Vec::with_capacity(rows.len());
    for (row, place) in rows {
        let united = match families.get(&row.patient_id).and_then(Option::as_ref) {
            None => alone(row),
            Some(family) => match family.same(&row).filter(|u| u.row.item_id == row.item_id) {
                Some(united) => united,
                None => continue,
            },
        };
        out.push((united, place));
    }
    leased(engine, &mut out.iter_mut().map(|(united, _)| united).collect::<Vec<_>>(), now).await?;
    out.retain(|(united, _)| {
        let (status, due_at) = (&united.row.status, united.row.due_at);
        let overdue = status == "open" && due_at.is_some_and(|d| d < now);
        let holder = united.lease.as_ref().map(|l| &l.holder);
        filter.status.as_ref().is_none_or(|s| s == status)
            && filter.overdue.is_none_or(|o| o == overdue)
            && filter.assignee.as_ref().is_none_or(|a| Some(a) == holder)
    });
    Ok(out)
}
