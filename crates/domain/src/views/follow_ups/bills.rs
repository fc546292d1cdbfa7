//! Whether a bill is paid: what was charged for a claim against what was paid for it, whichever came first.
//!
//! Amounts are compared here and go nowhere else: no item holds one.

use super::facts::{Billed, Money, What};
use super::item::{Act, ItemKind, Step};
use super::triggers::{Key, Known};
use std::collections::BTreeMap;

/// Minor units by currency.
type Sums<'a> = BTreeMap<&'a str, i128>;

/// What is known of one claim so far.
#[derive(Default)]
struct Account<'a> {
    /// Whether there was any bill, with an amount or without.
    billed: bool,
    charged: Sums<'a>,
    /// The claim as it was last sent; it asks for what was charged, and not for more.
    claimed: Option<&'a Money>,
    adjusted: Sums<'a>,
    paid: Sums<'a>,
}

fn add<'a>(sums: &mut Sums<'a>, money: &'a Money) {
    *sums.entry(&money.currency).or_default() += i128::from(money.minor);
}

impl<'a> Account<'a> {
    fn see(&mut self, what: &'a What) {
        match what {
            What::Bill { billed, .. } => {
                self.billed = true;
                match billed {
                    Billed::Charged(money) => add(&mut self.charged, money),
                    Billed::Claimed(money) => self.claimed = Some(money),
                    Billed::Unknown => {}
                }
            }
            What::Adjusted { by, .. } => add(&mut self.adjusted, by),
            What::Paid { amount, .. } => add(&mut self.paid, amount),
            _ => {}
        }
    }

    fn owed(&self) -> Sums<'a> {
        let mut owed = self.charged.clone();
        if let Some(claimed) = self.claimed {
            let minor = i128::from(claimed.minor);
            owed.entry(&claimed.currency).and_modify(|o| *o = minor.max(*o)).or_insert(minor);
        }
        for (currency, by) in &self.adjusted {
            owed.entry(currency).and_modify(|o| *o += by);
        }
        owed
    }

    /// Why nothing is left to pay, if so. Where no amount is known, or the currencies differ, any payment settles.
    fn settled(&self) -> Option<&'static str> {
        let owed = self.owed();
        let paid = |currency| self.paid.get(currency).copied().unwrap_or(0);
        let covered = !owed.is_empty() && owed.iter().all(|(currency, owed)| paid(currency) >= *owed);
        let incomparable = self.paid.keys().any(|currency| !owed.contains_key(currency));
        match (covered || incomparable, self.paid.is_empty()) {
            (false, _) => None,
            (true, false) => Some("paid"),
            (true, true) => Some("nothing_owed"),
        }
    }
}

/// Closes bills that are paid. A bill that comes when all is paid already doesn't open its item again.
pub fn settle<'a>(known: &[Known<'a>], items: &mut BTreeMap<Key<'a>, Vec<Step<'a>>>) {
    let mut claims: BTreeMap<&str, Vec<Known<'a>>> = BTreeMap::new();
    for k in known {
        if let What::Bill { claim, .. } | What::Adjusted { claim, .. } | What::Paid { claim, .. } = k.what {
            claims.entry(claim).or_default().push(*k);
        }
    }
    for (claim, events) in claims {
        let Some(steps) = items.get_mut(&(ItemKind::UnpaidBill, claim.into())) else { continue };
        let mut account = Account::default();
        // what has the same time counts together
        for at_once in events.chunk_by(|a, b| a.at == b.at) {
            let before = account.settled().filter(|_| account.billed);
            for k in at_once {
                account.see(k.what);
            }
            let (Some(reason), Some(last)) = (account.settled(), at_once.last()) else { continue };
            if before.is_some() {
                steps.retain(|s| s.at != last.at || !matches!(s.act, Act::Open(_)));
            } else {
                steps.push(Step { at: last.at, id: last.id, act: Act::Close(reason) });
            }
        }
    }
}
