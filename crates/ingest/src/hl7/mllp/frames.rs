//! Bytes as blocks: 0x0B … 0x1C 0x0D.

use bytes::{Buf as _, Bytes, BytesMut};

pub(super) const START: u8 = 0x0b;
pub(super) const END: u8 = 0x1c;
/// How much of a block that is too long is kept, bytes: enough for its MSH.
const KEPT: usize = 4_096;
/// What a message or a batch begins with, after a byte order mark or none.
const HEADERS: [&[u8]; 6] = [b"MSH", b"FHS", b"BHS", b"\xef\xbb\xbfMSH", b"\xef\xbb\xbfFHS", b"\xef\xbb\xbfBHS"];

/// A block as it came in.
#[derive(Clone, PartialEq, Eq)]
pub enum Block {
    /// All of it.
    Whole(Bytes),
    /// The start of one that was longer than this many bytes.
    TooLong(Bytes, usize),
}

impl Block {
    /// What there is of it.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        match self {
            Self::Whole(bytes) | Self::TooLong(bytes, _) => bytes,
        }
    }
}

/// Without what is in it: names.
impl std::fmt::Debug for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Whole(bytes) => write!(f, "Whole({} bytes)", bytes.len()),
            Self::TooLong(_, limit) => write!(f, "TooLong({limit} bytes)"),
        }
    }
}

/// Cuts bytes into blocks. What lies between blocks is passed over; a block that begins anew before its end is given up, since its
/// sender has given it up. It begins anew where a header follows the start byte; else that byte is in the text.
pub struct Frames {
    buffer: BytesMut,
    limit: usize,
    /// Inside a block whose start byte was taken off the buffer.
    inside: bool,
    /// How much of the block was searched.
    searched: usize,
    /// The start of a block that is too long, whose end is awaited.
    long: Option<Bytes>,
    /// Bytes passed over.
    noise: u64,
}

impl Frames {
    /// Blocks of at most `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { buffer: BytesMut::new(), limit, inside: false, searched: 0, long: None, noise: 0 }
    }

    /// Where to put what was read.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Whether a block has begun that hasn't ended.
    #[must_use]
    pub const fn is_inside(&self) -> bool {
        self.inside
    }

    /// Bytes that were in no block, since it was last asked.
    pub fn noise(&mut self) -> u64 {
        std::mem::take(&mut self.noise)
    }

    fn skip(&mut self, n: usize) {
        self.buffer.advance(n);
        self.noise += n as u64;
    }

    /// The next whole block.
    pub fn next_block(&mut self) -> Option<Block> {
        loop {
            if !self.inside {
                let Some(at) = self.buffer.iter().position(|b| *b == START) else {
                    self.skip(self.buffer.len());
                    return None;
                };
                self.skip(at);
                self.buffer.advance(1);
                (self.inside, self.searched) = (true, 0);
            }
            let found = self.buffer[self.searched..].iter().position(|b| matches!(*b, START | END));
            let Some(at) = found.map(|i| self.searched + i) else {
                self.searched = self.buffer.len();
                self.shorten();
                return None;
            };
            if self.buffer[at] == START {
                match begins(&self.buffer[at + 1..]) {
                    Some(true) => {
                        self.skip(at);
                        self.buffer.advance(1);
                        (self.searched, self.long) = (0, None);
                    }
                    Some(false) => self.searched = at + 1,
                    None => {
                        self.searched = at;
                        self.shorten();
                        return None;
                    }
                }
                continue;
            }
            let after = match self.buffer.get(at + 1) {
                None => {
                    self.searched = at;
                    self.shorten();
                    return None;
                }
                // The line feed stands for senders that end all their lines so.
                Some(b'\r' | b'\n') => 2,
                // The next block begins without it.
                Some(&START) => 1,
                // Not the end: the character is in the text.
                Some(_) => {
                    self.searched = at + 1;
                    continue;
                }
            };
            let block = self.buffer.split_to(at).freeze();
            self.buffer.advance(after);
            (self.inside, self.searched) = (false, 0);
            return Some(match self.long.take() {
                Some(start) => Block::TooLong(start, self.limit),
                None if block.len() > self.limit => Block::TooLong(block.slice(..KEPT.min(self.limit)), self.limit),
                None => Block::Whole(block),
            });
        }
    }

    /// Keeps no more of a block that is too long than its start.
    fn shorten(&mut self) {
        if self.long.is_none() && self.searched > self.limit {
            self.long = Some(Bytes::copy_from_slice(&self.buffer[..KEPT.min(self.limit)]));
        }
        if self.long.is_some() {
            self.buffer.advance(self.searched);
            self.searched = 0;
        }
    }
}

/// Whether bytes begin a message or a batch; `None` where more of them have to come.
fn begins(bytes: &[u8]) -> Option<bool> {
    if HEADERS.iter().any(|h| bytes.starts_with(h)) {
        return Some(true);
    }
    let may = HEADERS.iter().any(|h| h.starts_with(bytes));
    (!may).then_some(false)
}

impl std::fmt::Debug for Frames {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frames").field("limit", &self.limit).finish_non_exhaustive()
    }
}
