//! NDJSON in, NDJSON out: one answer line per input line, in order, while the input is still coming.
//!
//! A proxy such as nginx stops sending a body once its answer has begun. So an answer of refused lines alone begins when the body
//! has ended, or there is much to say.

use super::{Gateway, answer};
use crate::intake::Protocol;
use crate::ndjson::{self, LineResult, Progress, Stopped};
use crate::problem::Problem;
use axum::body::{Body, BodyDataStream};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::{StreamExt, stream::BoxStream};
use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tracing::Instrument as _;

/// Chunks of answers waiting for a slow reader; then the input waits too.
const ANSWERS_WAITING: usize = 4;

/// Bytes of refused lines that wait for the end of the body.
const MOST_HELD: usize = 1 << 20;

/// Starts the stream's task and answers with what it says.
pub(super) async fn respond(gateway: &Arc<Gateway>, headers: &HeaderMap, body: Body) -> Result<Response, Problem> {
    let permit = gateway.streams.clone().try_acquire_owned().map_err(|_| Problem::busy(gateway.limits.retry_after))?;
    let prefer = headers.get_all("prefer").iter().filter_map(|v| v.to_str().ok());
    let minimal = prefer.flat_map(|v| v.split(',')).any(|p| p.trim().eq_ignore_ascii_case("return=minimal"));
    let (send, mut receive) = mpsc::channel::<Bytes>(ANSWERS_WAITING);
    let gateway = gateway.clone();
    // A task of its own, so that what was begun is brought to its end when the sender goes away.
    let task = async move {
        run(&gateway, body, minimal, send).await;
        drop(permit);
    };
    tokio::spawn(task.in_current_span());
    let first = if minimal { receive.recv().await } else { None };
    let rest = futures::stream::poll_fn(move |cx| receive.poll_recv(cx));
    let answers = futures::stream::iter(first).chain(rest).map(Ok::<_, io::Error>);
    let ndjson = HeaderValue::from_static("application/x-ndjson");
    Ok(([(header::CONTENT_TYPE, ndjson)], Body::from_stream(answers)).into_response())
}

/// The body's chunks; an error where the next one takes longer than `idle`.
fn chunks(body: Body, idle: Duration) -> BoxStream<'static, io::Result<Bytes>> {
    let next = move |mut body: BodyDataStream| async move {
        let chunk = match tokio::time::timeout(idle, body.next()).await {
            Ok(chunk) => chunk?.map_err(io::Error::other),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        Some((chunk, body))
    };
    futures::stream::unfold(body.into_data_stream(), next).boxed()
}

/// Hands a text to the reader of the answers; whether it was taken within `idle`.
async fn tell(to: &mpsc::Sender<Bytes>, text: String, idle: Duration) -> bool {
    text.is_empty() || matches!(tokio::time::timeout(idle, to.send(Bytes::from(text))).await, Ok(Ok(())))
}

async fn run(gateway: &Gateway, body: Body, minimal: bool, send: mpsc::Sender<Bytes>) {
    let idle = gateway.limits.stream_idle;
    let chunks = chunks(body, idle);
    let mut counts = Progress::default();
    let mut last_line = 0;
    let mut held = String::new();
    let sender = &send;
    let out = |answers: Vec<LineResult>| {
        let mut text = std::mem::take(&mut held);
        text.reserve(if minimal { 0 } else { answers.len() * 112 });
        for a in &answers {
            counts.count(a);
            last_line = a.line;
            if a.result.as_ref().is_err_and(|p| matches!(p.status, 400 | 413 | 422)) {
                gateway.invalid.0.increment(1);
            }
            line(&mut text, a, minimal);
        }
        if minimal && text.len() < MOST_HELD {
            held = std::mem::take(&mut text);
        }
        tell(sender, text, idle)
    };
    let ended = ndjson::run(chunks, gateway.publisher.clone(), gateway.limits.ndjson, Some(Protocol::Http), out).await;
    let mut text = held;
    if let Err(stopped) = &ended {
        let problem = match stopped {
            Stopped::Log => Problem::unavailable(gateway.limits.retry_after),
            Stopped::Read(e) if e.kind() == io::ErrorKind::TimedOut => {
                Problem::too_slow(format!("nothing came for {idle:?}"))
            }
            Stopped::Read(_) | Stopped::Gone => Problem::malformed("the body ended before its end"),
        };
        let _ = writeln!(text, "{{\"stopped\":{{\"after_line\":{last_line},\"problem\":{}}}}}", problem.to_json());
    }
    if minimal {
        let Progress { lines, accepted, duplicates, refused } = counts;
        let _ = writeln!(
            text,
            "{{\"summary\":{{\"lines\":{lines},\"accepted\":{accepted},\"duplicates\":{duplicates},\"refused\":{refused}}}}}"
        );
    }
    // A sender that has gone needs no last line.
    tell(&send, text, idle).await;
}

fn line(out: &mut String, a: &LineResult, minimal: bool) {
    match &a.result {
        Ok(_) if minimal => {}
        Ok(accepted) => {
            let _ = write!(out, "{{\"line\":{},", a.line);
            answer::fields(out, accepted);
            out.push_str("}\n");
        }
        Err(problem) => {
            let _ = writeln!(out, "{{\"line\":{},\"problem\":{}}}", a.line, problem.to_json());
        }
    }
}
