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

/// Appends `"name":value`, with a comma before it unless it is the first.
pub fn field(out: &mut String, name: &str, value: &dyn Json) {
    if value.absent() {
        return;
    }
    if !out.ends_with('{') {
        out.push(',');
    }
    out.push('"');
    out.push_str(name);
    out.push_str("\":");
    value.write(out);
}

impl Json for str {
    fn write(&self, out: &mut String) {
        out.push('"');
        // Almost no string needs an escape: copy it as it is up to the next character that does.
        let mut rest = self;
        while let Some(i) = rest.bytes().position(|b| b < b' ' || b == b'"' || b == b'\\') {
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

macro_rules! plain {
    ($($t:ty),*) => {$(
        impl Json for $t {
            fn write(&self, out: &mut String) {
                let _ = write!(out, "{self}");
            }
        }
    )*};
}
plain!(i32, i64, bool);

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
        for s in ["", "plain", "안내 \"인용\"", "\\", "a\nb\r\tc", "\u{1}\u{1f}\u{7f}끝\u{0}", "\"\"", "😀\\n\""]
        {
            let mut out = String::new();
            s.write(&mut out);
            let expected = serde_json::to_string(s).unwrap();
            assert_eq!(serde_json::from_str::<String>(&out).unwrap(), s);
            assert_eq!(out, expected);
        }
    }
}
