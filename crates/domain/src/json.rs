//! Writes events as JSON: straight into one string, absent fields left out.

use std::fmt::Write as _;

/// A value that can be written as JSON.
pub trait Json {
    /// Appends the value.
    fn write(&self, out: &mut String);
    /// Whether the field is left out.
    fn absent(&self) -> bool {
        false
    }
}

/// Appends a field, unless it is absent. `name` is `,"name":`, whose comma the first one does without.
pub fn field(out: &mut String, name: &str, value: &dyn Json) {
    if value.absent() {
        return;
    }
    out.push_str(if out.ends_with('{') { &name[1..] } else { name });
    value.write(out);
}

/// Bytes that are looked at together: so many of them cost no more than one.
const TOGETHER: usize = 16;

/// Where the first byte is that must be escaped.
fn escaped(text: &[u8]) -> Option<usize> {
    let must = |b: u8| b < b' ' || b == b'"' || b == b'\\';
    let mut at = 0;
    for chunk in text.chunks(TOGETHER) {
        if chunk.iter().fold(false, |any, b| any | must(*b)) {
            return chunk.iter().position(|b| must(*b)).map(|i| at + i);
        }
        at += chunk.len();
    }
    None
}

impl Json for str {
    fn write(&self, out: &mut String) {
        out.push('"');
        // Almost no string needs an escape: copy it as it is up to the next character that does.
        let mut rest = self;
        while let Some(i) = escaped(rest.as_bytes()) {
            let (plain, tail) = rest.split_at(i);
            out.push_str(plain);
            let mut tail = tail.chars();
            match tail.next() {
                Some('"') => out.push_str("\\\""),
                Some('\\') => out.push_str("\\\\"),
                Some('\n') => out.push_str("\\n"),
                Some('\r') => out.push_str("\\r"),
                Some('\t') => out.push_str("\\t"),
                Some(c) => {
                    let _ = write!(out, "\\u{:04x}", c as u32);
                }
                None => {}
            }
            rest = tail.as_str();
        }
        out.push_str(rest);
        out.push('"');
    }
}

impl Json for String {
    fn write(&self, out: &mut String) {
        self.as_str().write(out);
    }
}

macro_rules! whole {
    ($($t:ty),*) => {$(
        impl Json for $t {
            fn write(&self, out: &mut String) {
                out.push_str(itoa::Buffer::new().format(*self));
            }
        }
    )*};
}
whole!(i32, i64);

impl Json for bool {
    fn write(&self, out: &mut String) {
        out.push_str(if *self { "true" } else { "false" });
    }
}

impl Json for f64 {
    fn write(&self, out: &mut String) {
        if self.is_finite() {
            let _ = write!(out, "{self:?}");
        } else {
            out.push_str("null");
        }
    }
}

impl<T: Json> Json for Option<T> {
    fn write(&self, out: &mut String) {
        if let Some(v) = self {
            v.write(out);
        }
    }
    fn absent(&self) -> bool {
        self.is_none()
    }
}

impl<T: Json> Json for Vec<T> {
    fn write(&self, out: &mut String) {
        out.push('[');
        for (i, v) in self.iter().enumerate() {
            if i > 0 {
                out.push(',');
            }
            v.write(out);
        }
        out.push(']');
    }
    fn absent(&self) -> bool {
        self.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_as_serde_json_does() {
        for s in [
            "twenty bytes and more, then \\ and \"",
            "",
            "plain",
            "안내 \"인용\"",
            "\\",
            "a\nb\r\tc",
            "\u{1}\u{1f}\u{7f}끝\u{0}",
            "\"\"",
            "😀\\n\"",
        ] {
            let mut out = String::new();
            s.write(&mut out);
            let expected = serde_json::to_string(s).unwrap();
            assert_eq!(serde_json::from_str::<String>(&out).unwrap(), s);
            assert_eq!(out, expected);
        }
    }
}
