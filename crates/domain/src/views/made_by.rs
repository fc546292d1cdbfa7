//! How a generation of a view is made.

use super::View;
use super::mot::{Mot, Standards, StandardsError};
use crate::Micros;
use crate::event::Event;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How a generation of a view is made. Kept with the generation, so that whoever works on it makes it alike.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MadeBy {
    /// Standards of the view mot: name and text of each file. A generation keeps them whatever is configured later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standards: Option<Vec<(String, String)>>,
    /// Where it ends; such a generation is frozen once it is built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Until>,
}

/// The end of what a generation takes in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Until {
    /// What had been recorded by then: what was known.
    Recorded(#[serde(with = "micros")] Micros),
    /// What had happened by then, whenever it was recorded.
    Occurred(#[serde(with = "micros")] Micros),
    /// Up to and with these offsets, by partition; of a partition that isn't named, nothing.
    Positions(BTreeMap<u32, u64>),
}

impl Until {
    /// Whether an event at this place belongs to it.
    #[must_use]
    pub fn takes(&self, event: &Event, partition: u32, offset: u64) -> bool {
        match self {
            Self::Recorded(end) => event.header().recorded_at <= *end,
            Self::Occurred(end) => event.header().occurred_at <= *end,
            Self::Positions(ends) => ends.get(&partition).is_some_and(|end| offset <= *end),
        }
    }
}

impl MadeBy {
    /// As configured.
    #[must_use]
    pub fn configured(view: View, mot: &Mot) -> Self {
        let standards = (view == View::Mot).then(|| mot.standards().files().to_vec());
        Self { standards, until: None }
    }

    /// Scoring by these standards; by the configured ones where none are kept.
    ///
    /// # Errors
    /// When the standards that are kept can't be read.
    pub fn mot(&self, configured: &Mot) -> Result<Mot, StandardsError> {
        match &self.standards {
            Some(files) if files != configured.standards().files() => Standards::parse(files).map(Mot::new),
            _ => Ok(configured.clone()),
        }
    }
}

/// Microseconds since 1970, as a number.
mod micros {
    use crate::Micros;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(t: &Micros, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_i64(t.0)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Micros, D::Error> {
        i64::deserialize(d).map(Micros)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Kind;
    use crate::testing::example;

    #[test]
    fn it_is_kept_as_it_is() {
        let made = MadeBy {
            standards: Some(vec![("a.toml".into(), "x = 1".into())]),
            until: Some(Until::Positions(BTreeMap::from([(3, 17)]))),
        };
        let text = serde_json::to_string(&made).unwrap();
        assert_eq!(serde_json::from_str::<MadeBy>(&text).unwrap(), made);
        assert_eq!(serde_json::to_string(&MadeBy::default()).unwrap(), "{}");
        let recorded = MadeBy { standards: None, until: Some(Until::Recorded(Micros(5))) };
        assert_eq!(serde_json::to_string(&recorded).unwrap(), r#"{"until":{"recorded":5}}"#);
    }

    #[test]
    fn the_end_is_taken_in_and_what_comes_after_is_not() {
        let event = example(Kind::PatientCheckedIn, 1);
        let (occurred, recorded) = (event.header().occurred_at, event.header().recorded_at);
        for (end, by) in [(recorded, Until::Recorded as fn(Micros) -> Until), (occurred, Until::Occurred)] {
            assert!(by(end).takes(&event, 0, 0) && !by(Micros(end.0 - 1)).takes(&event, 0, 0));
        }
        let positions = Until::Positions(BTreeMap::from([(3, 17)]));
        assert!(positions.takes(&event, 3, 17) && !positions.takes(&event, 3, 18) && !positions.takes(&event, 2, 0));
    }
}
