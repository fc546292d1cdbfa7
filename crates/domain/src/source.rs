//! Names of sources, as metrics and counts show them.

use std::borrow::Cow;

/// Longest name, bytes; the rest is cut off.
const MOST_BYTES: usize = 64;
/// The source of what could not be read.
pub const UNKNOWN: &str = "unknown";

/// A source's name as a label: letters and digits of any script and `-_.:/`, the rest as `_`, and not too long.
#[must_use]
pub fn label(source: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_alphanumeric() || "-_.:/".contains(c);
    if source.is_empty() {
        return UNKNOWN.into();
    }
    if source.len() <= MOST_BYTES && source.chars().all(plain) {
        return source.into();
    }
    let mut out = String::with_capacity(MOST_BYTES);
    for c in source.chars().map(|c| if plain(c) { c } else { '_' }) {
        if out.len() + c.len_utf8() > MOST_BYTES {
            break;
        }
        out.push(c);
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_safe() {
        let long = "가".repeat(100);
        for (name, shown) in
            [("", "unknown"), ("emr/a", "emr/a"), ("원무과 1\n\"x\"", "원무과_1__x_"), (&long, &long[..63])]
        {
            assert_eq!(label(name), shown);
        }
    }
}
