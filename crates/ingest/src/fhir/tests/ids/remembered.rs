//! Whose appointment is remembered, whichever way its versions say who he is.

use super::*;

/// A server sends the Patient along with some versions and not with others: it is one appointment all the same.
#[tokio::test]
async fn what_an_appointment_was_does_not_hang_on_whether_the_patient_is_there() {
    let by_id = json!({"reference": "Patient/1"});
    let alone = |version, status: &str, day: &str| booking(version, status, day, std::slice::from_ref(&by_id));
    let together = |version, status: &str, day: &str| {
        let patient = json!({"resourceType": "Patient", "id": "1", "identifier": [numbered("a")["identifier"]]});
        bundle("batch", &[patient, alone(version, status, day)])
    };
    let (first, second) = ("2026-03-09", "2026-03-10");
    let s = server();
    assert_eq!(s.post(&together(1, "booked", first)).await.statuses()[1], "201");
    for (version, status, day) in [
        (2, "cancelled", first),
        (3, "booked", first),
        (4, "cancelled", first),
        (5, "booked", first),
        (6, "booked", second),
    ] {
        // Every other version comes with the Patient.
        for told in ["201", "200"] {
            match version % 2 {
                0 => assert_eq!(s.post(&alone(version, status, day)).await.status.to_string(), told, "{version}"),
                _ => assert_eq!(s.post(&together(version, status, day)).await.statuses()[1], told, "{version}"),
            }
        }
    }
    let kinds: Vec<_> = s.kinds().into_iter().filter(|k| k.starts_with("Appointment")).collect();
    let [booked, cancelled, moved] = ["AppointmentBooked", "AppointmentCancelled", "AppointmentRescheduled"];
    assert_eq!(kinds, [booked, cancelled, booked, cancelled, booked, moved]);
}

/// Of two servers that nobody told apart a Patient/1 may be two patients: what is remembered of one is not the other's.
#[tokio::test]
async fn an_appointment_of_another_ones_number_was_not_this_ones() {
    let sent = |hospital: &str, version, status: &str, day: &str| {
        let patient = json!({"resourceType": "Patient", "id": "1", "identifier": [numbered(hospital)["identifier"]]});
        let by_id = json!({"reference": "Patient/1"});
        bundle("batch", &[patient, booking(version, status, day, &[by_id])])
    };
    let s = server();
    for (hospital, version, day) in [("a", 1, "2026-03-09"), ("b", 2, "2026-03-10"), ("a", 3, "2026-03-11")] {
        assert_eq!(s.post(&sent(hospital, version, "booked", day)).await.statuses()[1], "201", "{hospital} {day}");
    }
    let told = by_patient(&s);
    assert!(!told[&pseudonym("b")].contains(&"AppointmentRescheduled".to_owned()), "{told:?}");
    assert!(told[&pseudonym("a")].contains(&"AppointmentRescheduled".to_owned()), "{told:?}");
}
