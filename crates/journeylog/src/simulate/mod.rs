//! Simulator: believable journeys over the whole catalogue, as NDJSON in the publication form of events.
//!
//! The same options give the same bytes on every machine: one `ChaCha8` stream per patient, exact arithmetic only, and no
//! clock. Lines come in the order in which the sources recorded them; resends come later than their originals, and a few
//! demonstration patients come first. Memory does not grow with the number of patients (`buckets.rs`). What is modelled,
//! and where the figures come from, is in `docs/simulator.md`.

mod after;
mod arrivals;
mod billing;
mod booking;
mod buckets;
mod choosing;
mod clock;
mod demo;
mod dice;
mod history;
mod life;
mod phrases;
mod records;
mod referral;
mod scribe;
mod staff;
mod stay;
#[cfg(test)]
mod tests;
mod visit;
mod voice;
mod world;

use arrivals::Arrivals;
use buckets::Buckets;
use dice::Dice;
use domain::time::DAY;
use domain::{Kind, Micros};
use scribe::{Sink, no_counts};
use std::io::{self, Write};

/// 2026-11-01T00:00:00Z, where the output ends unless told otherwise.
pub const DEFAULT_UNTIL: Micros = Micros(1_793_491_200_000_000);
/// Bytes and events that a patient comes to, for cutting time into slices.
const BYTES_PER_PATIENT: u64 = 40 * 620;

/// What to simulate.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How many patients, besides the demonstration patients.
    pub patients: u64,
    /// Length of the window, days, at least 1.
    pub days: u32,
    /// Seed of all draws (the demonstration patients are the same for every seed).
    pub seed: u64,
    /// End of the window: nothing happens or is recorded after it.
    pub until: Micros,
}

impl Default for Options {
    fn default() -> Self {
        Self { patients: 2_000, days: 90, seed: 1, until: DEFAULT_UNTIL }
    }
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Patients, demonstration patients included.
    pub patients: u64,
    /// Distinct events.
    pub events: u64,
    /// Lines that repeat an earlier event.
    pub resent: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Distinct events of each kind, zeroes included.
    pub by_kind: Vec<(Kind, u64)>,
}

/// Simulates, and writes one event per line.
///
/// # Errors
/// Those of `out`, and of the temporary file that holds what memory should not.
pub fn run(options: &Options, out: &mut impl Write) -> io::Result<Summary> {
    let until = options.until.0;
    let from = until - i64::from(options.days.max(1)) * DAY;
    let sink =
        |bytes| Sink { buckets: Buckets::new(from, until, bytes), until, counts: no_counts(), resent: 0, error: None };
    let mut first = sink(0);
    let demos = demo::write(&mut first, from);
    let mut bytes = drain(&mut first, out)?;

    let mut sink = sink(options.patients * BYTES_PER_PATIENT);
    let mut arrivals = Arrivals::new(from, until, options.patients);
    let mut staff = staff::Rounds::new(from, until);
    for slice in 0..sink.buckets.len() {
        let end = sink.buckets.end(slice);
        while let Some((index, at)) = arrivals.next_before(end) {
            life::live(&mut sink, options.seed, index, from, at);
            raise(&mut sink)?;
        }
        staff.write_before(end, &mut sink, options.seed, options.patients);
        raise(&mut sink)?;
        bytes += sink.buckets.flush(out)?;
    }
    out.flush()?;
    let counts = sink.counts.iter().zip(&first.counts).map(|(a, b)| a + b);
    let by_kind: Vec<_> = Kind::ALL.iter().copied().zip(counts).collect();
    Ok(Summary {
        patients: options.patients + demos,
        events: by_kind.iter().map(|(_, n)| n).sum(),
        resent: sink.resent,
        bytes,
        by_kind,
    })
}

fn drain(sink: &mut Sink, out: &mut impl Write) -> io::Result<u64> {
    raise(sink)?;
    (0..sink.buckets.len()).map(|_| sink.buckets.flush(out)).sum()
}

fn raise(sink: &mut Sink) -> io::Result<()> {
    sink.error.take().map_or(Ok(()), Err)
}

/// The dice of stream `stream`.
fn dice(seed: u64, stream: u64) -> Dice {
    Dice::new(seed, stream)
}
