//! A message as segments, fields, repetitions and components: slices of its text, cut when they are asked for.

use super::text::unescape;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Most segments of one message; a longer one is refused. The largest real ones (laboratory results) have hundreds.
pub const MOST_SEGMENTS: usize = 10_000;

/// The five characters that MSH-1 and MSH-2 declare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delimiters {
    /// Between fields.
    pub field: u8,
    /// Between components.
    pub component: u8,
    /// Between repetitions.
    pub repetition: u8,
    /// Around escape sequences; absent in messages that have none.
    pub escape: Option<u8>,
    /// Between subcomponents.
    pub subcomponent: Option<u8>,
}

impl Default for Delimiters {
    fn default() -> Self {
        Self { field: b'|', component: b'^', repetition: b'~', escape: Some(b'\\'), subcomponent: Some(b'&') }
    }
}

impl Delimiters {
    /// Reads them from a message's first bytes, `MSH|^~\&`; nothing where these are no delimiters.
    #[must_use]
    pub fn of(start: &[u8]) -> Option<Self> {
        let usable = |b: &u8| b.is_ascii_graphic() && !b.is_ascii_alphanumeric();
        let field = *start.get(3).filter(|b| usable(b))?;
        let mut rest = start[4..].iter().copied().take_while(|b| *b != field && usable(b));
        let (component, repetition) = (rest.next()?, rest.next()?);
        let d = Self { field, component, repetition, escape: rest.next(), subcomponent: rest.next() };
        let all = [Some(field), Some(component), Some(repetition), d.escape, d.subcomponent];
        let twice = |i: usize| all[i].is_some() && all[i + 1..].contains(&all[i]);
        (!(0..all.len()).any(twice)).then_some(d)
    }
}

/// A piece of a message: a field, a repetition, a component or a subcomponent.
#[derive(Clone, Copy)]
pub struct Part<'a> {
    text: &'a str,
    delimiters: Delimiters,
}

impl<'a> Part<'a> {
    /// A piece of text under these delimiters.
    #[must_use]
    pub const fn new(text: &'a str, delimiters: Delimiters) -> Self {
        Self { text, delimiters }
    }

    /// As it was sent.
    #[must_use]
    pub const fn raw(self) -> &'a str {
        self.text
    }

    /// Whether it says anything; `""` is HL7's way to say that a value was deleted.
    #[must_use]
    pub fn is_empty(self) -> bool {
        let text = self.text.trim();
        text.is_empty() || text == "\"\""
    }

    /// Itself, where it says anything.
    #[must_use]
    pub fn present(self) -> Option<Self> {
        (!self.is_empty()).then_some(self)
    }

    fn nth(self, separator: Option<u8>, n: usize) -> Self {
        let text = match separator {
            Some(s) => self.text.split(char::from(s)).nth(n.saturating_sub(1)).unwrap_or_default(),
            None if n <= 1 => self.text,
            None => "",
        };
        Self { text, ..self }
    }

    /// The repetitions of a field.
    pub fn repetitions(self) -> impl Iterator<Item = Self> {
        self.text.split(char::from(self.delimiters.repetition)).map(move |text| Self { text, ..self })
    }

    /// The `n`th component, from 1, of a field's first repetition.
    #[must_use]
    pub fn component(self, n: usize) -> Self {
        self.nth(Some(self.delimiters.repetition), 1).nth(Some(self.delimiters.component), n)
    }

    /// The `n`th subcomponent, from 1.
    #[must_use]
    pub fn subcomponent(self, n: usize) -> Self {
        self.nth(self.delimiters.subcomponent, n)
    }

    /// The first subcomponent of the first component of the first repetition, unescaped; `None` where it says nothing.
    #[must_use]
    pub fn id(self) -> Option<Cow<'a, str>> {
        self.component(1).subcomponent(1).value()
    }

    /// The text, unescaped and without white space around it; `None` where it says nothing.
    #[must_use]
    pub fn value(self) -> Option<Cow<'a, str>> {
        let part = self.present()?;
        match unescape(part.text, self.delimiters) {
            Cow::Borrowed(text) => Some(Cow::Borrowed(text.trim())),
            Cow::Owned(text) => Some(Cow::Owned(text.trim().to_owned())),
        }
        .filter(|text| !text.is_empty())
    }
}

/// One segment.
#[derive(Clone, Copy)]
pub struct Segment<'a> {
    text: &'a str,
    delimiters: Delimiters,
    /// Which of the segments of its name it is, from 1.
    pub sequence: u16,
}

impl<'a> Segment<'a> {
    /// Its three letters.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.text.split(char::from(self.delimiters.field)).next().unwrap_or_default()
    }

    /// How long it is, bytes.
    #[must_use]
    pub const fn length(&self) -> usize {
        self.text.len()
    }

    /// The `n`th field, from 1, as the standard counts them.
    #[must_use]
    pub fn field(&self, n: usize) -> Part<'a> {
        let separator = char::from(self.delimiters.field);
        // MSH-1 is the separator itself.
        let n = if matches!(self.name(), "MSH" | "BHS" | "FHS") { n.saturating_sub(1) } else { n };
        Part::new(self.text.split(separator).nth(n).unwrap_or_default(), self.delimiters)
    }
}

/// One message.
pub struct Message<'a> {
    segments: Vec<Segment<'a>>,
    /// Where the first segment of each name is: it is asked for again and again, in messages of thousands of segments too.
    first: BTreeMap<&'a str, usize>,
}

impl<'a> Message<'a> {
    /// Cuts a message into segments. Nothing where it has more than [`MOST_SEGMENTS`].
    #[must_use]
    pub fn new(text: &'a str, delimiters: Delimiters) -> Option<Self> {
        let mut segments: Vec<Segment<'a>> = Vec::with_capacity(16);
        for text in text.split(['\r', '\n']).map(str::trim_start).filter(|t| !t.is_empty()) {
            if segments.len() == MOST_SEGMENTS {
                return None;
            }
            segments.push(Segment { text, delimiters, sequence: 1 });
        }
        let mut counts: BTreeMap<&str, u16> = BTreeMap::new();
        for s in &mut segments {
            let n = counts.entry(s.name()).or_default();
            *n = n.saturating_add(1);
            s.sequence = *n;
        }
        Some(Self::of(segments))
    }

    fn of(segments: Vec<Segment<'a>>) -> Self {
        let mut first = BTreeMap::new();
        for (i, s) in segments.iter().enumerate() {
            first.entry(s.name()).or_insert(i);
        }
        Self { segments, first }
    }

    /// Its segments.
    #[must_use]
    pub fn segments(&self) -> &[Segment<'a>] {
        &self.segments
    }

    /// The first segment of a name.
    #[must_use]
    pub fn first(&self, name: &str) -> Option<&Segment<'a>> {
        self.first.get(name).and_then(|i| self.segments.get(*i))
    }

    /// All segments of a name.
    pub fn all(&self, name: &'static str) -> impl Iterator<Item = &Segment<'a>> {
        self.segments.iter().filter(move |s| s.name() == name)
    }

    /// A field of the first segment of a name; empty where there is none.
    #[must_use]
    pub fn field(&self, name: &str, n: usize) -> Part<'a> {
        self.first(name).map_or(Part::new("", Delimiters::default()), |s| s.field(n))
    }

    /// The message as one message for each of its patients (PID), each with MSH and EVN.
    #[must_use]
    pub fn by_patient(&self) -> Vec<Self> {
        let start = self.first.get("PID").copied().unwrap_or(self.segments.len());
        let head = ["MSH", "EVN"].iter().filter_map(|n| self.first.get(n)).filter(|i| **i < start);
        let head: Vec<Segment<'a>> = head.map(|i| self.segments[*i]).collect();
        self.groups("PID").map(|group| Self::of([&head, group].concat())).collect()
    }

    /// The segments cut into groups, each of which begins at a segment of that name; what comes before the first is left out.
    pub fn groups(&self, name: &'static str) -> impl Iterator<Item = &[Segment<'a>]> {
        let start = self.first.get(name).copied().unwrap_or(self.segments.len());
        let mut rest = &self.segments[start..];
        std::iter::from_fn(move || {
            let (first, after) = rest.split_first()?;
            debug_assert_eq!(first.name(), name);
            let length = 1 + after.iter().position(|s| s.name() == name).unwrap_or(after.len());
            let (group, next) = rest.split_at(length);
            rest = next;
            Some(group)
        })
    }
}

/// The first of some segments with that name.
#[must_use]
pub fn named<'s, 'a>(segments: &'s [Segment<'a>], name: &str) -> Option<&'s Segment<'a>> {
    segments.iter().find(|s| s.name() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "MSH|^~\\&|A^1.2^ISO|B\r\nPID|1||12^^^H&1.2&ISO^MR~34^^^N|x\\T\\y|\"\"\n\nNK1|1\rNK1|2|a~b";

    #[test]
    fn fields_are_counted_as_the_standard_does() {
        let m = Message::new(TEXT, Delimiters::of(TEXT.as_bytes()).unwrap()).unwrap();
        assert_eq!(m.segments().len(), 4);
        assert_eq!((m.field("MSH", 2).raw(), m.field("MSH", 3).id().as_deref()), ("^~\\&", Some("A")));
        let pid3 = m.field("PID", 3);
        assert_eq!(pid3.repetitions().map(|r| r.id().unwrap().into_owned()).collect::<Vec<_>>(), ["12", "34"]);
        assert_eq!(pid3.component(4).subcomponent(2).value().as_deref(), Some("1.2"));
        assert_eq!(m.field("PID", 4).value().as_deref(), Some("x&y"));
        assert_eq!(
            (m.field("PID", 5).value(), m.field("PID", 50).value(), m.field("ZZZ", 1).value()),
            (None, None, None)
        );
        assert_eq!(m.all("NK1").map(|s| s.sequence).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(m.groups("NK1").map(<[_]>::len).collect::<Vec<_>>(), [1, 1]);
    }

    #[test]
    fn a_patient_s_part_has_no_more_than_it_needs() {
        let text = format!("MSH|^~\\&|A\rEVN||1\r{}PID|1\rOBR|1\rPID|2\rOBR|2\rOBR|3", "NTE|1\r".repeat(50));
        let m = Message::new(&text, Delimiters::default()).unwrap();
        let parts = m.by_patient();
        assert_eq!(parts.iter().map(|p| p.segments().len()).collect::<Vec<_>>(), [4, 5]);
        assert_eq!((parts[1].field("EVN", 2).raw(), parts[1].field("PID", 1).raw()), ("1", "2"));
        assert_eq!(parts[1].all("OBR").map(|s| s.sequence).collect::<Vec<_>>(), [2, 3]);
    }

    #[test]
    fn other_delimiters_and_none() {
        let d = Delimiters::of(b"MSH*:+?%*x").unwrap();
        assert_eq!((d.field, d.component, d.repetition), (b'*', b':', b'+'));
        assert_eq!(Part::new("a:b%c", d).component(2).subcomponent(2).raw(), "c");
        for wrong in [&b"MSH"[..], b"MSH|", b"MSH|^", b"MSH|^^\\&|", b"MSH|^|", b"MSHabcde"] {
            assert!(Delimiters::of(wrong).is_none(), "{wrong:?}");
        }
        let short = Delimiters::of(b"MSH|^~|x").unwrap();
        assert_eq!((short.escape, Part::new("a&b\\F\\", short).value().as_deref()), (None, Some("a&b\\F\\")));
    }
}
