//! Items of patients who had several pseudonyms.

use super::*;

/// The ids of a list, walked through in pages of one.
async fn listed(t: &Test, query: &str) -> Vec<String> {
    let (mut ids, mut cursor) = (Vec::new(), String::new());
    loop {
        let (status, page) = t.get(&format!("/v1/follow-ups?limit=1{query}{cursor}")).await;
        assert_eq!(status, 200, "{page}");
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 1);
        ids.extend(items.iter().map(|i| i["item_id"].as_str().unwrap().to_owned()));
        let Some(next) = page["next_cursor"].as_str() else { return ids };
        cursor = format!("&cursor={next}");
    }
}

#[tokio::test]
async fn an_item_suppressed_by_a_merge_alone_is_listed_as_suppressed() {
    let t = Test::new().await;
    let consent = json!({"scope": "follow_up_contact", "grantee": "contact"});
    t.event(1, "p-m1", 0, "ConsultEnded", json!({"encounter_id": "e1"})).await;
    t.event(2, "p-m2", 0, "ConsentWithdrawn", consent).await;
    t.event(3, "p-else", 0, "ConsultEnded", json!({"encounter_id": "e2"})).await;
    t.event(4, "p-last", 0, "RecallDue", json!({"recall_kind": "scaling", "due_on": "2026-09-01"})).await;
    t.event(5, "p-m2", 1, "PatientsMerged", json!({"surviving": "p-m2", "retired": "p-m1"})).await;
    let visit = id("p-m1", ItemKind::PostVisit, "e1");
    assert_eq!(listed(&t, "&status=suppressed").await, std::slice::from_ref(&visit));
    let others = [id("p-else", ItemKind::PostVisit, "e2"), id("p-last", ItemKind::Recall, "scaling")];
    assert_eq!(listed(&t, "").await, others, "without status, what is open");
    assert!(listed(&t, "&status=closed").await.is_empty());
    let (_, item) = t.get(&format!("/v1/follow-ups/{visit}")).await;
    assert_eq!((&item["status"], &item["patient_id"]), (&json!("suppressed"), &json!("p-m2")));
    t.event(6, "p-m2", 2, "PatientsUnmerged", json!({"surviving": "p-m2", "retired": "p-m1"})).await;
    assert!(listed(&t, "&status=suppressed").await.is_empty());
    assert!(listed(&t, "").await.contains(&visit));
}

#[tokio::test]
async fn an_item_open_by_a_merge_alone_is_listed_as_open() {
    let t = Test::new().await;
    let consent = json!({"scope": "follow_up_contact", "grantee": "contact"});
    t.event(1, "old", 0, "ConsultEnded", json!({"encounter_id": "e1"})).await;
    t.event(2, "old", 0, "ConsentWithdrawn", consent.clone()).await;
    let visit = [id("old", ItemKind::PostVisit, "e1")];
    assert_eq!(listed(&t, "&status=suppressed").await, visit);
    t.event(3, "new", 1, "ConsentGiven", consent).await;
    t.event(4, "new", 1, "PatientsMerged", json!({"surviving": "new", "retired": "old"})).await;
    assert_eq!(listed(&t, "").await, visit);
    assert!(listed(&t, "&status=suppressed").await.is_empty());
    assert!(listed(&t, "&overdue=true").await.is_empty());
    set_hour(25);
    assert_eq!(listed(&t, "&overdue=true").await, visit);
    assert!(listed(&t, "&overdue=false").await.is_empty());
}

#[tokio::test]
async fn a_merge_unites_items_and_an_unmerge_parts_them() {
    let t = Test::new().await;
    t.event(1, "old", 0, "OrderPlaced", json!({"order_id": "o1", "code": "CT"})).await;
    t.event(2, "old", 0, "BookingFrictionReported", json!({"problem": "no_slot"})).await;
    t.event(3, "new", 0, "BookingFrictionReported", json!({"problem": "no_slot"})).await;
    let count = async || t.get("/v1/follow-ups").await.1["items"].as_array().unwrap().len();
    assert_eq!(count().await, 3);
    t.event(4, "new", 1, "PatientsMerged", json!({"surviving": "new", "retired": "old"})).await;
    assert_eq!(count().await, 2, "two frictions are one item");
    let order = id("old", ItemKind::OrderResult, "o1");
    let (_, item) = t.get(&format!("/v1/follow-ups/{order}")).await;
    assert_eq!((&item["patient_id"], &item["filed_under"]), (&json!("new"), &json!("old")));
    let (_, friction) = t.get(&format!("/v1/follow-ups/{}", id("old", ItemKind::BookingFriction, "booking"))).await;
    assert_eq!(friction["item_id"], json!(id("new", ItemKind::BookingFriction, "booking")));
    assert_eq!(friction["priority"]["severity"], json!(10), "trouble under both pseudonyms counts");
    t.event(5, "new", 2, "ResultReported", json!({"order_id": "o1", "status": "final"})).await;
    let (_, item) = t.get(&format!("/v1/follow-ups/{order}")).await;
    assert_eq!(item["status"], "closed", "a result under the new pseudonym");
    assert_eq!(count().await, 1);
    t.event(6, "new", 3, "PatientsUnmerged", json!({"surviving": "new", "retired": "old"})).await;
    assert_eq!(count().await, 3);
}

#[tokio::test]
async fn a_call_about_a_merged_patient_lies_where_its_item_lies() {
    let t = Test::new().await;
    t.event(1, "old", 0, "ConsultEnded", json!({"encounter_id": "e1"})).await;
    t.event(2, "new", 1, "PatientsMerged", json!({"surviving": "new", "retired": "old"})).await;
    let id = id("old", ItemKind::PostVisit, "e1");
    let token = t.claim(&id, "kim").await;
    let body = json!({"holder": "kim", "token": token, "answers": ["a", "b", "c", "d", "e"]});
    assert_eq!(t.post(&format!("/v1/follow-ups/{id}/complete"), body).await.0, 200);
    assert_eq!(t.world.published.lock().await[0].header().patient_id.as_ref().unwrap().as_str(), "old");
    assert_eq!(t.get(&format!("/v1/follow-ups/{id}")).await.1["status"], "closed");
}

/// Two pseudonyms whose patients have asked the same question, and the two items.
async fn same_question(t: &Test) -> (String, String) {
    t.event(1, "old", 0, "PatientQuestionAsked", json!({"question_id": "q1"})).await;
    t.event(2, "new", 0, "PatientQuestionAsked", json!({"question_id": "q1"})).await;
    let of = |patient| id(patient, ItemKind::UnansweredQuestion, "q1");
    (of("old"), of("new"))
}

async fn merge(t: &Test, n: u128, kind: &str) {
    t.event(n, "new", 1, kind, json!({"surviving": "new", "retired": "old"})).await;
}

fn attempt(holder: &str, token: i64) -> Js {
    json!({"holder": holder, "token": token, "channel": "phone", "human": true, "outcome": "no_answer"})
}

#[tokio::test]
async fn who_holds_an_item_holds_what_a_merge_makes_of_it() {
    let t = Test::new().await;
    let (old, new) = same_question(&t).await;
    let lee = t.claim(&old, "lee").await;
    merge(&t, 3, "PatientsMerged").await;
    for id in [&old, &new] {
        let (status, body) = t.post(&format!("/v1/follow-ups/{id}/claim"), json!({"holder": "kim"})).await;
        assert_eq!((status, slug(&body)), (409, "claimed"));
        assert_eq!(body["detail"], "lee holds this item; that claim has not run out");
        let heartbeat = json!({"holder": "lee", "token": lee});
        assert_eq!(t.post(&format!("/v1/follow-ups/{id}/claim"), heartbeat).await.0, 200);
        let (status, done) = t.post(&format!("/v1/follow-ups/{id}/attempts"), attempt("lee", lee)).await;
        assert_eq!(status, 200, "{done}");
        let (_, item) = t.get(&format!("/v1/follow-ups/{id}")).await;
        assert_eq!((&item["item_id"], &item["lease"]["holder"]), (&json!(new), &json!("lee")));
    }
    assert_eq!(t.get(&format!("/v1/follow-ups/{new}")).await.1["attempts"], 2);
    assert_eq!(listed(&t, "&assignee=lee").await, std::slice::from_ref(&new));
    assert!(listed(&t, "&assignee=kim").await.is_empty());
    let (_, page) = t.get("/v1/follow-ups").await;
    assert_eq!(page["items"][0]["lease"]["holder"], "lee");

    assert_eq!(t.post(&format!("/v1/follow-ups/{new}/release"), json!({"holder": "lee", "token": lee})).await.0, 204);
    let kim = t.claim(&old, "kim").await;
    assert!(kim > lee, "the token grows");
    let (status, body) = t.post(&format!("/v1/follow-ups/{old}/attempts"), attempt("lee", lee)).await;
    assert_eq!((status, slug(&body)), (409, "stale-token"));
    let resolved = json!({"holder": "kim", "token": kim, "resolution": "resolved"});
    assert_eq!(t.post(&format!("/v1/follow-ups/{old}/complete"), resolved).await.0, 200);
    let (_, item) = t.get(&format!("/v1/follow-ups/{new}")).await;
    assert_eq!((&item["status"], item.get("lease")), (&json!("closed"), None));
}

#[tokio::test]
async fn of_two_who_hold_both_sides_of_a_merge_one_goes_on() {
    let t = Test::new().await;
    let (old, new) = same_question(&t).await;
    let (lee, kim) = (t.claim(&old, "lee").await, t.claim(&new, "kim").await);
    merge(&t, 3, "PatientsMerged").await;
    for id in [&old, &new] {
        let (status, body) = t.post(&format!("/v1/follow-ups/{id}/attempts"), attempt("lee", lee)).await;
        assert_eq!((status, slug(&body)), (409, "claimed"), "{body}");
        assert!(body["detail"].as_str().unwrap().contains("kim"));
        assert_eq!(t.post(&format!("/v1/follow-ups/{id}/attempts"), attempt("kim", kim)).await.0, 200);
    }
    merge(&t, 4, "PatientsUnmerged").await;
    assert_eq!(t.post(&format!("/v1/follow-ups/{old}/attempts"), attempt("lee", lee)).await.0, 200);
    assert_eq!(t.post(&format!("/v1/follow-ups/{new}/attempts"), attempt("kim", kim)).await.0, 200);
}

#[tokio::test]
async fn what_is_sent_again_after_a_merge_is_published_once() {
    for key in [Some("key-1"), None] {
        let t = Test::new().await;
        let (old, new) = same_question(&t).await;
        let lee = t.claim(&old, "lee").await;
        let resolved = json!({"holder": "lee", "token": lee, "resolution": "resolved"});
        let mut first = Vec::new();
        for (what, body) in [("attempts", attempt("lee", lee)), ("complete", resolved.clone())] {
            let key = key.map(|k| format!("{k}-{what}"));
            let (status, done) =
                t.send("POST", &format!("/v1/follow-ups/{old}/{what}"), key.as_deref(), Some(body)).await;
            assert_eq!(status, 200, "{done}");
            first.push(done);
        }
        merge(&t, 3, "PatientsMerged").await;
        // with the answer that was kept, and as if the process had died before it kept that
        for lost in [false, true] {
            if lost {
                t.world.store.engine().execute("UPDATE follow_up_requests SET answer = NULL", &[]).await.unwrap();
            }
            for id in [&old, &new] {
                let tries = [("attempts", attempt("lee", lee)), ("complete", resolved.clone())];
                for (n, (what, body)) in tries.into_iter().enumerate() {
                    if n == 0 && key.is_none() && (!lost || *id == new) {
                        continue; // the same again under a token is a further attempt once it is answered
                    }
                    let key = key.map(|k| format!("{k}-{what}"));
                    let path = format!("/v1/follow-ups/{id}/{what}");
                    let (status, again) = t.send("POST", &path, key.as_deref(), Some(body)).await;
                    assert_eq!((status, &again["event_id"]), (200, &first[n]["event_id"]), "{what} {again}");
                }
            }
        }
        assert_eq!(t.world.published.lock().await.len(), 2);
    }
}

#[tokio::test]
async fn what_is_sent_again_after_an_unmerge_is_published_once() {
    let t = Test::new().await;
    let (old, new) = same_question(&t).await;
    merge(&t, 3, "PatientsMerged").await;
    let kim = t.claim(&old, "kim").await;
    let path = format!("/v1/follow-ups/{old}/attempts");
    let (_, first) = t.send("POST", &path, Some("key-1"), Some(attempt("kim", kim))).await;
    merge(&t, 4, "PatientsUnmerged").await;
    t.world.store.engine().execute("UPDATE follow_up_requests SET answer = NULL", &[]).await.unwrap();
    let (status, again) = t.send("POST", &path, Some("key-1"), Some(attempt("kim", kim))).await;
    assert_eq!((status, &again["event_id"]), (200, &first["event_id"]));
    assert_eq!(t.get(&format!("/v1/follow-ups/{old}")).await.1["attempts"], 1);
    assert_eq!(t.get(&format!("/v1/follow-ups/{new}")).await.1["attempts"], 0);
    // each of the two is kim's until given back
    assert_eq!(t.post(&format!("/v1/follow-ups/{new}/claim"), json!({"holder": "lee"})).await.0, 409);
    assert_eq!(t.post(&format!("/v1/follow-ups/{old}/release"), json!({"holder": "kim", "token": kim})).await.0, 204);
    assert!(t.claim(&old, "lee").await > kim);
    assert_eq!(t.post(&format!("/v1/follow-ups/{new}/attempts"), attempt("kim", kim)).await.0, 200);
}
