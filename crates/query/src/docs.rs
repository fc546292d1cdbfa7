//! The API's description, and a page to read it.

use utoipa::OpenApi as _;

#[derive(utoipa::OpenApi)]
#[openapi(info(
    title = "Journeylog",
    description = "Patient journeys as events: publish touchpoints, read timelines, MOT scores and follow-up queues. \
                   Errors are RFC 9457 problems. Times are RFC 3339, UTC; scores are points, 0 to 100."
))]
struct Base;

/// The read API's OpenAPI 3.1 description.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    let mut doc = Base::openapi();
    for part in [
        crate::status::Doc::openapi(),
        crate::timeline::Doc::openapi(),
        crate::follow_ups::Doc::openapi(),
        crate::card::Doc::openapi(),
        crate::mot::Doc::openapi(),
        crate::sources::Doc::openapi(),
    ] {
        doc.merge(part);
    }
    doc
}
