//! Bytes as lines.

use bytes::{Buf as _, Bytes, BytesMut};

/// A line, or what is left of one that was too long.
pub(crate) enum Line {
    Text(Bytes),
    TooLong,
}

/// Cuts bytes into lines; holds at most one line and the last chunk.
#[derive(Default)]
pub(crate) struct Lines {
    buffer: BytesMut,
    /// How much of the buffer was searched already.
    searched: usize,
    /// Inside a line that is too long, until its end.
    skipping: bool,
    number: u64,
}

impl Lines {
    pub(crate) fn push(&mut self, chunk: &[u8]) {
        self.buffer.extend_from_slice(chunk);
    }

    /// The next whole line that isn't blank, with its number; `end`: no more bytes will come.
    pub(crate) fn next(&mut self, longest: usize, end: bool) -> Option<(u64, Line)> {
        loop {
            let found = self.buffer[self.searched..].iter().position(|b| *b == b'\n').map(|i| self.searched + i);
            let line = match found {
                Some(i) => {
                    let line = self.buffer.split_to(i).freeze();
                    self.buffer.advance(1);
                    line
                }
                None if end && (self.skipping || !self.buffer.is_empty()) => self.buffer.split().freeze(),
                None => {
                    self.searched = self.buffer.len();
                    if self.searched > longest {
                        self.skipping = true;
                        self.buffer.clear();
                        self.searched = 0;
                    }
                    return None;
                }
            };
            self.searched = 0;
            self.number += 1;
            if std::mem::take(&mut self.skipping) || line.len() > longest {
                return Some((self.number, Line::TooLong));
            }
            let bom = if self.number == 1 && line.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
            let text = line.slice(bom..);
            if !text.trim_ascii().is_empty() {
                return Some((self.number, Line::Text(text)));
            }
        }
    }
}
