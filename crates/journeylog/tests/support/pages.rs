//! Pages whose commands are run; `documented.rs` says what their blocks look like.

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
