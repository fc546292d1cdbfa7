//! `verify`: proof that a view equals the log.

use super::dead_letters::{columns, generation};
use super::{Done, Why, audited, interruptible, open_store, say, tell};
use crate::commands::{PROGRESS_EVERY, REFUSED};
use crate::settings::Settings;
use crate::signals::interrupted;
use crate::views::{spec, with_view};
use domain::views::View;
use projector::{Difference, Finding, Progress, Report, Scope, Thoroughness};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use store::State;

/// Connections to the store.
const CONNECTIONS: u32 = 3;

/// What to verify, and how.
pub struct Verify {
    pub view: View,
    /// Another generation than the one that readers see.
    pub generation: Option<i64>,
    /// Share of the keys, above 0, up to 1.
    pub sample: f64,
    pub repair: bool,
    pub json: bool,
}

/// Reads `1%` or `0.01`.
pub fn share(text: &str) -> Result<f64, &'static str> {
    let (number, unit) = text.strip_suffix('%').map_or((text, 1.0), |n| (n, 100.0));
    let share = number.trim().parse::<f64>().map_or(0.0, |n| n / unit);
    if share > 0.0 && share <= 1.0 { Ok(share) } else { Err("a share is above 0 and at most 100%, such as 1%") }
}

/// `journeylog verify`.
pub async fn verify(settings: &Settings, what: &Verify, why: &Why) -> anyhow::Result<ExitCode> {
    let store = open_store(settings, CONNECTIONS).await?;
    let log = super::open_log(settings).await?;
    let info = generation(&store, what.view, what.generation).await?;
    anyhow::ensure!(info.state != State::Building, "generation {} is being built", info.number);
    let detail = json!({"sample": what.sample, "repair": what.repair});
    let cancel = interrupted()?;
    let work = interruptible(&cancel, async {
        let generation = store.generation(spec(what.view), info.number).await?;
        let mot = crate::views::mot(settings)?;
        let how = Thoroughness { sample: what.sample, repair: what.repair, ..Thoroughness::default() };
        let mut meter = Meter::new(what);
        let done = with_view!(what.view, mot, |make| {
            let view = make(&info)?;
            let scope = Scope { view: &view, generation: &generation, log: &log, store: &store };
            projector::verify(&scope, how, &cancel, |report| meter.show(report)).await?
        });
        Ok(Done {
            code: exit_code(&done, what.sample),
            interrupted: !is_whole(&done),
            ..Done::of(None, meter.end(&done))
        })
    });
    audited(&store, "verify", Some(what.view), Some(info.number), why, detail, work).await
}

/// Whether everything was compared that should be.
fn is_whole(p: &Progress) -> bool {
    p.done >= 1.0
}

/// Whether a sample took none of the keys that there are.
fn took_nothing(p: &Progress, sample: f64) -> bool {
    is_whole(p) && sample < 1.0 && p.keys == 0 && p.records > 0 && p.findings == 0
}

/// What a check says to a script: only one that saw everything and found nothing says that all is well.
fn exit_code(p: &Progress, sample: f64) -> ExitCode {
    match (p.findings, is_whole(p) && !took_nothing(p, sample)) {
        (0, true) => ExitCode::SUCCESS,
        (0, false) => ExitCode::FAILURE,
        _ => ExitCode::from(REFUSED),
    }
}

/// Differences as JSON.
pub fn tables(differences: &[Difference]) -> Value {
    let one = |d: &Difference| json!({"table": d.table, "missing": d.missing, "extra": d.extra, "differing": d.differing, "columns": d.columns});
    differences.iter().map(one).collect()
}

/// Shows progress and findings, and sums them up by table.
struct Meter<'a> {
    what: &'a Verify,
    begun: Instant,
    shown: Instant,
    tables: BTreeMap<String, [usize; 3]>,
}

impl<'a> Meter<'a> {
    fn new(what: &'a Verify) -> Self {
        Self { what, begun: Instant::now(), shown: Instant::now(), tables: BTreeMap::new() }
    }

    fn show(&mut self, report: Report<'_>) {
        match report {
            Report::Finding(f) => self.finding(f),
            Report::Progress(p) if self.shown.elapsed() >= PROGRESS_EVERY => {
                self.shown = Instant::now();
                self.progress(p);
            }
            Report::Progress(_) => {}
        }
    }

    fn finding(&mut self, f: &Finding) {
        for d in &f.differences {
            let sum = self.tables.entry(d.table.clone()).or_default();
            for (sum, n) in sum.iter_mut().zip([d.missing, d.extra, d.differing]) {
                *sum += n;
            }
        }
        if self.what.json {
            let line = json!({"key_hash": f.key_hash, "partition": f.partition, "repaired": f.repaired,
                "differences": tables(&f.differences)});
            say(&line);
            return;
        }
        let done = if f.repaired { ", repaired" } else { "" };
        for d in &f.differences {
            let (missing, extra, differing) = (d.missing, d.extra, d.differing);
            say(format_args!(
                "{:12} {:24} {missing} missing, {extra} extra, {differing} differing{}{done}",
                f.key_hash,
                d.table,
                columns(d)
            ));
        }
    }

    fn progress(&self, p: &Progress) {
        let s = self.begun.elapsed().as_secs_f64();
        let (rate, left) = (p.keys as f64 / s, s * (1.0 - p.done) / p.done.max(0.001));
        if self.what.json {
            let line = json!({"progress": p.done, "keys": p.keys, "records": p.records, "findings": p.findings,
                "keys_per_s": rate.round(), "eta_s": left.round()});
            say(&line);
        } else {
            let left = Duration::from_secs_f64(left);
            tell(format_args!(
                "{:.0}% {} keys, {rate:.0}/s, {} differ, {left:.0?} left",
                p.done * 100.0,
                p.keys,
                p.findings
            ));
        }
    }

    /// The last line; and what the account keeps.
    fn end(self, p: &Progress) -> Value {
        let by = |(t, [missing, extra, differing]): (&String, &[usize; 3])| {
            (t.clone(), json!({"missing": missing, "extra": extra, "differing": differing}))
        };
        let tables: serde_json::Map<String, Value> = self.tables.iter().map(by).collect();
        let mut result = json!({"keys": p.keys, "records": p.records, "differing_keys": p.findings, "tables": tables,
            "repaired": self.what.repair && p.findings > 0});
        let interrupted = !is_whole(p);
        if interrupted {
            result["interrupted"] = json!(true);
        }
        let nothing = took_nothing(p, self.what.sample);
        if nothing {
            result["nothing_compared"] = json!(true);
        }
        if self.what.json {
            result["done"] = json!(!interrupted);
            say(&result);
        } else {
            let s = self.begun.elapsed().as_secs_f64();
            let end = match (p.findings, self.what.repair) {
                (n, _) if interrupted => format!("interrupted at {:.0}%: {n} of these differed", p.done * 100.0),
                _ if nothing => "nothing was compared, the sample takes none of the patients".to_owned(),
                (0, _) => "the view equals the log".to_owned(),
                (n, true) => format!("{n} differed and were repaired"),
                (n, false) => format!("{n} differ (--repair puts them right)"),
            };
            say(format_args!(
                "{}: {} keys, {} records read, {s:.1} s: {end}",
                self.what.view.as_str(),
                p.keys,
                p.records
            ));
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupted_check_never_says_that_all_is_well() {
        let what = Verify { view: View::Mot, generation: None, sample: 1.0, repair: false, json: false };
        let end = |done, findings| {
            let p = Progress { done, findings, ..Progress::default() };
            (Meter::new(&what).end(&p)["interrupted"].clone(), exit_code(&p, what.sample))
        };
        assert_eq!(end(1.0, 0), (Value::Null, ExitCode::SUCCESS));
        assert_eq!(end(0.9, 0), (json!(true), ExitCode::FAILURE));
        assert_eq!(end(0.9, 1), (json!(true), ExitCode::from(REFUSED)));
    }

    #[test]
    fn a_sample_that_takes_nobody_proves_nothing() {
        let end = |sample, records, keys, findings| {
            let what = Verify { view: View::Mot, generation: None, sample, repair: false, json: false };
            let p = Progress { done: 1.0, records, keys, findings };
            (Meter::new(&what).end(&p)["nothing_compared"].clone(), exit_code(&p, sample))
        };
        assert_eq!(end(1e-302, 70, 0, 0), (json!(true), ExitCode::FAILURE));
        assert_eq!(end(0.1, 70, 0, 1), (Value::Null, ExitCode::from(REFUSED)), "a row of nobody in the log");
        assert_eq!(end(0.1, 70, 1, 0), (Value::Null, ExitCode::SUCCESS));
        assert_eq!(end(0.1, 0, 0, 0), (Value::Null, ExitCode::SUCCESS), "an empty view of an empty log");
        assert_eq!(end(1.0, 70, 0, 0), (Value::Null, ExitCode::SUCCESS), "events that concern nobody");
    }
}
