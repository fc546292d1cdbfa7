//! Ctrl-C and SIGTERM: what is told to end comes to its end; a second Ctrl-C ends the process at once.

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Exit code of what Ctrl-C ended, as shells have it: 128 and the number of SIGINT.
const INTERRUPTED: i32 = 130;

/// The signals that ask the process to end.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// From now on signals wait for [`Signals::first`].
    pub fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("signals");
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    /// Waits for the first one.
    pub async fn first(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// From now on Ctrl-C ends the process at once, as a kill does: transactions are rolled back. SIGTERM, which some
    /// supervisors repeat, changes nothing more.
    pub fn next_ends(mut self) {
        tokio::spawn(async move {
            if self.interrupt.recv().await.is_some() {
                std::process::exit(INTERRUPTED);
            }
        });
    }
}

/// Cancelled by Ctrl-C or SIGTERM.
pub fn interrupted() -> anyhow::Result<CancellationToken> {
    let (mut signals, cancel) = (Signals::new()?, CancellationToken::new());
    let told = cancel.clone();
    tokio::spawn(async move {
        signals.first().await;
        eprintln!("journeylog: ending; Ctrl-C again ends at once");
        told.cancel();
        signals.next_ends();
    });
    Ok(cancel)
}
