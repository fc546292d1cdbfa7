//! Generations of a view: its own tables each, and the SQL views by which readers see the active one.
//!
//! A number is never used twice, so that ids of dead letters and names of consumer groups stay unique.

mod ddl;
mod rebuild;

pub use rebuild::{Slice, slices_of};

use crate::{Durability, Store, StoreError, Target};
use domain::table::{Table, Type};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use xxhash_rust::xxh3::xxh3_64;

/// Columns of a view's state table: what its fold keeps of each patient.
pub const STATE: &[(&str, Type)] = &[("patient_id", Type::Text), ("partition", Type::Int), ("state", Type::Bytes)];

/// What a view keeps.
#[derive(Debug, Clone, Copy)]
pub struct ViewSpec {
    /// Name, such as `follow_ups`.
    pub name: &'static str,
    /// Version of what makes it: a generation of another one has to be rebuilt.
    pub version: u32,
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
    spec: ViewSpec,
    tables: Vec<(String, &'static Table)>,
    state: Option<String>,
}

/// What becomes of a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// A rebuild fills it.
    Building,
    /// Projectors keep it up to date.
    Following,
    /// It shows the past and never moves.
    Frozen,
    /// Its tables are gone; the number stays used.
    Dropped,
}

impl State {
    const ALL: [Self; 4] = [Self::Building, Self::Following, Self::Frozen, Self::Dropped];

    /// Its name in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Building => "building",
            Self::Following => "following",
            Self::Frozen => "frozen",
            Self::Dropped => "dropped",
        }
    }
}

/// A generation as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct GenerationInfo {
    /// The view.
    pub view: String,
    /// Number, from 1.
    pub number: i64,
    /// Whether readers see it.
    pub active: bool,
    /// What becomes of it.
    pub state: State,
    /// How it is made, where not as configured; JSON that the door writes and reads.
    pub options: String,
    /// When it was begun, milliseconds since 1970.
    pub created_ms: i64,
    /// When readers last began to see it, milliseconds since 1970; nothing where they never did.
    pub activated_ms: Option<i64>,
    /// Which version of the program began it; empty where that was not noted yet.
    pub made_with: String,
    shape: String,
}

/// The version of this program.
const VERSION: &str = env!("CARGO_PKG_VERSION");

impl GenerationInfo {
    /// One that there isn't yet, as a rebuild with these options would begin it.
    #[must_use]
    pub fn planned(spec: ViewSpec, options: &str) -> Self {
        Self {
            view: spec.name.into(),
            number: 0,
            active: false,
            state: State::Building,
            options: options.into(),
            created_ms: 0,
            activated_ms: None,
            made_with: VERSION.into(),
            shape: spec.shape(),
        }
    }

    /// Whether its tables are those that this version writes, and their rows mean the same.
    #[must_use]
    pub fn fits(&self, spec: ViewSpec) -> bool {
        self.shape == spec.shape()
    }

    /// Whether it has the same tables, whatever their rows mean.
    pub(crate) fn has_tables_of(&self, spec: ViewSpec) -> bool {
        self.shape.split('.').next() == spec.shape().split('.').next()
    }
}

impl Generation {
    fn new(spec: ViewSpec, number: i64) -> Self {
        let tables = spec.tables.iter().map(|t| (format!("{}_g{number}", t.name), t)).collect();
        let state = spec.state.then(|| format!("{}_state_g{number}", spec.name));
        Self { view: spec.name, number, spec, tables, state }
    }

    /// The view's tables.
    #[must_use]
    pub const fn spec(&self) -> ViewSpec {
        self.spec
    }

    /// By the name that readers use, the name of the generation's own table.
    pub(crate) fn names(&self) -> BTreeMap<String, String> {
        let all = self.spec.all().into_iter();
        all.map(|(name, ..)| (name.clone(), format!("{name}_g{}", self.number))).collect()
    }

    /// Where the rows of table `i` go.
    #[must_use]
    pub fn target(&self, i: usize) -> Target<'_> {
        let (name, t) = &self.tables[i];
        Target { table: name, columns: t.columns, key: t.key }
    }

    /// Every table, the state's last if there is one.
    pub fn targets(&self) -> impl Iterator<Item = Target<'_>> {
        (0..self.tables.len()).map(|i| self.target(i)).chain(self.state())
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

    /// Changes when a table does or the version: a generation holds rows of one shape.
    fn shape(self) -> String {
        let mut text = String::new();
        for (name, columns, key, indexes) in self.all() {
            let _ = write!(text, "{name} {columns:?} {key} {indexes:?};");
        }
        format!("{:016x}.{}", xxh3_64(text.as_bytes()), self.version)
    }
}

impl Store {
    /// Finds the active generation of a view; makes generation 1, with its tables and SQL views, when there is none.
    /// Safe when several processes start at once.
    ///
    /// # Errors
    /// When the stored generation has other tables than this version writes, and those of the database.
    pub async fn ensure_view(&self, spec: ViewSpec, made_by: &str) -> Result<Generation, StoreError> {
        let mut tx = self.engine().begin(Durability::Full).await?;
        tx.lock_schema().await?;
        let all = tx.generations(Some(spec.name)).await?;
        let generation = match all.iter().find(|g| g.active) {
            Some(g) if g.fits(spec) => Generation::new(spec, g.number),
            Some(g) => return Err(other_shape(g)),
            None => {
                let number = tx.create(self.engine(), spec, State::Following, made_by).await?;
                let generation = Generation::new(spec, number);
                tx.index(&generation).await?;
                tx.point(self.engine(), &generation).await?;
                generation
            }
        };
        tx.commit().await?;
        Ok(generation)
    }

    /// The generations of a view, or of all, dropped ones too: by view and number.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn generations(&self, view: Option<&str>) -> Result<Vec<GenerationInfo>, StoreError> {
        Ok(infos(&self.engine().query(GENERATIONS, &[view.unwrap_or_default().into()]).await?))
    }

    /// A generation that there is.
    ///
    /// # Errors
    /// When there is none, or its tables are another version's; and those of the database.
    pub async fn generation(&self, spec: ViewSpec, number: i64) -> Result<Generation, StoreError> {
        let all = self.generations(Some(spec.name)).await?;
        match all.iter().find(|g| g.number == number && g.state != State::Dropped) {
            Some(g) if g.fits(spec) => Ok(Generation::new(spec, number)),
            Some(g) => Err(other_shape(g)),
            None => Err(missing(spec.name, number)),
        }
    }

    /// Makes a further generation: empty tables, without indexes while it is `Building`.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn add_generation(&self, spec: ViewSpec, state: State, options: &str) -> Result<Generation, StoreError> {
        let mut tx = self.engine().begin(Durability::Full).await?;
        tx.lock_schema().await?;
        let number = tx.create(self.engine(), spec, state, options).await?;
        let generation = Generation::new(spec, number);
        if state != State::Building {
            tx.index(&generation).await?;
        }
        tx.commit().await?;
        Ok(generation)
    }

    /// Begins a view anew: an empty generation, which projectors fill from the start of the log, is at once what readers see.
    /// It is made as the one before it, or by
    /// `made_by` where that one showed the past; that one stays. Those of `strangers` no longer go on: they were made from another log.
    /// Answers with the new one's number and the old one's.
    ///
    /// # Errors
    /// When the view was never made, and those of the database.
    pub async fn restart(&self, spec: ViewSpec, strangers: &[i64], made_by: &str) -> Result<(i64, i64), StoreError> {
        let mut tx = self.engine().begin(Durability::Full).await?;
        tx.lock_schema().await?;
        let all = tx.generations(Some(spec.name)).await?;
        let Some(old) = all.iter().find(|g| g.active) else {
            return Err(StoreError::Configuration(format!("the view {} was never made", spec.name)));
        };
        // One that shows the past was made with a limit, which a view that goes on must not have.
        let options = if old.state == State::Following { old.options.as_str() } else { made_by };
        let number = tx.create(self.engine(), spec, State::Following, options).await?;
        let generation = Generation::new(spec, number);
        tx.index(&generation).await?;
        tx.point(self.engine(), &generation).await?;
        for g in all.iter().filter(|g| g.state == State::Following && (!g.fits(spec) || strangers.contains(&g.number)))
        {
            tx.set_state(spec.name, g.number, State::Frozen).await?;
        }
        tx.commit().await?;
        Ok((number, old.number))
    }

    /// Removes a generation that readers don't see: its tables, checkpoints, dead letters and parked keys.
    ///
    /// # Errors
    /// When it is the active one, or there is none; and those of the database: a transient one while somebody works in its
    /// tables.
    pub async fn drop_generation(&self, view: &str, number: i64) -> Result<(), StoreError> {
        let mut tx = self.engine().begin(Durability::Full).await?;
        tx.wait_briefly().await?;
        tx.lock_schema().await?;
        let all = tx.generations(Some(view)).await?;
        let found = all.iter().find(|g| g.number == number && g.state != State::Dropped);
        let Some(info) = found else {
            return Err(missing(view, number));
        };
        if info.active {
            return Err(StoreError::Configuration(format!("generation {number} of {view} is what readers see")));
        }
        for table in tx.tables_of(view, number).await? {
            tx.execute(&format!("DROP TABLE IF EXISTS \"{table}\""), &[]).await?;
        }
        for table in ["checkpoints", "dead_letters", "parked", "rebuild_slices", "view_tables"] {
            let sql = format!("DELETE FROM {table} WHERE view = $1 AND generation = $2");
            tx.execute(&sql, &[view.into(), number.into()]).await?;
        }
        tx.set_state(view, number, State::Dropped).await?;
        tx.commit().await
    }
}

/// All generations of the view `$1`, or of all views where that is empty.
const GENERATIONS: &str = "SELECT view, generation, active, state, options, created_ms, activated_ms, made_with, shape FROM generations \
                           WHERE $1 = '' OR view = $1 ORDER BY view, generation";

fn infos(rows: &[crate::Row]) -> Vec<GenerationInfo> {
    let info = |r: &crate::Row| GenerationInfo {
        view: r.text(0).into(),
        number: r.int(1),
        active: r.int(2) == 1,
        state: State::ALL.into_iter().find(|s| s.as_str() == r.text(3)).unwrap_or(State::Frozen),
        options: r.text(4).into(),
        created_ms: r.int(5),
        activated_ms: r.opt_int(6),
        made_with: r.text(7).into(),
        shape: r.text(8).into(),
    };
    rows.iter().map(info).collect()
}

fn missing(view: &str, number: i64) -> StoreError {
    StoreError::Configuration(format!("the view {view} has no generation {number}"))
}

fn other_shape(g: &GenerationInfo) -> StoreError {
    StoreError::Configuration(format!(
        "generation {} of view {} was made by another version, whose rows differ: it has to be rebuilt",
        g.number, g.view
    ))
}
