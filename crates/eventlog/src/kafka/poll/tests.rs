//! A membership that hangs. The broker is librdkafka's mock: no real one can be made to let a handle hang.

use super::{Event, Poller};
use crate::kafka::client::Settings;
use crate::kafka::member::{Member, PATIENCE, Shared};
use crate::options::{KafkaTarget, Options};
use crate::{LogError, Position};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::mocking::MockCluster;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{self, Receiver};

/// Lets go of what the group gives, however the test ends: leaving would wait for the reader.
struct Closing(Arc<Shared>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.closing.store(true, Ordering::Relaxed);
    }
}

/// Turns until the reader is told something.
fn told(poller: &mut Poller, events: &mut Receiver<Event>) -> Event {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(60) {
        assert!(poller.turn().is_ok());
        if let Ok(event) = events.try_recv() {
            return event;
        }
    }
    panic!("the reader is told nothing");
}

/// Answers an assignment as the reader does.
fn assigned(poller: &mut Poller, events: &mut Receiver<Event>) {
    let Event::Assign { step, partitions } = told(poller, events) else { panic!("no assignment") };
    assert_eq!(partitions, [0, 1]);
    poller.shared.assign(step, partitions.iter().map(|&partition| Position { partition, offset: 0 }).collect());
    while poller.active.len() < 2 {
        assert!(poller.turn().is_ok());
    }
}

#[test]
fn a_handle_that_hangs_gives_way_to_a_new_one() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("journeys", 2, 1).unwrap();
    let (brokers, topic) = (cluster.bootstrap_servers(), "journeys".to_owned());
    let target = KafkaTarget { brokers, topic: topic.clone(), partitions: None, replication: None };
    let properties = [("session.timeout.ms".to_owned(), "3000".to_owned())].into();
    let settings = Settings::new(&target, &Options { properties, ..Options::default() }).unwrap();
    let (shared, health, made) = (Arc::<Shared>::default(), settings.health.clone(), Arc::new(AtomicU32::new(0)));
    let (its, count) = (shared.clone(), made.clone());
    let join = Box::new(move |handle| {
        count.fetch_add(1, Ordering::Relaxed);
        let member = Member { shared: its.clone(), handle };
        let consumer: BaseConsumer<Member> = settings.consumer("hangs").create_with_context(member).unwrap();
        consumer.subscribe(&["journeys"]).unwrap();
        Ok::<_, LogError>(consumer)
    });
    let (sender, mut events) = mpsc::channel(4);
    let mut poller = Poller::new(topic, join, sender, shared.clone(), health).unwrap();
    let _closing = Closing(shared);
    assigned(&mut poller, &mut events);
    assert_eq!(made.load(Ordering::Relaxed), 1);

    poller.consumer.context().handle.idle.store(PATIENCE + 1, Ordering::Relaxed);
    // what the old handle held is taken from the reader before the new one gets it
    let Event::Revoke { partitions, .. } = told(&mut poller, &mut events) else { panic!("no revocation") };
    assert_eq!((partitions.as_slice(), made.load(Ordering::Relaxed)), ([0, 1].as_slice(), 2));
    assigned(&mut poller, &mut events);
}
