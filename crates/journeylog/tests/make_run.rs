//! `make run` and `make run-services` as users start and end them; what they print; README's tour and what other pages say to do
//! with them up. The program is this build's (`JOURNEYLOG_PROGRAM`), ports and folder are the test's own.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use support::pages::{self, bash, blocks};
use support::{BINARY, PATIENCE};

/// What the pages call the address.
const DOCUMENTED: &str = "127.0.0.1:8080";

/// `make run` or `make run-services`; ended, and what it left removed, when dropped.
struct Made {
    target: &'static str,
    /// The last line that it prints begins so.
    last: &'static str,
    listen: String,
    hl7: String,
    folder: tempfile::TempDir,
    make: Option<Child>,
}

impl Made {
    fn new(target: &'static str, last: &'static str) -> Self {
        // Below the ports that systems give out: run-services takes the seven after the first one too.
        let first = (u16::try_from(std::process::id() % 1000).unwrap() * 10 + 20_000..32_000)
            .find(|p| (*p..*p + 9).all(|p| TcpListener::bind(("127.0.0.1", p)).is_ok()))
            .unwrap();
        let first = if target == "run" { support::free_port() } else { first };
        let hl7 = if target == "run" { support::free_port() } else { first + 8 };
        let at = |port: u16| format!("127.0.0.1:{port}");
        Self { target, last, listen: at(first), hl7: at(hl7), folder: tempfile::tempdir().unwrap(), make: None }
    }

    /// `.run` of the pages.
    fn run_dir(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("said")).unwrap_or_default()
    }

    /// Starts it and waits until it has printed everything; what it printed from where it says that it is up.
    fn start(&mut self) -> String {
        let said = std::fs::File::create(self.folder.path().join("said")).unwrap();
        let mut make = Command::new("make");
        make.args(["--no-print-directory", "-C", pages::root().to_str().unwrap(), self.target])
            .env("JOURNEYLOG_LISTEN", &self.listen)
            .env("JOURNEYLOG_HL7__LISTEN", &self.hl7)
            .env("JOURNEYLOG_RUN_DIR", self.run_dir())
            .env("JOURNEYLOG_PROGRAM", BINARY)
            // A read waits for the view as long as it takes on a busy machine.
            .env("JOURNEYLOG_QUERY__AFTER_LIMIT_MS", PATIENCE.as_millis().to_string())
            .envs([("KAFKA_HEAP", "256m"), ("PG_FSYNC", "off")])
            .stdin(Stdio::null())
            .stdout(said.try_clone().unwrap())
            .stderr(said)
            // A terminal sends Ctrl-C to the whole group.
            .process_group(0);
        for outer in ["MAKEFLAGS", "MFLAGS", "MAKELEVEL", "JOURNEYLOG_TEST_KAFKA", "JOURNEYLOG_TEST_POSTGRES"] {
            make.env_remove(outer);
        }
        self.make = Some(make.spawn().unwrap());
        let begun = Instant::now();
        while !self.said().lines().any(|l| l.starts_with(self.last)) {
            let ended = self.make.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none() && begun.elapsed() < 2 * PATIENCE, "{ended:?}\n{}", self.said());
            std::thread::sleep(Duration::from_millis(50));
        }
        let said = self.said();
        said[said.find("Journeylog is up").unwrap_or_else(|| panic!("{said}"))..].to_owned()
    }

    /// Ctrl-C; panics unless everything has ended then.
    fn ctrl_c(&mut self) {
        self.signal("INT");
        let begun = Instant::now();
        while self.make.as_mut().unwrap().try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < PATIENCE, "Ctrl-C doesn't end it: {}", self.said());
            std::thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(self.left(), Vec::<String>::new(), "processes are left: {}", self.said());
        assert!(!self.said().contains("A process ended"), "Ctrl-C is no accident: {}", self.said());
        self.make = None;
        for at in [&self.listen, &self.hl7] {
            assert!(TcpStream::connect(at).is_err(), "{at} is still taken");
        }
    }

    fn signal(&self, signal: &str) {
        let group = format!("-{}", self.make.as_ref().unwrap().id());
        let _ = Command::new("kill").args([&format!("-{signal}"), "--", &group]).status();
    }

    /// PostgreSQL's folder, where it is elsewhere (as root).
    fn postgres_dir(&self) -> Option<String> {
        let told = std::fs::read_to_string(self.run_dir().join("services/postgres-folder")).ok()?;
        Some(told.trim().to_owned())
    }

    /// Processes that were started with one of the folders in their arguments or environment.
    fn left(&self) -> Vec<String> {
        let folders = [Some(self.run_dir().display().to_string()), self.postgres_dir()];
        let mut left = Vec::new();
        for process in std::fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
            let read = |name: &str| std::fs::read(process.path().join(name)).unwrap_or_default();
            let (arguments, environment) = (read("cmdline"), read("environ"));
            let text = [String::from_utf8_lossy(&arguments), String::from_utf8_lossy(&environment)].concat();
            if folders.iter().flatten().any(|f| text.contains(f)) {
                left.push(format!("{:?} {}", process.file_name(), String::from_utf8_lossy(&arguments)));
            }
        }
        left
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        if self.make.is_some() {
            self.signal("INT");
            let begun = Instant::now();
            while matches!(self.make.as_mut().map(Child::try_wait), Some(Ok(None))) && begun.elapsed() < PATIENCE {
                std::thread::sleep(Duration::from_millis(50));
            }
            self.signal("KILL");
        }
        if let Some(folder) = self.postgres_dir() {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

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
