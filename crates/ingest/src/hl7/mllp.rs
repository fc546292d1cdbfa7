//! MLLP: blocks on a connection (0x0B … 0x1C 0x0D), and the server.
//!
//! What a sender may hold is bounded: the connections, the bytes of a block, the time that a block takes, silence, and the messages
//! under way. While those are published, nothing more is read from that connection.

mod frames;

pub use frames::{Block, Frames};

use super::Receiver;
use crate::connections::{accept, drain};
use frames::{END, START};
use metrics::{counter, gauge};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// How much is read at a time, bytes.
const READ: usize = 16_384;
/// How long a TLS handshake may take, and the farewell.
const HANDSHAKE: Duration = Duration::from_secs(10);

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
