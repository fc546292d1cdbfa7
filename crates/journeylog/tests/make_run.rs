//! `make run` and `make run-services` as users start and end them; what they print; README's tour and what other pages say to do
//! with them up. The program is this build's (`JOURNEYLOG_PROGRAM`), ports and folder are the test's own.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

#[path = "make_run/made.rs"]
mod made;
mod support;

use made::Made;
use std::path::Path;
use std::time::{Duration, Instant};
use support::pages::{self, bash, blocks};
use support::{BINARY, PATIENCE};

/// What the pages call the address.
const DOCUMENTED: &str = "127.0.0.1:8080";

/// The commands that it printed, and its other addresses as commands.
fn commands(printed: &str) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in printed.lines() {
        if let Some(at) = line.find("curl ") {
            all.push(line[at..].to_owned());
            goes_on = true;
        } else if goes_on && line.starts_with("    ") {
            let last = all.last_mut().unwrap();
            *last = format!("{last}\n{line}");
        } else {
            goes_on = false;
            all.extend(line.find("http://").map(|at| format!("curl {}", &line[at..])));
        }
    }
    all
}

/// Every address and command that was printed is answered with success.
fn what_is_printed_works(made: &Made, printed: &str) {
    let commands = commands(printed);
    let addresses = |text: &str| text.matches(&format!("http://{}", made.listen)).count();
    assert_eq!(addresses(printed), addresses(&commands.concat()), "an address is in no command: {printed}");
    assert!(commands.len() >= 13, "{commands:#?}");
    for command in &commands {
        let status = r#"curl() { command curl -sSL -o answer -w '%{http_code}\n' "$@"; }"#;
        let (code, said) = bash(&format!("{status}\n{command}"), made.folder.path(), &[]);
        let answer = std::fs::read_to_string(made.folder.path().join("answer")).unwrap_or_default();
        assert!(code == 0 && ["200\n", "201\n"].contains(&said.as_str()), "{command}\n{said}{answer}");
    }
}

/// README's tour, in one shell.
fn tour(made: &Made) {
    let blocks = blocks(&pages::read("README.md").replace(DOCUMENTED, &made.listen));
    assert!(blocks.len() >= 6 && blocks.iter().all(|b| !b.output.is_empty()), "each block of the tour has an output");
    pages::run_in_one_shell(&blocks, made.folder.path(), &[]).unwrap_or_else(|why| panic!("README.md, {why}"));
}

/// The pages for senders, which say with which `B` and `TOKEN` they hold here.
fn publishing(made: &Made) {
    let base = format!("http://{}", made.listen);
    let token = std::fs::read_to_string(made.run_dir().join("staff-token")).unwrap();
    for page in ["docs/publishing/http.md", "docs/publishing/fhir.md"] {
        let text = pages::read(page);
        assert!(text.contains("TOKEN=$(cat .run/staff-token)"), "{page} doesn't say where make run has its token");
        for block in blocks(&text) {
            pages::run(&block, made.folder.path(), &[("B", &base), ("TOKEN", &token)])
                .unwrap_or_else(|why| panic!("{page} with make {} up, {why}", made.target));
        }
    }
    let page = pages::read("docs/publishing/hl7.md");
    let mut block = blocks(&page).remove(0);
    let (from, to) = (block.text.find("# A sender").unwrap(), block.text.find("kill $!").unwrap());
    block.text = block.text[from..to].replace("127.0.0.1/12575", &made.hl7.replace(':', "/"));
    pages::run(&block, made.folder.path(), &[]).unwrap_or_else(|why| panic!("the sender of hl7.md, {why}"));
}

/// A block for reading, with what differs here in the place of what the page says.
fn text_block(page: &str, instead: &[(&str, &str)]) -> String {
    let text = pages::read(page);
    let block = text.split("```text\n").nth(1).unwrap_or_else(|| panic!("{page}")).split("\n```").next().unwrap();
    instead.iter().fold(block.to_owned(), |block, (documented, here)| {
        assert!(block.contains(documented), "{page} doesn't name {documented} any more:\n{block}");
        block.replace(documented, here)
    })
}

/// What docs/operations/README.md says for operators' commands.
fn operations(made: &Made) {
    let (run_dir, program) = (made.run_dir().display().to_string(), Path::new(BINARY).parent().unwrap().display());
    let instead =
        [(DOCUMENTED, made.listen.as_str()), ("$PWD/.run", &run_dir), ("$PWD/target/release", &program.to_string())];
    let block = text_block("docs/operations/README.md", &instead);
    let files = || bash("find run -name '*.db' | sort", made.folder.path(), &[]).1;
    let before = files();
    let (code, said) = bash(&block, &pages::root(), &[("TMPDIR", made.folder.path().to_str().unwrap())]);
    assert!(code == 0 && said.contains("timeline"), "{block}\n{said}");
    // A file that isn't there would be made.
    assert_eq!(before, files(), "{block}\nis about other files than those of make run");
}

/// The Python publisher of docs/publishing/kafka.md, as the page says to try it.
fn inbox(made: &Made, printed: &str) {
    let python = pages::root().join(".cache/python/bin/python");
    if !python.exists() {
        support::skipped("the Python publisher with make run-services: no .cache/python (make test makes it)");
        return;
    }
    let kafka = printed.lines().find_map(|l| l.strip_prefix("Kafka: ")?.split(',').next()).unwrap();
    let page = pages::read("docs/publishing/kafka.md");
    let publisher = page.split("```python\n").nth(1).unwrap().split("\n```").next().unwrap();
    std::fs::write(made.folder.path().join("publish.py"), publisher).unwrap();
    let instead = [
        ("127.0.0.1:…", kafka),
        (DOCUMENTED, &made.listen),
        ("python publish", &format!("{} publish", python.display())),
    ];
    let block = text_block("docs/publishing/kafka.md", &instead);
    let (publish, look) = block.split_once('\n').unwrap();
    let (code, said) = bash(publish, made.folder.path(), &[]);
    assert_eq!(code, 0, "{publish}\n{said}");
    let event = said.lines().next().unwrap();
    let begun = Instant::now();
    while !bash(look, made.folder.path(), &[]).1.contains(event) {
        assert!(begun.elapsed() < PATIENCE, "{look} doesn't show {event}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// All of it, twice in the same folder; `more` is what only this one has.
fn as_documented(mut made: Made, more: impl Fn(&Made, &str)) {
    let printed = made.start();
    assert!(made.said().contains("Loading 300 sample patients"), "{}", made.said());
    what_is_printed_works(&made, &printed);
    tour(&made);
    publishing(&made);
    more(&made, &printed);
    made.ctrl_c();

    let printed = made.start();
    assert!(!made.said().contains("Loading"), "the sample is loaded again: {}", made.said());
    what_is_printed_works(&made, &printed);
    let timeline = format!("curl -sSf http://{}/v1/patients/p-tour/timeline", made.listen);
    let (code, said) = bash(&timeline, made.folder.path(), &[]);
    assert!(code == 0 && said.contains("ConsultEnded") && said.contains("FollowUpCallCompleted"), "{said}");
    made.ctrl_c();
}

#[test]
fn make_run_is_as_documented() {
    as_documented(Made::new("run", "Ctrl-C stops it"), |made, _| operations(made));
}

#[test]
fn make_run_services_is_as_documented() {
    // It starts servers of its own, from what the test servers are started from.
    if support::servers("make run-services").is_some() {
        as_documented(Made::new("run-services", "Logs: "), inbox);
    }
}

#[test]
fn commands_are_found_in_what_is_printed() {
    let printed =
        "up at http://h:1\n\n  x   curl -s 'http://h:1/a'\n\n  curl -s http://h:1/b -d '{\n    \"c\":1}'\nE:\n  d";
    assert_eq!(
        commands(printed),
        ["curl http://h:1", "curl -s 'http://h:1/a'", "curl -s http://h:1/b -d '{\n    \"c\":1}'"]
    );
}
