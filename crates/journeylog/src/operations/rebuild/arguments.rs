//! What `journeylog rebuild` is asked for.

use crate::operations::Why;
use anyhow::{Context as _, bail};
use domain::Micros;
use domain::views::mot::{Mot, Standards};
use domain::views::{MadeBy, Until, View};
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::PathBuf;

/// What to rebuild, and what to do with it.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The view.
    pub view: crate::cli::ViewName,
    /// Score by this standard (TOML) instead of the configured ones; may be given several times. The view mot only.
    #[arg(long, value_name = "FILE")]
    pub(super) standard: Vec<PathBuf>,
    /// Show the past: only what had been recorded by this time (RFC 3339), or lies at or before these positions
    /// (`partition:offset,…`). Such a generation stays beside the live one and never moves; read it with `?generation=`.
    #[arg(long, value_name = "TIME|POSITION", value_parser = until, conflicts_with_all = ["no_switch", "accept_differences"])]
    pub(super) until: Option<String>,
    /// With --until and a time: by when it was recorded (what was known), or when it occurred (what had happened).
    #[arg(long, value_enum, default_value = "recorded", requires = "until")]
    by: By,
    /// Leave the generation beside the live one; `journeylog switch` lets readers see it later.
    #[arg(long)]
    pub(super) no_switch: bool,
    /// Switch although the generations differ.
    #[arg(long)]
    pub(super) accept_differences: bool,
    /// Say what would be done, how long it would take and what it needs, and do nothing.
    #[arg(long, conflicts_with_all = ["no_switch", "accept_differences"])]
    pub(super) plan: bool,
    /// Fold at most so many events a second.
    #[arg(long, value_name = "EVENTS_PER_S")]
    pub(super) throttle: Option<NonZeroU32>,
    /// Events of one transaction, instead of what suits the database: for tests.
    #[arg(long, hide = true, value_name = "EVENTS")]
    pub(super) slice_events: Option<u64>,
    /// One line of JSON per second and at the end, instead of a bar.
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) why: Why,
}

/// Which time of an event counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum By {
    Recorded,
    Occurred,
}

/// A time, by when it was recorded, or positions.
fn end(text: &str) -> Option<Until> {
    let position = |part: &str| {
        let (partition, offset) = part.split_once(':')?;
        Some((partition.parse().ok()?, offset.parse().ok()?))
    };
    let positions = || text.split(',').map(position).collect::<Option<BTreeMap<u32, u64>>>();
    Micros::parse(text).map(Until::Recorded).or_else(|| positions().map(Until::Positions))
}

fn until(text: &str) -> Result<String, &'static str> {
    let wrong = "neither an RFC 3339 time with offset nor positions such as 3:1042,4:17";
    end(text).map(|_| text.to_owned()).ok_or(wrong)
}

impl Arguments {
    /// Where the generation ends.
    fn end(&self) -> anyhow::Result<Option<Until>> {
        Ok(match (self.until.as_deref().and_then(end), self.by) {
            (Some(Until::Positions(_)), By::Occurred) => bail!("--by occurred is for a time, not for positions"),
            (Some(Until::Recorded(time)), By::Occurred) => Some(Until::Occurred(time)),
            (until, _) => until,
        })
    }

    /// How the generation is made: as configured now, but for what is asked for.
    pub(super) fn made_by(&self, configured: &Mot) -> anyhow::Result<MadeBy> {
        let until = self.end()?;
        if self.standard.is_empty() {
            return Ok(MadeBy { until, ..MadeBy::configured(self.view.into(), configured) });
        }
        if !matches!(self.view.into(), View::Mot) {
            bail!("--standard is for the view mot: no other scores anything");
        }
        let mut files = Vec::new();
        for path in &self.standard {
            let text = std::fs::read_to_string(path).with_context(|| format!("standard {}", path.display()))?;
            files.push((path.display().to_string(), text));
        }
        Standards::parse(&files).context("--standard")?;
        Ok(MadeBy { standards: Some(files), until })
    }
}
