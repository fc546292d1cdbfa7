//! A log that takes everything and keeps nothing.

use async_trait::async_trait;
use eventlog::{Log, LogError, NewRecord, Position, Record, Start, Subscription};
use std::sync::Arc;

pub struct Nowhere;

#[async_trait]
impl Log for Nowhere {
    fn partitions(&self) -> u32 {
        1
    }

    async fn append(&self, records: Vec<NewRecord>) -> Vec<Result<Position, LogError>> {
        records.iter().map(|_| Ok(Position { partition: 0, offset: 0 })).collect()
    }

    async fn bounds(&self) -> Result<Vec<(u64, u64)>, LogError> {
        Ok(vec![(0, 0)])
    }

    async fn read(&self, _: u32, _: u64, _: usize) -> Result<Vec<Record>, LogError> {
        Ok(Vec::new())
    }

    async fn subscribe(&self, _: &str, _: Arc<dyn Start>) -> Result<Box<dyn Subscription>, LogError> {
        Err(LogError::Unavailable("nothing to read".into()))
    }
}
