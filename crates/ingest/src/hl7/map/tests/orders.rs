//! Orders, results, money and consents.

use super::*;

#[test]
fn orders_and_results() {
    let cancelled = format!("ORC|CA|3{}WHY^by mistake", "|".repeat(14));
    let orders = shown(
        "ORM^O01",
        &["PID", "ORC|NW|1", "TQ1||||||||20260305|S", "OBR|1|1||C1", "OBR|2|2||C2", &cancelled, "ORC|SC|4"],
        &["/order_id", "/code", "/priority", "/due_at", "/reason"],
    );
    assert_eq!(
        orders,
        [
            json!(["OrderPlaced", "1", "C1", "stat", "2026-03-04T15:00:00Z", null]),
            json!(["OrderPlaced", "2", "C2", "stat", "2026-03-04T15:00:00Z", null]),
            json!(["OrderCancelled", "3", null, null, null, "by mistake"]),
        ]
    );
    assert_eq!(wrong("ORM^O01", &["PID", "ORC|NW|", "OBR|1|"]), [("ORC", 1, 2, 101)]);
    assert_eq!(wrong("ORM^O01", &["PID", "ORC|NW|1", "OBR|1|"]), [("OBR", 1, 4, 101)]);
    assert_eq!(wrong("ORM^O01", &["PID", "ORC|NW|1", "OBR|1|||C", "ORC||2"]), [("ORC", 2, 1, 101)]);
    let pharmacy = shown("ORM^O01", &["PID", "ORC|NW|1", "RXO|ASA^Aspirin"], &["/code"]);
    assert_eq!(pharmacy, [json!(["OrderPlaced", "ASA"])]);
    let obr = |id: &str, status: &str| format!("OBR|1|{id}||C{}{status}", "|".repeat(21));
    let results = shown(
        "ORU^R01",
        &[
            "PID",
            "ORC|RE|9",
            &obr("", "C"),
            "OBX|1|NM||||||HH|||F",
            &obr("8", "S"),
            &obr("7", ""),
            "OBX|1|NM||||||N|||C",
            "OBX|2|NM|||||||||F",
        ],
        &["/order_id", "/status", "/abnormal"],
    );
    assert_eq!(
        results,
        [json!(["ResultCorrected", "9", "corrected", true]), json!(["ResultCorrected", "7", "corrected", false])]
    );
    assert_eq!(wrong("ORU^R01", &["PID", &obr("", "F")]), [("OBR", 1, 2, 101)]);
}

#[test]
fn prior_results_are_no_orders() {
    let done = format!("OBR|1|OLD||CRE{}F", "|".repeat(21));
    let segments = [
        "PID",
        "ORC|NW|NEW",
        "OBR|1|NEW||GLU",
        "PID",
        &done,
        "OBX|1|NM|CRE",
        "ORC|PR|OLDER",
        "OBR|1|OLDER||K",
        "ORC|NW|X",
        "OBR|1|||Y",
    ];
    for kind in ["OML^O21", "OMG^O19"] {
        let orders = shown(kind, &segments, &["/order_id", "/code"]);
        assert_eq!(orders, [json!(["OrderPlaced", "NEW", "GLU"]), json!(["OrderPlaced", "X", "Y"])]);
    }
}

#[test]
fn several_patients_in_a_message_are_told_apart() {
    let p = pseudonyms(SITE);
    let obr = |id: &str| format!("OBR|1|{id}||C{}F", "|".repeat(21));
    let visit = |id: &str| format!("PV1|1|I|W1{}{id}", "|".repeat(16));
    let (one, two) = ("PID|1||1^^^HOSP", "PID|2||2^^^HOSP");
    let whose = ["/header/patient_id", "/order_id", "/encounter_id"];
    assert_eq!(
        shown("ORU^R01", &[one, &visit("V1"), &obr("7"), two, &visit("V2"), &obr("8"), &obr("9")], &whose),
        [
            json!(["ResultReported", p.patient("main", "1"), "7", "V1"]),
            json!(["ResultReported", p.patient("main", "2"), "8", "V2"]),
            json!(["ResultReported", p.patient("main", "2"), "9", "V2"]),
        ]
    );
    let sch = "SCH|A||||||||||^^^2026031010+0900";
    let both = shown(
        "SIU^S12",
        &[sch, one, &visit("V1"), two, "RGS|1", "AIS|1||X"],
        &["/header/patient_id", "/encounter_id", "/service"],
    );
    assert_eq!(
        both,
        [
            json!(["AppointmentBooked", p.patient("main", "1"), "V1", "X"]),
            json!(["AppointmentBooked", p.patient("main", "2"), null, "X"]),
        ]
    );
    assert_eq!(wrong("ORU^R01", &[one, &obr("7"), "PID|2||", &obr("8")]), [("PID", 2, 3, 101)]);
}

#[test]
fn money_is_charged_paid_and_adjusted() {
    let ft1 = |id: &str, kind: &str, amount: &str, charge: &str| {
        format!("FT1|1|{id}||20260302||{kind}|K1||||{amount}{}{charge}", "|".repeat(18))
    };
    let all = [
        ft1("T1", "CG", "1000", ""),
        ft1("T2", "PY", "-1000^x", "T1"),
        ft1("T3", "CD", "50&USD", ""),
        ft1("T4", "AJ", "-5", "T1"),
    ];
    let segments: Vec<&str> = std::iter::once("PID").chain(all.iter().map(String::as_str)).collect();
    assert_eq!(
        shown("DFT^P03", &segments, &["/claim_id", "/amount_minor", "/currency", "/adjustment_code"]),
        [
            json!(["ChargePosted", "T1", 1000, "KRW", null]),
            json!(["PaymentReceived", "T1", 1000, "KRW", null]),
            json!(["ClaimAdjusted", "T3", -5000, "USD", "K1"]),
            json!(["ClaimAdjusted", "T1", -5, "KRW", "K1"]),
        ]
    );
    let each = "FT1|1|T1||20260302||CG||||3||7.25&USD";
    assert_eq!(shown("DFT^P03", &["PID", each], &["/amount_minor"]), [json!(["ChargePosted", 2175])]);
    assert_eq!(wrong("DFT^P03", &["PID", &ft1("T", "XX", "1", "")]), [("FT1", 1, 6, 103)]);
    assert_eq!(wrong("DFT^P03", &["PID", &ft1("T", "CG", "1.5", "")]), [("FT1", 1, 11, 102)]);
    assert_eq!(
        wrong("DFT^P03", &["PID", &ft1("", "CG", "1", ""), &ft1("T", "CG", "", "")]),
        [("FT1", 1, 2, 101), ("FT1", 2, 12, 101)]
    );
    let site = SITE.replace("currency = \"KRW\"", "");
    let wrongs = mapped_under(&site, "DFT^P03", &["PID", &ft1("T", "CG", "1", "")]).unwrap_err();
    assert_eq!((wrongs.len(), wrongs[0].code), (1, Code::Missing));
}

#[test]
fn consents() {
    let con = |status: &str, dates: &str| format!("CON|1|001|||||||||{status}|{dates}");
    let fields = ["/scope", "/grantee", "/header/occurred_at", "/valid_from", "/valid_until"];
    let given = shown("MDM^T02", &["PID", &con("A", "|20260201|20260202|20270101")], &fields);
    assert_eq!(
        given,
        [json!([
            "ConsentGiven",
            "share_records",
            "provider",
            "2026-01-31T15:00:00Z",
            "2026-02-01T15:00:00Z",
            "2026-12-31T15:00:00Z"
        ])]
    );
    assert_eq!(shown("ADT^A28", &["PID", &con("X", "")], &fields)[0][0], "ConsentWithdrawn");
    assert!(mapped("ADT^A28", &["PID", &con("P", "")]).unwrap().is_empty());
    assert_eq!(wrong("ADT^A28", &["PID", &con("Q", "")]), [("CON", 1, 11, 103)]);
    assert_eq!(wrong("ADT^A28", &["PID", &con("A", "|20260201||20250101")]), [("CON", 1, 15, 102)]);
    assert_eq!(wrong("ADT^A28", &["PID|1||", &con("A", "")]), [("PID", 1, 3, 101)]);
    let pd1 = shown("ADT^A31", &["PID", "PD1|||||||||||03|Y"], &["/scope", "/grantee"]);
    assert_eq!(
        pd1[1..],
        [
            json!(["ConsentWithdrawn", "follow_up_contact", "contact"]),
            json!(["ConsentWithdrawn", "share_records", "provider"])
        ]
    );
}
