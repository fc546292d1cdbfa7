//! Statistics of groups: small groups are suppressed, middling ones shrunk and given an interval, only large ones ranked.
//!
//! Sums come in as exact integers; floating point begins here, when they are read, so no order of adding changes an answer.

/// Groups smaller than this show nothing.
pub const MIN_N: i64 = 10;
/// Groups smaller than this are shrunk and never ranked.
pub const RANK_N: i64 = 100;
/// How many answers at the overall mean shrinkage adds.
const PRIOR: f64 = 20.0;
/// 97.5 % point of the normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// Exact sums over scores in hundredths of a point.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sums {
    /// How many.
    pub n: i64,
    /// Their sum.
    pub sum: i64,
    /// The sum of their squares.
    pub squares: i64,
    /// How many are in the top box (90 points and more).
    pub top: i64,
}

impl Sums {
    /// Both together.
    #[must_use]
    pub const fn plus(self, o: Self) -> Self {
        Self { n: self.n + o.n, sum: self.sum + o.sum, squares: self.squares + o.squares, top: self.top + o.top }
    }

    /// The mean in points; nothing where there is none.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "far below 2^53")]
    pub fn mean(self) -> Option<f64> {
        (self.n > 0).then(|| self.sum as f64 / self.n as f64 / 100.0)
    }
}

/// An interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// What may be said about a group of at least [`MIN_N`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// Mean, points.
    pub mean: f64,
    /// 95 % interval of the mean (Student's t), points, within 0 to 100.
    pub interval: Interval,
    /// (n·x̄ + 20·μ) / (n + 20) below [`RANK_N`], the mean from there on; points.
    pub estimate: f64,
    /// Share of the top box, 0 to 1.
    pub top_box: f64,
    /// Its 95 % Wilson interval.
    pub top_box_interval: Interval,
}

/// Summarises a group; nothing below [`MIN_N`]. `overall` is the mean of all groups, points.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "far below 2^53")]
pub fn summarise(s: Sums, overall: f64) -> Option<Summary> {
    if s.n < MIN_N {
        return None;
    }
    let mean = s.mean()?;
    let n = s.n as f64;
    // n·Σx² − (Σx)² is exact in 128 bits; the difference of rounded means would not be.
    let spread = i128::from(s.n) * i128::from(s.squares) - i128::from(s.sum) * i128::from(s.sum);
    let deviation = (spread.max(0) as f64 / (n * (n - 1.0))).sqrt() / 100.0;
    let half = student(s.n - 1) * deviation / n.sqrt();
    let estimate = if s.n < RANK_N { (n * mean + PRIOR * overall) / (n + PRIOR) } else { mean };
    Some(Summary {
        mean: hundredths(mean),
        interval: Interval { low: hundredths((mean - half).max(0.0)), high: hundredths((mean + half).min(100.0)) },
        estimate: hundredths(estimate),
        top_box: ten_thousandths(s.top as f64 / n),
        top_box_interval: wilson(s.top, s.n),
    })
}

/// Wilson's 95 % interval of a share.
///
/// Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "far below 2^53")]
pub fn wilson(hits: i64, n: i64) -> Interval {
    let (p, n) = (hits as f64 / n as f64, n as f64);
    let z2 = Z * Z;
    let centre = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = Z / (1.0 + z2 / n) * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    Interval { low: ten_thousandths((centre - half).max(0.0)), high: ten_thousandths((centre + half).min(1.0)) }
}

/// 97.5 % point of Student's t, by the Cornish–Fisher expansion (Abramowitz & Stegun 26.7.5); off by less than 0.001 from 9
/// degrees of freedom on.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "far below 2^53")]
pub fn student(degrees: i64) -> f64 {
    let v = degrees as f64;
    let z3 = Z.powi(3);
    let z5 = Z.powi(5);
    let z7 = Z.powi(7);
    Z + (z3 + Z) / (4.0 * v)
        + (5.0 * z5 + 16.0 * z3 + 3.0 * Z) / (96.0 * v * v)
        + (3.0 * z7 + 19.0 * z5 + 17.0 * z3 - 15.0 * Z) / (384.0 * v * v * v)
}

/// Ranks among those that may be ranked (n ≥ [`RANK_N`]): 1 is the highest mean, equal means share a rank. In the order
/// of the input; nothing for the others.
#[must_use]
pub fn ranks(groups: &[Sums]) -> Vec<Option<usize>> {
    // Means are compared as fractions, exactly.
    let above = |a: &Sums, b: &Sums| i128::from(a.sum) * i128::from(b.n) > i128::from(b.sum) * i128::from(a.n);
    let ranked: Vec<&Sums> = groups.iter().filter(|g| g.n >= RANK_N).collect();
    groups.iter().map(|g| (g.n >= RANK_N).then(|| 1 + ranked.iter().filter(|other| above(other, g)).count())).collect()
}

fn hundredths(x: f64) -> f64 {
    (x * 100.0).round() / 100.0
}

fn ten_thousandths(x: f64) -> f64 {
    (x * 10_000.0).round() / 10_000.0
}
