//! Identifiers: of events, of patients, and an event embedded in another.

use crate::json::Json;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{fmt, str::FromStr};
use uuid::Uuid;

/// Identifier of an event, a UUID.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(pub Uuid);

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for EventId {
    type Err = uuid::Error;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Uuid::parse_str(s).map(Self)
    }
}

impl Json for EventId {
    fn write(&self, out: &mut String) {
        let mut buffer = Uuid::encode_buffer();
        out.push('"');
        out.push_str(self.0.hyphenated().encode_lower(&mut buffer));
        out.push('"');
    }
}

impl Serialize for EventId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.0.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
    }
}

impl<'de> Deserialize<'de> for EventId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl de::Visitor<'_> for V {
            type Value = EventId;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a UUID")
            }
            fn visit_str<E: de::Error>(self, s: &str) -> Result<EventId, E> {
                s.parse().map_err(|_| E::custom("not a UUID"))
            }
        }
        d.deserialize_str(V)
    }
}

/// Pseudonym of a patient. `Debug` is redacted, since ids end up in logs.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PatientId(pub String);

impl PatientId {
    /// The pseudonym.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PatientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PatientId(…)")
    }
}

impl Json for PatientId {
    fn write(&self, out: &mut String) {
        self.0.write(out);
    }
}

/// A whole event inside another one. On the log it is a string of JSON; in JSON it is the object itself.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Embedded(pub String);

impl Json for Embedded {
    fn write(&self, out: &mut String) {
        out.push_str(&self.0);
    }
}

impl<'de> Deserialize<'de> for Embedded {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> de::Visitor<'de> for V {
            type Value = Embedded;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an event, as an object or as a string of JSON")
            }
            fn visit_str<E: de::Error>(self, s: &str) -> Result<Embedded, E> {
                let value: serde_json::Value = serde_json::from_str(s).map_err(|_| E::custom("not JSON"))?;
                Ok(Embedded(value.to_string()))
            }
            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Embedded, A::Error> {
                let value = serde_json::Value::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(Embedded(value.to_string()))
            }
        }
        if d.is_human_readable() { d.deserialize_any(V) } else { d.deserialize_str(V) }
    }
}
