//! What a rebuild keeps in the store: the slices of the log that it has to fold, and which are done.

use super::{Generation, GenerationInfo, State, VERSION, ViewSpec};
use crate::{Advance, Durability, Store, StoreError, Tx, now_ms, record_hash};
use domain::table::Value;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use tokio::sync::watch;

/// Most slices of one partition: each has a file open while the partition is read. Beyond it slices grow.
const MAX_SLICES: u64 = 256;

/// A part of a partition: the records of `[from, to)` whose key falls into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slice {
    /// Partition.
    pub partition: u32,
    /// Which part, from 0.
    pub slice: u32,
    /// Of how many.
    pub slices: u32,
    /// The partition's first offset.
    pub from: u64,
    /// The offset after the last.
    pub to: u64,
    /// Whether its rows are in the store.
    pub done: bool,
}

impl Slice {
    /// The part of a partition, in `slices`, that a key falls into: the same in every process.
    #[must_use]
    pub fn of(key: &[u8], slices: u32) -> u32 {
        let part = record_hash(key, &[]).cast_unsigned() % u64::from(slices.max(1));
        u32::try_from(part).unwrap_or_default()
    }
}

/// In how many slices of about `slice_events` a partition is cut.
#[must_use]
pub fn slices_of(events: u64, slice_events: u64) -> u64 {
    events.div_ceil(slice_events.max(1)).min(MAX_SLICES)
}

impl Store {
    /// Begins a generation that a rebuild fills: tables without indexes, and what there is to fold: `[from, to)` of each
    /// partition, in parts of about `slice_events`.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn begin_rebuild(
        &self,
        spec: ViewSpec,
        options: &str,
        bounds: &[(u64, u64)],
        slice_events: u64,
    ) -> Result<Generation, StoreError> {
        let mut tx = self.engine().begin(Durability::Full).await?;
        tx.lock_schema().await?;
        let number = tx.create(self.engine(), spec, State::Building, options).await?;
        let sql = "INSERT INTO rebuild_slices (view, generation, partition, slice, slices, from_offset, to_offset) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7)";
        let int = |v: u64| Value::Int(i64::try_from(v).unwrap_or(i64::MAX));
        for (partition, &(from, to)) in bounds.iter().enumerate() {
            let events = to.saturating_sub(from);
            let slices = slices_of(events, slice_events);
            for slice in 0..slices {
                let place = [spec.name.into(), number.into(), int(partition as u64), int(slice), int(slices)];
                tx.execute(sql, &[&place[..], &[int(from), int(to)]].concat()).await?;
            }
        }
        tx.commit().await?;
        Ok(Generation::new(spec, number))
    }

    /// The generation of these options that a rebuild by this version has begun and that readers never saw, whether it is filled
    /// already or not; the last of several. One that is older than what readers see isn't gone on with once it is filled.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn unfinished_rebuild(&self, spec: ViewSpec, options: &str) -> Result<Option<Generation>, StoreError> {
        let same = |g: &GenerationInfo| g.options == options && g.made_with == VERSION && g.fits(spec);
        let all = self.generations(Some(spec.name)).await?;
        let active = all.iter().find(|g| g.active).map_or(0, |g| g.number);
        let unseen = |g: &GenerationInfo| g.state == State::Following && g.activated_ms.is_none() && g.number > active;
        let fits = |g: &GenerationInfo| (g.state == State::Building || unseen(g)) && same(g);
        Ok(all.iter().rev().find(|g| fits(g)).map(|g| Generation::new(spec, g.number)))
    }

    /// The slices of a rebuild, by partition.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn slices(&self, generation: &Generation) -> Result<Vec<Slice>, StoreError> {
        let sql = "SELECT partition, slice, slices, from_offset, to_offset, done_ms FROM rebuild_slices \
                   WHERE view = $1 AND generation = $2 ORDER BY partition, slice";
        let rows = self.engine().query(sql, &[generation.view.into(), generation.number.into()]).await?;
        let small = |v: i64| u32::try_from(v).unwrap_or_default();
        let large = |v: i64| u64::try_from(v).unwrap_or_default();
        let slice = |r: &crate::Row| Slice {
            partition: small(r.int(0)),
            slice: small(r.int(1)),
            slices: small(r.int(2)),
            from: large(r.int(3)),
            to: large(r.int(4)),
            done: r.opt_int(5).is_some(),
        };
        Ok(rows.iter().map(slice).collect())
    }

    /// Makes the key and the indexes of a generation that has been filled, and tells the planner what the tables hold. One
    /// transaction each, so that other writers get their turn, and two at once where the database takes several. What is there
    /// already is left. `false` when `stop` came before the end: what the database was at is cancelled there, and done again next
    /// time.
    ///
    /// # Errors
    /// Those of the database; a key that two rows have.
    pub async fn build_indexes(
        &self,
        generation: &Generation,
        stop: impl Future<Output = ()>,
    ) -> Result<bool, StoreError> {
        let (tell, stopped) = watch::channel(false);
        let left = Mutex::new(generation.indexes().into_iter());
        let lane = || async {
            loop {
                let next = left.lock().unwrap_or_else(PoisonError::into_inner).next();
                let Some(sql) = next else { return Ok::<_, StoreError>(true) };
                // On disk, and with it every slice that was written before.
                let mut tx = self.begin(Durability::Full).await?;
                tx.heavy().await?;
                if !tx.execute_until(self.engine(), &sql, stopped.clone()).await? {
                    return Ok(false);
                }
                tx.commit().await?;
            }
        };
        let lanes = async {
            match self.engine().one_writer() {
                true => lane().await,
                false => tokio::try_join!(lane(), lane()).map(|(one, other)| one && other),
            }
        };
        let mut lanes = pin!(lanes);
        let whole = tokio::select! {
            whole = &mut lanes => whole?,
            () = stop => {
                tell.send_replace(true);
                lanes.await?;
                false
            }
        };
        if !whole {
            return Ok(false);
        }
        let mut tx = self.begin(Durability::FromLog).await?;
        for target in generation.targets() {
            tx.analyze(target.table).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    /// Ends the filling of a generation, durably: sets its checkpoints, and what becomes of it. Letters that were discarded in
    /// the generation `live` are discarded in this one too. Nothing happens when somebody else has ended it. `false` when slices
    /// are missing: slices don't wait for the disk, and a crash of the database has taken the last ones back.
    ///
    /// # Errors
    /// When it was dropped meanwhile, and those of the database.
    pub async fn finish_rebuild(
        &self,
        generation: &Generation,
        checkpoints: &[Advance],
        then: State,
        live: Option<i64>,
    ) -> Result<bool, StoreError> {
        let (view, number) = (generation.view, generation.number);
        let mut tx = self.begin(Durability::Full).await?;
        tx.lock_schema().await?;
        let state = tx.generations(Some(view)).await?.iter().find(|g| g.number == number).map(|g| g.state);
        match state {
            Some(State::Building) => {}
            Some(State::Following | State::Frozen) => return Ok(true),
            Some(State::Dropped) | None => return Err(super::missing(view, number)),
        }
        let missing = "SELECT count(*) FROM rebuild_slices WHERE view = $1 AND generation = $2 AND done_ms IS NULL";
        if tx.query(missing, &[view.into(), number.into()]).await?.iter().any(|r| r.int(0) > 0) {
            tx.rollback().await?;
            return Ok(false);
        }
        let sql = "INSERT INTO checkpoints (view, generation, partition, next_offset, appended_ms, updated_at, parked, last_hash) \
                   VALUES ($1, $2, $3, $4, $5, $6, \
                   (SELECT count(*) FROM parked WHERE view = $1 AND generation = $2 AND partition = $3), $7)";
        for c in checkpoints {
            let next = i64::try_from(c.next).unwrap_or(i64::MAX);
            let place = [view.into(), number.into(), i64::from(c.partition).into(), next.into()];
            let last = [c.appended_ms.into(), now_ms().into(), c.last_hash.into()];
            tx.execute(sql, &[&place[..], &last].concat()).await?;
        }
        if let Some(live) = live {
            tx.copy_discarded(generation, live).await?;
        }
        tx.set_state(view, number, then).await?;
        tx.commit().await?;
        Ok(true)
    }
}

impl Tx {
    /// Makes sure that nothing fills a generation of the view until the transaction ends: which letters are discarded is known
    /// when that begins, and must stay the same. This comes before any other lock.
    ///
    /// # Errors
    /// When a generation is being filled, or an unfinished one is left; and those of the database.
    pub async fn no_rebuild(&mut self, view: &str) -> Result<(), StoreError> {
        self.lock_schema().await?;
        match self.generations(Some(view)).await?.iter().find(|g| g.state == State::Building) {
            Some(g) => Err(StoreError::Configuration(format!(
                "generation {0} of {view} is being filled, which has to know before what is discarded: wait until that \
                 rebuild has ended, or drop generation {0} first",
                g.number
            ))),
            None => Ok(()),
        }
    }

    /// Claims a slice for this transaction; `false` when its rows are in the store already.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn slice_done(&mut self, generation: &Generation, slice: &Slice) -> Result<bool, StoreError> {
        let sql = "UPDATE rebuild_slices SET done_ms = $5 \
                   WHERE view = $1 AND generation = $2 AND partition = $3 AND slice = $4 AND done_ms IS NULL";
        let place: [Value; 5] = [
            generation.view.into(),
            generation.number.into(),
            i64::from(slice.partition).into(),
            i64::from(slice.slice).into(),
            now_ms().into(),
        ];
        Ok(self.execute(sql, &place).await? == 1)
    }
}
