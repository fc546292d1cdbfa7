//! Character sets (MSH-18) and escape sequences.

use super::message::Delimiters;
use encoding_rs::{EUC_KR, Encoding, UTF_8, WINDOWS_1252};
use serde::{Deserialize, Deserializer, de};
use std::borrow::Cow;

/// A character set that is named by its label, such as `EUC-KR` or `ISO-8859-1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Charset(pub &'static Encoding);

impl<'de> Deserialize<'de> for Charset {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let label = String::deserialize(d)?;
        let found = declared(&label).or_else(|| Encoding::for_label(label.as_bytes()));
        found
            .filter(|e| e.is_ascii_compatible())
            .map(Self)
            .ok_or_else(|| de::Error::custom("not a known character set"))
    }
}

/// The character set that MSH-18 names (HL7 table 0211); `None` for those that can't be sent over MLLP or aren't known.
fn declared(name: &str) -> Option<&'static Encoding> {
    let name = name.trim().to_ascii_uppercase();
    let label = match name.as_str() {
        "ASCII" => return None,
        "UNICODE" | "UNICODE UTF-8" | "UTF-8" | "UTF8" => return Some(UTF_8),
        // In practice Windows' code page 949, of which EUC-KR is a part.
        "KS X 1001" | "KSX1001" | "KS C 5601" | "KSC5601" | "EUC-KR" | "EUCKR" | "MS949" | "CP949" | "ISO IR149" => {
            return Some(EUC_KR);
        }
        "8859/1" | "ISO IR6" | "ISO IR100" => return Some(WINDOWS_1252),
        "GB 18030-2000" => "gb18030",
        "BIG-5" => "big5",
        "ISO IR87" | "ISO IR159" => return None,
        other => match other.strip_prefix("8859/") {
            Some(part) => return Encoding::for_label(format!("iso-8859-{part}").as_bytes()),
            None => other,
        },
    };
    Encoding::for_label(label.as_bytes()).filter(|e| e.is_ascii_compatible())
}

/// Why bytes are no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextError {
    /// MSH-18 names a character set that isn't known here.
    Unknown,
    /// The bytes aren't of the character set that MSH-18 names.
    Invalid,
}

/// A message's bytes as text. `named` is MSH-18; without it (or where it says ASCII and the bytes are not) the sender's own
/// set, else UTF-8, else ISO 8859-1.
///
/// # Errors
/// See [`TextError`].
pub fn decode<'a>(bytes: &'a [u8], named: &str, sender: Option<Charset>) -> Result<Cow<'a, str>, TextError> {
    if bytes.is_ascii() {
        // Every character set here has ASCII within it.
        return std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|_| TextError::Invalid);
    }
    let named = named.trim();
    if !named.is_empty() && !named.eq_ignore_ascii_case("ASCII") {
        let set = declared(named).ok_or(TextError::Unknown)?;
        return strict(set, bytes).ok_or(TextError::Invalid);
    }
    let sender = sender.and_then(|s| strict(s.0, bytes));
    let text = sender.or_else(|| strict(UTF_8, bytes));
    Ok(text.unwrap_or_else(|| WINDOWS_1252.decode_without_bom_handling(bytes).0))
}

fn strict<'a>(set: &'static Encoding, bytes: &'a [u8]) -> Option<Cow<'a, str>> {
    set.decode_without_bom_handling_and_without_replacement(bytes)
}

/// A value without its escape sequences (HL7 v2.8, chapter 2.7). Highlighting and sequences of the sender's own are left
/// out; what is no sequence stays as it is.
#[must_use]
pub fn unescape(text: &str, delimiters: Delimiters) -> Cow<'_, str> {
    let Some(mark) = delimiters.escape.map(char::from).filter(|m| text.contains(*m)) else {
        return Cow::Borrowed(text);
    };
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(mark) {
        out.push_str(before);
        match after.split_once(mark).and_then(|(inner, next)| sequence(inner, delimiters, &mut out).then_some(next)) {
            Some(next) => rest = next,
            None => {
                out.push(mark);
                rest = after;
            }
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Most spaces or lines that one formatting command makes.
const MOST_BLANKS: usize = 100;

/// Appends what a sequence stands for; `false` where it is none.
fn sequence(inner: &str, d: Delimiters, out: &mut String) -> bool {
    let delimiter = |b: Option<u8>, out: &mut String| out.extend(b.map(char::from));
    match inner {
        "F" => delimiter(Some(d.field), out),
        "S" => delimiter(Some(d.component), out),
        "T" => delimiter(d.subcomponent, out),
        "R" => delimiter(Some(d.repetition), out),
        "E" => delimiter(d.escape, out),
        "P" => out.push('#'),
        "H" | "N" => {}
        _ => return longer(inner, out),
    }
    true
}

fn longer(inner: &str, out: &mut String) -> bool {
    // Not by bytes: the first character may be longer than one.
    let mut chars = inner.chars();
    let first = chars.next();
    let rest = chars.as_str();
    match first {
        Some('.') => {
            let digits = rest.trim_start_matches(|c: char| c.is_ascii_alphabetic());
            let count = digits.trim_start_matches('+').parse().unwrap_or(1).min(MOST_BLANKS);
            match rest.get(..2) {
                Some("br" | "ce") => out.push('\n'),
                Some("sp") => out.extend(std::iter::repeat_n('\n', count)),
                Some("sk") => out.extend(std::iter::repeat_n(' ', count)),
                Some("fi" | "nf" | "in" | "ti") => {}
                _ => return false,
            }
            true
        }
        Some('X') => hexadecimal(rest).is_some_and(|bytes| {
            out.push_str(&String::from_utf8_lossy(&bytes));
            true
        }),
        // Another character set for what follows (ISO 2022), and sequences of the sender's own.
        Some('C' | 'M') => hexadecimal(rest).is_some(),
        Some('Z') => rest.len() <= 64 && rest.chars().all(|c| c.is_ascii_alphanumeric()),
        _ => false,
    }
}

fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let nibble = |b: u8| char::from(b).to_digit(16).and_then(|n| u8::try_from(n).ok());
    let pairs = text.as_bytes().chunks(2);
    let bytes: Option<Vec<u8>> = pairs.map(|p| Some(nibble(p[0])? << 4 | nibble(*p.get(1)?)?)).collect();
    bytes.filter(|b| !b.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plain(text: &str) -> String {
        unescape(text, Delimiters::default()).into_owned()
    }

    #[test]
    fn sequences_stand_for_what_they_stand_for() {
        assert_eq!(plain(r"a\F\b\S\c\T\d\R\e\E\f"), r"a|b^c&d~e\f");
        assert_eq!(plain(r"\H\loud\N\ x\.br\y\.sp2\z\.sk3\."), "loud x\ny\n\nz   .");
        assert_eq!(plain(r"\X41C3A9\ \Xzz\ \X4\"), r"Aé \Xzz\ \X4\");
        assert_eq!(plain(r"C:\tmp\x \한글\ \"), r"C:\tmp\x \한글\ \");
        assert_eq!(plain(r"\C2842\a\M244842\b\Zlocal1\c\.in+4\d"), "abcd");
    }

    #[test]
    fn korean_is_read_as_declared_as_configured_and_as_utf_8() {
        let korean = "홍길동 뷁";
        let (bytes, _, _) = EUC_KR.encode(korean);
        for (named, sender) in
            [("KS X 1001", None), ("ks x 1001", None), ("", Some(Charset(EUC_KR))), ("ASCII", Some(Charset(EUC_KR)))]
        {
            assert_eq!(decode(&bytes, named, sender).unwrap(), korean, "{named}");
        }
        assert_eq!(decode(korean.as_bytes(), "", None).unwrap(), korean);
        assert_eq!(decode(korean.as_bytes(), "UNICODE UTF-8", None).unwrap(), korean);
        assert_eq!(decode(b"Jos\xe9", "8859/1", None).unwrap(), "José");
        assert_eq!(decode(b"Jos\xe9", "", None).unwrap(), "José");
        assert_eq!(decode(b"\xd3\xb1x\xd3", "8859/5", None).unwrap(), "гБxг");
        assert_eq!(decode(&bytes, "UNICODE UTF-8", None), Err(TextError::Invalid));
        assert_eq!(decode(b"\xff\xff", "KS X 1001", None), Err(TextError::Invalid));
        assert_eq!(decode(&bytes, "KLINGON", None), Err(TextError::Unknown));
        assert_eq!(decode(b"plain", "KLINGON", None).unwrap(), "plain");
    }

    fn escape(text: &str) -> String {
        let mut out = String::new();
        for c in text.chars() {
            match c {
                '|' => out.push_str("\\F\\"),
                '^' => out.push_str("\\S\\"),
                '&' => out.push_str("\\T\\"),
                '~' => out.push_str("\\R\\"),
                '\\' => out.push_str("\\E\\"),
                '\n' => out.push_str("\\.br\\"),
                other => out.push(other),
            }
        }
        out
    }

    proptest! {
        #[test]
        fn what_was_escaped_comes_back(text in "[ -~\n가-힣é]{0,60}") {
            prop_assert_eq!(plain(&escape(&text)), text);
        }

        #[test]
        fn no_text_is_too_much(text in "(\\\\|[FSTRE.XZCMHN]|br|sp9|[0-9A-F]|\\PC){0,60}") {
            let out = plain(&text);
            prop_assert!(out.len() <= text.len() * MOST_BLANKS + 1);
        }

        #[test]
        fn any_bytes_are_text_where_nothing_is_declared(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            prop_assert!(decode(&bytes, "", None).is_ok());
        }
    }
}
