//! The API's description, and a page to read it.

use crate::Problem;
use utoipa::openapi::path::Operation;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response};
use utoipa::{OpenApi as _, ToSchema as _};

/// What an error of the read API means where its path says nothing else.
const ERRORS: [(&str, &str); 7] = [
    ("400", "A parameter or a field is wrong; `errors` names it"),
    ("404", "There is none"),
    ("409", "It can't be done as things stand; `type` and `detail` say why"),
    ("415", "The body is not `application/json`"),
    ("422", "A field of the body is missing, unknown or of another type"),
    ("503", "The store is unavailable: send it again"),
    ("504", "The view hasn't come as far as `after` asks"),
];

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
    for path in doc.paths.paths.values_mut() {
        for (operation, has_body) in [(&mut path.get, false), (&mut path.post, true)] {
            operation.iter_mut().for_each(|o| errors(o, has_body));
        }
    }
    doc
}

/// Says of every error what it means and that it is a problem (RFC 9457).
fn errors(operation: &mut Operation, has_body: bool) {
    let all = &mut operation.responses.responses;
    let more: &[&str] = if has_body { &["400", "415", "422", "503"] } else { &["503"] };
    for status in more {
        all.entry((*status).to_owned()).or_insert_with(|| RefOr::T(Response::new("")));
    }
    for (status, response) in all.iter_mut().filter(|(status, _)| status.starts_with(['4', '5'])) {
        let RefOr::T(response) = response else { continue };
        let told = ERRORS.iter().find(|(of, _)| of == status).filter(|_| response.description.is_empty());
        if let Some((_, told)) = told {
            response.description = (*told).to_owned();
        }
        let problem = ContentBuilder::new().schema(Some(Ref::from_schema_name(Problem::name()))).build();
        response.content = [("application/problem+json".to_owned(), RefOr::T(problem))].into_iter().collect();
    }
    if let Some(RefOr::T(good)) = all.get_mut("200")
        && good.description.is_empty()
    {
        good.description = "As asked".to_owned();
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_error_is_told_as_the_problem_that_it_is() {
        let doc = serde_json::to_value(super::openapi()).unwrap();
        let mut count = 0;
        for operation in doc["paths"].as_object().unwrap().values().flat_map(|p| p.as_object().unwrap().values()) {
            for (status, response) in operation["responses"].as_object().into_iter().flatten() {
                assert!(!response["description"].as_str().unwrap().is_empty(), "{status} {operation}");
                if status.starts_with(['4', '5']) {
                    let content = response["content"].as_object().unwrap();
                    assert_eq!(content.keys().collect::<Vec<_>>(), ["application/problem+json"]);
                    count += 1;
                }
            }
        }
        assert!(count > 50, "{count}");
        let release = &doc["paths"]["/v1/follow-ups/{id}/release"]["post"]["responses"];
        assert!(["400", "404", "409", "415", "422", "503"].iter().all(|s| release.get(s).is_some()), "{release}");
    }
}
