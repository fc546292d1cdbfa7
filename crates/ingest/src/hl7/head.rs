//! MSH: what a message says about itself, read from its bytes before its character set is known.

use super::message::Delimiters;
use super::wrong::{Code, Place, Wrong};

/// Versions that are taken.
const VERSIONS: [&str; 12] =
    ["2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.7.1", "2.8", "2.8.1", "2.8.2", "2.8.3"];

/// Fields of MSH that are read.
const FIELDS: usize = 19;

/// What the trigger events of a message type (HL7 table 0076) begin with. Not here: queries and requests, which want more of an
/// answer than an acknowledgement.
fn letters(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "ADT" | "ADR" => "A",
        "BAR" | "DFT" | "PEX" | "PGL" | "PPG" | "PPP" | "PPR" | "PTR" => "P",
        "BPS" | "BRP" | "BRT" | "BTS" | "OMB" | "OMD" | "OMG" | "OMI" | "OML" | "OMN" | "OMP" | "OMS" | "OPL"
        | "OPR" | "ORA" | "ORB" | "ORD" | "ORG" | "ORI" | "ORL" | "ORM" | "ORN" | "ORP" | "ORR" | "ORS" | "RAS"
        | "RDE" | "RDS" | "RGV" | "RRA" | "RRD" | "RRE" | "RRG" => "O",
        "CCF" | "CCI" | "CCM" | "CCU" | "REF" | "RPA" | "RPI" | "RPL" | "RPR" | "RRI" => "I",
        "CRM" | "CSU" => "C",
        "EAC" | "EAN" | "EAR" | "ESR" | "ESU" | "INR" | "INU" | "LSR" | "LSU" | "SSR" | "SSU" | "TCR" | "TCU" => "U",
        "EHC" => "E",
        "MDM" => "T",
        "MFK" | "MFN" => "M",
        "NMD" => "N",
        "OPU" | "OUL" => "R",
        "ORU" => "RW",
        "SDN" | "SDR" | "SIU" | "SMD" | "SRR" | "STC" => "S",
        "VXU" => "V",
        _ => return None,
    })
}

/// MSH.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// The delimiters that it declares.
    pub delimiters: Delimiters,
    fields: [&'a [u8]; FIELDS],
}

impl<'a> Head<'a> {
    /// The head of a message; nothing where the bytes begin with no readable MSH.
    #[must_use]
    pub fn of(message: &'a [u8]) -> Option<Self> {
        Self::named(message, b"MSH")
    }

    /// The head of a message, or of a batch (`BHS`, `FHS`), whose first fields mean the same.
    #[must_use]
    pub fn named(bytes: &'a [u8], name: &[u8; 3]) -> Option<Self> {
        let line = bytes.split(|b| matches!(b, b'\r' | b'\n')).next().filter(|l| l.starts_with(name))?;
        let delimiters = Delimiters::of(line)?;
        let mut fields = [&b""[..]; FIELDS];
        // The text "MSH" is in the place of MSH-1, the separator itself.
        for (place, field) in fields.iter_mut().skip(1).zip(line.split(|b| *b == delimiters.field)) {
            *place = field;
        }
        Some(Self { delimiters, fields })
    }

    /// A field as it was sent.
    #[must_use]
    pub fn raw(&self, n: usize) -> &'a [u8] {
        self.fields.get(n).copied().unwrap_or_default()
    }

    /// A component, from 1, of a field's first repetition, where it is ASCII; else nothing.
    #[must_use]
    pub fn component(&self, field: usize, n: usize) -> &'a str {
        let d = self.delimiters;
        let first = self.raw(field).split(|b| *b == d.repetition).next().unwrap_or_default();
        let part = first.split(|b| *b == d.component).nth(n - 1).unwrap_or_default();
        let text = std::str::from_utf8(part).ok().filter(|t| t.is_ascii()).unwrap_or_default().trim();
        if text == "\"\"" { "" } else { text }
    }

    /// The id (MSH-10), as it was sent.
    #[must_use]
    pub fn control_id(&self) -> &'a [u8] {
        self.raw(10).trim_ascii()
    }

    /// The message type, such as `ADT`.
    #[must_use]
    pub fn kind(&self) -> &'a str {
        self.component(9, 1)
    }

    /// The trigger event, such as `A01`; of types that have but one it may be left out.
    #[must_use]
    pub fn trigger(&self) -> &'a str {
        match (self.kind(), self.component(9, 2)) {
            ("ORM", "") => "O01",
            ("ORU", "") => "R01",
            (_, trigger) => trigger,
        }
    }

    /// The version, such as `2.5.1`.
    #[must_use]
    pub fn version(&self) -> &'a str {
        self.component(12, 1)
    }

    /// Whether this answers a message of ours, which we never send: it gets no answer.
    #[must_use]
    pub fn is_answer(&self) -> bool {
        matches!(self.kind(), "ACK" | "MCF")
    }

    /// What makes it impossible to take the message whatever its content is.
    #[must_use]
    pub fn refusal(&self, processing: &[String]) -> Option<Wrong> {
        let wrong = |field, code, reason| Some(Wrong::new(Place::field("MSH", field), code, reason));
        if self.control_id().is_empty() {
            return wrong(10, Code::Missing, "a message needs an id");
        }
        let trigger = self.trigger();
        match letters(self.kind()) {
            None if self.kind().is_empty() => return wrong(9, Code::Missing, "a message needs a type"),
            None => return wrong(9, Code::Type, "the message type is not taken here"),
            Some(letters) => {
                let of_type = trigger.len() == 3
                    && trigger.starts_with(|c| letters.contains(c))
                    && trigger[1..].bytes().all(|b| b.is_ascii_alphanumeric());
                if !of_type {
                    return wrong(9, Code::Event, "the type has no such trigger event");
                }
            }
        }
        match self.component(11, 1) {
            "" => return wrong(11, Code::Missing, "a message needs a processing id"),
            id if !processing.iter().any(|p| p == id) => {
                return wrong(11, Code::Processing, "the processing id is not taken here");
            }
            _ => {}
        }
        match self.version() {
            "" => wrong(12, Code::Missing, "a message needs a version"),
            v if !VERSIONS.contains(&v) => wrong(12, Code::Version, "versions 2.3 to 2.8 are taken"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(msh: &str) -> Option<Code> {
        let processing = ["P".to_owned(), "T".to_owned()];
        Head::of(msh.as_bytes()).unwrap().refusal(&processing).map(|w| w.code)
    }

    #[test]
    fn fields_are_in_their_places() {
        let h = Head::of(b"MSH|^~\\&|A^1|B||D|2020||ADT^A01^ADT_A01|id 1 |P^T|2.5^KOR||||NE\rPID|1").unwrap();
        assert_eq!((h.component(3, 1), h.kind(), h.trigger(), h.control_id()), ("A", "ADT", "A01", &b"id 1"[..]));
        assert_eq!((h.version(), h.component(16, 1), h.raw(18)), ("2.5", "NE", &b""[..]));
        assert!(Head::of(b"PID|1").is_none() && Head::of(b"MSH").is_none() && Head::of(b"").is_none());
    }

    #[test]
    fn what_is_not_about_the_content() {
        let msh = |kind: &str, id: &str, processing: &str, version: &str| {
            refused(&format!("MSH|^~\\&|A|B|C|D|20200101||{kind}|{id}|{processing}|{version}"))
        };
        for kind in ["ADT^A01", "ADT^A99", "SIU^S12^SIU_S12", "ORM", "ORU", "VXU^V04", "MDM^T02", "QRY^A19"] {
            let known = kind != "QRY^A19";
            assert_eq!(msh(kind, "1", "P", "2.8"), (!known).then_some(Code::Type), "{kind}");
        }
        for kind in ["ADT", "ADT^S12", "ADT^A1", "ADT^A0\u{e9}", "SIU^12"] {
            assert_eq!(msh(kind, "1", "P", "2.8"), Some(Code::Event), "{kind}");
        }
        assert_eq!(msh("", "1", "P", "2.8"), Some(Code::Missing));
        assert_eq!(msh("ADT^A01", " ", "P", "2.8"), Some(Code::Missing));
        assert_eq!(msh("ADT^A01", "1", "", "2.8"), Some(Code::Missing));
        assert_eq!(msh("ADT^A01", "1", "D", "2.8"), Some(Code::Processing));
        assert_eq!(msh("ADT^A01", "1", "P", ""), Some(Code::Missing));
        for version in ["2.2", "2.9", "3", "2.10"] {
            assert_eq!(msh("ADT^A01", "1", "P", version), Some(Code::Version), "{version}");
        }
    }
}
