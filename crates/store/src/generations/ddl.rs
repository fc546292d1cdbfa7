//! The tables of a generation, and where the readers' SQL views point.

use super::{GENERATIONS, Generation, GenerationInfo, State, ViewSpec, infos};
use crate::{Engine, StoreError, Tx, now_ms};
use domain::table::Type;

impl Tx {
    /// As [`crate::Store::generations`], in this transaction.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn generations(&mut self, view: Option<&str>) -> Result<Vec<GenerationInfo>, StoreError> {
        Ok(infos(&self.query(GENERATIONS, &[view.unwrap_or_default().into()]).await?))
    }

    /// Makes the tables of a view's next generation, without indexes, and says its number.
    pub(super) async fn create(
        &mut self,
        engine: &Engine,
        spec: ViewSpec,
        state: State,
        options: &str,
    ) -> Result<i64, StoreError> {
        let last = self.generations(Some(spec.name)).await?.last().map_or(0, |g| g.number);
        let number = last + 1;
        for (name, columns, ..) in spec.all() {
            let table = format!("{name}_g{number}");
            let list: Vec<String> = columns.iter().map(|(c, t)| format!("\"{c}\" {}", engine.type_name(*t))).collect();
            self.execute(&format!("CREATE TABLE \"{table}\" ({})", list.join(", ")), &[]).await?;
            for (column, _) in columns.iter().filter(|(_, t)| *t == Type::Bytes) {
                self.compress_lightly(&table, column).await?;
            }
            let sql = "INSERT INTO view_tables (view, generation, name) VALUES ($1, $2, $3)";
            self.execute(sql, &[spec.name.into(), number.into(), table.into()]).await?;
        }
        let sql = "INSERT INTO generations (view, generation, active, shape, created_ms, state, options, made_with) \
                   VALUES ($1, $2, 0, $3, $4, $5, $6, $7)";
        let args = [spec.name.into(), number.into(), spec.shape().into(), now_ms().into(), state.as_str().into()];
        self.execute(sql, &[args.as_slice(), &[options.into(), super::VERSION.into()]].concat()).await?;
        Ok(number)
    }

    /// The tables of a generation, whichever version made it.
    pub(super) async fn tables_of(&mut self, view: &str, number: i64) -> Result<Vec<String>, StoreError> {
        let sql = "SELECT name FROM view_tables WHERE view = $1 AND generation = $2 ORDER BY name";
        Ok(self.query(sql, &[view.into(), number.into()]).await?.iter().map(|r| r.text(0).to_owned()).collect())
    }

    /// Makes the key and the indexes of a generation's tables, where they aren't yet.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn index(&mut self, generation: &Generation) -> Result<(), StoreError> {
        for sql in generation.indexes() {
            self.execute(&sql, &[]).await?;
        }
        Ok(())
    }

    /// Says what becomes of a generation.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn set_state(&mut self, view: &str, number: i64, state: State) -> Result<(), StoreError> {
        let sql = "UPDATE generations SET state = $3 WHERE view = $1 AND generation = $2";
        self.execute(sql, &[view.into(), number.into(), state.as_str().into()]).await?;
        Ok(())
    }

    /// Notes that rows of a generation are put right in this transaction.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn repaired(&mut self, generation: &Generation) -> Result<(), StoreError> {
        let sql = "UPDATE generations SET repairs = repairs + 1 WHERE view = $1 AND generation = $2";
        self.execute(sql, &[generation.view.into(), generation.number.into()]).await?;
        Ok(())
    }

    /// Points the readers' SQL views at a generation. Readers that are under way finish with what they saw.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn point(&mut self, engine: &Engine, generation: &Generation) -> Result<(), StoreError> {
        let (spec, number) = (generation.spec, generation.number);
        let active = self.generations(Some(spec.name)).await?.into_iter().find(|g| g.active);
        // Replacing keeps the view's identity, so that a reader who waits for the lock finds it again. Only PostgreSQL can, and
        // only while the columns stay; SQLite's readers see the whole transaction at once.
        let replace = engine.is_postgres() && active.is_some_and(|g| g.has_tables_of(spec));
        for (name, columns, ..) in spec.all() {
            let list = quoted(columns.iter().map(|(c, _)| *c));
            let verb = if replace { "CREATE OR REPLACE VIEW" } else { "CREATE VIEW" };
            if !replace {
                self.execute(&format!("DROP VIEW IF EXISTS \"{name}\""), &[]).await?;
            }
            self.execute(&format!("{verb} \"{name}\" AS SELECT {list} FROM \"{name}_g{number}\""), &[]).await?;
        }
        let sql = "UPDATE generations SET active = CASE WHEN generation = $2 THEN 1 ELSE 0 END, \
                   activated_ms = CASE WHEN generation = $2 THEN $3 ELSE activated_ms END WHERE view = $1";
        self.execute(sql, &[spec.name.into(), number.into(), now_ms().into()]).await?;
        Ok(())
    }
}

impl Generation {
    /// The statements that make the key and the indexes of each table, where they aren't yet.
    pub(super) fn indexes(&self) -> Vec<String> {
        let mut all = Vec::new();
        for (name, columns, key, indexes) in self.spec.all() {
            let table = format!("{name}_g{}", self.number);
            let list = quoted(columns[..key].iter().map(|(c, _)| *c));
            all.push(format!("CREATE UNIQUE INDEX IF NOT EXISTS \"{table}_key\" ON \"{table}\" ({list})"));
            for (i, index) in indexes.iter().enumerate() {
                let list = quoted(index.iter().copied());
                all.push(format!("CREATE INDEX IF NOT EXISTS \"{table}_i{i}\" ON \"{table}\" ({list})"));
            }
        }
        all
    }
}

fn quoted<'a>(columns: impl Iterator<Item = &'a str>) -> String {
    columns.map(|c| format!("\"{c}\"")).collect::<Vec<_>>().join(", ")
}
