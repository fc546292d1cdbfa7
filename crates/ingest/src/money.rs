//! Amounts of money: decimals, as other protocols write them, to minor units.

/// How many decimals a currency has (ISO 4217).
#[must_use]
pub fn decimals(currency: &str) -> usize {
    match currency {
        "BIF" | "CLP" | "DJF" | "GNF" | "ISK" | "JPY" | "KMF" | "KRW" | "PYG" | "RWF" | "UGX" | "UYI" | "VND"
        | "VUV" | "XAF" | "XOF" | "XPF" => 0,
        "BHD" | "IQD" | "JOD" | "KWD" | "LYD" | "OMR" | "TND" => 3,
        "CLF" | "UYW" => 4,
        _ => 2,
    }
}

/// A decimal such as `-120.5` in minor units of a currency, rounded half away from zero; `None` where it is no decimal or
/// too large.
///
/// ```
/// use journeylog_ingest::money::minor;
/// assert_eq!((minor("120.5", "USD"), minor("45000", "KRW"), minor("1e3", "KRW")), (Some(12_050), Some(45_000), Some(1_000)));
/// assert_eq!((minor("0.005", "EUR"), minor("x", "EUR")), (Some(1), None));
/// ```
#[must_use]
pub fn minor(decimal: &str, currency: &str) -> Option<i64> {
    let digits = i32::try_from(decimals(currency)).ok()?;
    let (mantissa, exponent) = match decimal.trim().split_once(['e', 'E']) {
        Some((m, e)) => (m, e.parse::<i32>().ok().filter(|e| e.abs() <= 64)?),
        None => (decimal.trim(), 0),
    };
    let (negative, mantissa) = match mantissa.strip_prefix(['-', '+']) {
        Some(rest) => (mantissa.starts_with('-'), rest),
        None => (false, mantissa),
    };
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{part}");
    if all.is_empty() || !all.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    // How many digits of `all` lie before the point of the minor unit.
    let point = i32::try_from(whole.len()).ok()? + exponent + digits;
    let taken = usize::try_from(point.max(0)).ok()?;
    let mut amount: i64 = 0;
    for i in 0..taken {
        let digit = all.as_bytes().get(i).map_or(0, |b| i64::from(b - b'0'));
        amount = amount.checked_mul(10)?.checked_add(digit)?;
    }
    if point >= 0 && all.as_bytes().get(taken).is_some_and(|b| *b >= b'5') {
        amount = amount.checked_add(1)?;
    }
    Some(if negative { -amount } else { amount })
}

#[cfg(test)]
mod tests {
    use super::minor;

    #[test]
    fn decimals_become_minor_units_exactly() {
        let cases = [
            ("125.0", "USD", Some(12_500)),
            ("0.1", "USD", Some(10)),
            ("-3.999", "USD", Some(-400)),
            ("3.994", "USD", Some(399)),
            ("1.2345", "KWD", Some(1_235)),
            ("1200.5", "KRW", Some(1_201)),
            (".5", "USD", Some(50)),
            ("12.", "USD", Some(1_200)),
            ("1.5e2", "USD", Some(15_000)),
            ("1e-9", "USD", Some(0)),
            ("92233720368547758.07", "USD", Some(i64::MAX)),
            ("92233720368547758.08", "USD", None),
            ("1e60", "USD", None),
            ("", "USD", None),
            (".", "USD", None),
            ("1,5", "USD", None),
            ("--1", "USD", None),
            ("1e", "USD", None),
        ];
        for (decimal, currency, expected) in cases {
            assert_eq!(minor(decimal, currency), expected, "{decimal} {currency}");
        }
    }
}
