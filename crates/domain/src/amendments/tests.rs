use super::*;
use proptest::prelude::*;

/// An event as far as these rules go.
#[derive(Debug, Clone, PartialEq)]
struct Fact {
    tag: u16,
    recorded: i64,
    says: Option<Says>,
}

#[derive(Debug, Clone, PartialEq)]
enum Says {
    Corrects(u128, Option<Box<Fact>>),
    Retracts(u128),
}

const PLAIN: u16 = 0;
const CORRECTION: u16 = 10;
const RETRACTION: u16 = 11;

impl Amendable for Fact {
    fn tag(&self) -> u16 {
        self.tag
    }
    fn recorded(&self) -> i64 {
        self.recorded
    }
    fn amends(&self) -> Option<Amends<'_, Self>> {
        Some(match self.says.as_ref()? {
            Says::Corrects(t, with) => Amends::Corrects(id(*t), with.as_deref()),
            Says::Retracts(t) => Amends::Retracts(id(*t)),
        })
    }
}

fn id(n: u128) -> EventId {
    EventId(uuid::Uuid::from_u128(n))
}

/// An event; `recorded` tells its versions apart.
fn plain(tag: u16, recorded: i64) -> Fact {
    Fact { tag, recorded, says: None }
}

fn corrects(target: u128, recorded: i64, with: Fact) -> Fact {
    Fact { tag: CORRECTION, recorded, says: Some(Says::Corrects(target, Some(Box::new(with)))) }
}

fn retracts(target: u128, recorded: i64) -> Fact {
    Fact { tag: RETRACTION, recorded, says: Some(Says::Retracts(target)) }
}

/// What stands of event 0.
fn first(events: &[(u128, Fact)]) -> Option<Fact> {
    let all = Amendments::new(events.iter().map(|(n, f)| (id(*n), f)));
    let published = &events.iter().find(|(n, _)| *n == 0).unwrap().1;
    all.standing(id(0), published).cloned()
}

#[test]
fn the_latest_correction_holds_and_a_retraction_wins() {
    let mut events = vec![
        (3, corrects(0, 20, plain(PLAIN, 103))),
        (0, plain(PLAIN, 1)),
        (1, corrects(0, 30, plain(PLAIN, 101))),
        (2, corrects(0, 30, plain(PLAIN, 102))),
    ];
    assert_eq!(first(&events), Some(plain(PLAIN, 102)), "of two recorded at once the one with the greater id");
    events.push((4, retracts(0, 5)));
    assert_eq!(first(&events), None, "whenever it was recorded");
    events.push((5, retracts(4, 6)));
    assert_eq!(first(&events), Some(plain(PLAIN, 102)));
    events.push((6, retracts(2, 40)));
    assert_eq!(first(&events), Some(plain(PLAIN, 101)), "a correction that was taken back says nothing");
}

#[test]
fn a_replacement_of_another_type_is_no_correction() {
    let right = (1, corrects(0, 20, plain(PLAIN, 101)));
    let wrong = (2, corrects(0, 30, plain(PLAIN + 1, 102)));
    let none = (3, Fact { tag: CORRECTION, recorded: 40, says: Some(Says::Corrects(0, None)) });
    let events = [(0, plain(PLAIN, 1)), right, wrong, none];
    assert_eq!(first(&events), Some(plain(PLAIN, 101)), "and doesn't undo an earlier one");
    let all = Amendments::new(events.iter().map(|(n, f)| (id(*n), f)));
    assert_eq!(all.about(id(0)), [id(1), id(2), id(3)], "but it is shown");
    let now = all.of(id(0)).unwrap();
    assert_eq!([1, 2, 3].map(|n| now.in_force(id(n))), [true, false, false]);
}

#[test]
fn a_corrected_amendment_says_what_its_replacement_says() {
    let typo = (1, corrects(0, 20, plain(PLAIN, 101)));
    let fixed = (2, corrects(1, 30, corrects(0, 20, plain(PLAIN, 102))));
    assert_eq!(first(&[(0, plain(PLAIN, 1)), typo, fixed]), Some(plain(PLAIN, 102)));

    let events =
        [(0, plain(PLAIN, 1)), (7, plain(PLAIN, 7)), (1, retracts(0, 20)), (2, corrects(1, 30, retracts(7, 20)))];
    assert_eq!(first(&events), Some(plain(PLAIN, 1)), "the retraction was of another event");
    let all = Amendments::new(events.iter().map(|(n, f)| (id(*n), f)));
    assert_eq!(all.standing(id(7), &events[1].1), None);
    assert_eq!(all.about(id(7)), [id(1)]);
}

#[test]
fn what_is_about_an_unknown_event_changes_nothing() {
    let early = [(1, corrects(0, 20, plain(PLAIN, 101))), (2, retracts(9, 20))];
    let all = Amendments::new(early.iter().map(|(n, f)| (id(*n), f)));
    assert!(all.of(id(0)).is_none() && all.of(id(9)).is_none());
}

/// Events 1… each of which retracts the one before.
fn chain(n: u128) -> Vec<(u128, Fact)> {
    (0..=n).map(|i| (i, if i == 0 { plain(PLAIN, 0) } else { retracts(i - 1, 1) })).collect()
}

#[test]
fn retractions_of_retractions_are_followed_to_the_bound() {
    for n in 0..=MOST_STEPS as u128 {
        assert_eq!(first(&chain(n)).is_some(), n % 2 == 0, "{n}");
    }
    for n in MOST_STEPS as u128..MOST_STEPS as u128 + 3 {
        assert_eq!(first(&chain(n)), first(&chain(MOST_STEPS as u128)), "deeper ones count as published");
    }
}

#[test]
fn circles_do_no_harm() {
    let me = [(0, retracts(0, 1))];
    let pair = [(0, retracts(1, 1)), (1, retracts(0, 2)), (2, plain(PLAIN, 1))];
    let corrections =
        [(0, corrects(1, 1, corrects(0, 9, plain(PLAIN, 3)))), (1, corrects(0, 2, corrects(1, 8, plain(PLAIN, 4))))];
    for circle in [&me[..], &pair, &corrections] {
        let _ = first(circle);
    }
    let all = Amendments::new(pair.iter().map(|(n, f)| (id(*n), f)));
    assert_eq!(all.standing(id(2), &pair[2].1), Some(&pair[2].1));
}

#[test]
fn tags_tell_all_types_apart() {
    let tags: BTreeSet<u16> = Kind::ALL.iter().map(|k| tag(*k)).collect();
    assert_eq!(tags.len(), Kind::ALL.len());
    assert_eq!(tag(Kind::EventCorrected), 17_314, "stored states hold it");
}

const EVENTS: u128 = 12;

fn fact(depth: u32) -> BoxedStrategy<Fact> {
    let plain = (0u16..2, 0i64..4).prop_map(|(tag, recorded)| plain(tag, recorded));
    let retracts = (0..EVENTS, 0i64..4).prop_map(|(target, at)| retracts(target, at));
    if depth == 0 {
        return prop_oneof![plain, retracts].boxed();
    }
    let corrects = (0..EVENTS, 0i64..4, fact(depth - 1)).prop_map(|(target, at, with)| corrects(target, at, with));
    prop_oneof![1 => plain, 2 => retracts, 3 => corrects].boxed()
}

/// Who speaks about an event, which corrections and retractions stand, and what stands of it.
type State = (Vec<EventId>, Vec<EventId>, Vec<EventId>, Option<Fact>);

fn states(events: &[(u128, Fact)]) -> Vec<State> {
    let kept: std::collections::BTreeMap<u128, Fact> = events.iter().cloned().collect();
    let all = Amendments::new(events.iter().map(|(n, f)| (id(*n), f)));
    let one = |(n, f): (&u128, &Fact)| {
        let (corrections, retractions) = all.of(id(*n)).map_or_else(Default::default, |now| {
            (now.corrections.iter().map(|c| c.0).collect(), now.retractions.clone())
        });
        (all.about(id(*n)).to_vec(), corrections, retractions, all.standing(id(*n), f).cloned())
    };
    kept.iter().map(|(n, f)| one((n, f))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Dense enough that circles are the rule.
    #[test]
    fn order_and_repetition_change_nothing(
        (events, shuffled) in prop::collection::vec(fact(2), 1..=EVENTS as usize)
            .prop_map(|facts| facts.into_iter().enumerate().map(|(i, f)| (i as u128, f)).collect::<Vec<_>>())
            .prop_flat_map(|e| (Just(e.clone()), Just([e.clone(), e].concat()).prop_shuffle())),
    ) {
        prop_assert_eq!(states(&events), states(&shuffled));
    }
}
