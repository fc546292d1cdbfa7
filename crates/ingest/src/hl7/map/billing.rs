//! DFT: charges, payments, adjustments. BAR: what becomes of an account.

use super::super::message::{Part, Segment};
use super::super::wrong::{Code, Place};
use super::context::{Context, HAPPENED, Patient};
use crate::money;
use domain::event::{ChargePosted, ClaimAdjusted, Event, NoteRecorded, PaymentReceived};
use std::borrow::Cow;

pub fn transactions(c: &mut Context<'_>) {
    let message = c.message;
    if c.lacks("PID", "the message has no patient") {
        return;
    }
    if c.lacks("FT1", "the message has no transaction") {
        return;
    }
    let Some(patient) = c.patient(message.first("PID")) else { return };
    for ft1 in message.all("FT1") {
        transaction(c, &patient, ft1);
    }
}

fn transaction(c: &mut Context<'_>, patient: &Patient, ft1: &Segment<'_>) {
    let message = c.message;
    let place = |n: u16| Place::field("FT1", n).in_sequence(ft1.sequence);
    let kind = ft1.field(6).id().map(|k| k.to_ascii_uppercase());
    let kind = c.need(kind, place(6), "a transaction needs its type");
    let at = c.needed(|c| c.time(ft1.field(4), place(4)), place(4), "a transaction needs its date");
    // What a payment or an adjustment is for (FT1-29), else the transaction's own id, else the account.
    let charge = kind.as_deref() == Some("CG");
    let of = |part: Part<'_>| part.id().map(Cow::into_owned);
    let for_charge = if charge { None } else { of(ft1.field(29)) };
    let claim_id = for_charge.or_else(|| of(ft1.field(2))).or_else(|| of(message.field("PID", 18)));
    let claim_id = c.need(claim_id, place(2), "a transaction needs an id in FT1-2 or PID-18");
    let money = amount(c, ft1);
    let (Some(kind), Some(at), Some(claim_id), Some((amount_minor, currency))) = (kind, at, claim_id, money) else {
        return;
    };
    let encounter_id = c.encounter();
    let header = c.header(patient, at, message.field("PV1", 3));
    let code = of(ft1.field(7));
    c.push(match kind.as_str() {
        "CG" => {
            let service = of(ft1.field(25)).or(code);
            Event::ChargePosted(ChargePosted { header, claim_id, encounter_id, amount_minor, currency, service })
        }
        // Senders write what they got as a negative charge, or as what it is.
        "PY" | "CO" => {
            let amount_minor = amount_minor.saturating_abs();
            Event::PaymentReceived(PaymentReceived {
                header,
                claim_id,
                encounter_id,
                amount_minor,
                currency,
                channel: None,
            })
        }
        "CD" | "AJ" => {
            // A credit makes the bill smaller.
            let amount_minor = if kind == "CD" { -amount_minor.saturating_abs() } else { amount_minor };
            let adjustment_code = code;
            Event::ClaimAdjusted(ClaimAdjusted {
                header,
                claim_id,
                encounter_id,
                amount_minor,
                currency,
                adjustment_code,
            })
        }
        _ => return c.wrong(place(6), Code::Table, "is no type of transaction: CG, CD, PY, AJ or CO"),
    });
}

/// The amount in minor units, and its currency: FT1-11, else FT1-12 times FT1-10.
fn amount(c: &mut Context<'_>, ft1: &Segment<'_>) -> Option<(i64, String)> {
    let (whole, each) = (ft1.field(11), ft1.field(12));
    let (part, n) = if whole.present().is_some() { (whole, 11) } else { (each, 12) };
    let place = Place::field("FT1", n).in_sequence(ft1.sequence).component(1);
    let price = part.component(1);
    let number = c.need(price.subcomponent(1).value(), place, "a transaction needs its amount in FT1-11 or FT1-12")?;
    let named = price.subcomponent(2).value().map(|code| code.to_ascii_uppercase());
    let own = c.sender.and_then(|s| s.currency.clone()).or_else(|| c.rules.currency.clone());
    let reason = "names no currency, and neither does the site file";
    let currency = c.need(named.or(own), place, reason)?;
    if currency.len() != 3 || !currency.bytes().all(|b| b.is_ascii_uppercase()) {
        c.wrong(place, Code::Table, "is no ISO 4217 currency");
        return None;
    }
    let Some(minor) = minor_units(&number, &currency) else {
        c.wrong(place, Code::DataType, "is no amount in that currency");
        return None;
    };
    if n == 11 {
        return Some((minor, currency));
    }
    let total = ft1.field(10).id().map_or(Some(minor), |quantity| times(minor, &quantity));
    match total {
        Some(minor) => Some((minor, currency)),
        None => {
            c.wrong(Place::field("FT1", 10).in_sequence(ft1.sequence), Code::DataType, "is no quantity");
            None
        }
    }
}

/// A decimal number in minor units; nothing where it is none (HL7's have no exponent), or has more decimals than the currency,
/// which is a mistake rather than to be rounded.
fn minor_units(number: &str, currency: &str) -> Option<i64> {
    let decimals = number.split_once('.').map_or("", |(_, fraction)| fraction.trim_end_matches('0')).len();
    let exact = !number.contains(['e', 'E']) && decimals <= money::decimals(currency);
    exact.then(|| money::minor(number, currency)).flatten()
}

/// Decimals of a quantity (NM) that are taken: `0.125` of a vial.
const MOST_DECIMALS: usize = 6;

/// So many times an amount, rounded half away from zero; nothing where it is no quantity.
fn times(minor: i64, quantity: &str) -> Option<i64> {
    let (negative, number) = match quantity.strip_prefix(['-', '+']) {
        Some(number) => (quantity.starts_with('-'), number),
        None => (false, quantity),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let fraction = fraction.trim_end_matches('0');
    if !number.bytes().any(|b| b.is_ascii_digit())
        || fraction.len() > MOST_DECIMALS
        || !number.bytes().all(|b| b.is_ascii_digit() || b == b'.')
    {
        return None;
    }
    let millionths: i128 = format!("0{whole}{fraction:0<MOST_DECIMALS$}").parse().ok()?;
    let (product, one) = (i128::from(minor).checked_mul(millionths)?, 1_000_000);
    let rounded = (product.abs() + one / 2) / one * product.signum();
    i64::try_from(if negative { -rounded } else { rounded }).ok()
}

/// BAR: an account is opened, changed or closed. There is no amount in it: it is a note about the account.
pub fn account(c: &mut Context<'_>, trigger: &str) {
    let message = c.message;
    if c.lacks("PID", "the message has no patient") {
        return;
    }
    let patient = c.patient(message.first("PID"));
    let number = message.field("PID", 18).id().map(Cow::into_owned);
    let number = c.need(number, Place::field("PID", 18).component(1), "the event needs the account's number");
    let at = c.needed(|c| c.first_time(HAPPENED), Place::field("EVN", 2), "the event needs a time");
    let (Some(patient), Some(note_ref), Some(at)) = (patient, number, at) else { return };
    let header = c.header(&patient, at, message.field("PV1", 3));
    let kind = match trigger {
        "P01" => "account_opened",
        "P06" => "account_closed",
        _ => "account_updated",
    };
    let (encounter_id, kind) = (c.encounter(), Some(kind.to_owned()));
    c.push(Event::NoteRecorded(NoteRecorded { header, encounter_id, note_ref, kind }));
}

#[cfg(test)]
mod tests {
    use super::{minor_units, times};

    #[test]
    fn a_quantity_is_a_decimal() {
        for (minor, quantity, total) in [
            (1_500, "2", Some(3_000)),
            (1_500, "1.0", Some(1_500)),
            (1_001, "0.5", Some(501)),
            (1_500, "-1", Some(-1_500)),
            (-1_500, "+2.50", Some(-3_750)),
            (1_500, "", None),
            (1_500, "-.", None),
            (1_500, "two", None),
            (1_500, "1.2.3", None),
            (1_500, "1e3", None),
            (1_500, "0.0000001", None),
            (i64::MAX, "2", None),
        ] {
            assert_eq!(times(minor, quantity), total, "{minor} {quantity}");
        }
    }

    #[test]
    fn amounts_are_whole_numbers_of_minor_units() {
        for (number, currency, minor) in [
            ("100", "USD", Some(10_000)),
            ("100.5", "USD", Some(10_050)),
            ("15000", "KRW", Some(15_000)),
            ("15000.00", "KRW", Some(15_000)),
            ("15000.5", "KRW", None),
            ("-1.234", "KWD", Some(-1_234)),
            ("+.5", "EUR", Some(50)),
            (".00", "KRW", Some(0)),
            ("1.005", "EUR", None),
            ("1,000", "EUR", None),
            ("", "EUR", None),
            (".", "EUR", None),
            ("-", "EUR", None),
            ("99999999999999999999", "KRW", None),
            ("십", "KRW", None),
        ] {
            assert_eq!(minor_units(number, currency), minor, "{number} {currency}");
        }
    }
}
