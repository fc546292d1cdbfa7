//! Old history from a CSV event log, by a mapping file (`docs/guides/import.md`).
//!
//! Every row is accounted for: it becomes one event, or a listed refusal with its line and reason. Ids are derived from
//! the row, so importing a file again changes nothing.

mod mapping;
mod records;
mod row;

pub use mapping::{Mapping, MappingError};

use crate::ndjson::{Batch, LineResult, NdjsonLimits, Pipeline, Progress, Refused, Stopped};
use crate::problem::Problem;
use crate::publisher::{Prepared, Publisher};
use row::Rows;
use std::collections::HashSet;
use std::io::Read;
use std::sync::Arc;

/// Why an import ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file can't be read.
    #[error("the file can't be read")]
    Read(#[source] csv::Error),
    /// A row doesn't end where a row should.
    #[error(
        "line {line}: the row that begins here is longer than {most} bytes: is a quote open? Nothing from there on was read"
    )]
    TooLong { line: u64, most: usize },
    /// The file ends within quotes.
    #[error(
        "line {line}: a quote of the row that begins here is open at the end of the file: nothing from there on was read"
    )]
    OpenQuote { line: u64 },
    /// The heading can't be read.
    #[error("the heading is not UTF-8")]
    Heading,
    /// Columns that the mapping names stand in the heading twice.
    #[error("the file has more than one column {}", .0.join(", "))]
    Twice(Vec<String>),
    /// The mapping names columns that the file doesn't have.
    #[error("the file has no column {}", .0.join(", "))]
    Columns(Vec<String>),
    /// The log stayed unavailable. Importing again continues: what was taken is recognised.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// What came of an import. `rows` is always `accepted + duplicates + refused`.
#[derive(Debug, Default)]
pub struct ImportReport {
    /// The counts; `lines` is the number of rows, without the heading.
    pub counts: Progress,
    /// Different patients among the events.
    pub patients: usize,
    /// The first [`crate::Summary::MOST_REFUSED`] refused rows.
    pub refused: Vec<Refused>,
}

/// Imports a CSV log. `progress` is called after each batch with the counts so far and the batch's refused rows.
///
/// Reads `file` without yielding: meant for local files.
///
/// # Errors
/// When the file can't be read or a row of it has no end (the rows before that are imported), when it lacks columns, or the log stays unavailable. A bad row is no
/// error but a refusal.
pub async fn import<R: Read + Send>(
    file: R,
    mapping: &Mapping,
    publisher: Arc<Publisher>,
    limits: NdjsonLimits,
    mut progress: impl FnMut(&Progress, &[Refused]) + Send,
) -> Result<ImportReport, ImportError> {
    let mut rows = Rows::open(file, mapping, limits.line_bytes)?;
    let mut pipeline = Pipeline::new(publisher, limits.in_flight, limits.retry_for);
    let mut report = ImportReport::default();
    let mut patients = HashSet::new();
    let mut done = false;
    let mut read = Ok(());
    while !done {
        let mut batch = Batch::with_capacity(limits.batch_lines);
        read = fill(&mut batch, &mut rows, &limits, &mut patients, &mut done);
        done |= read.is_err();
        while pipeline.is_full() {
            if let Some(answers) = pipeline.next().await {
                note(&mut report, &answers, &mut progress)?;
            }
        }
        if let Some(answers) = pipeline.push(batch) {
            note(&mut report, &answers, &mut progress)?;
        }
    }
    while let Some(answers) = pipeline.next().await {
        note(&mut report, &answers, &mut progress)?;
    }
    report.patients = patients.len();
    read.map(|()| report)
}

fn fill<R: Read>(
    batch: &mut Batch,
    rows: &mut Rows<'_, R>,
    limits: &NdjsonLimits,
    patients: &mut HashSet<u64>,
    done: &mut bool,
) -> Result<(), ImportError> {
    let now = crate::now();
    while batch.len() < limits.batch_lines {
        let Some((line, event)) = rows.next()? else {
            *done = true;
            break;
        };
        let prepared = event.and_then(|e| Prepared::new(e, &limits.event, now).map_err(Problem::invalid));
        if let Ok(p) = &prepared
            && let Some(patient) = &p.event().header().patient_id
        {
            patients.insert(xxhash_rust::xxh3::xxh3_64(patient.as_str().as_bytes()));
        }
        batch.push((line, prepared));
    }
    Ok(())
}

fn note(
    report: &mut ImportReport,
    answers: &[LineResult],
    progress: &mut (impl FnMut(&Progress, &[Refused]) + Send),
) -> Result<(), Stopped> {
    let mut refused = Vec::new();
    let mut stop = false;
    for a in answers {
        report.counts.count(a);
        if let Err(p) = &a.result {
            stop |= p.retry_after.is_some();
            refused.push(Refused::new(a.line, p));
        }
    }
    progress(&report.counts, &refused);
    refused.truncate(crate::Summary::MOST_REFUSED.saturating_sub(report.refused.len()));
    report.refused.append(&mut refused);
    if stop { Err(Stopped::Log) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
