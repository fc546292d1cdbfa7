//! From which generation of a view a request is answered: the active one, or another that was asked for.

use crate::problem::read;
use crate::{App, Problem, after::Position};
use axum::extract::FromRequestParts;
use axum::http::{StatusCode, request::Parts};
use domain::views::mot::Mot;
use domain::views::{MadeBy, View};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::views::spec;
use store::{Engine, GenerationInfo, State, StoreError};
use utoipa::IntoParams;

/// How often the checkpoints of a generation that was asked for are looked at while a reader waits.
const POLL: Duration = Duration::from_millis(20);

/// Which state of a view is to be read.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct Which {
    /// Wait until the view has seen this position, as publishing returned it.
    pub after: Option<String>,
    /// Read this generation of the view instead of the active one.
    pub generation: Option<i64>,
}

/// Query parameters of a read: which state of the view, and what else is asked. Two structs, since serde can't flatten one
/// into the other and refuse unknown parameters too.
#[derive(Debug)]
pub struct Asking<T>(pub Which, pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asking<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        let of_which = |pair: &&str| matches!(pair.split('=').next(), Some("after" | "generation"));
        let (which, rest): (Vec<&str>, Vec<&str>) = query.split('&').partition(of_which);
        Ok(Self(read(&which.join("&"))?, read(&rest.join("&"))?))
    }
}

/// A view as one request reads it.
pub(crate) struct Reading {
    /// The database, in which the view's tables are those of its generation.
    pub engine: Engine,
    /// Up to where the generation has seen the log.
    pub position: Position,
}

impl App {
    /// Waits until a view has seen the positions of [`Which::after`], and says where it is to be read.
    ///
    /// # Errors
    /// 400 for a token that is none, a partition that there is not, and a generation that can't be read; 504 when it has not
    /// come so far within the limit.
    pub(crate) async fn read(&self, view: View, which: &Which) -> Result<Reading, Problem> {
        let after = which.after.as_deref();
        let Some(number) = which.generation else {
            let position = self.wait_for(view, after).await?;
            return Ok(Reading { engine: self.store.engine().clone(), position });
        };
        self.generation(view, number).await?;
        let generation = self.store.generation(spec(view), number).await?;
        let wanted = after.map(Position::parse).transpose()?.unwrap_or_default();
        let begun = Instant::now();
        let mut checked = false;
        loop {
            let at = self.store.checkpoints(view.as_str(), number).await?;
            if wanted.0.iter().all(|(p, o)| at.iter().any(|c| c.partition == *p && c.next_offset > *o)) {
                let seen = at.iter().filter_map(|c| Some((c.partition, c.next_offset.checked_sub(1)?)));
                let engine = self.store.engine().reading(&generation);
                return Ok(Reading { engine, position: Position(seen.collect()) });
            }
            if !std::mem::replace(&mut checked, true) {
                self.must_exist(&wanted, &at.iter().map(|c| c.partition).collect::<Vec<_>>()).await?;
            }
            if begun.elapsed() >= self.after_limit {
                let detail = format!("generation {number} of the view {} has not seen this position", view.as_str());
                return Err(Problem::new(StatusCode::GATEWAY_TIMEOUT, "not-yet", "Not yet", detail));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// A generation that can be read.
    async fn generation(&self, view: View, number: i64) -> Result<GenerationInfo, Problem> {
        let all = self.store.generations(Some(view.as_str())).await?;
        let found = all.into_iter().find(|g| g.number == number && g.state != State::Dropped);
        let bad = |why: &str| Problem::bad_field("generation", why);
        match found {
            None => Err(bad("the view has no such generation")),
            Some(g) if g.state == State::Building => Err(bad("it is still being built")),
            Some(g) if !g.fits(spec(view)) => Err(bad("it was made by another version, whose rows differ")),
            Some(g) => Ok(g),
        }
    }

    /// Scoring by the standards of that generation of the view mot, or of the active one.
    pub(crate) async fn mot_of(&self, generation: Option<i64>) -> Result<Arc<Mot>, Problem> {
        let info = match generation {
            Some(number) => Some(self.generation(View::Mot, number).await?),
            None => self.store.generations(Some(View::Mot.as_str())).await?.into_iter().find(|g| g.active),
        };
        let Some(info) = info.filter(|g| g.options != "{}") else { return Ok(self.mot.clone()) };
        let unread = |e: String| StoreError::Data(format!("options of generation {}: {e}", info.number));
        let made: MadeBy = serde_json::from_str(&info.options).map_err(|e| unread(e.to_string()))?;
        Ok(Arc::new(made.mot(&self.mot).map_err(|e| unread(e.to_string()))?))
    }
}
