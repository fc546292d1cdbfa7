//! What servers of ours do alike: taking connections, and waiting for them to end.

use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Pause after the system gave no connection, as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// The next connection, whatever it takes. Cancel-safe.
pub async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((io, _)) => {
                let _ = io.set_nodelay(true);
                return io;
            }
            // That one has gone already.
            Err(e) if matches!(e.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) => {}
            Err(e) => {
                tracing::warn!(error = %e, "no connection was accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Waits for connections to end, and cuts those that take longer than `limit`.
pub async fn drain(mut connections: JoinSet<()>, limit: Duration) {
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(limit, ended).await.is_err() {
        tracing::warn!(connections = connections.len(), "cut connections that did not end");
    }
}
