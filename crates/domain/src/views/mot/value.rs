//! What signals measure, exactly: nothing is rounded before a score is made of it.

/// Thousandths, the unit of targets and weights.
pub(super) type Milli = i64;

/// A utility of 1. Shares of up to 16 divide it, and the spans of the shipped standards in minutes, so what comes of them is
/// exact until a score is rounded; others are off by less than a millionth of a hundredth of a point.
pub(super) const WHOLE: i128 = 2_162_160_000_000;

/// What was measured: an exact fraction of the signal's unit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Value {
    pub of: i64,
    pub per: i64,
}

impl Value {
    /// So many.
    pub fn count(n: usize) -> Self {
        Self { of: i64::try_from(n).unwrap_or(i64::MAX), per: 1 }
    }

    /// `of / per`; `per` is above 0.
    pub const fn over(of: i64, per: i64) -> Self {
        Self { of, per }
    }

    /// Whether it is this much or more.
    pub fn reaches(self, least: Milli) -> bool {
        i128::from(self.of) * 1000 >= i128::from(least) * i128::from(self.per)
    }

    /// In thousandths, rounded half up: for showing.
    pub fn milli(self) -> Milli {
        let (of, per) = (i128::from(self.of) * 1000, i128::from(self.per));
        i64::try_from((of * 2 + per).div_euclid(per * 2)).unwrap_or(i64::MAX)
    }
}
