//! A connection's bytes in pieces: the same blocks as in one piece, and no more held than the limit.
#![no_main]

use ingest::hl7::{Block, Frames};
use libfuzzer_sys::fuzz_target;

const LIMIT: usize = 64;

fn blocks<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<Block> {
    let mut frames = Frames::new(LIMIT);
    let mut found = Vec::new();
    for piece in pieces {
        frames.buffer().extend_from_slice(piece);
        while let Some(block) = frames.next_block() {
            found.push(block);
        }
        assert!(frames.buffer().len() <= LIMIT + piece.len() + 2, "more is held than the limit");
    }
    found
}

fuzz_target!(|bytes: &[u8]| {
    // The first byte says how long the pieces are.
    let Some((size, stream)) = bytes.split_first() else { return };
    let split = blocks(stream.chunks(usize::from(*size).max(1)));
    assert_eq!(split, blocks(std::iter::once(stream)), "the cuts matter");
});
