//! `refused`: what the Kafka inbox refused. Keys, values and the senders' own headers are never shown: they may be a patient's.

use crate::operations::{say, tell};
use crate::settings::Settings;
use anyhow::{Context as _, bail};
use eventlog::relay::open_topic;
use eventlog::{Log, NewRecord, Position, Record};
use ingest::inbox::{REASONS, header};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

/// Records read at once.
const PAGE: usize = 1_000;
/// Records sent to the inbox at once.
const SENT: usize = 500;
/// Longest header value that is shown, bytes.
const MOST_SHOWN_BYTES: usize = 2_000;

/// What is done about refused records.
#[derive(clap::Subcommand)]
pub enum Command {
    /// List them, in the order of each partition.
    List {
        /// Refused for one reason only, such as invalid.
        #[arg(long)]
        reason: Option<String>,
        /// Most to list.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=100_000))]
        limit: u64,
        /// Only those after this one.
        #[arg(long)]
        after: Option<String>,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Show one.
    Show {
        /// Where it lies, as `list` shows it: PARTITION:OFFSET.
        at: String,
    },
    /// Send records to the inbox again, as they came: once what refused them has changed.
    Redrive {
        /// Those that were refused for this reason.
        #[arg(long, conflicts_with = "at")]
        reason: Option<String>,
        /// Single ones: PARTITION:OFFSET.
        #[arg(required_unless_present = "reason")]
        at: Vec<String>,
    },
}

/// `journeylog refused …`.
pub async fn run(settings: &Settings, command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::List { reason, limit, after, json } => {
            list(settings, reason.as_deref(), after.as_deref(), limit as usize, json).await
        }
        Command::Show { at } => show(settings, &at).await,
        Command::Redrive { reason, at } => redrive(settings, reason.as_deref(), &at).await,
    }
}

async fn open(settings: &Settings, topic: &str) -> anyhow::Result<Arc<dyn Log>> {
    open_topic(&settings.log.url, topic, &settings.log.options()?).await.with_context(|| format!("topic {topic}"))
}

/// The inbox's own header of a name: it puts them behind those that came.
fn own<'r>(record: &'r Record, name: &str) -> Option<&'r str> {
    let (_, value) = record.headers.iter().rev().find(|(n, _)| n == name)?;
    std::str::from_utf8(value).ok().filter(|v| v.len() <= MOST_SHOWN_BYTES)
}

fn reason(record: &Record) -> &'static str {
    let code = own(record, header::REASON).unwrap_or_default();
    REASONS.iter().find(|(known, _)| *known == code).map_or("unknown", |(known, _)| known)
}

fn describe(record: &Record) -> Value {
    let Position { partition, offset } = record.position;
    let own = |name| own(record, name);
    json!({"at": format!("{partition}:{offset}"), "reason": reason(record), "detail": own(header::DETAIL),
        "pointers": own(header::POINTERS), "inbox": own(header::POSITION), "refused_at": own(header::AT),
        "source": own(header::SOURCE), "event_id": own(header::EVENT_ID),
        "key_bytes": record.key.len(), "value_bytes": record.value.len()})
}

fn position(text: &str) -> anyhow::Result<Position> {
    let parts = text.split_once(':').and_then(|(p, o)| Some((p.parse().ok()?, o.parse().ok()?)));
    let (partition, offset) = parts.with_context(|| format!("{text} is not PARTITION:OFFSET"))?;
    Ok(Position { partition, offset })
}

/// Hands every record after a position to `f`, until it says `false`.
async fn each(
    log: &dyn Log,
    after: Option<Position>,
    mut f: impl FnMut(&Record) -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let begin = after.map_or((0, 0), |p| (p.partition, p.offset + 1));
    for (partition, (first, end)) in (0u32..).zip(log.bounds().await?) {
        let mut at = match partition.cmp(&begin.0) {
            std::cmp::Ordering::Less => continue,
            std::cmp::Ordering::Equal => first.max(begin.1),
            std::cmp::Ordering::Greater => first,
        };
        while at < end {
            let records = log.read(partition, at, PAGE).await?;
            let Some(last) = records.last() else { break };
            at = last.position.offset + 1;
            for record in &records {
                if !f(record)? {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

fn known(code: &str) -> anyhow::Result<()> {
    if REASONS.iter().all(|(known, _)| *known != code) {
        let codes: Vec<&str> = REASONS.iter().map(|(known, _)| *known).collect();
        bail!("no reason {code}; there are {}", codes.join(", "));
    }
    Ok(())
}

/// `journeylog refused list`.
async fn list(
    settings: &Settings,
    only: Option<&str>,
    after: Option<&str>,
    limit: usize,
    json: bool,
) -> anyhow::Result<ExitCode> {
    only.map_or(Ok(()), known)?;
    let after = after.map(position).transpose()?;
    let log = open(settings, &settings.inbox.refused_topic).await?;
    let (mut out, mut listed, mut last) = (std::io::stdout(), 0, None);
    each(log.as_ref(), after, |record| {
        if only.is_some_and(|only| only != reason(record)) {
            return Ok(true);
        }
        if listed == limit {
            return Ok(false);
        }
        listed += 1;
        last = Some(record.position);
        if json {
            writeln!(out, "{}", describe(record))?;
        } else {
            let Position { partition, offset } = record.position;
            let (source, detail) = (own(record, header::SOURCE).unwrap_or("?"), own(record, header::DETAIL));
            let detail = detail.unwrap_or_default();
            writeln!(out, "{:14} {:14} {source:20} {detail}", format!("{partition}:{offset}"), reason(record))?;
        }
        Ok(true)
    })
    .await?;
    if let Some(Position { partition, offset }) = last.filter(|_| listed == limit) {
        tell(format_args!("more: --after {partition}:{offset}"));
    }
    Ok(ExitCode::SUCCESS)
}

/// The record at a position.
async fn at(log: &dyn Log, text: &str) -> anyhow::Result<Record> {
    let at = position(text)?;
    let found = log.read(at.partition, at.offset, 1).await?;
    found.into_iter().find(|r| r.position == at).with_context(|| format!("no record at {text}"))
}

/// `journeylog refused show`: everything but what the sender wrote.
async fn show(settings: &Settings, text: &str) -> anyhow::Result<ExitCode> {
    let log = open(settings, &settings.inbox.refused_topic).await?;
    let record = at(log.as_ref(), text).await?;
    let mut shown = describe(&record);
    let schema_id = record.value.get(1..5).and_then(|b| b.try_into().ok()).map(u32::from_be_bytes);
    shown["schema_id"] = json!(schema_id.filter(|_| record.value.first() == Some(&0)));
    say(format_args!("{shown:#}"));
    Ok(ExitCode::SUCCESS)
}

/// `journeylog refused redrive`: key and value as they came; the record that is there stays until its retention is over.
async fn redrive(settings: &Settings, only: Option<&str>, chosen: &[String]) -> anyhow::Result<ExitCode> {
    only.map_or(Ok(()), known)?;
    let (log, inbox) =
        (open(settings, &settings.inbox.refused_topic).await?, open(settings, &settings.inbox.topic).await?);
    let mut records = Vec::new();
    for text in chosen {
        records.push(at(log.as_ref(), text).await?);
    }
    let mut sent = 0;
    if let Some(only) = only {
        let mut places = BTreeSet::new();
        each(log.as_ref(), None, |record| {
            if reason(record) == only {
                places.insert(record.position);
            }
            Ok(true)
        })
        .await?;
        for place in places {
            records
                .extend(log.read(place.partition, place.offset, 1).await?.into_iter().filter(|r| r.position == place));
            if records.len() == SENT {
                sent += send(inbox.as_ref(), std::mem::take(&mut records)).await?;
            }
        }
    }
    sent += send(inbox.as_ref(), records).await?;
    say(format_args!("{sent} records sent to {} again", settings.inbox.topic));
    Ok(ExitCode::SUCCESS)
}

async fn send(inbox: &dyn Log, records: Vec<Record>) -> anyhow::Result<usize> {
    let count = records.len();
    let records = records.into_iter().map(|r| NewRecord { key: r.key, value: r.value, headers: Vec::new() });
    for answer in inbox.append(records.collect()).await {
        answer.context("not every record was sent again; doing it once more is safe")?;
    }
    Ok(count)
}
