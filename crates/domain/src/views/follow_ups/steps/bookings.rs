//! What bookings do to the items, and what befalls them.

use super::Steps;
use crate::time::DAY;
use crate::views::follow_ups::facts::{Booking, What};
use crate::views::follow_ups::item::{Act, Item, ItemKind, Status, Trigger};
use crate::views::follow_ups::rules;
use crate::views::follow_ups::triggers::{Key, Known, NEXT_BOOKING, RE_EXAM};

/// A booking counts for a re-exam of its department when it starts this close to the day.
const RE_EXAM_WINDOW: i64 = 14 * DAY;

impl<'a> Steps<'a> {
    fn book(&mut self, key: &Key<'a>, k: Known<'a>, appointment: Option<&'a str>, starts: Option<i64>) {
        if let Some(a) = appointment {
            self.booked_for.entry(a).or_default().insert(key.clone());
        }
        self.add_to(key, k, Act::Booked { appointment, starts });
    }

    /// What bookings do to referrals and recalls.
    pub(super) fn bookings(&mut self, k: Known<'a>) {
        match k.what {
            What::ReferralBooked { referral, appointment, starts } => {
                let key = (ItemKind::ReferralBooking, referral.as_str().into());
                self.book(&key, k, appointment.as_deref(), *starts);
            }
            What::RecallBooked { kind, appointment, starts, department } => {
                for key in self.named_recall(k.at, kind, department.as_deref(), *starts) {
                    self.book(&key, k, appointment.as_deref(), *starts);
                }
            }
            What::Booked(b) => self.booked(k, b),
            _ => {}
        }
    }

    fn booked(&mut self, k: Known<'a>, b: &'a Booking) {
        if let Some(referral) = &b.referral {
            self.book(&(ItemKind::ReferralBooking, referral.as_str().into()), k, Some(&b.appointment), Some(b.starts));
        }
        let keys = if let Some(kind) = &b.recall {
            self.named_recall(k.at, kind, b.department.as_deref(), Some(b.starts))
        } else {
            self.keys_of(ItemKind::Recall, |subject, t| is_re_exam_of(b, subject, t))
        };
        for key in keys {
            self.book(&key, k, Some(&b.appointment), Some(b.starts));
        }
        let keys = self.keys_of(ItemKind::NoShow, |subject, t| {
            let same_department = may_be_same(b.department.as_deref(), t.place.department.as_deref());
            t.at <= k.at && (subject == b.appointment || same_department)
        });
        for key in keys {
            self.add_to(&key, k, Act::Close("rebooked"));
        }
        let help = if b.with_help { Act::Close("booked_with_help") } else { Act::DueBy(k.at) };
        self.add(ItemKind::BookingFriction, NEXT_BOOKING, k, help);
    }

    /// The recalls that a booking which names their kind answers. Each visit's re-exam is a recall of its own: of several, the
    /// one whose day is nearest (the first, where the booking has no day) and those that are near.
    fn named_recall(&self, at: i64, kind: &str, department: Option<&str>, starts: Option<i64>) -> Vec<Key<'a>> {
        let keys = self.keys_of(ItemKind::Recall, |subject, t| {
            is_recall(subject, kind) && may_be_same(department, t.place.department.as_deref())
        });
        if keys.len() < 2 {
            return keys;
        }
        let mut by_day: Vec<_> =
            keys.into_iter().filter_map(|key| Some((self.days_off(&key, at, starts)?, key))).collect();
        let nearest = by_day.iter().map(|(off, _)| *off).min();
        by_day.retain(|(off, _)| Some(*off) == nearest || (starts.is_some() && off.0 <= RE_EXAM_WINDOW));
        by_day.into_iter().map(|(_, key)| key).collect()
    }

    /// How far the day of a recall is from that of a booking made `at`, and the day; nothing where the recall was over by then.
    fn days_off(&self, key: &Key<'a>, at: i64, starts: Option<i64>) -> Option<(i64, i64)> {
        let steps = self.items.get(key)?;
        let mut before: Vec<_> = steps.iter().filter(|s| s.at <= at).cloned().collect();
        super::in_order(key.0, &mut before);
        let item = Item::run(key.0, &before);
        if item.exists() && item.status != Status::Open && item.reason != Some("booked") {
            return None;
        }
        let days = steps.iter().filter_map(|s| if let Act::Open(t) = &s.act { Some(day_of(t)) } else { None });
        days.map(|day| (starts.map_or(day, |s| (s - day).abs()), day)).min()
    }

    pub(super) fn moved(&mut self, k: Known<'a>, appointment: &'a str, starts: i64) {
        for key in self.booked_for.get(appointment).cloned().unwrap_or_default() {
            self.add_to(&key, k, Act::Moved { appointment: Some(appointment), starts: Some(starts) });
        }
        self.add(ItemKind::NoShow, appointment, k, Act::Close("rebooked"));
    }

    pub(super) fn unbook(&mut self, k: Known<'a>, appointment: &'a str, missed: bool) {
        let due = k.at.saturating_add(rules::RECALL_LEAST);
        for key in self.booked_for.get(appointment).cloned().unwrap_or_default() {
            self.add_to(&key, k, Act::Unbooked { appointment, missed, due });
        }
    }

    pub(super) fn visit(&mut self, k: Known<'a>, appointment: &'a str) {
        for key in self.booked_for.get(appointment).cloned().unwrap_or_default() {
            if key.0 == ItemKind::Recall {
                self.add_to(&key, k, Act::Visit { appointment });
            }
        }
        self.add(ItemKind::NoShow, appointment, k, Act::Close("visited"));
    }
}

pub(super) fn is_recall(subject: &str, kind: &str) -> bool {
    subject == kind || (kind == RE_EXAM && subject.strip_prefix(RE_EXAM).is_some_and(|rest| rest.starts_with('/')))
}

/// Whether two names are the same, as far as both are known.
fn may_be_same(a: Option<&str>, b: Option<&str>) -> bool {
    a.is_none() || b.is_none() || a == b
}

/// Whether a booking that names no recall answers a re-exam.
fn is_re_exam_of(b: &Booking, subject: &str, t: &Trigger<'_>) -> bool {
    let same_department = b.department.is_some() && b.department.as_deref() == t.place.department.as_deref();
    is_recall(subject, RE_EXAM) && same_department && (b.starts - day_of(t)).abs() <= RE_EXAM_WINDOW
}

/// The start of a recall's day in UTC.
fn day_of(t: &Trigger<'_>) -> i64 {
    i64::from(t.day.unwrap_or_default()) * DAY
}

/// At one time, what takes effect before what.
pub(super) fn order(what: &What) -> u8 {
    match what {
        What::Booked(_) | What::ReferralBooked { .. } | What::RecallBooked { .. } => 0,
        What::Rescheduled { .. } => 1,
        _ => 2,
    }
}
