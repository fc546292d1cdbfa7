//! Generations of a view: its own tables each, and the SQL views by which readers see the active one.

use crate::{Durability, Store, StoreError, Target, Tx, now_ms};
use domain::table::{Table, Type};
use std::fmt::Write as _;
use xxhash_rust::xxh3::xxh3_64;

/// Columns of a view's state table: what its fold keeps of each patient.
pub const STATE: &[(&str, Type)] = &[("patient_id", Type::Text), ("partition", Type::Int), ("state", Type::Bytes)];

/// What a view keeps.
#[derive(Debug, Clone, Copy)]
pub struct ViewSpec {
    /// Name, such as `follow_ups`.
    pub name: &'static str,
    /// Tables.
    pub tables: &'static [Table],
    /// Whether it has a table `<name>_state`.
    pub state: bool,
}

/// A generation of a view, with its tables' names.
#[derive(Debug, Clone)]
pub struct Generation {
    /// The view.
    pub view: &'static str,
    /// Number, from 1.
    pub number: i64,
    tables: Vec<(String, &'static Table)>,
    state: Option<String>,
}

impl Generation {
    fn new(spec: ViewSpec, number: i64) -> Self {
        let tables = spec.tables.iter().map(|t| (format!("{}_g{number}", t.name), t)).collect();
        let state = spec.state.then(|| format!("{}_state_g{number}", spec.name));
        Self { view: spec.name, number, tables, state }
    }

    /// Where the rows of table `i` go.
    #[must_use]
    pub fn target(&self, i: usize) -> Target<'_> {
        let (name, t) = &self.tables[i];
        Target { table: name, columns: t.columns, key: t.key }
    }

    /// Where states go, if the view has any.
    #[must_use]
    pub fn state(&self) -> Option<Target<'_>> {
        self.state.as_deref().map(|table| Target { table, columns: STATE, key: 1 })
    }
}

/// A table of a view: name, columns, length of the key, indexes.
type TableOf = (String, &'static [(&'static str, Type)], usize, &'static [&'static [&'static str]]);

impl ViewSpec {
    /// Every table, the state's too.
    fn all(self) -> Vec<TableOf> {
        let mut all: Vec<_> = self.tables.iter().map(|t| (t.name.to_owned(), t.columns, t.key, t.indexes)).collect();
        if self.state {
            all.push((format!("{}_state", self.name), STATE, 1, &[]));
        }
        all
    }

    /// Changes when a table does: a generation holds rows of one shape.
    fn shape(self) -> String {
        let mut text = String::new();
        for (name, columns, key, indexes) in self.all() {
            let _ = write!(text, "{name} {columns:?} {key} {indexes:?};");
        }
        format!("{:016x}", xxh3_64(text.as_bytes()))
    }
}

impl Store {
    /// Finds the active generation of a view; makes generation 1, with its tables and SQL views, when there is none.
    /// Safe when several processes start at once.
    ///
    /// # Errors
    /// When the stored generation has other tables than this version writes, and those of the database.
    pub async fn ensure_view(&self, spec: ViewSpec) -> Result<Generation, StoreError> {
        let mut tx = self.engine().begin(Durability::Full).await?;
        tx.lock_schema().await?;
        let sql = "SELECT generation, shape FROM generations WHERE view = $1 AND active = 1";
        let found = tx.query(sql, &[spec.name.into()]).await?;
        let generation = match found.first() {
            Some(g) if g.text(1) == spec.shape() => Generation::new(spec, g.int(0)),
            Some(g) => {
                return Err(StoreError::Configuration(format!(
                    "generation {} of view {} was made by another version, whose tables differ: it has to be rebuilt",
                    g.int(0),
                    spec.name
                )));
            }
            None => {
                self.create(&mut tx, spec, 1).await?;
                Self::point(&mut tx, spec, 1).await?;
                Generation::new(spec, 1)
            }
        };
        tx.commit().await?;
        Ok(generation)
    }

    /// The number of a view's active generation; `None` before its projector has ever run.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn active_generation(&self, view: &str) -> Result<Option<i64>, StoreError> {
        let sql = "SELECT generation FROM generations WHERE view = $1 AND active = 1";
        Ok(self.engine().query(sql, &[view.into()]).await?.first().map(|r| r.int(0)))
    }

    /// Makes the tables of a generation.
    async fn create(&self, tx: &mut Tx, spec: ViewSpec, number: i64) -> Result<(), StoreError> {
        for (name, columns, key, indexes) in spec.all() {
            let table = format!("{name}_g{number}");
            let mut ddl: Vec<String> =
                columns.iter().map(|(c, t)| format!("\"{c}\" {}", self.engine().type_name(*t))).collect();
            ddl.push(format!("PRIMARY KEY ({})", quoted(columns[..key].iter().map(|(c, _)| *c))));
            tx.execute(&format!("CREATE TABLE \"{table}\" ({})", ddl.join(", ")), &[]).await?;
            for (i, index) in indexes.iter().enumerate() {
                let list = quoted(index.iter().copied());
                tx.execute(&format!("CREATE INDEX \"{table}_i{i}\" ON \"{table}\" ({list})"), &[]).await?;
            }
        }
        let sql = "INSERT INTO generations (view, generation, active, shape, created_ms) VALUES ($1, $2, 0, $3, $4)";
        tx.execute(sql, &[spec.name.into(), number.into(), spec.shape().into(), now_ms().into()]).await?;
        Ok(())
    }

    /// Points the readers' SQL views at a generation.
    async fn point(tx: &mut Tx, spec: ViewSpec, number: i64) -> Result<(), StoreError> {
        for (name, columns, ..) in spec.all() {
            let list = quoted(columns.iter().map(|(c, _)| *c));
            tx.execute(&format!("DROP VIEW IF EXISTS \"{name}\""), &[]).await?;
            tx.execute(&format!("CREATE VIEW \"{name}\" AS SELECT {list} FROM \"{name}_g{number}\""), &[]).await?;
        }
        let sql = "UPDATE generations SET active = CASE WHEN generation = $2 THEN 1 ELSE 0 END WHERE view = $1";
        tx.execute(sql, &[spec.name.into(), number.into()]).await?;
        Ok(())
    }
}

fn quoted<'a>(columns: impl Iterator<Item = &'a str>) -> String {
    columns.map(|c| format!("\"{c}\"")).collect::<Vec<_>>().join(", ")
}
