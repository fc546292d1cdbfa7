//! One MLLP block through parser, mapper and acknowledgement: no panic; an answer that is a block's content; twice the same.
#![no_main]

use async_trait::async_trait;
use eventlog::{Log, LogError, NewRecord, Position, Record, Start, Subscription};
use ingest::hl7::{Block, Receiver};
use ingest::{Pseudonyms, Publisher, Settings, Site};
use libfuzzer_sys::fuzz_target;
use std::sync::{Arc, LazyLock};

/// A log that takes everything and keeps nothing.
struct Nowhere;

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

const SITE: &str = "zone = \"Asia/Seoul\"\n[authorities.main]\naliases = [\"HOSP\"]\nrank = 1\n[hl7]\ncurrency = \"KRW\"\n\
                    [[senders]]\napplication = \"KOR\"\ncharset = \"EUC-KR\"\n";
/// Messages that are remembered: few, so that memory shows whether the bound holds.
const RECENT: usize = 1_000;

static RECEIVER: LazyLock<Receiver> = LazyLock::new(|| {
    let site = Arc::new(Site::parse(SITE).expect("a valid site"));
    let pseudonyms = Pseudonyms::new(&[7; 32], site).expect("a key that is long enough");
    let settings = Settings { window_events: RECENT, ..Default::default() };
    Receiver::new(Arc::new(Publisher::new(Arc::new(Nowhere), settings)), pseudonyms, Default::default(), RECENT)
});
static RUNTIME: LazyLock<tokio::runtime::Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_current_thread().build().expect("a runtime"));

fuzz_target!(|bytes: &[u8]| {
    let blocks = [Block::Whole(bytes::Bytes::copy_from_slice(bytes))];
    let codes = |answers: &[Vec<u8>]| -> Vec<Vec<u8>> {
        let msa = |a: &Vec<u8>| {
            a.split(|b| *b == b'\r').filter(|l| l.starts_with(b"MSA")).map(<[u8]>::to_vec).collect::<Vec<_>>()
        };
        answers.iter().flat_map(msa).collect()
    };
    let first = RUNTIME.block_on(RECEIVER.receive(&blocks));
    let second = RUNTIME.block_on(RECEIVER.receive(&blocks));
    for answer in &first {
        assert!(answer.iter().all(|b| *b >= b' ' || *b == b'\r'), "an answer with a control character");
    }
    assert_eq!(codes(&first), codes(&second), "a resend is answered otherwise");
});
