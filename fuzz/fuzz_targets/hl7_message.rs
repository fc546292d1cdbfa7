//! One MLLP block through parser, mapper and acknowledgement: no panic; an answer that is a block's content; twice the same.
#![no_main]

#[path = "../nowhere.rs"]
mod nowhere;

use ingest::hl7::{Block, Receiver};
use ingest::{Pseudonyms, Publisher, Settings, Site};
use libfuzzer_sys::fuzz_target;
use std::sync::{Arc, LazyLock};

const SITE: &str = "zone = \"Asia/Seoul\"\n[authorities.main]\naliases = [\"HOSP\"]\nrank = 1\n[hl7]\ncurrency = \"KRW\"\n\
                    [[senders]]\napplication = \"KOR\"\ncharset = \"EUC-KR\"\n";
/// Messages that are remembered.
const RECENT: usize = 100;

static PSEUDONYMS: LazyLock<Pseudonyms> = LazyLock::new(|| {
    let site = Arc::new(Site::parse(SITE).expect("a valid site"));
    Pseudonyms::new(&[7; 32], site).expect("a key that is long enough")
});

/// A receiver that knows nothing: what an input does must not depend on those before it.
fn receiver() -> Receiver {
    let settings = Settings { window_events: 6_400, ..Default::default() };
    let publisher = Arc::new(Publisher::new(Arc::new(nowhere::Nowhere), settings));
    Receiver::new(publisher, PSEUDONYMS.clone(), Default::default(), RECENT)
}

static RUNTIME: LazyLock<tokio::runtime::Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_current_thread().build().expect("a runtime"));

fuzz_target!(|bytes: &[u8]| {
    let blocks = [Block::Whole(bytes::Bytes::copy_from_slice(bytes))];
    // MSA-1 alone: of two messages of one id in a block, the first is refused for its content, and then for its id.
    let codes = |answers: &[Vec<u8>]| -> Vec<Vec<u8>> {
        let msa = |a: &Vec<u8>| {
            let lines = a.split(|b| *b == b'\r').filter(|l| l.starts_with(b"MSA"));
            lines.map(|l| l[..l.len().min(6)].to_vec()).collect::<Vec<_>>()
        };
        answers.iter().flat_map(msa).collect()
    };
    let receiver = receiver();
    let first = RUNTIME.block_on(receiver.receive(&blocks));
    let second = RUNTIME.block_on(receiver.receive(&blocks));
    for answer in &first {
        assert!(answer.iter().all(|b| *b >= b' ' || *b == b'\r'), "an answer with a control character");
    }
    assert_eq!(codes(&first), codes(&second), "a resend is answered otherwise");
});
