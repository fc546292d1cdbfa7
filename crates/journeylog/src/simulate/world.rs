//! The three sites, their departments, and how people are treated there.

use super::clock::Zone;

/// A site.
pub struct Site {
    /// Identifier, as in the header.
    pub id: &'static str,
    /// Short code in the ids of references.
    pub code: &'static str,
    /// Its time zone.
    pub zone: Zone,
    /// ISO 4217.
    pub currency: &'static str,
    /// What prices are multiplied with, to get minor units of the currency, in hundredths.
    pub price: i64,
    /// Its departments; the last is the ward.
    pub departments: &'static [Department],
    /// Members of staff who answer pulse surveys.
    pub staff: u64,
}

/// A department.
pub struct Department {
    /// Identifier, as in the header.
    pub id: &'static str,
    /// How many practitioners it has.
    pub doctors: u64,
    /// What it does, as the scheduling system codes it.
    pub services: &'static [&'static str],
    /// What it orders.
    pub orders: &'static [&'static str],
    /// What it calls patients back for.
    pub recall: &'static str,
    /// How warm doctor, nurse and desk are, 0 to 100.
    pub warmth: [i64; 3],
    /// Technical skill, 0 to 100.
    pub skill: i64,
    /// Whether it operates, and so admits.
    pub operates: bool,
    /// Whether its events carry the confidentiality code R.
    pub restricted: bool,
    /// Mean price of a visit, in the unit that [`Site::price`] converts.
    pub fee: i64,
}

const fn dept(
    id: &'static str,
    doctors: u64,
    services: &'static [&'static str],
    orders: &'static [&'static str],
    recall: &'static str,
) -> Department {
    Department {
        id,
        doctors,
        services,
        orders,
        recall,
        warmth: [74, 76, 73],
        skill: 82,
        operates: false,
        restricted: false,
        fee: 420,
    }
}

/// A large hospital that is good at its work and short with people.
pub const HANEUL: Site = Site {
    id: "haneul",
    code: "hn",
    zone: Zone::Seoul,
    currency: "KRW",
    price: 10_000,
    staff: 60,
    departments: &[
        Department {
            warmth: [58, 68, 64],
            skill: 90,
            operates: true,
            restricted: true,
            fee: 680,
            ..dept(
                "gynaecology",
                5,
                &["gyn_consult", "gyn_ultrasound", "gyn_surgery_consult"],
                &["US-PELVIS", "LAB-CBC", "MRI-PELVIS"],
                "re_exam",
            )
        },
        Department {
            operates: true,
            skill: 88,
            fee: 900,
            ..dept(
                "orthopaedics",
                6,
                &["ortho_consult", "ortho_injection"],
                &["XR-KNEE", "MRI-KNEE", "LAB-CRP"],
                "re_exam",
            )
        },
        Department {
            skill: 87,
            fee: 760,
            ..dept("cardiology", 4, &["cardio_consult", "echo"], &["ECG", "ECHO", "LAB-LIPID"], "re_exam")
        },
        dept(
            "internal_medicine",
            8,
            &["im_consult", "diabetes_check", "endoscopy"],
            &["LAB-HBA1C", "LAB-CBC", "US-ABDOMEN"],
            "vaccination",
        ),
    ],
};

/// A small hospital where the doctor is kind and the desk is cold (P1).
pub const BYEOLBIT: Site = Site {
    id: "byeolbit",
    code: "bb",
    zone: Zone::Seoul,
    currency: "KRW",
    price: 8_000,
    staff: 22,
    departments: &[
        Department {
            warmth: [94, 46, 36],
            skill: 91,
            operates: true,
            restricted: true,
            fee: 560,
            ..dept(
                "womens_health",
                2,
                &["gyn_consult", "gyn_ultrasound", "laparoscopy_consult"],
                &["US-PELVIS", "LAB-CBC", "LAB-CA125"],
                "re_exam",
            )
        },
        Department {
            warmth: [84, 82, 80],
            skill: 85,
            fee: 300,
            ..dept("dental", 4, &["scaling", "orthodontic_adjustment", "filling"], &["XR-PANORAMA"], "scaling")
        },
        Department { fee: 350, ..dept("dermatology", 2, &["derm_consult", "laser"], &["LAB-ALLERGY"], "re_exam") },
    ],
};

/// A policlinic in the Netherlands.
pub const LINDEN: Site = Site {
    id: "linden",
    code: "li",
    zone: Zone::Amsterdam,
    currency: "EUR",
    price: 1_100,
    staff: 18,
    departments: &[
        Department {
            warmth: [80, 80, 78],
            fee: 380,
            ..dept(
                "general_practice",
                4,
                &["gp_consult", "travel_advice"],
                &["LAB-CBC", "LAB-TSH", "URINE"],
                "vaccination",
            )
        },
        Department { fee: 520, ..dept("physiotherapy", 3, &["intake", "physio_session"], &["US-SHOULDER"], "re_exam") },
        Department {
            skill: 86,
            fee: 900,
            operates: true,
            ..dept("day_surgery", 3, &["hernia_consult", "hand_consult"], &["US-GROIN", "LAB-CBC"], "re_exam")
        },
    ],
};

/// The sites; a patient's home is drawn with [`WEIGHTS`].
pub const SITES: [&Site; 3] = [&HANEUL, &BYEOLBIT, &LINDEN];
/// Shares of the sites among patients, percent.
pub const WEIGHTS: [u32; 3] = [52, 30, 18];
