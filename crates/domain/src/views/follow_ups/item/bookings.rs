//! The bookings that stand for an item.

use crate::EventId;

/// A booking.
#[derive(Debug, Clone, Copy)]
pub struct Booked<'a> {
    pub appointment: Option<&'a str>,
    pub starts: Option<i64>,
    pub at: i64,
    pub id: EventId,
}

/// Those that stand: one per appointment. One that names no appointment is the one that does, said twice.
#[derive(Debug, Clone, Default)]
pub struct Bookings<'a>(Vec<Booked<'a>>);

impl<'a> Bookings<'a> {
    /// A booking, or a move of one.
    pub fn add(&mut self, mut new: Booked<'a>) {
        if new.appointment.is_none() && self.ahead(new.at, true).is_some_and(|b| b.appointment.is_some()) {
            return;
        }
        let old = self.0.iter().find(|b| b.appointment == new.appointment);
        new.starts = new.starts.or_else(|| old?.starts);
        self.0.retain(|b| b.appointment.is_some() && b.appointment != new.appointment);
        self.0.push(new);
    }

    /// Takes the booking of an appointment away; whether there was one.
    pub fn remove(&mut self, appointment: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|b| b.appointment != Some(appointment));
        self.0.len() < before
    }

    /// The latest booking that starts after `at`; where it isn't said when one starts, `unsaid` tells.
    pub fn ahead(&self, at: i64, unsaid: bool) -> Option<Booked<'a>> {
        self.0.iter().rev().find(|b| b.starts.map_or(unsaid, |starts| starts > at)).copied()
    }
}
