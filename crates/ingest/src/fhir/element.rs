//! Careful access to a resource: whatever is absent is `None`, whatever has the wrong shape is an [`Issue`] that names it.
//!
//! R4 and R5 differ in cardinalities and in concepts that became references to concepts; what reads an element here takes
//! both.

use super::outcome::Issue;
use chrono::{NaiveDate, TimeZone as _};
use chrono_tz::Tz;
use domain::Micros;
use serde_json::{Map, Value};

/// Longest string that is read, bytes of UTF-8: no event takes a longer one.
const MOST_TEXT_BYTES: usize = 8_192;

/// An element and the FHIRPath that leads to it.
#[derive(Clone)]
pub(super) struct Element<'a> {
    pub value: &'a Value,
    pub path: String,
}

/// A point in time, and the element that gave it.
#[derive(Clone)]
pub(super) struct When {
    pub at: Micros,
    pub path: String,
}

/// A code and its words. Systems aren't looked at: senders write them in too many ways.
#[derive(Clone, Copy, Default)]
pub(super) struct Code<'a> {
    pub code: Option<&'a str>,
    pub text: Option<&'a str>,
}

impl<'a> Code<'a> {
    /// The code; where there is none, the words.
    pub(super) fn name(&self) -> Option<&'a str> {
        self.code.or(self.text)
    }
}

impl<'a> Code<'a> {
    /// The words; where there are none, the code.
    pub(super) fn words(&self) -> Option<&'a str> {
        self.text.or(self.code)
    }
}

impl<'a> Element<'a> {
    pub(super) fn new(value: &'a Value, path: impl Into<String>) -> Self {
        Self { value, path: path.into() }
    }

    /// A resource; its path is its type.
    pub(super) fn resource(value: &'a Value, otherwise: &str) -> Result<(Self, &'a str), Issue> {
        let wrong = |reason| Issue::new("structure", otherwise, reason);
        let Value::Object(fields) = value else { return Err(wrong("must be a resource: a JSON object")) };
        let kind = fields.get("resourceType").and_then(Value::as_str).filter(|k| !k.is_empty());
        let kind = kind.ok_or_else(|| Issue::new("required", format!("{otherwise}.resourceType"), "is required"))?;
        // A made-up type is not repeated to whoever reads logs.
        let path = if super::types::known(kind) { kind } else { otherwise };
        Ok((Self::new(value, path), kind))
    }

    fn fields(&self) -> Result<&'a Map<String, Value>, Issue> {
        self.value.as_object().ok_or_else(|| self.wrong("must be an object"))
    }

    /// Something is wrong with this element.
    pub(super) fn wrong(&self, reason: impl Into<String>) -> Issue {
        Issue::new("structure", self.path.clone(), reason)
    }

    /// A child that must be there isn't.
    pub(super) fn missing(&self, name: &str) -> Issue {
        Issue::new("required", format!("{}.{name}", self.path), "is required")
    }

    /// The child of that name, if there is one.
    pub(super) fn get(&self, name: &str) -> Option<Self> {
        let value = self.value.get(name).filter(|v| !v.is_null())?;
        Some(Self { value, path: format!("{}.{name}", self.path) })
    }

    /// The first child that is there under one of these names: what R4 and R5 call it.
    pub(super) fn any(&self, names: &[&str]) -> Option<Self> {
        names.iter().find_map(|n| self.get(n))
    }

    /// The children of that name; a single one counts as a list of one.
    pub(super) fn each(&self, name: &str) -> Vec<Self> {
        self.few(name, usize::MAX)
    }

    /// The first `most` children of that name.
    pub(super) fn few(&self, name: &str, most: usize) -> Vec<Self> {
        let Some(child) = self.get(name) else { return Vec::new() };
        match child.value {
            Value::Array(all) => {
                let one = |(i, value): (usize, &'a Value)| Self { value, path: format!("{}[{i}]", child.path) };
                all.iter().enumerate().filter(|(_, v)| !v.is_null()).take(most).map(one).collect()
            }
            _ => vec![child],
        }
    }

    /// The first of the children of that name.
    pub(super) fn first(&self, name: &str) -> Option<Self> {
        let child = self.get(name)?;
        match child.value {
            Value::Array(all) => {
                all.first().filter(|v| !v.is_null()).map(|value| Self { value, path: format!("{}[0]", child.path) })
            }
            _ => Some(child),
        }
    }

    /// This element's string.
    pub(super) fn text(&self) -> Result<&'a str, Issue> {
        let text = self.value.as_str().map(str::trim).ok_or_else(|| self.wrong("must be a string"))?;
        if text.len() > MOST_TEXT_BYTES {
            return Err(Issue::too_long(self.path.clone(), MOST_TEXT_BYTES));
        }
        Ok(text)
    }

    /// The child's string, if it is there and says something.
    pub(super) fn string(&self, name: &str) -> Result<Option<&'a str>, Issue> {
        self.fields()?;
        let text = self.get(name).map(|e| e.text()).transpose()?;
        Ok(text.filter(|t| !t.is_empty()))
    }

    /// The child's string, which must be there.
    pub(super) fn required(&self, name: &str) -> Result<&'a str, Issue> {
        self.string(name)?.ok_or_else(|| self.missing(name))
    }

    /// The child's number, if it is there.
    pub(super) fn number(&self, name: &str) -> Result<Option<f64>, Issue> {
        self.fields()?;
        self.get(name).map(|e| e.value.as_f64().ok_or_else(|| e.wrong("must be a number"))).transpose()
    }

    /// The child's whole number, if it is there.
    pub(super) fn whole(&self, name: &str) -> Result<Option<i32>, Issue> {
        self.fields()?;
        let read = |e: Self| {
            let n = e.value.as_i64().and_then(|n| i32::try_from(n).ok());
            n.ok_or_else(|| e.wrong("must be a whole number"))
        };
        self.get(name).map(read).transpose()
    }

    /// The child's time, if it is there. One without a time of day is the beginning of its day, month or year in `zone`.
    pub(super) fn time(&self, name: &str, zone: Tz) -> Result<Option<When>, Issue> {
        self.fields()?;
        self.get(name).map(|e| e.when(zone)).transpose()
    }

    /// This element's time.
    pub(super) fn when(&self, zone: Tz) -> Result<When, Issue> {
        let at = moment(self.text()?, zone);
        let at = at.ok_or_else(|| Issue::new("value", self.path.clone(), "is no FHIR dateTime or instant"))?;
        Ok(When { at, path: self.path.clone() })
    }

    /// The code of the child, whichever of code, Coding, `CodeableConcept` and `CodeableReference` it is; of several the
    /// first.
    pub(super) fn code(&self, name: &str) -> Result<Code<'a>, Issue> {
        self.fields()?;
        self.first(name).map_or(Ok(Code::default()), |e| e.as_code())
    }

    /// This element as a code.
    pub(super) fn as_code(&self) -> Result<Code<'a>, Issue> {
        if self.value.is_string() {
            return Ok(Code { code: Some(self.text()?), ..Code::default() });
        }
        // R5: the concept of a CodeableReference.
        if let Some(concept) = self.get("concept") {
            return concept.as_code();
        }
        let Some(coding) = self.first("coding") else {
            let text = self.string("text")?.or(self.string("display")?);
            return Ok(Code { code: self.string("code")?, text });
        };
        let text = self.string("text")?.or(coding.string("display")?);
        Ok(Code { code: coding.string("code")?, text })
    }

    /// Every code of the children of that name, all codings of each.
    pub(super) fn codes(&self, name: &str) -> Result<Vec<Code<'a>>, Issue> {
        let mut all = Vec::new();
        for e in self.each(name) {
            let concept = e.get("concept").unwrap_or(e);
            for coding in concept.each("coding") {
                #[cfg(test)]
                READ.set(READ.get() + 1);
                all.push(coding.as_code()?);
            }
            let whole = concept.as_code()?;
            all.push(Code { code: whole.code.filter(|_| concept.get("coding").is_none()), ..whole });
        }
        Ok(all)
    }
}

#[cfg(test)]
thread_local! {
    /// Codings and identifiers that were read by this thread: what many resources link to is to be read once.
    pub(super) static READ: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// A FHIR instant or dateTime.
fn moment(text: &str, zone: Tz) -> Option<Micros> {
    if text.len() > 10 {
        // A leap second is the end of its minute: no clock here counts it.
        let text =
            if text.get(17..19) == Some("60") { format!("{}59{}", &text[..17], &text[19..]) } else { text.into() };
        return Micros::parse(&text);
    }
    let day = match text.len() {
        4 => NaiveDate::parse_from_str(&format!("{text}-01-01"), "%Y-%m-%d"),
        7 => NaiveDate::parse_from_str(&format!("{text}-01"), "%Y-%m-%d"),
        10 => NaiveDate::parse_from_str(text, "%Y-%m-%d"),
        _ => return None,
    };
    let midnight = day.ok()?.and_hms_opt(0, 0, 0)?;
    // Where the clock skips midnight the day begins an hour later.
    let first = zone.from_local_datetime(&midnight).earliest();
    let first = first.or_else(|| zone.from_local_datetime(&(midnight + chrono::TimeDelta::hours(1))).earliest())?;
    Some(Micros(first.timestamp_micros())).filter(|t| Micros::RANGE.contains(&t.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn times_of_every_precision() {
        let zone = chrono_tz::Asia::Seoul;
        let at = |t: &str| moment(t, zone).map(|m| m.to_string());
        assert_eq!(at("2026-03-02T09:00:00+09:00").as_deref(), Some("2026-03-02T00:00:00Z"));
        assert_eq!(at("2026-03-02").as_deref(), Some("2026-03-01T15:00:00Z"));
        assert_eq!(at("2026-03").as_deref(), Some("2026-02-28T15:00:00Z"));
        assert_eq!(at("2026").as_deref(), Some("2025-12-31T15:00:00Z"));
        assert_eq!(at("2016-12-31T23:59:60Z").as_deref(), Some("2016-12-31T23:59:59Z"));
        for bad in [
            "",
            "today",
            "2026-13",
            "2026-02-30",
            "2026-03-02T09:00:00",
            "20260302",
            "٢٠٢٦",
            "가나다라마바사아자차카타파하거너더러",
        ] {
            assert_eq!(at(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_code_is_read_from_every_shape() {
        let shapes = [
            json!({"c": "x"}),
            json!({"c": {"code": "x"}}),
            json!({"c": {"coding": [{"code": "x"}]}}),
            json!({"c": [{"coding": [{"code": "x"}], "text": "y"}]}),
            json!({"c": [{"concept": {"coding": [{"code": "x"}]}}]}),
        ];
        for s in &shapes {
            assert_eq!(Element::new(s, "T").code("c").unwrap().code, Some("x"), "{s}");
        }
        let wrong = json!({"c": [{"coding": [{"code": 5}]}]});
        let e = Element::new(&wrong, "T").code("c").err().unwrap();
        assert_eq!((e.code, e.expression.as_str()), ("structure", "T.c[0].coding[0].code"));
    }
}
