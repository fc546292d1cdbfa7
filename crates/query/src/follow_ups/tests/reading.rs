//! What the clock and the house rules say of an item when it is read.

use super::*;

async fn contact(t: &Test, id: &str) -> (Js, Js) {
    let (status, item) = t.get(&format!("/v1/follow-ups/{id}")).await;
    assert_eq!(status, 200, "{item}");
    (item["contact"]["allowed"].clone(), item["contact"]["reason"].clone())
}

#[tokio::test]
async fn nobody_is_contacted_about_what_is_not_open() {
    let t = Test::new().await;
    let item = id("p1", ItemKind::PostVisit, "e1");
    t.event(1, "p1", 0, "ConsultEnded", json!({"encounter_id": "e1"})).await;
    assert_eq!(contact(&t, &item).await, (json!(true), Js::Null));
    t.event(2, "p1", 1, "FollowUpItemClosed", json!({"item_id": item, "closure": "deceased"})).await;
    assert_eq!(contact(&t, &item).await, (json!(false), json!("deceased")));

    let item = id("p2", ItemKind::PostVisit, "e1");
    t.event(3, "p2", 0, "ConsultEnded", json!({"encounter_id": "e1"})).await;
    t.event(4, "p2", 1, "FollowUpItemClosed", json!({"item_id": item, "closure": "not_needed"})).await;
    assert_eq!(contact(&t, &item).await, (json!(false), json!("not_open")));

    let item = id("p3", ItemKind::OrderResult, "o1");
    t.event(5, "p3", 0, "OrderPlaced", json!({"order_id": "o1", "code": "CT"})).await;
    t.event(6, "p3", 1, "OrderCancelled", json!({"order_id": "o1"})).await;
    assert_eq!(contact(&t, &item).await, (json!(false), json!("not_open")));
}

#[tokio::test]
async fn do_not_contact_said_of_one_item_bars_contact_about_all() {
    let t = Test::new().await;
    t.event(1, "p1", 0, "ConsultEnded", json!({"encounter_id": "e1"})).await;
    t.event(2, "p1", 0, "AppointmentNoShow", json!({"appointment_id": "a1"})).await;
    let (visit, missed) = (id("p1", ItemKind::PostVisit, "e1"), id("p1", ItemKind::NoShow, "a1"));
    let token = t.claim(&missed, "kim").await;
    let body = json!({"holder": "kim", "token": token, "resolution": "do_not_contact"});
    assert_eq!(t.post(&format!("/v1/follow-ups/{missed}/complete"), body).await.0, 200);
    for item in [&visit, &missed] {
        let (_, item) = t.get(&format!("/v1/follow-ups/{item}")).await;
        assert_eq!((&item["status"], &item["status_reason"]), (&json!("suppressed"), &json!("do_not_contact")));
        assert_eq!(item["contact"]["reason"], "do_not_contact");
        assert!(item.get("lease").is_none());
    }
    let (status, body) = t.post(&format!("/v1/follow-ups/{visit}/claim"), json!({"holder": "lee"})).await;
    assert_eq!((status, slug(&body)), (409, "not-open"));
}

#[tokio::test]
async fn the_points_for_time_say_what_they_count_towards() {
    let t = Test::new().await;
    let item = id("p1", ItemKind::PostVisit, "e1");
    t.event(1, "p1", 0, "ConsultEnded", json!({"encounter_id": "e1"})).await;
    let reason = async |hour| {
        set_hour(hour);
        let (_, item) = t.get(&format!("/v1/follow-ups/{item}")).await;
        let reasons = item["priority"]["reasons"].as_array().unwrap().clone();
        let time: Vec<_> = reasons.into_iter().filter(|r| r["part"] == "time").collect();
        assert_eq!(time.len(), 1, "{time:?}");
        (time[0]["reason"].as_str().unwrap().to_owned(), time[0]["points"].as_i64().unwrap())
    };
    assert_eq!(reason(24).await, ("due_near".into(), 25));
    assert_eq!(reason(25).await, ("overdue".into(), 25));
    let later = json!({"item_id": item, "channel": "phone", "human": true, "outcome": "callback_at",
        "callback_at": "2026-03-04T00:00:00Z"});
    t.event(2, "p1", 2, "FollowUpCallAttempted", later).await;
    assert_eq!(reason(48).await, ("callback_near".into(), 25));
    assert_eq!(reason(48 + 72).await, ("callback_passed".into(), 40));
}
