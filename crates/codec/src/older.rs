//! Reads datums of other schema versions than the one that this build's types are generated from, with apache-avro, by the
//! schema that wrote them.

use crate::frame::MAX_DATUM;
use apache_avro::error::Error;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::schema::{ArraySchema, NamesRef, RecordField, ResolvedSchema, Schema, UnionSchema};
use apache_avro::util::max_allocation_bytes;
use domain::{Event, Kind};
use serde::{Deserialize, Deserializer, de::Error as _};
use std::cell::Cell;

/// A reader of what one schema wrote: fields that this build has not are dropped, those that it has more get their default.
pub(crate) struct Reader {
    kind: Kind,
    avro: GenericDatumReader<'static>,
}

thread_local! {
    /// The type that [`Told`] is about: apache-avro's reader takes no seed to tell it by.
    static KIND: Cell<Option<Kind>> = const { Cell::new(None) };
}

struct Told(Event);

impl<'de> Deserialize<'de> for Told {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let kind = KIND.get().ok_or_else(|| D::Error::custom("no type was told"))?;
        Event::deserialize_record(kind, d).map(Self)
    }
}

impl Reader {
    /// Of what `text`, a schema of events of type `kind`, wrote. Leaks the parsed schema, which apache-avro borrows: one is
    /// made per schema and process.
    pub(crate) fn new(kind: Kind, text: &str) -> Result<Self, Error> {
        // The length of a string is believed up to this, 512 MiB by default; lists grow
        // as they are read.
        max_allocation_bytes(MAX_DATUM);
        let (written, known) = (Schema::parse_str(text)?, Schema::parse_str(kind.schema())?);
        let (in_written, in_known) = (ResolvedSchema::new(&written)?, ResolvedSchema::new(&known)?);
        let names = (in_written.get_names(), in_known.get_names());
        let schema: &'static Schema = Box::leak(Box::new(readable(&written, Some(&known), names)?));
        let no_names = ResolvedSchema::new_with_schemata(Vec::new())?;
        let avro = GenericDatumReader::builder(schema).resolved_writer_schemata(no_names).build()?;
        Ok(Self { kind, avro })
    }

    /// Takes a datum off the front; `None` when it does not fit. Values are checked for no more than their types' form.
    pub(crate) fn read(&self, from: &mut &[u8]) -> Option<Event> {
        KIND.set(Some(self.kind));
        // The error may quote the datum.
        self.avro.read_deser(from).ok().map(|Told(event)| event)
    }
}

/// `written` with every named type in its place, and what `known` has not in a form of the same bytes that can be dropped.
///
/// A field that is dropped goes through `IgnoredAny`, to which apache-avro 0.22 can give neither an enum nor a record: these
/// become an int and a tuple. No schema of the catalogue contains itself.
fn readable(written: &Schema, known: Option<&Schema>, names: (&NamesRef, &NamesRef)) -> Result<Schema, Error> {
    let written = in_place(written, names.0);
    let known = known.map(|k| in_place(k, names.1));
    Ok(match written {
        Schema::Enum(_) if known.is_none() => Schema::Int,
        Schema::Record(record) => {
            let mut record = record.clone();
            for f in &mut record.fields {
                let known = match known {
                    Some(Schema::Record(k)) => k.fields.iter().find(|k| k.name == f.name).map(|k| &k.schema),
                    _ => None,
                };
                f.schema = readable(&f.schema, known, names)?;
            }
            if known.is_none() {
                record.attributes.insert("org.apache.avro.rust.tuple".to_owned(), true.into());
                // A tuple of one is taken for its only value: null, which has no bytes, makes it two.
                if let [only] = &record.fields[..] {
                    record.fields.push(RecordField { schema: Schema::Null, ..only.clone() });
                }
            }
            Schema::Record(record)
        }
        Schema::Array(list) => {
            let known = if let Some(Schema::Array(k)) = known { Some(&*k.items) } else { None };
            let items = Box::new(readable(&list.items, known, names)?);
            Schema::Array(ArraySchema { items, attributes: list.attributes.clone() })
        }
        Schema::Union(union) => {
            // Null and one other, as all of the catalogue's.
            let known = match known {
                Some(Schema::Union(k)) => k.variants().iter().find(|v| !matches!(v, Schema::Null)),
                other => other,
            };
            let branches = union.variants().iter().map(|b| readable(b, known, names));
            Schema::Union(UnionSchema::new(branches.collect::<Result<_, _>>()?)?)
        }
        plain => plain.clone(),
    })
}

/// The definition behind a name.
fn in_place<'a>(schema: &'a Schema, names: &NamesRef<'a>) -> &'a Schema {
    match schema {
        Schema::Ref { name } => names.get(name).copied().unwrap_or(schema),
        other => other,
    }
}

#[cfg(test)]
mod tests;
