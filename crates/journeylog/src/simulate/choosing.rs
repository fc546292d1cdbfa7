//! Choosing: how patients come to a hospital, who introduced them, and gifts of campaigns.

use super::phrases;
use super::scribe::{Scribe, Src};
use domain::event::{CampaignGiftSent, ConsentGiven, EnquiryReceived, Grantee, IntroducerRecorded, Modality, Role};
use domain::time::{DAY, HOUR, MINUTE};
use domain::{Event, Micros};

impl Scribe<'_> {
    /// How the patient came to the hospital (F2, D4, D5).
    pub fn choose(&mut self, at: i64) {
        let origins =
            ["web_search", "friend_or_family", "review", "another_provider", "advertisement", "campaign", "walk_in"];
        let origin = origins[self.dice.weighted(&[26, 28, 14, 12, 9, 6, 5])];
        let (channel, modality) = self.channel();
        let header = self.head(at, Src::Crm, Role::Patient, modality);
        let service = self.dice.pick(self.dept.services);
        let note = if self.dice.percent(15) { self.say(&phrases::QUESTION) } else { None };
        self.put(Event::EnquiryReceived(EnquiryReceived {
            header,
            origin: origin.to_owned(),
            service: Some(service.to_owned()),
            channel: Some(channel.to_owned()),
            campaign_id: (origin == "campaign").then(|| "toothbrush-2026".to_owned()),
            note,
        }));
        if origin == "friend_or_family" || origin == "another_provider" {
            let header = self.head(at + 5 * MINUTE, Src::Crm, Role::Receptionist, Modality::Phone);
            let introducer_ref = format!("in-{:x}", self.dice.below(1 << 28));
            let relation =
                if origin == "another_provider" { "provider" } else { self.dice.pick(&["friend", "family"]) };
            self.put(Event::IntroducerRecorded(IntroducerRecorded {
                header,
                introducer_ref,
                relation: Some(relation.to_owned()),
            }));
        }
    }

    /// A gift of a campaign, to the patient or, with consent, to somebody else (D5).
    pub fn gift(&mut self, at: i64) {
        let third_party = self.dice.percent(40);
        let consent_ref = third_party.then(|| self.reference("consent"));
        if third_party {
            let header = self.head(at - HOUR, Src::Consent, Role::Receptionist, Modality::Web);
            self.put(Event::ConsentGiven(ConsentGiven {
                header,
                scope: "gift_to_third_party".to_owned(),
                grantee: Grantee::Marketing,
                valid_from: Some(Micros(at - HOUR)),
                valid_until: Some(Micros(at + 365 * DAY)),
            }));
        }
        let header = self.head(at, Src::Crm, Role::Receptionist, Modality::Post);
        let gift = self.dice.pick(&["toothbrush_set", "hand_cream", "tea"]).to_owned();
        self.put(Event::CampaignGiftSent(CampaignGiftSent {
            header,
            campaign_id: "toothbrush-2026".to_owned(),
            gift,
            third_party,
            consent_ref,
        }));
    }
}
