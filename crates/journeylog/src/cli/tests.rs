//! What the command line refuses.

use super::*;
use clap::CommandFactory as _;
use clap::error::ErrorKind;

/// How each command is called that takes a reason for the account of operations.
const LINES: [&str; 14] = [
    "replay --patient p",
    "verify mot",
    "pause mot",
    "resume mot",
    "reset mot",
    "rebuild mot",
    "switch mot",
    "rollback mot",
    "drop mot 1",
    "backup d",
    "restore d",
    "dead-letters rehearse --view mot",
    "dead-letters redrive --view mot",
    "dead-letters discard i",
];

fn with_reason(command: &clap::Command, name: &str, all: &mut Vec<String>) {
    if command.get_arguments().any(|a| a.get_id() == "reason") {
        all.push(name.to_owned());
    }
    for below in command.get_subcommands() {
        with_reason(below, format!("{name} {}", below.get_name()).trim(), all);
    }
}

#[test]
fn an_end_that_is_none_is_wrong_usage() {
    for line in ["rebuild mot --until", "simulate --until"] {
        let with = |until| {
            let words = ["journeylog"].into_iter().chain(line.split(' ')).chain([until]);
            Arguments::try_parse_from(words).err().map(|e| e.kind())
        };
        assert_eq!(with("x"), Some(ErrorKind::ValueValidation), "{line}");
        assert_eq!(with("2026-11-01T00:00:00Z"), None, "{line}");
    }
}

#[test]
fn a_reason_has_words_in_it_whatever_the_command() {
    let mut all = Vec::new();
    with_reason(&Arguments::command(), "", &mut all);
    // Theirs is why the inbox refused a record.
    all.retain(|name| !name.starts_with("refused "));
    let known = |name: &String| LINES.iter().filter(|l| l.starts_with(name.as_str())).count() == 1;
    assert!(all.len() == LINES.len() && all.iter().all(known), "{all:?}");
    for line in LINES {
        let with = |reason| {
            let words = ["journeylog"].into_iter().chain(line.split(' ')).chain(["--reason", reason]);
            Arguments::try_parse_from(words).err().map(|e| e.kind())
        };
        assert_eq!(with("a test"), None, "{line}");
        for wrong in ["", " ", "\t\n", "x\n2026-11-23T06:00:00.000Z  grace  drop timeline", "\u{1b}[2K", "\u{85}"] {
            assert_eq!(with(wrong), Some(ErrorKind::ValueValidation), "{line} {wrong:?}");
        }
    }
}
