//! Questions about the topic, and single reads, without joining a group.

mod client;

use super::client::Settings;
use super::member::lock;
use super::tail::Tails;
use crate::{LogError, Record};
use client::Client;
use rdkafka::Offset;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Asks and reads with a client that joins no group; with a new one after one that got no answer: librdkafka's may have lost all
/// its brokers for good (see [`super::member::Handle`]).
pub(super) struct Reader {
    client: Mutex<Arc<Client>>,
    tails: Tails,
}

impl Reader {
    pub(super) fn new(settings: Arc<Settings>) -> Result<Self, LogError> {
        Ok(Self { client: Mutex::new(Arc::new(Client::new(settings)?)), tails: Tails::default() })
    }

    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self, &Client) -> Result<T, LogError> + Send + 'static,
    ) -> Result<T, LogError> {
        let this = self.clone();
        tokio::task::spawn_blocking(move || {
            let client = lock(&this.client).clone();
            let answer = work(&this, &client);
            if matches!(answer, Err(LogError::Unavailable(_))) {
                this.replace(&client);
                // ending it may wait for what it hangs on
                std::thread::spawn(move || drop(client));
            }
            answer
        })
        .await
        .map_err(|error| LogError::Unavailable(format!("a read of the log ended early: {error}")))?
    }

    /// Puts a new client in the place of this one, unless another caller has.
    fn replace(&self, old: &Arc<Client>) {
        let mut client = lock(&self.client);
        if !Arc::ptr_eq(&client, old) {
            return;
        }
        match Client::new(old.settings.clone()) {
            Ok(new) => *client = Arc::new(new),
            Err(error) => tracing::warn!(error = %error, "no new client to ask the log"),
        }
    }

    /// Partitions of the topic; nothing where there is no topic.
    pub(super) async fn partitions(self: &Arc<Self>, limit: Duration) -> Result<Option<u32>, LogError> {
        self.blocking(move |_, client| client.ask_partitions(limit)).await
    }

    /// First offset and offset after the last record of each partition.
    pub(super) async fn bounds(self: &Arc<Self>, partitions: u32) -> Result<Vec<(u64, u64)>, LogError> {
        self.blocking(move |this, client| {
            client.patiently(|| {
                let first = client.offsets(partitions, Offset::Beginning)?;
                // up to where transactions have ended
                let stable = client.offsets(partitions, Offset::End)?;
                let bounds: Vec<_> = first.into_iter().zip(stable).collect();
                let ends = this.tails.ends(&bounds, |stretches| client.last_records(stretches))?;
                Ok(bounds.iter().zip(ends).map(|((first, _), end)| (*first, end)).collect())
            })
        })
        .await
    }

    pub(super) async fn read(self: &Arc<Self>, partition: u32, from: u64, max: usize) -> Result<Vec<Record>, LogError> {
        self.blocking(move |_, client| client.read(partition, from, max)).await
    }
}

pub(super) fn number(partition: u32) -> i32 {
    i32::try_from(partition).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::{Reader, lock};
    use crate::kafka::client::Settings;
    use crate::options::{KafkaTarget, Options};
    use rdkafka::mocking::MockCluster;
    use std::sync::Arc;

    #[tokio::test]
    async fn a_client_that_gets_no_answer_gives_way_to_a_new_one() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("journeys", 1, 1).unwrap();
        let (brokers, topic) = (cluster.bootstrap_servers(), "journeys".to_owned());
        let target = KafkaTarget { brokers, topic, partitions: None, replication: None };
        let settings = Arc::new(Settings::new(&target, &Options::default()).unwrap());
        let reader = Arc::new(Reader::new(settings).unwrap());
        assert_eq!(reader.bounds(1).await.unwrap(), [(0, 0)]);
        let first = lock(&reader.client).clone();
        cluster.broker_down(1).unwrap();
        assert!(reader.bounds(1).await.is_err());
        assert!(!Arc::ptr_eq(&first, &lock(&reader.client)));
        cluster.broker_up(1).unwrap();
        assert_eq!(reader.bounds(1).await.unwrap(), [(0, 0)]);
        let second = lock(&reader.client).clone();
        assert_eq!(reader.bounds(1).await.unwrap(), [(0, 0)]);
        assert!(Arc::ptr_eq(&second, &lock(&reader.client)), "one that works is kept");
    }
}
