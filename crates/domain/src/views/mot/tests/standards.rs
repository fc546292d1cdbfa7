use super::*;

#[test]
fn the_shipped_standards_are_read() {
    let s = Standards::shipped();
    assert_eq!(s.all().iter().map(|s| s.version.as_str()).collect::<Vec<_>>(), ["2019-01", "2020-03"]);
    let at = |t| s.at(Micros::parse(t).unwrap()).map(|s| s.version.as_str());
    assert_eq!(at("2020-02-29T23:59:59+09:00"), Some("2019-01"));
    assert_eq!(at("2020-03-01T00:00:00+09:00"), Some("2020-03"));
    assert_eq!(at("1969-01-01T00:00:00Z"), None);
}

#[test]
fn mistakes_are_named() {
    let broken = |from: &str, to: &str| {
        let text = SHIPPED[0].1.replacen(from, to, 1);
        assert_ne!(text, SHIPPED[0].1, "{from}");
        Standards::parse(&[("x.toml", text)]).unwrap_err().to_string()
    };
    assert!(broken("[floors]", "[floor]").contains("unknown field `floor`"));
    assert!(broken("fail = 300, weight", "fails = 300, weight").contains("unknown field `fails`"));
    assert!(broken("claim_rework ", "claim_reworks ").contains("signals.claim_reworks: no such signal"));
    assert!(
        broken("target = 0,  fail = 30,", "target = 30, fail = 30,").contains("signals.wait_gap.fail: must differ")
    );
    assert!(broken("weight = 0.5", "weight = -1.0").contains("promises[0].weight: out of range"));
    assert!(broken("weight = 0.5", "weight = 0.0001").contains("more than three decimals"));
    assert!(
        broken("touchpoint = \"consult\"", "touchpoint = \"lobby\"")
            .contains("promises[0].touchpoint: no such touchpoint")
    );
    assert!(broken("rule = \"promised\"", "rule = \"hoped\"").contains("unknown variant `hoped`"));
    assert!(broken("stay = 1.5", "").contains("journey_weights.stay: missing"));
    assert!(broken("+09:00", "").contains("effective_from"));
    assert!(broken("checklist = \"explain_without_mask\"", "").contains("promises[0].checklist"));
    assert!(broken("id = \"next_steps\"", "id = \"explain_without_mask\"").contains("used twice"));
    let twice = Standards::parse(&[SHIPPED[0], ("copy.toml", SHIPPED[0].1)]).unwrap_err().to_string();
    assert_eq!(twice, "copy.toml: the same version as 2019-01.toml");
    assert!(Standards::parse::<&str, &str>(&[]).is_err());
}

/// D1: explaining without a mask was promised, and is forbidden now.
#[test]
fn the_standard_in_force_when_it_happened_decides() {
    let consult = |year: i64, done: i64| {
        let back = (2024 - year) * 366 * 1440;
        let at = |n, kind, minute: i64, payload| event(n, kind, minute - back, payload);
        let checklist =
            json!({"encounter_id": "e", "checklist": "explain_without_mask", "items_done": done, "items_total": 1});
        explained(&[
            at(1, "ConsultStarted", 0, json!({"encounter_id": "e"})),
            at(2, "PatientQuestionAsked", 1, json!({"encounter_id": "e", "question_id": "q"})),
            at(3, "PatientQuestionAnswered", 2, json!({"encounter_id": "e", "question_id": "q"})),
            at(4, "NextStepsExplained", 3, json!({"encounter_id": "e", "steps": ["scan"]})),
            at(5, "ChecklistCompleted", 4, checklist),
        ])
    };
    let score = |year, done| {
        let j = consult(year, done);
        let t = touchpoint(&j, TouchKind::Consult);
        (t.standard_version.clone().unwrap(), t.score.unwrap())
    };
    assert_eq!(score(2018, 1), ("2019-01".into(), 100.0));
    assert_eq!(score(2018, 0), ("2019-01".into(), 75.0), "(1 + 0.5 · 0 + 0.5) / 2");
    assert_eq!(score(2023, 1), ("2020-03".into(), 75.0), "forbidden now");
    assert_eq!(score(2023, 0), ("2020-03".into(), 100.0));
    let j = consult(2023, 1);
    assert_eq!(observed(touchpoint(&j, TouchKind::Consult), "not:explain_without_mask"), Some((1.0, 0.0)));
}

/// The table of the model (docs/mot.md). What 2020-03 has otherwise is the wait.
#[test]
fn the_shipped_standards_have_the_targets_of_the_model() {
    let of_2019 = [
        ("wait_gap", 0, 30),
        ("no_wait_estimate", 0, 1),
        ("booking_hold", 30, 300),
        ("booking_contacts", 1, 4),
        ("hospital_changes", 0, 2),
        ("repeat_questions", 0, 3),
        ("unanswered_questions", 0, 2),
        ("post_visit_call", 24, 72),
        ("referral_booking", 3, 14),
        ("first_contact", 1, 0),
        ("claim_rework", 0, 3),
        ("dispute_resolution", 3, 15),
        ("options_explained", 1, 0),
    ];
    let mut of_2020 = of_2019;
    of_2020[0] = ("wait_gap", 0, 20);
    let shipped = Standards::shipped();
    for (standard, wanted, wait) in [(&shipped.all()[0], of_2019, 1_000), (&shipped.all()[1], of_2020, 1_500)] {
        let scale = |s: Signal| (s.as_str(), standard.scale(s));
        let got = Signal::ALL.map(|s| (s.as_str(), standard.scale(s).target / 1000, standard.scale(s).fail / 1000));
        assert_eq!(got, wanted, "{}", standard.version);
        let weights = TouchKind::ALL.map(|k| standard.journey_weight(k));
        assert_eq!(weights, [1_500, 2_000, 3_000, 1_500, 1_500, 1_500, 2_000], "{}", standard.version);
        for (name, scale) in Signal::ALL.map(scale) {
            assert_eq!((scale.target % 1000, scale.fail % 1000), (0, 0), "{name}");
            assert_eq!(scale.weight, if name == "wait_gap" { wait } else { 1_000 }, "{} {name}", standard.version);
        }
    }
}
