//! Shows how far a rebuild is: a bar on a terminal, plain lines elsewhere, JSON lines on request.

use crate::operations::say;
use domain::views::View;
use indicatif::{ProgressBar, ProgressStyle};
use projector::rebuild::{Phase, Progress};
use serde_json::json;
use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How often the bar moves.
const BAR_EVERY: Duration = Duration::from_millis(200);
/// How often a line is written.
const LINE_EVERY: Duration = Duration::from_secs(1);

/// Shows progress until it is told to end, or dropped.
pub struct Meter {
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
}

struct Shown {
    view: View,
    generation: i64,
    progress: Arc<Progress>,
    begun: Instant,
}

impl Meter {
    pub fn start(view: View, generation: i64, json: bool, progress: Arc<Progress>) -> Self {
        let stop = CancellationToken::new();
        let shown = Shown { view, generation, progress, begun: Instant::now() };
        let told = stop.clone();
        let bar = !json && std::io::stderr().is_terminal();
        let task = tokio::spawn(async move { if bar { shown.bar(told).await } else { shown.lines(json, told).await } });
        Self { stop, task: Some(task) }
    }

    /// Ends it, and waits until nothing more is written.
    pub async fn end(mut self) {
        self.stop.cancel();
        if let Some(task) = self.task.take() {
            let _ = task.await;
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Shown {
    /// Events a second since this process began, and seconds left at that rate.
    fn rate(&self) -> (f64, Option<f64>) {
        let (done, total) = self.progress.events();
        let rate = (done - self.progress.resumed().min(done)) as f64 / self.begun.elapsed().as_secs_f64().max(0.001);
        (rate, (rate > 0.0).then(|| (total - done) as f64 / rate))
    }

    async fn bar(self, stop: CancellationToken) {
        let bar = ProgressBar::new(self.progress.events().1);
        let style = ProgressStyle::with_template("{bar:30} {percent}% {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        while !tick(&stop, BAR_EVERY).await {
            let (done, total) = self.progress.events();
            bar.set_length(total);
            bar.set_position(done);
            bar.set_message(self.text());
        }
        bar.finish_and_clear();
    }

    fn text(&self) -> String {
        let (rate, left) = self.rate();
        match self.progress.phase() {
            Phase::Folding => format!("{rate:.0} events/s, {} s left", left.map_or("?".into(), |s| format!("{s:.0}"))),
            Phase::CatchingUp => format!("catching up, {} events behind", self.progress.behind()),
            other => other.as_str().to_owned(),
        }
    }

    async fn lines(self, json: bool, stop: CancellationToken) {
        while !tick(&stop, LINE_EVERY).await {
            let (done, total) = self.progress.events();
            let percent = done * 100 / total.max(1);
            if json {
                let ((rate, left), (slices_done, slices)) = (self.rate(), self.progress.slices());
                let line = json!({"view": self.view.as_str(), "generation": self.generation,
                    "phase": self.progress.phase().as_str(), "events": done, "total": total, "slices": slices,
                    "slices_done": slices_done, "percent": percent, "rate": rate.round(), "eta_s": left.map(f64::round),
                    "behind": self.progress.behind(), "done": false});
                say(line);
            } else {
                let _ = writeln!(std::io::stderr(), "{percent}% {}", self.text());
            }
        }
    }
}

/// Waits; whether it is time to stop.
async fn tick(stop: &CancellationToken, every: Duration) -> bool {
    tokio::time::timeout(every, stop.cancelled()).await.is_ok()
}
