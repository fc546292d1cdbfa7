//! What is wrong with a TOML file.

/// Says what is wrong, and in which line, without the line itself, which `toml` would show: a file that isn't TOML at all, given by
/// mistake, may hold patients' data. A key that isn't known, or a value of another type, is named.
#[must_use]
pub fn describe(text: &str, mut error: toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start));
    error.set_input(None);
    let what = error.to_string().trim_end().replace('\n', ", ");
    match before {
        Some(before) => format!("line {}: {what}", before.matches('\n').count() + 1),
        None => what,
    }
}
