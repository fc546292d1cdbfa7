//! MLLP: blocks on a connection (0x0B … 0x1C 0x0D), and the server.
//!
//! What a sender may hold is bounded: the connections, the bytes of a block, the time that a block takes, silence, and the messages
//! under way. While those are published, nothing more is read from that connection.

use super::Receiver;
use crate::connections::{accept, drain};
use bytes::{Buf as _, Bytes, BytesMut};
use metrics::{counter, gauge};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

const START: u8 = 0x0b;
const END: u8 = 0x1c;
/// How much of a block that is too long is kept, bytes: enough for its MSH.
const KEPT: usize = 4_096;
/// How much is read at a time, bytes.
const READ: usize = 16_384;
/// How long a TLS handshake may take, and the farewell.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// A block as it came in.
#[derive(Clone, PartialEq, Eq)]
pub enum Block {
    /// All of it.
    Whole(Bytes),
    /// The start of one that was longer than this many bytes.
    TooLong(Bytes, usize),
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
/// sender has given it up.
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
                self.skip(at);
                self.buffer.advance(1);
                (self.searched, self.long) = (0, None);
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

impl std::fmt::Debug for Frames {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frames").field("limit", &self.limit).finish_non_exhaustive()
    }
}

/// Puts an answer into a block.
fn frame(answer: &[u8], out: &mut Vec<u8>) {
    out.push(START);
    out.extend_from_slice(answer);
    out.extend_from_slice(&[END, b'\r']);
}

/// Limits of the server.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Longest block, bytes; together with `connections` it bounds the memory.
    pub block_bytes: usize,
    /// Most connections at a time; a further one is closed at once.
    pub connections: usize,
    /// Most blocks of one connection that are published at a time.
    pub in_flight: usize,
    /// How long a connection may be without a whole block.
    pub idle: Duration,
    /// How long a block may take from its first byte to its last.
    pub block: Duration,
    /// How long answers may take to be taken.
    pub write: Duration,
    /// How long connections may take to end once the server is to stop; then they are cut.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            block_bytes: 1 << 20,
            connections: 256,
            in_flight: 64,
            idle: Duration::from_secs(3_600),
            block: Duration::from_secs(30),
            write: Duration::from_secs(30),
            drain: Duration::from_secs(7),
        }
    }
}

/// Serves until `cancel`; then what was read is still published and answered.
pub async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    receiver: Arc<Receiver>,
    limits: Limits,
    cancel: CancellationToken,
) {
    let mut connections = JoinSet::new();
    let open = gauge!("ingest_hl7_connections");
    let refused = counter!("ingest_hl7_connections_refused_total");
    loop {
        open.set(connections.len() as f64);
        let io = tokio::select! {
            () = cancel.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            io = accept(&listener) => io,
        };
        if connections.len() >= limits.connections {
            refused.increment(1);
            continue;
        }
        let (tls, receiver, cancel) = (tls.clone(), receiver.clone(), cancel.clone());
        connections.spawn(async move {
            match tls {
                None => connection(io, &receiver, &limits, &cancel).await,
                // Whoever speaks no TLS, or too slowly, has nothing to be told in.
                Some(tls) => {
                    if let Ok(Ok(io)) = timeout(HANDSHAKE, tls.accept(io)).await {
                        connection(io, &receiver, &limits, &cancel).await;
                    }
                }
            }
        });
    }
    drop(listener);
    drain(connections, limits.drain).await;
}

/// One connection, to its end.
async fn connection<S: AsyncRead + AsyncWrite + Unpin>(
    mut io: S,
    receiver: &Receiver,
    limits: &Limits,
    cancel: &CancellationToken,
) {
    let noise = counter!("ingest_hl7_noise_bytes_total");
    let mut frames = Frames::new(limits.block_bytes);
    let mut quiet_until = Instant::now() + limits.idle;
    let mut block_until = None;
    let mut out = Vec::new();
    loop {
        let blocks: Vec<Block> = std::iter::from_fn(|| frames.next_block()).take(limits.in_flight.max(1)).collect();
        noise.increment(frames.noise());
        if !blocks.is_empty() {
            out.clear();
            for answer in receiver.receive(&blocks).await {
                frame(&answer, &mut out);
            }
            drop(blocks);
            let written = async {
                io.write_all(&out).await?;
                io.flush().await
            };
            if !matches!(timeout(limits.write, written).await, Ok(Ok(()))) {
                return;
            }
            quiet_until = Instant::now() + limits.idle;
            block_until = None;
            continue;
        }
        // A block that began has its own time, however slowly it trickles.
        block_until = match frames.is_inside() {
            true => block_until.or_else(|| Some(Instant::now() + limits.block)),
            false => None,
        };
        let deadline = block_until.map_or(quiet_until, |until| quiet_until.min(until));
        frames.buffer().reserve(READ);
        let read = tokio::select! {
            biased;
            () = cancel.cancelled() => break,
            read = timeout_at(deadline, io.read_buf(frames.buffer())) => read,
        };
        if !matches!(read, Ok(Ok(1..))) {
            break;
        }
    }
    // TLS says good-bye; whoever doesn't listen is not waited for.
    let _ = timeout(HANDSHAKE, io.shutdown()).await;
}

#[cfg(test)]
mod tests;
