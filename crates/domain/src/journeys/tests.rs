use super::*;
use crate::event::RefKind::{self, Appointment, Claim, Complaint, Encounter, Item as FollowUp, Referral};
use proptest::prelude::*;

#[derive(Debug, Clone)]
struct Given {
    id: u128,
    at: i64,
    journey: Option<String>,
    refs: Vec<(RefKind, String)>,
}

fn given(id: u128, at: i64, journey: Option<&str>, refs: &[(RefKind, &str)]) -> Given {
    Given { id, at, journey: journey.map(Into::into), refs: refs.iter().map(|(k, r)| (*k, (*r).to_owned())).collect() }
}

fn uid(n: u128) -> String {
    EventId(uuid::Uuid::from_u128(n)).to_string()
}

fn run(given: &[Given]) -> Vec<Placed> {
    let items: Vec<Item<'_, String>> = given
        .iter()
        .map(|g| Item {
            event_id: EventId(uuid::Uuid::from_u128(g.id)),
            occurred_at: Micros(g.at),
            journey_id: g.journey.as_deref(),
            references: &g.refs,
        })
        .collect();
    assign(&items)
}

fn journeys(given: &[Given]) -> Vec<(String, Rule)> {
    run(given).into_iter().map(|p| (p.journey, p.rule)).collect()
}

#[test]
fn references_tie_a_chain_of_events_whatever_order_they_come_in() {
    let all = [
        given(4, 40, None, &[(Claim, "c")]),
        given(2, 20, None, &[(Appointment, "a"), (Encounter, "e")]),
        given(1, 10, None, &[(Appointment, "a")]),
        given(3, 30, None, &[(Encounter, "e"), (Claim, "c")]),
    ];
    assert!(journeys(&all).iter().all(|j| *j == (uid(1), Rule::References)));
}

#[test]
fn the_same_id_of_another_kind_ties_nothing() {
    let all = [given(1, 10, None, &[(Appointment, "7")]), given(2, 20, None, &[(Encounter, "7")])];
    assert_eq!(journeys(&all), [(uid(1), Rule::References), (uid(2), Rule::References)]);
}

#[test]
fn an_explicit_event_pulls_what_is_tied_to_it_and_the_earliest_of_several_wins() {
    let all = [
        given(1, 10, None, &[(Appointment, "a")]),
        given(2, 30, Some("late"), &[(Appointment, "a")]),
        given(3, 20, Some("early"), &[(Appointment, "a")]),
    ];
    let want = [("early".into(), Rule::References), ("late".into(), Rule::Explicit), ("early".into(), Rule::Explicit)];
    assert_eq!(journeys(&all), want);
}

#[test]
fn loose_events_fall_into_precede_or_follow() {
    let all = [
        given(1, 10, Some("A"), &[]),
        given(2, 50, Some("A"), &[]),
        given(3, 30, Some("B"), &[]),
        given(4, 40, Some("B"), &[]),
        given(5, 80, Some("C"), &[]),
        given(10, 5, None, &[]),
        given(11, 20, None, &[]),
        given(12, 35, None, &[]),
        given(13, 45, None, &[]),
        given(14, 60, None, &[]),
        given(15, 90, None, &[]),
    ];
    let want = [
        ("A", Rule::Precedes),
        ("A", Rule::Within),
        ("B", Rule::Within),
        ("A", Rule::Within),
        ("C", Rule::Precedes),
        ("C", Rule::Follows),
    ];
    let want: Vec<(String, Rule)> = want.iter().map(|(j, r)| ((*j).to_owned(), *r)).collect();
    assert_eq!(journeys(&all)[5..], want);
}

#[test]
fn of_journeys_that_tie_the_smaller_id_is_taken() {
    let both = |a: i64, b: i64, end: i64| {
        [
            given(1, a, Some("A"), &[]),
            given(2, end, Some("A"), &[]),
            given(3, b, Some("B"), &[]),
            given(4, end, Some("B"), &[]),
            given(5, 20, None, &[]),
        ]
    };
    let fifth = |all: &[Given]| journeys(all).remove(4);
    assert_eq!(fifth(&both(10, 10, 30)), ("A".into(), Rule::Within));
    assert_eq!(fifth(&both(25, 25, 30)), ("A".into(), Rule::Precedes));
    assert_eq!(fifth(&both(5, 8, 15)), ("A".into(), Rule::Follows), "which of them began later is no matter");
}

#[test]
fn without_any_journey_loose_events_are_one() {
    let all = [given(2, 20, None, &[]), given(1, 10, None, &[]), given(3, 30, None, &[(FollowUp, "i")])];
    assert!(journeys(&all).iter().all(|j| *j == (uid(1), Rule::Loose)));
}

#[test]
fn a_complaint_without_an_encounter_goes_where_it_falls_with_its_resolution() {
    let all = [
        given(1, 10, None, &[(Encounter, "e")]),
        given(2, 30, None, &[(Encounter, "e")]),
        given(3, 20, None, &[(Complaint, "c")]),
        given(4, 90, None, &[(Complaint, "c")]),
        given(5, 80, None, &[(Referral, "r")]),
    ];
    let got = journeys(&all);
    assert_eq!(got[2], (uid(1), Rule::Within));
    assert_eq!(got[3], (uid(1), Rule::Within));
    assert_eq!(got[4], (uid(5), Rule::References));
}

prop_compose! {
    fn any_given()(
        id in 0u128..40,
        at in 0i64..30,
        journey in prop::option::weighted(0.15, 0u8..3),
        refs in prop::collection::vec((prop::sample::select(vec![Appointment, Encounter, Claim, Complaint]), 0u8..6), 0..3),
    ) -> Given {
        Given {
            id,
            at,
            journey: journey.map(|j| format!("J{j}")),
            refs: refs.into_iter().map(|(k, r)| (k, r.to_string())).collect(),
        }
    }
}

/// Events by distinct ids, and a second listing of them in another order with repetitions.
fn shuffled() -> impl Strategy<Value = (Vec<Given>, Vec<Given>)> {
    prop::collection::vec(any_given(), 0..40)
        .prop_map(|mut v| {
            v.sort_by_key(|g| g.id);
            v.dedup_by_key(|g| g.id);
            v
        })
        .prop_flat_map(|v| {
            let mut twice = v.clone();
            twice.extend(v.iter().step_by(2).cloned());
            (Just(v), Just(twice).prop_shuffle())
        })
}

proptest! {
    #[test]
    fn order_and_repetition_change_nothing((given, other) in shuffled()) {
        let by_id = |given: &[Given]| -> std::collections::BTreeMap<u128, Placed> {
            given.iter().map(|g| g.id).zip(run(given)).collect()
        };
        prop_assert_eq!(by_id(&given), by_id(&other));
    }

    #[test]
    fn every_event_is_in_a_journey_and_shared_references_never_part((given, _) in shuffled()) {
        let placed = run(&given);
        for (a, pa) in given.iter().zip(&placed) {
            prop_assert!(!pa.journey.is_empty());
            for (b, pb) in given.iter().zip(&placed) {
                if a.journey.is_none() && b.journey.is_none() && a.refs.iter().any(|r| b.refs.contains(r)) {
                    prop_assert_eq!(&pa.journey, &pb.journey);
                }
            }
        }
    }
}

#[test]
fn a_hundred_thousand_events_are_no_burden() {
    let all: Vec<Given> = (0..100_000u32)
        .map(|n| {
            let visit = format!("e{}", n / 20);
            let refs: &[(RefKind, &str)] = if n % 3 == 0 { &[] } else { &[(Encounter, &visit)] };
            given(u128::from(n), i64::from(n), None, refs)
        })
        .collect();
    let placed = run(&all);
    assert_eq!(placed.iter().filter(|p| p.rule == Rule::References).count(), 66_666);
}
