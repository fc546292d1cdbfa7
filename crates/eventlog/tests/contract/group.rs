//! The cases of several members.

use super::suite::{Bed, Kept, PARTITIONS, PATIENCE, assert_gapless, assigned, from_zero, next, record};
use futures::future::BoxFuture;
use journeylog_eventlog::{Delivery, Log, LogError, Options, Record, Start, Subscription, open};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A reader that keeps its offsets as a projector does: after each delivery, in a store that all members share.
struct Member {
    reader: Box<dyn Subscription>,
    kept: Arc<Kept>,
    seen: Arc<Mutex<Vec<Record>>>,
    mine: BTreeSet<u32>,
    /// Partitions that it had to let go, one counted as often as that happened.
    revoked: usize,
}

impl Member {
    async fn join(bed: &Bed, kept: &Arc<Kept>, seen: &Arc<Mutex<Vec<Record>>>) -> Self {
        Self::of(&bed.log, &bed.group("shared"), kept, seen).await
    }

    async fn of(log: &Arc<dyn Log>, group: &str, kept: &Arc<Kept>, seen: &Arc<Mutex<Vec<Record>>>) -> Self {
        let reader = log.subscribe(group, kept.clone()).await.unwrap();
        Self { reader, kept: kept.clone(), seen: seen.clone(), mine: BTreeSet::new(), revoked: 0 }
    }

    /// Takes what comes within a while.
    async fn go(&mut self, limit: Duration) {
        let Ok(delivery) = tokio::time::timeout(limit, self.reader.next(100)).await else { return };
        match delivery.unwrap() {
            Delivery::Assigned(positions) => self.mine.extend(positions.iter().map(|position| position.partition)),
            Delivery::Revoked(partitions) => {
                self.revoked += partitions.len();
                for partition in partitions {
                    assert!(self.mine.remove(&partition), "partition {partition} was not held");
                }
            }
            Delivery::Records(records) => {
                let mut kept = self.kept.0.lock().unwrap();
                for record in &records {
                    let position = record.position;
                    assert!(self.mine.contains(&position.partition));
                    // the store's compare-and-set: nothing twice, nothing left out
                    assert_eq!(kept[position.partition as usize], position.offset);
                    kept[position.partition as usize] += 1;
                }
                self.seen.lock().unwrap().extend(records);
            }
        }
    }
}

async fn append(bed: &Bed, count: usize) {
    for answer in bed.log.append((0..count).map(|i| record(&format!("k{i}"), "v")).collect()).await {
        answer.unwrap();
    }
}

/// Drives members until something is so.
async fn until(what: &str, members: &mut [&mut Member], mut so: impl FnMut(&[&mut Member]) -> bool) {
    let begun = Instant::now();
    while !so(members) {
        assert!(begun.elapsed() < PATIENCE, "waited in vain until {what}");
        for member in members.iter_mut() {
            member.go(Duration::from_millis(20)).await;
        }
    }
}

/// Drives members for a while.
async fn meanwhile(members: &mut [&mut Member], time: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < time {
        for member in members.iter_mut() {
            member.go(Duration::from_millis(20)).await;
        }
    }
}

pub async fn two_members_share_and_hand_over(bed: &Bed) {
    let (_, kept) = from_zero(PARTITIONS);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let all = PARTITIONS as usize;
    let mut first = Member::join(bed, &kept, &seen).await;
    append(bed, 100).await;
    until("one has all", &mut [&mut first], |m| m[0].mine.len() == all).await;
    until("one has read", &mut [&mut first], |_| seen.lock().unwrap().len() == 100).await;
    let mut second = Member::join(bed, &kept, &seen).await;
    append(bed, 100).await;
    until("both share", &mut [&mut first, &mut second], |m| {
        m[0].mine.len() == all / 2 && m[1].mine.len() == all / 2 && m[0].mine.is_disjoint(&m[1].mine)
    })
    .await;
    append(bed, 100).await;
    until("both have read", &mut [&mut first, &mut second], |_| seen.lock().unwrap().len() == 300).await;
    first.reader.close().await;
    append(bed, 100).await;
    until("the other has all", &mut [&mut second], |m| m[0].mine.len() == all).await;
    until("the other has read", &mut [&mut second], |_| seen.lock().unwrap().len() == 400).await;
    second.reader.close().await;
    let mut records = seen.lock().unwrap().clone();
    records.sort_by_key(|record| record.position);
    assert_gapless(&records);
}

/// A reader that doesn't come back for a while, with more waiting than the queues hold, loses nothing.
pub async fn a_slow_reader_is_waited_for(bed: &Bed) {
    let (_, kept) = from_zero(PARTITIONS);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let mut member = Member::join(bed, &kept, &seen).await;
    until("assigned", &mut [&mut member], |m| m[0].mine.len() == PARTITIONS as usize).await;
    append(bed, 30_000).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    until("all read", &mut [&mut member], |_| seen.lock().unwrap().len() == 30_000).await;
    member.reader.close().await;
}

struct Stubborn(AtomicU32, Arc<Kept>);

impl Start for Stubborn {
    fn offsets<'a>(&'a self, partitions: &'a [u32]) -> BoxFuture<'a, Result<Vec<u64>, LogError>> {
        if self.0.fetch_add(1, Ordering::Relaxed) < 2 {
            return Box::pin(async { Err(LogError::Unavailable("the store is away".to_owned())) });
        }
        self.1.offsets(partitions)
    }
}

pub async fn a_start_that_fails_is_asked_again(bed: &Bed) {
    let (_, kept) = from_zero(PARTITIONS);
    let mut reader =
        bed.log.subscribe(&bed.group("stubborn"), Arc::new(Stubborn(AtomicU32::new(0), kept))).await.unwrap();
    for _ in 0..2 {
        let error = tokio::time::timeout(PATIENCE, reader.next(10)).await.unwrap().unwrap_err();
        assert!(matches!(error, LogError::Unavailable(_)), "{error}");
    }
    assigned(&mut reader).await;
    append(bed, 1).await;
    assert!(matches!(next(&mut reader, 10).await, Delivery::Records(records) if records.len() == 1));
    reader.close().await;
}

/// A reader that stops reading altogether (dropped, not closed) gives its partitions up.
pub async fn a_member_that_vanishes_is_replaced(bed: &Bed) {
    let (_, kept) = from_zero(PARTITIONS);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let mut first = Member::join(bed, &kept, &seen).await;
    append(bed, 100).await;
    until("assigned", &mut [&mut first], |m| m[0].mine.len() == PARTITIONS as usize).await;
    drop(first);
    let mut second = Member::join(bed, &kept, &seen).await;
    until("all read", &mut [&mut second], |_| seen.lock().unwrap().len() == 100).await;
    second.reader.close().await;
}

/// A log whose sessions outlast a test, as a process under this name opens it.
async fn long_sessions(bed: &Bed, instance_id: Option<&str>) -> Arc<dyn Log> {
    let mut options = Options { instance_id: instance_id.map(str::to_owned), ..bed.options.clone() };
    options.properties.insert("session.timeout.ms".to_owned(), (2 * PATIENCE.as_millis()).to_string());
    open(&bed.url, &options).await.unwrap()
}

/// A store that never answers.
struct Silent;

impl Start for Silent {
    fn offsets<'a>(&'a self, _: &'a [u32]) -> BoxFuture<'a, Result<Vec<u64>, LogError>> {
        Box::pin(std::future::pending())
    }
}

/// A member that leaves in the middle of a rebalance hands over at once, not when its session has run out.
pub async fn a_member_leaves_in_the_middle_of_an_assignment(bed: &Bed) {
    let log = long_sessions(bed, None).await;
    let mut first = log.subscribe(&bed.group("leaving"), Arc::new(Silent)).await.unwrap();
    // It has been assigned its partitions by now, and doesn't know where to begin.
    assert!(tokio::time::timeout(PATIENCE / 3, first.next(10)).await.is_err());
    first.close().await;
    let (start, _) = from_zero(PARTITIONS);
    let mut second = log.subscribe(&bed.group("leaving"), start).await.unwrap();
    assert_eq!(assigned(&mut second).await.len(), PARTITIONS as usize);
    second.close().await;
}

/// The same where it had partitions to let go.
pub async fn a_member_leaves_in_the_middle_of_a_revocation(bed: &Bed) {
    let log = long_sessions(bed, None).await;
    let (start, _) = from_zero(PARTITIONS);
    let mut first = log.subscribe(&bed.group("leaving"), start.clone()).await.unwrap();
    assigned(&mut first).await;
    let mut second = log.subscribe(&bed.group("leaving"), start).await.unwrap();
    let mut mine = BTreeSet::new();
    let joining = tokio::spawn(async move {
        while mine.len() < PARTITIONS as usize {
            match next(&mut second, 10).await {
                Delivery::Assigned(more) => mine.extend(more.iter().map(|p| p.partition)),
                other => panic!("{other:?}"),
            }
        }
        second.close().await;
    });
    loop {
        if let Delivery::Revoked(_) = next(&mut first, 10).await {
            break;
        }
    }
    first.close().await;
    joining.await.unwrap();
}

/// Several heartbeats, by which members hear of a rebalance.
const HEARTBEATS: Duration = Duration::from_secs(3);

/// A member that comes back under its name within its session has what it had, and nobody else notices: a member with a
/// name says no goodbye, whether it is closed or dropped.
pub async fn a_member_comes_back_under_its_name(bed: &Bed) {
    let (_, kept) = from_zero(PARTITIONS);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let group = bed.group("named");
    let (here, there) = (long_sessions(bed, Some("here")).await, long_sessions(bed, Some("there")).await);
    let mut stays = Member::of(&here, &group, &kept, &seen).await;
    let mut goes = Member::of(&there, &group, &kept, &seen).await;
    let half = PARTITIONS as usize / 2;
    until("both share", &mut [&mut stays, &mut goes], |m| m.iter().all(|member| member.mine.len() == half)).await;
    meanwhile(&mut [&mut stays, &mut goes], HEARTBEATS).await;
    let (others, its, revoked) = (stays.mine.clone(), goes.mine.clone(), stays.revoked);
    assert!(others.len() == half && its.len() == half && others.is_disjoint(&its), "{others:?} {its:?}");
    for (round, dropped) in (1..).zip([false, true]) {
        if dropped {
            drop(goes);
        } else {
            goes.reader.close().await;
        }
        append(bed, 100).await;
        meanwhile(&mut [&mut stays], HEARTBEATS).await;
        assert_eq!(stays.mine, others, "what belongs to the one that is away waits for it");
        goes = Member::of(&there, &group, &kept, &seen).await;
        until("it has its own again", &mut [&mut stays, &mut goes], |m| m[1].mine == its).await;
        until("all is read", &mut [&mut stays, &mut goes], |_| seen.lock().unwrap().len() == round * 100).await;
        meanwhile(&mut [&mut stays, &mut goes], HEARTBEATS).await;
        assert_eq!((&stays.mine, &goes.mine), (&others, &its));
        assert_eq!((stays.revoked, goes.revoked), (revoked, 0), "nobody had to let go");
    }
    stays.reader.close().await;
    goes.reader.close().await;
}
