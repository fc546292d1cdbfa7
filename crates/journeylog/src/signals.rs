//! Ctrl-C and SIGTERM: what is told to end comes to its end; a second Ctrl-C ends the process at once.

use crate::operations::tell;
use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Exit code of what Ctrl-C ended, as shells have it: 128 and the number of SIGINT.
const INTERRUPTED: i32 = 130;

/// The signals that ask the process to end.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// How often Ctrl-C came. A terminal sends it to a script and its processes, and the script sends them SIGTERM: in either order
    /// that is one.
    interrupts: u32,
}

impl Signals {
    /// From now on signals wait for [`Signals::first`].
    pub fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("signals");
        let (interrupt, terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
        Ok(Self { interrupt, terminate, interrupts: 0 })
    }

    /// Waits for the first one.
    pub async fn first(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => self.interrupts += 1,
            _ = self.terminate.recv() => {}
        }
    }

    /// From now on a second Ctrl-C ends the process at once, as a kill does: transactions are rolled back. SIGTERM, which some
    /// supervisors repeat, changes nothing more.
    pub fn next_ends(mut self) {
        tokio::spawn(async move {
            while self.interrupt.recv().await.is_some() {
                self.interrupts += 1;
                if self.interrupts > 1 {
                    std::process::exit(INTERRUPTED);
                }
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
        tell("journeylog: ending; a second Ctrl-C ends at once");
        told.cancel();
        signals.next_ends();
    });
    Ok(cancel)
}
