//! docs/guides: their commands are run, and what the pages of this repository name is there: files, links, commands, and in the
//! guides types and functions.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use support::pages::{self, blocks};

/// What the guides call something that isn't there yet, and what it is like.
const INVENTED: [(&str, &str); 3] = [("recalls", "timeline"), ("mllp", "hl7"), ("<event_name>", "consult_ended")];

/// Runs a guide's blocks in a folder with a copy of the schemas.
fn run(page: &str) {
    let folder = tempfile::tempdir().unwrap();
    let copied = Command::new("cp").arg("-r").arg(pages::root().join("schemas")).arg(folder.path()).status();
    assert!(copied.unwrap().success());
    let blocks = blocks(&pages::read(page));
    assert!(!blocks.is_empty(), "{page} has no command");
    for block in &blocks {
        pages::run(block, folder.path(), &[]).unwrap_or_else(|why| panic!("{page}, {why}"));
    }
}

#[test]
fn the_import_of_the_guide_works() {
    run("docs/guides/import.md");
}

#[test]
fn the_event_of_the_guide_can_be_added() {
    run("docs/guides/add-an-event.md");
}

/// All files of some folders and of the root, by their paths from there.
fn files() -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let mut folders: Vec<_> =
        ["", "crates", "schemas", "deploy", "tests", "docs", "fuzz"].map(|f| pages::root().join(f)).into();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let (path, is_folder) = (entry.path(), entry.file_type().unwrap().is_dir());
            all.insert(path.strip_prefix(pages::root()).unwrap().display().to_string());
            if is_folder && folder != pages::root().join("") && entry.file_name() != "target" {
                folders.push(path);
            }
        }
    }
    all
}

/// Pages for readers, with what lies in backticks or behind links in each.
fn pages(files: &BTreeSet<String>) -> Vec<(String, String)> {
    let wanted = |f: &&String| f.ends_with(".md") && (f.starts_with("docs/") || !f.contains('/'));
    files.iter().filter(wanted).map(|f| (f.clone(), pages::read(f))).collect()
}

/// What a page has in backticks, outside of its blocks.
fn quoted(page: &str) -> Vec<String> {
    let mut outside = true;
    let prose: Vec<&str> = page
        .lines()
        .filter(|line| {
            let fence = line.starts_with("```");
            outside ^= fence;
            outside && !fence
        })
        .collect();
    prose.join("\n").split('`').skip(1).step_by(2).map(|q| q.replace('\n', " ")).collect()
}

/// Whether a quotation is of a file of this repository, as far as one can tell by its folder.
fn is_path(quoted: &str) -> bool {
    let folder = quoted.split('/').next().unwrap();
    ["crates", "schemas", "deploy", "tests", "docs", "fuzz"].contains(&folder) && quoted.contains('/')
}

/// Whether there is such a file or folder; `*` stands for any name, `{a,b}` isn't understood.
fn exists(files: &BTreeSet<String>, path: &str) -> bool {
    let path = path.trim_end_matches('/');
    match path.split_once('*') {
        Some((before, after)) => files.iter().any(|f| f.starts_with(before) && f.ends_with(after)),
        None => files.contains(path),
    }
}

#[test]
fn files_and_links_of_all_pages_are_there() {
    let files = files();
    assert!(!exists(&files, "crates/journeylog/src/mian.rs") && !exists(&files, "docs/*.mdd"));
    let (mut wrong, mut paths, mut links) = (Vec::new(), 0, 0);
    for (page, text) in pages(&files) {
        for quoted in quoted(&text).iter().filter(|q| is_path(q) && !q.contains(' ')) {
            paths += 1;
            let path = INVENTED.iter().fold(quoted.clone(), |q, (new, like)| q.replace(new, like));
            if !exists(&files, &path) {
                wrong.push(format!("{page}: `{quoted}`"));
            }
        }
        let folder = Path::new(&page).parent().unwrap().to_owned();
        for link in text.split("](").skip(1).filter_map(|l| l.split(')').next()) {
            links += 1;
            let target = link.split('#').next().unwrap();
            if !target.contains("://") && !pages::root().join(&folder).join(target).exists() {
                wrong.push(format!("{page}: link {link}"));
            }
        }
    }
    assert!(wrong.is_empty(), "not there:\n{}", wrong.join("\n"));
    assert!(paths > 60 && links > 30, "{paths} paths, {links} links");
}

/// What the program's commands say of themselves, asked once each.
#[derive(Default)]
struct Helps(BTreeMap<String, String>);

impl Helps {
    fn of(&mut self, command: &str) -> &str {
        self.0.entry(command.to_owned()).or_insert_with(|| {
            let words = command.split_whitespace();
            let out = Command::new(support::BINARY).args(words).arg("--help").output().unwrap();
            assert!(out.status.success(), "{command}: {}", String::from_utf8_lossy(&out.stderr));
            String::from_utf8(out.stdout).unwrap()
        })
    }

    /// What is wrong with a command line.
    fn check(&mut self, line: &str) -> Option<String> {
        let (mut command, mut options) = (String::new(), Vec::new());
        let mut words = line.split_whitespace().skip(1).peekable();
        while let Some(word) = words.next() {
            let help = self.of(&command);
            let entry = |l: &str| l.strip_prefix("  ").and_then(|l| l.split(' ').next()) == Some(word);
            if word.starts_with("--") {
                options.push(word.split('=').next().unwrap());
                // Before a command, an option's value could be taken for one.
                if command.is_empty() {
                    words.next();
                }
            } else if help.lines().skip_while(|l| *l != "Commands:").take_while(|l| !l.is_empty()).any(entry) {
                command = format!("{command} {word}");
            } else if help.contains("\nCommands:") && word.chars().all(|c| c.is_ascii_lowercase() || c == '-') {
                return Some(format!("no command {word}"));
            } else if ["&&", "|", ";"].contains(&word) {
                break;
            }
        }
        let help = self.of(&command);
        let unknown =
            options.into_iter().find(|o| !help.contains(&format!("{o} ")) && !help.contains(&format!("{o}\n")));
        unknown.map(|o| format!("no option {o} of{command}"))
    }
}

#[test]
fn commands_of_all_pages_are_there() {
    let (mut helps, mut wrong, mut checked) = (Helps::default(), Vec::new(), 0);
    for (page, text) in pages(&files()) {
        let blocks = text.replace("\\\n", " ");
        let lines = blocks.lines().map(|l| l.trim_start().to_owned());
        for line in quoted(&text).into_iter().chain(lines).filter(|q| q.starts_with("journeylog ")) {
            checked += 1;
            wrong.extend(helps.check(&line).map(|why| format!("{page}: `{line}`: {why}")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(checked > 30, "{checked} commands");
    for line in ["journeylog rebiuld", "journeylog schemas lok", "journeylog rebuild --standart x"] {
        assert!(helps.check(line).is_some(), "{line}");
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|w| !w.is_empty())
}

#[test]
fn types_and_functions_of_the_guides_are_there() {
    let files = files();
    // Code without comments, in which a name outlives the thing; names in text count, as those of metrics and fields do.
    let (mut known, mut defined) = (BTreeSet::new(), BTreeSet::new());
    for file in files.iter().filter(|f| !f.starts_with("docs") && **f != "crates/journeylog/tests/guides.rs") {
        known.extend(words(file).map(str::to_owned));
        if [".rs", ".avsc", ".toml", ".json", ".sh"].iter().any(|e| file.ends_with(e)) {
            let text = pages::read(file);
            for line in text.lines().filter(|l| !l.trim_start().starts_with("//")) {
                known.extend(words(line).map(str::to_owned));
                let behind = words(line).skip_while(|w| !["fn", "mod"].contains(w)).nth(1);
                defined.extend(behind.map(str::to_owned));
            }
        }
    }
    let (mut wrong, mut checked) = (Vec::new(), 0);
    for page in ["add-an-event", "add-a-view", "add-a-protocol"] {
        for quoted in quoted(&pages::read(&format!("docs/guides/{page}.md"))) {
            let here = INVENTED.iter().fold(quoted.clone(), |q, (new, like)| q.replace(new, like));
            checked += 1;
            // What is called, or lies in something, is a function or a module: as a word it could be anything.
            let named =
                here.split_once('(').map_or(here.rsplit_once("::").map(|(_, last)| last), |(before, _)| Some(before));
            let function = named.and_then(|n| words(n).last()).filter(|f| f.starts_with(char::is_lowercase));
            let unknown = words(&here).find(|w| w.len() > 1 && !known.contains(*w));
            let missing = unknown.or_else(|| function.filter(|f| !defined.contains(*f)));
            wrong.extend(missing.map(|w| format!("docs/guides/{page}.md: `{quoted}`: {w}")));
        }
    }
    assert!(wrong.is_empty(), "not there:\n{}", wrong.join("\n"));
    assert!(checked > 60, "{checked} names");
}

/// Every metric is in a page, and every page's metrics are there.
#[test]
fn metrics_are_documented() {
    let files = files();
    let code: String =
        files.iter().filter(|f| f.starts_with("crates/") && f.ends_with(".rs")).map(|f| pages::read(f)).collect();
    let mut made = BTreeSet::new();
    for part in ["counter!(", "gauge!(", "histogram!("].iter().flat_map(|m| code.split(m).skip(1)) {
        let name = part.trim_start().strip_prefix('"').and_then(|p| p.split('"').next());
        made.extend(name.filter(|n| n.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')));
    }
    assert!(made.len() > 20, "{made:?}");
    let text: String = pages(&files).into_iter().map(|(_, text)| text).collect();
    let told: BTreeSet<&str> = text.split(['`', '{', '\n', ' ', '^']).collect();
    let untold: Vec<_> = made.iter().filter(|m| !told.contains(*m)).collect();
    assert!(untold.is_empty(), "in no page: {untold:?}");
    let begins = ["ingest_", "projector_", "inbox_", "http_", "journeylog_view_"];
    let looks = |word: &&&str| begins.iter().any(|b| word.starts_with(b)) && word.ends_with("_total");
    let gone: Vec<_> = told.iter().filter(looks).filter(|w| !made.contains(**w)).collect();
    assert!(gone.is_empty(), "no such metric: {gone:?}");
}
