//! A load of HTTP/1.1 over kept-alive connections, as cheap for the machine as it can be, and a bare echo to compare with.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// POSTs bodies over `connections` for a while; answers with requests per second. Every answer must be a success.
pub async fn load(address: &str, path: &str, connections: usize, lasts: Duration, bodies: Arc<Vec<Vec<u8>>>) -> f64 {
    let next = Arc::new(AtomicUsize::new(0));
    let done = Arc::new(AtomicUsize::new(0));
    let begun = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..connections {
        let (address, path) = (address.to_owned(), path.to_owned());
        let (next, done, bodies) = (next.clone(), done.clone(), bodies.clone());
        tasks.spawn(async move {
            let mut connection = Connection::open(&address).await;
            while begun.elapsed() < lasts {
                let i = next.fetch_add(1, Ordering::Relaxed);
                let Some(body) = bodies.get(i) else { break };
                let status = connection.post(&path, body).await;
                assert!((200..300).contains(&status), "status {status}");
                done.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    while let Some(t) = tasks.join_next().await {
        t.unwrap();
    }
    crate::rate(done.load(Ordering::Relaxed), begun)
}

/// A kept-alive connection.
pub struct Connection {
    stream: TcpStream,
    host: String,
    buffer: Vec<u8>,
}

impl Connection {
    pub async fn open(address: &str) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, host: address.to_owned(), buffer: Vec::with_capacity(65_536) }
    }

    pub async fn post(&mut self, path: &str, body: &[u8]) -> u16 {
        let mut request = format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            self.host,
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(body);
        self.answer(&request).await.0
    }

    pub async fn post_read(&mut self, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let mut request = format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            self.host,
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(body);
        self.answer(&request).await
    }

    pub async fn get(&mut self, path: &str) -> (u16, Vec<u8>) {
        let request = format!("GET {path} HTTP/1.1\r\nhost: {}\r\n\r\n", self.host);
        self.answer(request.as_bytes()).await
    }

    /// Sends, and reads an answer with a content length.
    async fn answer(&mut self, request: &[u8]) -> (u16, Vec<u8>) {
        self.stream.write_all(request).await.unwrap();
        self.buffer.clear();
        let mut chunk = [0u8; 16_384];
        loop {
            let n = self.stream.read(&mut chunk).await.unwrap();
            assert!(n > 0, "the server closed the connection");
            self.buffer.extend_from_slice(&chunk[..n]);
            if let Some((status, from, length)) = head(&self.buffer)
                && self.buffer.len() >= from + length
            {
                return (status, self.buffer[from..from + length].to_vec());
            }
        }
    }
}

/// Status, where the body begins, and how long it is.
fn head(bytes: &[u8]) -> Option<(u16, usize, usize)> {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n")?;
    let text = std::str::from_utf8(&bytes[..end]).ok()?;
    let status = text.split(' ').nth(1)?.parse().ok()?;
    let length =
        text.lines().find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length:").map(|v| v.trim().parse()));
    Some((status, end + 4, length?.ok()?))
}

/// A bare axum server that answers with what it is sent.
pub fn echo_server(address: &str) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let echo = |body: axum::body::Bytes| async { body };
        let router = axum::Router::new().route("/", axum::routing::get(|| async { "" }).post(echo));
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).unwrap();
        tokio::select! {
            done = std::future::IntoFuture::into_future(axum::serve(listener, router)) => done.unwrap(),
            _ = terminate.recv() => {}
        }
    });
}
