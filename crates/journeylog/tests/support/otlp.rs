//! A collector of traces: OTLP over HTTP, as far as the tests look into it.

use super::PATIENCE;
use axum::body::Bytes;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A span as it came; ids are hexadecimal.
#[derive(Debug, Clone)]
pub struct Span {
    pub name: String,
    pub trace: String,
    pub id: String,
    /// Empty where it has none.
    pub parent: String,
    /// The view that it is about; empty where it is about none.
    pub view: String,
    /// Trace and id of each span that it links to.
    pub links: Vec<(String, String)>,
}

/// Listens as long as the test runs.
pub struct Collector {
    pub endpoint: String,
    came: Arc<Mutex<Vec<Span>>>,
}

impl Collector {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}/v1/traces", listener.local_addr().unwrap());
        let came: Arc<Mutex<Vec<Span>>> = Arc::default();
        let to = came.clone();
        let take = move |body: Bytes| async move {
            to.lock().unwrap().extend(spans(&body));
        };
        let router = axum::Router::new().route("/v1/traces", axum::routing::post(take));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { endpoint, came }
    }

    /// The first span that is `wanted`, once it has come.
    pub async fn find(&self, what: &str, wanted: impl Fn(&Span) -> bool) -> Span {
        let begun = Instant::now();
        loop {
            let found = self.came.lock().unwrap().iter().find(|s| wanted(s)).cloned();
            if let Some(span) = found {
                return span;
            }
            assert!(begun.elapsed() < PATIENCE, "no span of {what}: {:#?}", self.came.lock().unwrap());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// The spans of an `ExportTraceServiceRequest`; the numbers of fields are those of opentelemetry-proto's `trace.proto`.
fn spans(request: &[u8]) -> Vec<Span> {
    let scopes = parts(request, 1).into_iter().flat_map(|resource| parts(resource, 2));
    scopes.flat_map(|scope| parts(scope, 2)).map(span).collect()
}

fn span(span: &[u8]) -> Span {
    let attributes = parts(span, 9);
    let view = attributes.iter().find(|a| text(a, 1) == "view.name");
    Span {
        name: text(span, 5),
        trace: hex(span, 1),
        id: hex(span, 2),
        parent: hex(span, 4),
        view: view.map(|a| text(parts(a, 2)[0], 1)).unwrap_or_default(),
        links: parts(span, 13).into_iter().map(|link| (hex(link, 1), hex(link, 2))).collect(),
    }
}

fn hex(message: &[u8], field: u64) -> String {
    parts(message, field).into_iter().flatten().map(|b| format!("{b:02x}")).collect()
}

fn text(message: &[u8], field: u64) -> String {
    String::from_utf8(parts(message, field).concat()).unwrap()
}

/// What a Protobuf message has in a field of bytes, text or messages; fields of other kinds are passed over.
fn parts(message: &[u8], field: u64) -> Vec<&[u8]> {
    let (mut rest, mut found) = (message, Vec::new());
    while !rest.is_empty() {
        let key = varint(&mut rest);
        let (number, kind) = (key >> 3, key & 7);
        let length = match kind {
            0 => {
                varint(&mut rest);
                continue;
            }
            1 => 8,
            2 => usize::try_from(varint(&mut rest)).unwrap(),
            5 => 4,
            _ => panic!("field {number} is of no known kind: {kind}"),
        };
        let (content, after) = rest.split_at(length);
        rest = after;
        if number == field && kind == 2 {
            found.push(content);
        }
    }
    found
}

fn varint(rest: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first().unwrap();
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}
