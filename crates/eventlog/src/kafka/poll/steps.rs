//! Steps of a rebalance, each told to the reader and completed once it has answered; and the change to a new handle.

use super::{End, Event, Poller};
use crate::Position;
use crate::kafka::member::{Handle, Rebalance, lock};
use crate::kafka::reader::number;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::Consumer as _;

impl Poller {
    /// Leaves a handle alone that hangs, and joins with a new one, which is given partitions afresh.
    pub(super) fn join_anew(&mut self) -> Result<(), End> {
        tracing::warn!(log.topic = self.topic, "the membership in the reader group hangs, joining anew");
        let old = &self.consumer.context().handle;
        let new = (self.join)(Handle::new(self.health.clone(), old.patience_after())).map_err(End::Failed)?;
        old.retire();
        lock(&self.shared.rebalances).clear();
        let old = std::mem::replace(&mut self.consumer, new);
        // ending it waits for what it hangs on
        std::thread::spawn(move || drop(old));
        let mut partitions = std::mem::take(&mut self.active);
        if let Some(Rebalance::Assign(told)) = self.current.take() {
            partitions.extend(told);
        }
        self.step += 1;
        self.outbox.push_back(Event::Revoke { step: self.step, partitions: partitions.into_iter().collect() });
        self.paused = false;
        Ok(())
    }

    /// Takes the next step of a rebalance, where there is one.
    pub(super) fn rebalance(&mut self) -> Result<(), End> {
        match &self.current {
            Some(Rebalance::Assign(_)) => {
                // a later step overtakes an assignment that the reader hasn't answered, such as the loss of a session
                let overtaken = !lock(&self.shared.rebalances).is_empty();
                let answer = lock(&self.shared.assigned).take().filter(|(step, _)| *step == self.step);
                match answer {
                    Some((_, positions)) => self.assign(&positions)?,
                    None if overtaken => {}
                    None => return Ok(()),
                }
            }
            Some(Rebalance::Revoke { partitions, .. }) => {
                if *lock(&self.shared.revoked) != Some(self.step) {
                    return Ok(());
                }
                let partitions = partitions.clone();
                self.commit();
                self.unassign(&partitions);
            }
            None => {}
        }
        self.current = lock(&self.shared.rebalances).pop_front();
        self.step += 1;
        let step = self.step;
        match &self.current {
            Some(Rebalance::Assign(partitions)) => {
                self.outbox.push_back(Event::Assign { step, partitions: partitions.clone() });
            }
            Some(Rebalance::Revoke { partitions, lost }) => {
                let (partitions, lost) = (partitions.clone(), *lost);
                for partition in &partitions {
                    self.active.remove(partition);
                }
                self.outbox.push_back(Event::Revoke { step, partitions: partitions.clone() });
                if lost {
                    // waiting would only keep us from joining again, as would a commit that no coordinator takes
                    self.unassign(&partitions);
                    self.current = None;
                }
            }
            None => {}
        }
        Ok(())
    }

    fn assign(&mut self, positions: &[Position]) -> Result<(), End> {
        let list = self.list(positions).map_err(End::Failed)?;
        match self.consumer.incremental_assign(&list) {
            Ok(()) => self.active.extend(positions.iter().map(|position| position.partition)),
            // the membership was lost meanwhile: a revocation follows
            Err(error) => tracing::warn!(error = %error, "an assignment of partitions came too late"),
        }
        Ok(())
    }

    fn unassign(&mut self, partitions: &[u32]) {
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            list.add_partition(&self.topic, number(*partition));
        }
        if let Err(error) = self.consumer.incremental_unassign(&list) {
            tracing::debug!(error = %error, "letting partitions go one by one failed");
            if let Err(error) = self.consumer.unassign() {
                tracing::warn!(error = %error, "letting partitions go failed");
            }
            self.active.clear();
        }
    }
}
