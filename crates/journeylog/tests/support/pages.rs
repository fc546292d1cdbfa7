//! Pages whose commands are run; `documented.rs` says what their blocks look like.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A block that is run.
pub struct Block {
    pub line: usize,
    pub text: String,
    pub exit: i32,
    pub stopped: bool,
    pub services: bool,
    pub output: Vec<String>,
}

/// The blocks of a page.
pub fn blocks(page: &str) -> Vec<Block> {
    let mut all: Vec<Block> = Vec::new();
    let mut lines = page.lines().enumerate();
    let mut follows = false;
    while let Some((n, line)) = lines.next() {
        let Some(info) = line.strip_prefix("```") else {
            // An output belongs to the block before it, with no more than a few words between them.
            follows &= !line.starts_with('#');
            continue;
        };
        let text: Vec<&str> = lines.by_ref().map(|(_, l)| l).take_while(|l| *l != "```").collect();
        let mut words = info.split_whitespace();
        match words.next() {
            Some("sh") => {
                let mut block = Block {
                    line: n + 1,
                    text: text.join("\n"),
                    exit: 0,
                    stopped: false,
                    services: false,
                    output: Vec::new(),
                };
                for word in words {
                    match (word, word.strip_prefix("exit=")) {
                        ("stopped", _) => block.stopped = true,
                        ("services", _) => block.services = true,
                        (_, Some(code)) => block.exit = code.parse().unwrap(),
                        _ => panic!("line {}: what is {word}?", n + 1),
                    }
                }
                all.push(block);
                follows = true;
            }
            Some("output") => {
                assert!(follows, "line {}: an output without a block", n + 1);
                all.last_mut().unwrap().output = text.into_iter().map(str::to_owned).collect();
                follows = false;
            }
            _ => {}
        }
    }
    all
}

/// Whether a printed line is as described.
pub fn fits(line: &str, described: &str) -> bool {
    let mut parts = described.trim_end().split('…');
    let Some(mut rest) = parts.next().and_then(|first| line.trim_end().strip_prefix(first)) else { return false };
    let parts: Vec<&str> = parts.collect();
    for (i, part) in parts.iter().enumerate() {
        let last = i + 1 == parts.len();
        let at = if last { rest.ends_with(part).then(|| rest.len() - part.len()) } else { rest.find(part) };
        let Some(at) = at else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.is_empty()
}

/// The first described line that isn't there in its turn.
pub fn missing<'d>(printed: &str, described: &'d [String]) -> Option<&'d str> {
    let mut lines = printed.lines();
    described.iter().map(String::as_str).filter(|d| !d.trim().is_empty()).find(|d| !lines.any(|l| fits(l, d)))
}

/// This repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// A file of this repository.
pub fn read(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

/// Runs a script by bash in a folder, with the program on the path; its exit code and what it printed.
pub fn bash(script: &str, folder: &Path, environment: &[(&str, &str)]) -> (i32, String) {
    let program = Path::new(super::BINARY).parent().unwrap();
    let done = Command::new("bash")
        .args(["-euo", "pipefail", "-c", script])
        .env("PATH", format!("{}:{}", program.display(), std::env::var("PATH").unwrap()))
        .envs(environment.iter().copied())
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    (done.status.code().unwrap_or(-1), said)
}

/// Runs a block in a shell of its own; what is wrong with what came of it.
pub fn run(block: &Block, folder: &Path, environment: &[(&str, &str)]) -> Result<(), String> {
    let (code, said) = bash(&block.text, folder, environment);
    if code != block.exit {
        return Err(format!("line {}: ended with {code}, not {}:\n{}\n{said}", block.line, block.exit, block.text));
    }
    match missing(&said, &block.output) {
        Some(line) => Err(format!("line {}: did not print {line:?}:\n{}\n{said}", block.line, block.text)),
        None => Ok(()),
    }
}

/// Runs blocks in one shell, as they are pasted into a terminal one by one; what is wrong with what came of them. Each has to end
/// with 0: the shell ends with the first command that doesn't.
pub fn run_in_one_shell(blocks: &[Block], folder: &Path, environment: &[(&str, &str)]) -> Result<(), String> {
    const END: &str = "--- end of a block ---";
    assert!(blocks.iter().all(|b| b.exit == 0), "a block that ends otherwise is not for one shell");
    let script: String = blocks.iter().map(|b| format!("{}\necho; echo '{END}'\n", b.text)).collect();
    let (code, said) = bash(&format!("exec 2>&1\n{script}"), folder, environment);
    let mut parts = said.split(END);
    for block in blocks {
        let printed = parts.next().unwrap_or_default();
        if let Some(line) = missing(printed, &block.output) {
            return Err(format!("line {}: did not print {line:?}:\n{}\n{printed}", block.line, block.text));
        }
    }
    if code == 0 { Ok(()) } else { Err(format!("ended with {code}:\n{said}")) }
}
