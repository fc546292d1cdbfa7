use super::*;
use crate::publisher::Settings;
use crate::testing::MemoryLog;
use std::path::{Path, PathBuf};

fn publisher(log: &Arc<MemoryLog>) -> Arc<Publisher> {
    Arc::new(Publisher::new(log.clone(), Settings::default()))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn shipped(name: &str) -> Mapping {
    let text = std::fs::read_to_string(root().join("deploy/mappings").join(name)).unwrap();
    Mapping::parse(&text).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// The shared data lies beside the repository; `None`, said aloud, where it is absent.
fn shared(name: &str) -> Option<std::fs::File> {
    let path = root().join("../shared/data/logs").join(name);
    let file = std::fs::File::open(&path).ok();
    if file.is_none() {
        eprintln!("SKIPPED: there is no {}", path.display());
    }
    file
}

fn events(log: &MemoryLog) -> Vec<domain::Event> {
    log.records.lock().unwrap().iter().flatten().map(|r| codec::decode(&r.value).unwrap()).collect()
}

fn count(events: &[domain::Event], kind: &str) -> usize {
    events.iter().filter(|e| e.kind().as_str() == kind).count()
}

/// What was read before is imported and told; a row that is only half there isn't.
#[tokio::test]
async fn a_file_that_breaks_off() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("gone"))
        }
    }
    let mapping = "source = 'test'\nzone = 'UTC'\nidentity = ['patient']\n[time]\ncolumn = 'time'\nformats = ['rfc3339']\n\
                   [header]\npatient_id = '{patient}'\n[[rule]]\nwhen = {}\nevent = 'PatientCheckedIn'\n";
    let (log, mapping) = (MemoryLog::new(), Mapping::parse(mapping).unwrap());
    let rows: &[u8] = b"patient,time\np1,2026-03-09T10:00:00Z\np2,2026-03-09T10:00:00Z\np3,2026-03";
    let mut told = Progress::default();
    let done = import(rows.chain(Broken), &mapping, publisher(&log), NdjsonLimits::default(), |p, _| told = *p).await;
    assert!(matches!(done, Err(ImportError::Read(_))), "{done:?}");
    assert_eq!((told.lines, told.accepted, log.len()), (2, 2, 2));
}

#[tokio::test]
async fn the_sepsis_log_in_full_and_again() {
    let Some(file) = shared("sepsis.csv") else { return };
    let (log, mapping) = (MemoryLog::new(), shipped("sepsis.toml"));
    let p = publisher(&log);
    let report = import(file, &mapping, p.clone(), NdjsonLimits::default(), |_, _| {}).await.unwrap();
    assert_eq!(
        report.counts,
        Progress { lines: 15_214, accepted: 15_214, duplicates: 0, refused: 0 },
        "{:?}",
        report.refused
    );
    assert_eq!(report.patients, 1_050);
    let all = events(&log);
    for (kind, n) in [
        ("PatientCheckedIn", 1_050 + 294),
        ("ConsultStarted", 1_053),
        ("NoteRecorded", 1_049 + 823 + 753),
        ("ResultReported", 3_262 + 3_383 + 1_466),
        ("PatientDischarged", 671 + 56 + 25 + 24 + 6),
    ] {
        assert_eq!(count(&all, kind), n, "{kind}");
    }
    assert_eq!(count(&all, "PatientAdmitted") + count(&all, "PatientTransferred"), 1_182 + 117);
    let first = all.iter().find(|e| e.key() == "sepsis-A" && e.kind().as_str() == "PatientCheckedIn").unwrap();
    assert_eq!(first.header().occurred_at.to_string(), "2014-10-22T09:15:41Z");
    let again = import(shared("sepsis.csv").unwrap(), &mapping, p, NdjsonLimits::default(), |_, _| {}).await.unwrap();
    assert_eq!((again.counts.duplicates, again.counts.accepted), (15_214, 0));
    assert_eq!(log.len(), 15_214);
}

#[tokio::test]
async fn the_patients_log_in_full() {
    let Some(file) = shared("patients.csv") else { return };
    let log = MemoryLog::new();
    let mapping = shipped("patients.toml");
    let report = import(file, &mapping, publisher(&log), NdjsonLimits::default(), |_, _| {}).await.unwrap();
    assert_eq!(
        report.counts,
        Progress { lines: 5_442, accepted: 5_442, duplicates: 0, refused: 0 },
        "{:?}",
        report.refused
    );
    assert_eq!(report.patients, 500);
    assert_eq!(count(&events(&log), "ResultReported"), 237 + 236 + 261);
}

const MAPPING: &str = r#"
source = "test"
zone = "Europe/Amsterdam"
case = "case"
identity = ["case", "what", "when"]
[time]
column = "when"
formats = ["rfc3339", "%Y-%m-%d %H:%M", "%d.%m.%Y"]
[header]
patient_id = "t-{case}"
actor = { role = "{by|roles}" }
[[rule]]
when = { what = "wait" }
event = "WaitEstimated"
fields = { wait_told_min = "{value}", encounter_id = "e-{case}" }
[[rule]]
when = { what = "level" }
event = "FeedbackGiven"
fields = { instrument = "nps", dimension = "overall", raw = "{value}", scale_min = 0, scale_max = 5 }
[[rule]]
when = { what = "noise" }
skip = "not a touchpoint"
[tables.roles]
dr = "doctor"
"#;

async fn run(rows: &str) -> (ImportReport, Vec<domain::Event>) {
    let log = MemoryLog::new();
    let text = format!("\u{feff}case,what,when,value,by\n{rows}");
    let mapping = Mapping::parse(MAPPING).unwrap();
    let report = import(text.as_bytes(), &mapping, publisher(&log), NdjsonLimits::default(), |_, _| {}).await.unwrap();
    (report, events(&log))
}

#[tokio::test]
async fn every_row_is_an_event_or_a_listed_refusal() {
    let rows = "1,wait,2024-01-01 10:00,15,dr\n\
                1,wait,2024-01-01 10:00,15,dr\n\
                2,noise,2024-01-01 10:00,,dr\n\
                3,dance,2024-01-01 10:00,,dr\n\
                4,wait,yesterday,15,dr\n\
                5,wait,2024-03-31 02:30,15,dr\n\
                6,wait,2024-01-01T10:00:00Z,soon,dr\n\
                7,wait,2024-01-01 10:00,,dr\n\
                8,wait,2024-01-01\n\
                9,wait,01.02.2024,15,dr\n\
                10,wait,2999-01-01 10:00,15,dr\n\
                11,level,2024-01-01 10:00,NaN,dr\n";
    let (report, all) = run(rows).await;
    let c = report.counts;
    assert_eq!((c.lines, c.accepted, c.duplicates, c.refused), (12, 3, 0, 9));
    let reasons: Vec<_> = report.refused.iter().map(|r| (r.line, r.reason.as_str())).collect();
    assert_eq!(
        reasons,
        [
            (4, "not a touchpoint"),
            (5, "no rule of the mapping fits the row"),
            (6, "the time fits none of the formats"),
            (7, "the clocks skipped this time"),
            (8, "/wait_told_min is not a whole number"),
            (9, "/wait_told_min is required"),
            (10, "the row has 3 columns instead of 5"),
            (
                12,
                "/header/occurred_at lies in the future by more than the allowed 5 min; /header/recorded_at lies in the future by more than the allowed 5 min"
            ),
            (13, "/raw is not a number"),
        ]
    );
    let ids: HashSet<_> = all.iter().map(|e| e.header().event_id).collect();
    assert_eq!(ids.len(), 3, "equal rows are two events");
    assert!(all.iter().any(|e| e.header().occurred_at.to_string() == "2024-01-31T23:00:00Z"));
    assert_eq!(all[0].header().source.trigger.as_deref(), Some("import"));
}

#[tokio::test]
async fn a_missing_column_is_told_before_anything_is_read() {
    let mapping = Mapping::parse(MAPPING).unwrap();
    let log = MemoryLog::new();
    let text = "case,what,at\n1,wait,2024-01-01 10:00\n";
    let e = import(text.as_bytes(), &mapping, publisher(&log), NdjsonLimits::default(), |_, _| {}).await.unwrap_err();
    assert_eq!(e.to_string(), "the file has no column by, value, when");
}

#[tokio::test]
async fn a_column_that_is_there_twice_is_told_where_it_counts() {
    let mapping = Mapping::parse(MAPPING).unwrap();
    for (heading, told) in [
        ("case,what,when,value,by,by", Some("the file has more than one column by")),
        ("case,what,when,value,by,x,x", None),
    ] {
        let log = MemoryLog::new();
        let done = import(heading.as_bytes(), &mapping, publisher(&log), NdjsonLimits::default(), |_, _| {}).await;
        assert_eq!(done.err().map(|e| e.to_string()).as_deref(), told);
    }
}

#[tokio::test]
async fn a_heading_in_another_encoding_is_told() {
    let mapping = Mapping::parse(MAPPING).unwrap();
    let utf16: Vec<u8> = "\u{feff}case,what\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let e = import(&utf16[..], &mapping, publisher(&MemoryLog::new()), NdjsonLimits::default(), |_, _| {}).await;
    assert_eq!(e.unwrap_err().to_string(), "the heading is not UTF-8");
}

/// Rows after it may not vanish into its cell.
#[tokio::test]
async fn a_quote_that_is_never_closed_is_told() {
    let mapping = Mapping::parse(MAPPING).unwrap();
    let good = "1,wait,2024-01-01 10:00,15,dr";
    let many = format!("{good}\n").repeat(400);
    let small = NdjsonLimits { line_bytes: 1_000, ..NdjsonLimits::default() };
    let end = "a quote of the row that begins here is open at the end of the file: nothing from there on was read";
    let long = "the row that begins here is longer than 1000 bytes: is a quote open? Nothing from there on was read";
    for (rows, limits, told) in [
        (format!("{good}\n{good}\n2,\"wait,2024-01-01 10:00,15,dr\n{good}\n"), NdjsonLimits::default(), Some((4, end))),
        (format!("{good}\r\n{good}\r\n2,wait,2024-01-01 10:00,15,\"dr"), NdjsonLimits::default(), Some((4, end))),
        (format!("{good}\n{good}\n2,wait,2024-01-01 10:00,15,\""), NdjsonLimits::default(), Some((4, end))),
        (format!("{good}\n{good}\n\"{many}"), small, Some((4, long))),
        (format!("{good}\n{good}"), small, None),
        (format!("{good}\r\n{good}\r\n\r\n"), small, None),
        (format!("{good}\n{good}\n\n\n"), small, None),
        (format!("{good}\n1,wait,2024-01-01 10:00,15,\"dr\n\""), small, None),
    ] {
        let (log, text) = (MemoryLog::new(), format!("case,what,when,value,by\n{rows}"));
        let mut read = Progress::default();
        let done = import(text.as_bytes(), &mapping, publisher(&log), limits, |p, _| read = *p).await;
        let told = told.map(|(line, reason)| format!("line {line}: {reason}"));
        assert_eq!(done.err().map(|e| e.to_string()), told, "{rows:.100}");
        assert_eq!((read.lines, log.len()), (2, 2), "{rows:.100}");
    }
    let (report, _) = run(&format!("{good}\r\n\r\n2,noise\r\n3,noise\n\n4,noise\n")).await;
    let lines: Vec<_> = report.refused.iter().map(|r| r.line).collect();
    assert_eq!(lines, [4, 5, 7], "a blank line counts, and so does one that ends in a carriage return");
    let (report, _) = run(&format!("{good}\n2,\"wait\n{good}\n{good}\",3\n{good}\n")).await;
    let refused: Vec<_> = report.refused.iter().map(|r| (r.line, r.reason.as_str())).collect();
    assert_eq!(refused, [(3, "the row has 3 columns instead of 5, in 3 lines: is a quote open?")]);
}

#[test]
fn a_wrong_mapping_is_told() {
    for (from, to, reason) in [
        ("WaitEstimated", "WaitGuessed", "rule 1: WaitGuessed is not a known event"),
        ("wait_told_min =", "wait_min =", "rule 1: WaitEstimated has no field wait_min"),
        ("Europe/Amsterdam", "Mars", "zone is not a known IANA time zone"),
        ("by|roles", "by|rolls", "there is no [tables.rolls]"),
        ("skip =", "skipp =", "unknown field `skipp`"),
        ("source = \"test\"", "source = \" \"", "source must not be empty"),
        ("zone =", "delimiter = '\"'\nzone =", "delimiter must be"),
        ("t-{case}", "t-{case", "patient_id: the braces of a template must come in pairs"),
        ("t-{case}", "t-{{case}}", "patient_id: the braces of a template must come in pairs"),
        ("t-{case}", "t-case}", "patient_id: the braces of a template must come in pairs"),
        ("e-{case}", "e-{@row}", "{@row} is none of {@id}, {@n} and {@line}"),
        ("patient_id =", "patientid =", "the header has no field patientid"),
        ("patient_id =", "event_id =", "header.event_id is set by the import"),
    ] {
        let e = Mapping::parse(&MAPPING.replace(from, to)).unwrap_err().to_string();
        assert!(e.contains(reason), "{e}");
    }
}
