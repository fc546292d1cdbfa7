//! The HTTP server: axum's routes behind limits on what a slow sender may hold.

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use ingest::connections::{accept, drain};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Limits of the server; those of bodies are the routes'.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How long the head of a request may take to come, and a connection may be idle between requests.
    pub head: Duration,
    /// How long the requests under way may take to end once the server is to stop; then their connections are cut. What a
    /// sender has not been told is in the log, it sends again.
    pub drain: Duration,
    /// Connections at a time; further ones are closed at once.
    pub connections: usize,
}

/// Connections at a time: each takes a file descriptor and some 20 KiB.
const MOST_CONNECTIONS: usize = 4_096;

impl Limits {
    /// Within a drain of the whole process.
    pub fn within(drain: Duration) -> Self {
        // nginx keeps idle connections for 60 s: it should be the one to close them.
        Self { head: Duration::from_secs(75), drain: drain * 9 / 10, connections: MOST_CONNECTIONS }
    }
}

/// Serves until `cancel`, then lets the requests under way end.
pub async fn serve(listener: TcpListener, router: Router, limits: Limits, cancel: CancellationToken) {
    // Without `http1_only` the version of the protocol would be waited for without limit.
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.head);
    let mut connections = JoinSet::new();
    loop {
        let io = tokio::select! {
            () = cancel.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            io = accept(&listener) => io,
        };
        if connections.len() >= limits.connections {
            metrics::counter!("http_connections_refused_total").increment(1);
            continue;
        }
        let service = TowerToHyperService::new(router.clone());
        let connection = builder.serve_connection(TokioIo::new(io), service).into_owned();
        let cancel = cancel.clone();
        connections.spawn(async move {
            tokio::pin!(connection);
            // How a connection ends is its sender's affair.
            let _ = tokio::select! {
                ended = connection.as_mut() => ended,
                () = cancel.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.as_mut().await
                }
            };
        });
    }
    drop(listener);
    drain(connections, limits.drain).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::post;
    use std::net::SocketAddr;
    use std::time::Instant;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;
    use tokio::task::JoinHandle;

    async fn start(limits: Limits) -> (SocketAddr, CancellationToken, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, cancel) = (listener.local_addr().unwrap(), CancellationToken::new());
        let router = Router::new().route("/", post(|body: String| async { body }));
        (address, cancel.clone(), tokio::spawn(serve(listener, router, limits, cancel)))
    }

    async fn send(to: SocketAddr, text: &str) -> TcpStream {
        let mut io = TcpStream::connect(to).await.unwrap();
        io.write_all(text.as_bytes()).await.unwrap();
        io
    }

    async fn answer(mut io: TcpStream) -> String {
        let mut text = String::new();
        let read = tokio::time::timeout(Duration::from_secs(20), io.read_to_string(&mut text)).await;
        read.expect("the server closes the connection").unwrap();
        text
    }

    #[tokio::test]
    async fn nobody_takes_for_ever_over_a_head_or_stays_silent() {
        let (at, _, _) =
            start(Limits { head: Duration::from_millis(200), drain: Duration::ZERO, connections: 9 }).await;
        answer(send(at, "").await).await;
        answer(send(at, "POST / HTTP/1.1\r\nhost").await).await;
        let done = answer(send(at, "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nok").await).await;
        assert!(done.starts_with("HTTP/1.1 200") && done.ends_with("ok"), "{done}");
    }

    #[tokio::test]
    async fn too_many_connections_are_closed_and_those_that_are_there_go_on() {
        let (at, _, _) = start(Limits { head: Duration::from_secs(60), drain: Duration::ZERO, connections: 2 }).await;
        let mut first = send(at, "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2\r\n\r\n").await;
        let second = send(at, "POST").await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        let mut third = TcpStream::connect(at).await.unwrap();
        let closed =
            tokio::time::timeout(Duration::from_secs(20), third.read(&mut [0; 9])).await.expect("it is closed");
        assert!(matches!(closed, Ok(0) | Err(_)));
        first.write_all(b"ok").await.unwrap();
        assert!(answer(first).await.ends_with("ok"));
        drop(second);
        tokio::time::sleep(Duration::from_millis(100)).await;
        let again = send(at, "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok").await;
        assert!(answer(again).await.starts_with("HTTP/1.1 200"), "there is room again");
    }

    #[tokio::test]
    async fn a_sender_that_does_not_end_does_not_hold_up_the_end() {
        let limits = Limits { head: Duration::from_secs(60), drain: Duration::from_millis(500), connections: 9 };
        let (at, cancel, server) = start(limits).await;
        let _stalled = send(at, "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nok").await;
        let mut soon = send(at, "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nok").await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        let begun = Instant::now();
        cancel.cancel();
        tokio::time::sleep(Duration::from_millis(50)).await;
        soon.write_all(b"ok").await.unwrap();
        let done = answer(soon).await;
        assert!(done.starts_with("HTTP/1.1 200") && done.ends_with("okok"), "{done}");
        server.await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(20));
    }
}
