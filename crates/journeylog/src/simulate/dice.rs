//! Random draws that are the same on every machine: ChaCha8 words, and integer or exactly rounded arithmetic only.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

/// Quantiles of a skewed quantity whose median is 100, at 0 %, 10 %, … 100 %.
const TAIL: [i64; 11] = [15, 30, 45, 60, 80, 100, 125, 160, 225, 360, 900];

/// A stream of draws.
pub struct Dice(ChaCha8Rng);

impl Dice {
    /// Stream `stream` of the seed; streams are independent of one another.
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        Self(rng)
    }

    /// Sixty-four random bits.
    pub fn word(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number from 0 up to, but not including, `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.word()) * u128::from(n)) >> 64) as u64
    }

    /// A number from `lo` to `hi`, both included.
    pub fn range(&mut self, lo: i64, hi: i64) -> i64 {
        lo + self.below((hi - lo + 1).max(1) as u64) as i64
    }

    /// True in `p` of a hundred cases.
    pub fn percent(&mut self, p: i64) -> bool {
        self.range(0, 99) < p
    }

    /// True in `p` of a thousand cases.
    pub fn permille(&mut self, p: i64) -> bool {
        self.range(0, 999) < p
    }

    /// One of the items.
    pub fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len() as u64) as usize]
    }

    /// An index, by weight.
    pub fn weighted(&mut self, weights: &[u32]) -> usize {
        let total: u32 = weights.iter().sum();
        let mut left = self.below(u64::from(total)) as u32;
        weights
            .iter()
            .position(|w| {
                let here = left < *w;
                left = left.saturating_sub(*w);
                here
            })
            .unwrap_or(0)
    }

    /// A bell-shaped number: mean, and three standard deviations (`spread`) to either side at most (about).
    pub fn bell(&mut self, mean: i64, spread: i64) -> i64 {
        let sum: i64 = (0..4).map(|_| self.range(-1000, 1000)).sum();
        mean + sum * spread / 4000
    }

    /// A skewed number with that median: most are near it, a few are many times as large.
    pub fn tail(&mut self, median: i64) -> i64 {
        let q = self.range(0, 9_999);
        let (step, rest) = ((q / 1000) as usize, q % 1000);
        let factor = TAIL[step] * 1000 + (TAIL[step + 1] - TAIL[step]) * rest;
        median / 1000 * factor / 100 + median % 1000 * factor / 100_000
    }
}

/// A well-mixed permutation of 64-bit numbers (splitmix64's finaliser): different inputs give different outputs.
pub const fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
