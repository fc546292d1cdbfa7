//! `GET /v1/status`: how far each view has come.

use crate::App;
use axum::Router;
use std::sync::Arc;

/// Routes.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
}

#[derive(utoipa::OpenApi)]
#[openapi()]
pub struct Doc;
