//! `ChargeItem`, Invoice, Claim, `ClaimResponse` and `ExplanationOfBenefit`: what was charged, asked of a payer and paid.

use super::{Mapped, NOT_A_PATIENT, Patient, Told, Unit, one};
use crate::fhir::element::{Element, When};
use crate::fhir::outcome::Issue;
use crate::fhir::reference::Subject;
use crate::money;
use domain::Event;
use domain::event::{
    ChargePosted, ClaimAdjusted, ClaimDenied, ClaimPaid, ClaimResubmitted, ClaimSubmitted, PaymentReceived,
};

/// An amount in minor units, and its ISO 4217 code.
type Amount = (i64, String);

/// Why a resource without an amount tells nothing.
const NO_AMOUNT: Mapped = Mapped::Nothing("it names no amount");

/// Reads a Money, `times` as much.
fn amount(e: &Element<'_>, times: f64) -> Result<Amount, Issue> {
    let value = e.get("value").ok_or_else(|| e.missing("value"))?;
    let currency = e.string("currency")?.or(e.string("code")?).ok_or_else(|| e.missing("currency"))?;
    if !value.value.is_number() {
        return Err(value.wrong("must be a number"));
    }
    #[allow(clippy::float_cmp, reason = "exactly one means that nothing is to be multiplied")]
    let decimal = match value.value.as_f64() {
        Some(n) if times != 1.0 => format!("{}", n * times),
        _ => value.value.to_string(),
    };
    let minor =
        money::minor(&decimal, currency).ok_or_else(|| Issue::new("value", value.path, "is no usable amount"))?;
    Ok((minor, currency.to_owned()))
}

fn sum(amounts: Vec<Amount>) -> Option<Amount> {
    let currency = amounts.first()?.1.clone();
    let all = amounts.iter().filter(|a| a.1 == currency).map(|a| a.0);
    Some((all.fold(0_i64, i64::saturating_add), currency))
}

/// What a charge or an invoice is booked on: the account where it names one, else itself.
fn bill(unit: &Unit<'_>) -> Result<String, Issue> {
    unit.reference_of(&["account"])?.map_or_else(|| unit.own_reference(), Ok)
}

pub(super) fn charge_item(unit: &Unit<'_>) -> Result<Mapped, Issue> {
    match unit.status()? {
        "billable" | "billed" | "entered-in-error" => {}
        "planned" | "not-billable" | "aborted" | "unknown" => return Ok(Mapped::Nothing("nothing was charged")),
        _ => return Err(Issue::unknown_code("ChargeItem.status")),
    }
    let Patient::Is(patient) = unit.patient_of(&["subject"])? else { return Ok(NOT_A_PATIENT) };
    let root = &unit.root;
    let quantity = root.get("quantity").map_or(Ok(None), |q| q.number("value"))?.unwrap_or(1.0);
    let factor = root.number("factorOverride")?.unwrap_or(1.0);
    let component = |name| root.first(name).and_then(|c| c.get("amount"));
    let price = match (component("totalPriceComponent"), component("unitPriceComponent"), root.get("priceOverride")) {
        (Some(total), _, _) => amount(&total, 1.0)?,
        (_, Some(each), _) | (_, _, Some(each)) => amount(&each, quantity * factor)?,
        _ => return Ok(NO_AMOUNT),
    };
    let when = unit.time_of(&["enteredDate", "occurrenceDateTime"])?;
    let when = match (when, root.get("occurrencePeriod")) {
        (None, Some(period)) => period.time("start", unit.zone())?,
        (when, _) => when,
    };
    let when = when.map_or_else(|| unit.updated(), Ok)?;
    let event = ChargePosted {
        header: unit.header("charged", &when, &patient)?,
        claim_id: bill(unit)?,
        encounter_id: unit.reference_of(&["encounter", "context"])?,
        amount_minor: price.0,
        currency: price.1,
        service: root.code("code")?.name().map(str::to_owned),
    };
    let told = Told { event: Event::ChargePosted(event), when: when.path };
    unit.unless_in_error(Mapped::Events(vec![told]))
}

pub(super) fn invoice(unit: &Unit<'_>) -> Result<Mapped, Issue> {
    let status = unit.status()?;
    match status {
        "issued" | "balanced" | "entered-in-error" => {}
        "draft" => return Ok(Mapped::Nothing("a draft")),
        "cancelled" => return Ok(Mapped::Nothing("a cancelled invoice; what was charged is for ChargeItems to say")),
        _ => return Err(Issue::unknown_code("Invoice.status")),
    }
    let Patient::Is(patient) = unit.patient_of(&["subject"])? else { return Ok(NOT_A_PATIENT) };
    let Some(total) = unit.root.any(&["totalGross", "totalNet"]) else { return Ok(NO_AMOUNT) };
    let (amount_minor, currency) = amount(&total, 1.0)?;
    let (claim_id, updated) = (bill(unit)?, unit.updated()?);
    let when = unit.time_of(&["date", "creation"])?.unwrap_or_else(|| updated.clone());
    let header = unit.header("issued", &when, &patient)?;
    let (id, money) = (claim_id.clone(), currency.clone());
    let issued = ClaimSubmitted { header, claim_id: id, encounter_id: None, amount_minor, currency: money };
    let mut all = vec![Told { event: Event::ClaimSubmitted(issued), when: when.path }];
    if status == "balanced" {
        let header = unit.header("balanced", &updated, &patient)?;
        let paid = PaymentReceived { header, claim_id, encounter_id: None, amount_minor, currency, channel: None };
        all.push(Told { event: Event::PaymentReceived(paid), when: updated.path });
    }
    unit.unless_in_error(Mapped::Events(all))
}

/// The encounter that a claim's first item names, or R5's claim itself.
fn encounter(unit: &Unit<'_>) -> Result<Option<String>, Issue> {
    let item = unit.root.first("item").and_then(|i| i.first("encounter"));
    match unit.root.first("encounter").or(item) {
        Some(e) => unit.reference(&unit.link(&e)?),
        None => Ok(None),
    }
}

/// Whether a claim asks for money, rather than whether there would be any.
fn asks_for_money(unit: &Unit<'_>) -> Result<bool, Issue> {
    match unit.root.string("use")? {
        None | Some("claim") => Ok(true),
        Some("preauthorization" | "predetermination") => Ok(false),
        Some(_) => Err(Issue::unknown_code(format!("{}.use", unit.kind))),
    }
}

/// What to do about a financial resource's status: its events, their retraction, or nothing.
fn standing(unit: &Unit<'_>) -> Result<Option<Mapped>, Issue> {
    Ok(match unit.status()? {
        "active" | "entered-in-error" if asks_for_money(unit)? => None,
        "active" | "entered-in-error" => Some(Mapped::Nothing("no claim yet, a question about one")),
        "draft" => Some(Mapped::Nothing("a draft")),
        "cancelled" => Some(Mapped::Nothing("cancelled before anything came of it")),
        _ => return Err(Issue::unknown_code(format!("{}.status", unit.kind))),
    })
}

pub(super) fn claim(unit: &Unit<'_>) -> Result<Mapped, Issue> {
    if let Some(other) = standing(unit)? {
        return Ok(other);
    }
    let Patient::Is(patient) = unit.patient_of(&["patient"])? else { return Ok(NOT_A_PATIENT) };
    let total = match unit.root.get("total") {
        Some(total) => Some(amount(&total, 1.0)?),
        None => {
            let items = unit.root.each("item");
            let nets = items.iter().filter_map(|i| i.get("net"));
            sum(nets.map(|n| amount(&n, 1.0)).collect::<Result<_, _>>()?)
        }
    };
    let Some((amount_minor, currency)) = total else { return Ok(NO_AMOUNT) };
    let when = unit.time_or_updated(&["created"])?;
    let header = unit.header("submitted", &when, &patient)?;
    let encounter_id = encounter(unit)?;
    let event = match replaced(unit)? {
        Some(claim_id) => {
            let rework_no = 1;
            Event::ClaimResubmitted(ClaimResubmitted {
                header,
                claim_id,
                encounter_id,
                amount_minor,
                currency,
                rework_no,
            })
        }
        None => {
            let claim_id = unit.own_reference()?;
            Event::ClaimSubmitted(ClaimSubmitted { header, claim_id, encounter_id, amount_minor, currency })
        }
    };
    let told = Told { event, when: when.path };
    unit.unless_in_error(Mapped::Events(vec![told]))
}

/// The claim that this one takes the place of.
fn replaced(unit: &Unit<'_>) -> Result<Option<String>, Issue> {
    for related in unit.root.each("related") {
        if matches!(related.code("relationship")?.code, Some("prior" | "replaces" | "replacement" | "resubmission"))
            && let Some(claim) = related.get("claim")
        {
            return unit.reference(&unit.link(&claim)?);
        }
    }
    Ok(None)
}

pub(super) fn claim_response(unit: &Unit<'_>) -> Result<Mapped, Issue> {
    settled(unit, unit.name(), &["request"])
}

/// An explanation of benefit tells what the response that it names told.
pub(super) fn explanation(unit: &Unit<'_>) -> Result<Mapped, Issue> {
    let response = unit.link_of(&["claimResponse"])?;
    let about = response.and_then(|l| unit.linked_name(&l, "ClaimResponse")).unwrap_or_else(|| unit.name());
    settled(unit, about, &["claim"])
}

fn settled(unit: &Unit<'_>, about: String, claim: &[&str]) -> Result<Mapped, Issue> {
    if let Some(other) = standing(unit)? {
        return Ok(other);
    }
    let Patient::Is(patient) = unit.patient_of(&["patient"])? else { return Ok(NOT_A_PATIENT) };
    let claim_id = unit.reference_of(claim)?.map_or_else(|| unit.own_reference(), Ok)?;
    let encounter_id = encounter(unit)?;
    let when = unit.time_or_updated(&["created"])?;
    let header = |state| unit.header_about(&about, state, &when, &patient);
    let refused = unit.root.code("decision")?.code == Some("denied");
    let outcome = unit.root.string("outcome")?.unwrap_or("complete");
    let paid = paid(unit)?;
    let denied = |code: Option<String>| -> Result<Mapped, Issue> {
        let (header, claim_id, encounter_id) = (header("denied")?, claim_id.clone(), encounter_id.clone());
        Ok(one(Event::ClaimDenied(ClaimDenied { header, claim_id, encounter_id, adjustment_code: code }), &when))
    };
    let mapped = match (outcome, paid) {
        ("queued", _) => return Ok(Mapped::Nothing("the payer has not decided yet")),
        ("error", _) => {
            let error = unit.root.first("error").map_or(Ok(None), |e| e.code("code").map(|c| c.name()))?;
            denied(error.map(str::to_owned))?
        }
        ("complete" | "partial", _) if refused => denied(None)?,
        ("complete" | "partial", Some((0, _))) => denied(None)?,
        ("complete" | "partial", Some((amount_minor, currency))) => {
            let (header, id, encounter) = (header("paid")?, claim_id.clone(), encounter_id.clone());
            let event = ClaimPaid { header, claim_id: id, encounter_id: encounter, amount_minor, currency };
            let mut all = vec![Told { event: Event::ClaimPaid(event), when: when.path.clone() }];
            all.extend(adjusted(unit, &about, &claim_id, encounter_id.as_deref(), &when, &patient)?);
            Mapped::Events(all)
        }
        ("complete" | "partial", None) => return Ok(NO_AMOUNT),
        _ => return Err(Issue::unknown_code(format!("{}.outcome", unit.kind))),
    };
    unit.unless_in_error(mapped)
}

fn adjusted(
    unit: &Unit<'_>,
    about: &str,
    claim: &str,
    encounter: Option<&str>,
    when: &When,
    patient: &Subject,
) -> Result<Option<Told>, Issue> {
    let Some(payment) = unit.root.get("payment") else { return Ok(None) };
    let Some(by) = payment.get("adjustment") else { return Ok(None) };
    let (amount_minor, currency) = amount(&by, 1.0)?;
    let event = ClaimAdjusted {
        header: unit.header_about(about, "adjusted", when, patient)?,
        claim_id: claim.to_owned(),
        encounter_id: encounter.map(str::to_owned),
        amount_minor,
        currency,
        adjustment_code: payment.code("adjustmentReason")?.name().map(str::to_owned),
    };
    Ok(Some(Told { event: Event::ClaimAdjusted(event), when: when.path.clone() }))
}

/// What the payer pays: the payment; else the benefit in total; else that of all items.
fn paid(unit: &Unit<'_>) -> Result<Option<Amount>, Issue> {
    if let Some(payment) = unit.root.get("payment").and_then(|p| p.get("amount")) {
        return amount(&payment, 1.0).map(Some);
    }
    let benefits = |of: &Element<'_>, name: &str| -> Result<Vec<Amount>, Issue> {
        let mut all = Vec::new();
        for e in of.each(name) {
            if e.code("category")?.code == Some("benefit")
                && let Some(a) = e.any(&["amount"])
            {
                all.push(amount(&a, 1.0)?);
            }
        }
        Ok(all)
    };
    let mut all = benefits(&unit.root, "total")?;
    if all.is_empty() {
        for item in unit.root.each("item") {
            all.extend(benefits(&item, "adjudication")?);
        }
    }
    Ok(sum(all))
}
