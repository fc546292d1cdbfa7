//! Notices views that have something to do and don't do it.

use domain::views::View;
use query::status::{GenerationStatus, Status};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long events may wait in a partition of which none is taken, before its view counts as stalled.
const STALLED_AFTER: Duration = Duration::from_secs(30);

/// What it has seen of the views of one process.
pub struct Watchdog {
    views: Vec<View>,
    /// When the views were last seen.
    seen: Instant,
    /// By view, generation and partition, where events wait: the first of them, and since when it is the first.
    waiting: BTreeMap<(View, i64, u32), (u64, Instant)>,
    /// What stands still, in words.
    stalled: BTreeMap<View, String>,
}

impl Watchdog {
    pub fn new(views: &[View], now: Instant) -> Self {
        for view in views {
            gauge(*view, false);
        }
        Self { views: views.to_vec(), seen: now, waiting: BTreeMap::new(), stalled: BTreeMap::new() }
    }

    /// The views it looks after.
    pub fn views(&self) -> &[View] {
        &self.views
    }

    /// Takes note of how far the views have come. Views that are paused, and generations that nobody follows, may rest.
    pub fn seen(&mut self, status: &Status, now: Instant) {
        self.seen = now;
        let mut waiting = BTreeMap::new();
        let mut stalled = BTreeMap::new();
        for view in &self.views {
            let Some(status) = status.views.iter().find(|v| v.view == view.as_str() && v.paused_since.is_none()) else {
                continue;
            };
            for g in std::iter::once(&status.active).chain(&status.others).filter(|g| g.state == "following") {
                for p in g.partitions.iter().filter(|p| p.lag_events > 0) {
                    let key = (*view, g.generation, p.partition);
                    let before = self.waiting.get(&key).filter(|(next, _)| *next == p.next_offset);
                    waiting.insert(key, before.copied().unwrap_or((p.next_offset, now)));
                }
                if let Some(why) = standing(*view, g, &waiting, now) {
                    stalled.entry(*view).or_insert(why);
                }
            }
        }
        self.waiting = waiting;
        self.say(stalled);
    }

    /// Takes note of a look that found out nothing.
    pub fn blind(&mut self, now: Instant) {
        if now.saturating_duration_since(self.seen) >= STALLED_AFTER {
            let why =
                |v: &View| format!("{}: how far it has come can't be read since {}", v.as_str(), ago(self.seen, now));
            let stalled = self.views.iter().map(|v| (*v, why(v))).collect();
            self.say(stalled);
        }
    }

    /// What stands still, in words; `None` when nothing does.
    pub fn reason(&self) -> Option<String> {
        let all: Vec<&str> = self.stalled.values().map(String::as_str).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }

    /// Tells what has changed.
    fn say(&mut self, stalled: BTreeMap<View, String>) {
        for view in &self.views {
            match (self.stalled.get(view), stalled.get(view)) {
                (None, Some(why)) => tracing::warn!(view.name = view.as_str(), why, "the view stands still"),
                (Some(_), None) => tracing::info!(view.name = view.as_str(), "the view moves again"),
                (Some(_), Some(_)) | (None, None) => {}
            }
            gauge(*view, stalled.contains_key(view));
        }
        self.stalled = stalled;
    }
}

/// Whether events of a generation have waited too long, in words.
fn standing(
    view: View,
    g: &GenerationStatus,
    waiting: &BTreeMap<(View, i64, u32), (u64, Instant)>,
    now: Instant,
) -> Option<String> {
    let late = |p: u32| waiting.get(&(view, g.generation, p)).map(|(_, since)| *since);
    let late = |p: u32| late(p).filter(|since| now.saturating_duration_since(*since) >= STALLED_AFTER);
    let stuck: Vec<_> = g.partitions.iter().filter_map(|p| Some((late(p.partition)?, p.lag_events))).collect();
    let since = stuck.iter().map(|(since, _)| *since).min()?;
    let events: u64 = stuck.iter().map(|(_, events)| events).sum();
    let (name, count) = (view.as_str(), stuck.len());
    Some(format!(
        "{name}: generation {} has not moved since {} in {count} of {} partitions, where {events} events wait",
        g.generation,
        ago(since, now),
        g.partitions.len()
    ))
}

/// When that was, by the clock.
fn ago(then: Instant, now: Instant) -> String {
    let micros = i64::try_from(now.saturating_duration_since(then).as_micros()).unwrap_or_default();
    domain::Micros((ingest::now().0 - micros) / 1_000_000 * 1_000_000).to_string()
}

fn gauge(view: View, stalled: bool) {
    metrics::gauge!("projector_stalled", "view" => view.as_str()).set(f64::from(u8::from(stalled)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use query::status::{PartitionStatus, ViewStatus};

    fn generation(number: i64, state: &str, at: &[(u64, u64)]) -> GenerationStatus {
        let partition = |(partition, (next, end)): (u32, &(u64, u64))| PartitionStatus {
            partition,
            next_offset: *next,
            end_offset: *end,
            lag_events: end - next,
            lag_seconds: None,
            updated_at: String::new(),
        };
        GenerationStatus {
            generation: number,
            state: state.to_owned(),
            position: String::new(),
            lag_events: 0,
            lag_seconds: None,
            events_per_s: None,
            eta_s: None,
            parked_keys: 0,
            dead_letters: 0,
            partitions: (0..).zip(at).map(partition).collect(),
        }
    }

    fn status(paused: bool, active: &[(u64, u64)], others: Vec<GenerationStatus>) -> Status {
        let paused_since = paused.then(String::new);
        let active = generation(1, "following", active);
        Status { views: vec![ViewStatus { view: "mot".into(), paused_since, active, others }] }
    }

    /// Looks every second from `from` to `to`, seconds.
    fn looks(dog: &mut Watchdog, begun: Instant, from: u64, to: u64, status: impl Fn(u64) -> Status) {
        (from..=to).for_each(|s| dog.seen(&status(s), begun + Duration::from_secs(s)));
    }

    #[test]
    fn only_what_has_something_to_do_and_does_not_move_is_stalled() {
        let begun = Instant::now();
        let mut dog = Watchdog::new(&[View::Mot], begun);
        // Nothing waits; then one partition moves on by one event a second while the other stands still.
        looks(&mut dog, begun, 0, 50, |_| status(false, &[(5, 5), (7, 7)], vec![]));
        assert_eq!(dog.reason(), None);
        looks(&mut dog, begun, 51, 80, |s| status(false, &[(s, 100), (7, 9)], vec![]));
        assert_eq!(dog.reason(), None);
        looks(&mut dog, begun, 81, 81, |s| status(false, &[(s, 100), (7, 9)], vec![]));
        let why = dog.reason().unwrap();
        assert!(why.contains("mot: generation 1") && why.contains("1 of 2 partitions, where 2 events"), "{why}");
        // It moves again, by one event.
        looks(&mut dog, begun, 82, 82, |_| status(false, &[(81, 100), (8, 9)], vec![]));
        assert_eq!(dog.reason(), None);
    }

    #[test]
    fn a_paused_view_and_a_generation_that_shows_the_past_may_rest() {
        let begun = Instant::now();
        let mut dog = Watchdog::new(&[View::Mot], begun);
        looks(&mut dog, begun, 0, 100, |_| status(true, &[(5, 9)], vec![]));
        assert_eq!(dog.reason(), None);
        // Its time begins when it is let go on.
        let frozen = || vec![generation(2, "frozen", &[(1, 9)]), generation(3, "building", &[(0, 9)])];
        looks(&mut dog, begun, 101, 130, |_| status(false, &[(5, 9)], frozen()));
        assert_eq!(dog.reason(), None);
        looks(&mut dog, begun, 131, 131, |_| status(false, &[(5, 9)], frozen()));
        assert!(dog.reason().is_some());
        looks(&mut dog, begun, 132, 200, |_| status(false, &[(9, 9)], frozen()));
        assert_eq!(dog.reason(), None);
        // The generation beside the active one counts as well.
        looks(&mut dog, begun, 201, 231, |_| status(false, &[(9, 9)], vec![generation(4, "following", &[(3, 4)])]));
        assert!(dog.reason().unwrap().contains("generation 4"));
    }

    #[test]
    fn what_cannot_be_read_for_long_counts_as_standing_still() {
        let begun = Instant::now();
        let mut dog = Watchdog::new(&[View::Mot], begun);
        dog.blind(begun + Duration::from_secs(29));
        assert_eq!(dog.reason(), None);
        dog.blind(begun + Duration::from_secs(30));
        assert!(dog.reason().unwrap().contains("can't be read"));
        dog.seen(&status(false, &[(5, 9)], vec![]), begun + Duration::from_secs(31));
        assert_eq!(dog.reason(), None);
    }
}
