//! What is wrong with a message, and what becomes of it.

use std::borrow::Cow;

/// What is wrong (HL7 table 0357).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// 100: segments are missing or in the wrong order.
    Segment,
    /// 101: a required field is missing.
    Missing,
    /// 102: a field is not of its data type.
    DataType,
    /// 103: a code is not in its table.
    Table,
    /// 200: unsupported message type.
    Type,
    /// 201: unsupported event.
    Event,
    /// 202: unsupported processing id.
    Processing,
    /// 203: unsupported version.
    Version,
    /// 204: unknown key identifier.
    Unknown,
    /// 205: duplicate key identifier.
    Duplicate,
    /// 207: trouble here.
    Internal,
}

impl Code {
    /// Number and name.
    pub(super) const fn table(self) -> (u16, &'static str) {
        match self {
            Self::Segment => (100, "Segment sequence error"),
            Self::Missing => (101, "Required field missing"),
            Self::DataType => (102, "Data type error"),
            Self::Table => (103, "Table value not found"),
            Self::Type => (200, "Unsupported message type"),
            Self::Event => (201, "Unsupported event code"),
            Self::Processing => (202, "Unsupported processing id"),
            Self::Version => (203, "Unsupported version id"),
            Self::Unknown => (204, "Unknown key identifier"),
            Self::Duplicate => (205, "Duplicate key identifier"),
            Self::Internal => (207, "Application internal error"),
        }
    }

    /// The number.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.table().0
    }
}

/// A place in a message (data type ERL); a count from 1 each, and 0 where it isn't that exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The segment's name.
    pub segment: &'static str,
    /// Which of the segments of that name.
    pub sequence: u16,
    /// The field.
    pub field: u16,
    /// Which of its repetitions.
    pub repetition: u16,
    /// The component.
    pub component: u16,
}

impl Place {
    /// A whole segment, the first of its name.
    #[must_use]
    pub const fn segment(segment: &'static str) -> Self {
        Self { segment, sequence: 1, field: 0, repetition: 0, component: 0 }
    }

    /// A field of the first segment of a name.
    #[must_use]
    pub const fn field(segment: &'static str, field: u16) -> Self {
        Self { segment, sequence: 1, field, repetition: 1, component: 0 }
    }

    /// The same in another segment of that name.
    #[must_use]
    pub const fn in_sequence(self, sequence: u16) -> Self {
        Self { sequence, ..self }
    }

    /// A component of it.
    #[must_use]
    pub const fn component(self, component: u16) -> Self {
        Self { component, ..self }
    }
}

/// One thing that is wrong with a message. Never quotes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// Where.
    pub place: Place,
    /// What, by the standard's table.
    pub code: Code,
    /// What, in words.
    pub reason: Cow<'static, str>,
}

impl Wrong {
    /// Something wrong there.
    #[must_use]
    pub fn new(place: Place, code: Code, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { place, code, reason: reason.into() }
    }
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Its events are in the log, or it has none (AA, CA).
    Accepted,
    /// Its content is wrong: the sender has to change it (AE, CE).
    Error(Vec<Wrong>),
    /// It was not taken, and not for its content (AR, CR).
    Rejected(Wrong),
}

impl Verdict {
    pub(super) fn wrongs(&self) -> &[Wrong] {
        match self {
            Self::Accepted => &[],
            Self::Error(all) => all,
            Self::Rejected(one) => std::slice::from_ref(one),
        }
    }
}
