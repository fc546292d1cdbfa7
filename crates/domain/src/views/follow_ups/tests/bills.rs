//! When a bill counts as paid.

use super::*;

fn money(amount: i64) -> Json {
    json!({"claim_id": "b1", "amount_minor": amount, "currency": "KRW"})
}

/// How the bill stands after these events, and in whatever order they are published.
fn bill(events: &[(f64, &str, i64)]) -> Seen {
    let body = |kind: &str, amount| match kind {
        "ClaimDenied" => json!({"claim_id": "b1"}),
        "ClaimResubmitted" => {
            let mut body = money(amount);
            body["rework_no"] = json!(1);
            body
        }
        _ => money(amount),
    };
    let all: Vec<Event> = (0..).zip(events).map(|(n, e)| event(id_of(n), e.1, e.0, &body(e.1, e.2))).collect();
    let seen = Story(all.clone()).item(ItemKind::UnpaidBill);
    assert_eq!(Story(all.into_iter().rev().collect()).item(ItemKind::UnpaidBill), seen);
    seen
}

#[test]
fn a_bill_is_paid_when_what_was_paid_covers_what_was_charged() {
    let (charge, pay) = ("ChargePosted", "PaymentReceived");
    for (events, wanted) in [
        (vec![(0.0, charge, 100_000), (1.0, pay, 1_000)], ("open", "")),
        (vec![(0.0, charge, 100_000), (1.0, pay, 100_000)], ("closed", "paid")),
        (vec![(0.0, charge, 100_000), (1.0, pay, 120_000)], ("closed", "paid")),
        (vec![(0.0, charge, 100_000), (1.0, pay, 40_000), (2.0, "ClaimPaid", 60_000)], ("closed", "paid")),
        (vec![(0.0, charge, 60_000), (0.0, charge, 40_000), (1.0, pay, 60_000)], ("open", "")),
        // paid at the desk, posted in the evening
        (vec![(1.0, pay, 100_000), (14.0, charge, 100_000)], ("closed", "paid")),
        (vec![(1.0, pay, 1_000), (14.0, charge, 100_000)], ("open", "")),
        (vec![(1.0, pay, 50_000), (1.0, charge, 100_000)], ("open", "")),
        (vec![(1.0, pay, 100_000), (1.0, charge, 100_000)], ("closed", "paid")),
        (vec![(0.0, pay, 60_000), (1.0, charge, 60_000), (1.0, charge, 40_000)], ("open", "")),
        // a claim asks for what was charged, and the last one counts
        (vec![(0.0, charge, 100_000), (1.0, "ClaimSubmitted", 70_000), (2.0, pay, 100_000)], ("closed", "paid")),
        (vec![(0.0, "ClaimSubmitted", 70_000), (1.0, "ClaimPaid", 60_000)], ("open", "")),
        (
            vec![(0.0, "ClaimSubmitted", 70_000), (1.0, "ClaimResubmitted", 60_000), (2.0, "ClaimPaid", 60_000)],
            ("closed", "paid"),
        ),
        (vec![(0.0, charge, 100_000), (1.0, pay, 60_000), (2.0, "ClaimDenied", 0)], ("open", "")),
        // no amount is known
        (vec![(0.0, "ClaimDenied", 0), (1.0, pay, 1)], ("closed", "paid")),
        (vec![(0.0, pay, 1), (1.0, "ClaimDenied", 0)], ("closed", "paid")),
        // a smaller bill
        (vec![(0.0, charge, 100_000), (1.0, "ClaimPaid", 90_000), (2.0, "ClaimAdjusted", -10_000)], ("closed", "paid")),
        (vec![(0.0, charge, 100_000), (1.0, "ClaimAdjusted", -10_000), (2.0, "ClaimPaid", 80_000)], ("open", "")),
        (vec![(0.0, charge, 100_000), (1.0, charge, -100_000)], ("closed", "nothing_owed")),
        (vec![(0.0, "ClaimAdjusted", -10_000), (1.0, charge, 100_000)], ("open", "")),
    ] {
        assert_eq!(bill(&events).status(), wanted, "{events:?}");
    }
}

#[test]
fn a_bill_opens_again_only_when_more_is_owed() {
    let paid = [(0.0, "ChargePosted", 100_000), (1.0, "PaymentReceived", 100_000)];
    let told = |more: (f64, &str, i64)| {
        let i = bill(&[paid[0], paid[1], more]);
        (i.text("status").to_owned(), i.int("times_opened"), i.text("closed_by").to_owned())
    };
    let by_payment = ("closed".to_owned(), 1, id_of(1).to_string());
    assert_eq!(told((2.0, "ClaimSubmitted", 100_000)), by_payment, "what is paid is asked for");
    assert_eq!(told((2.0, "PaymentReceived", 5_000)), by_payment);
    assert_eq!(told((2.0, "ChargePosted", 5_000)), ("open".into(), 2, String::new()));
}

#[test]
fn a_payment_in_another_currency_settles_since_it_cant_be_compared() {
    let s = Story::default().at(0.0, "ChargePosted", money(100_000));
    let dollars = json!({"claim_id": "b1", "amount_minor": 7_500, "currency": "USD"});
    assert_eq!(s.clone().at(1.0, "PaymentReceived", dollars).item(ItemKind::UnpaidBill).status(), ("closed", "paid"));
    let other = json!({"claim_id": "b2", "amount_minor": 100_000, "currency": "KRW"});
    assert_eq!(s.at(1.0, "PaymentReceived", other).item(ItemKind::UnpaidBill).status(), ("open", ""), "another bill");
}

#[test]
fn what_a_payer_leaves_to_the_patient_is_owed() {
    let with = |code: &str| {
        let adjusted = json!({"claim_id": "b1", "amount_minor": -30_000, "currency": "KRW", "adjustment_code": code});
        let s = Story::default().at(0.0, "ChargePosted", money(100_000)).at(1.0, "ClaimPaid", money(70_000));
        s.at(2.0, "ClaimAdjusted", adjusted).item(ItemKind::UnpaidBill).text("status").to_owned()
    };
    assert_eq!((with("CO-45").as_str(), with("PR-1").as_str()), ("closed", "open"));
}

#[test]
fn a_corrected_charge_counts_as_corrected() {
    let s = Story::default().at(0.0, "ChargePosted", money(100_000)).at(1.0, "PaymentReceived", money(90_000));
    assert_eq!(s.item(ItemKind::UnpaidBill).status(), ("open", ""));
    let new = event(id_of(0), "ChargePosted", 0.0, &money(90_000));
    let body = json!({"target_event_id": id_of(0).to_string(), "reason": "typo", "replacement": new.to_json()});
    assert_eq!(s.at(2.0, "EventCorrected", body).item(ItemKind::UnpaidBill).status(), ("closed", "paid"));
}
