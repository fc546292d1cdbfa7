//! Pseudonyms: a record number never becomes a key.

use super::Site;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt::Write as _;
use std::sync::Arc;

/// Shortest key, bytes: as long as the hash's output (RFC 2104, section 3).
const KEY_BYTES: usize = 32;
/// How much of the hash a pseudonym shows, bytes: two of a thousand million patients meet with a chance of 10^-21.
const SHOWN_BYTES: usize = 16;

/// The key can't be used.
#[derive(Debug, thiserror::Error)]
#[error("the key of the pseudonyms must have at least {KEY_BYTES} bytes")]
pub struct KeyError;

/// Makes pseudonyms: HMAC-SHA256 (RFC 2104) of who gave a number out and the number, with a key that the log never sees.
///
/// Whoever has no key can't go back to a number by trying them all. The key is for ever: under another one everybody is
/// somebody else.
#[derive(Clone)]
pub struct Pseudonyms {
    keyed: Hmac<Sha256>,
    site: Arc<Site>,
}

impl Pseudonyms {
    /// Pseudonyms under a key, of the authorities that the site knows.
    ///
    /// # Errors
    /// A key that is too short.
    pub fn new(key: &[u8], site: Arc<Site>) -> Result<Self, KeyError> {
        let keyed = Hmac::new_from_slice(key).ok().filter(|_| key.len() >= KEY_BYTES).ok_or(KeyError)?;
        Ok(Self { keyed, site })
    }

    /// The site.
    #[must_use]
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// The patient with this number. An authority that the site file doesn't know is taken by the name that it was given.
    #[must_use]
    pub fn patient(&self, authority: &str, number: &str) -> String {
        self.of("p", authority, number)
    }

    /// The member of staff with this number.
    #[must_use]
    pub fn staff(&self, authority: &str, number: &str) -> String {
        self.of("s", authority, number)
    }

    /// A fingerprint of a message by a hash of it: the same for the same message, and of no use to whoever guesses at one.
    #[must_use]
    pub fn fingerprint(&self, hash: &str) -> String {
        self.of("m", "", hash)
    }

    fn of(&self, kind: &str, authority: &str, number: &str) -> String {
        let authority = self.site.authority(authority).map_or_else(|| super::bare(authority), |(name, _)| name);
        let mut mac = self.keyed.clone();
        for part in [kind, authority, number.trim()] {
            // The length first, so that no two different threes are the same bytes.
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part.as_bytes());
        }
        let mut shown = format!("{kind}-");
        for byte in &mac.finalize().into_bytes()[..SHOWN_BYTES] {
            let _ = write!(shown, "{byte:02x}");
        }
        shown
    }
}

impl std::fmt::Debug for Pseudonyms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pseudonyms").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(key: u8) -> Pseudonyms {
        let site = "zone = \"Asia/Seoul\"\n[authorities.main]\naliases = [\"HOSP\", \"1.2.3\"]";
        Pseudonyms::new(&[key; 32], Arc::new(Site::parse(site).unwrap())).unwrap()
    }

    #[test]
    fn a_number_has_one_pseudonym_by_every_name_of_its_authority() {
        let p = made(1);
        let id = p.patient("main", "0012");
        assert_eq!(id.len(), 34);
        assert_eq!((p.patient("HOSP", " 0012 "), p.patient("urn:oid:1.2.3", "0012")), (id.clone(), id.clone()));
        assert_ne!(p.patient("main", "12"), id);
        assert_ne!(p.patient("other", "0012"), id);
        assert_ne!(p.staff("main", "0012")[2..], id[2..]);
        assert_ne!(made(2).patient("main", "0012"), id);
        assert_ne!(p.patient("a", "bc"), p.patient("ab", "c"));
    }

    #[test]
    fn it_never_changes() {
        // HMAC-SHA256 by Python's hmac module over the same bytes.
        assert_eq!(made(1).patient("main", "0012"), "p-79e56a2e2c8fb4cdf37e3fe36b045575");
    }

    #[test]
    fn a_short_key_is_refused_and_nothing_shows_a_key() {
        assert!(Pseudonyms::new(&[1; 31], made(1).site).is_err());
        assert_eq!(format!("{:?}", made(1)), "Pseudonyms { .. }");
    }
}
