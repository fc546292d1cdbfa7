//! Which partition a key belongs to.

const SEED: u32 = 0x9747_b28c;
const M: u32 = 0x5bd1_e995;
const R: u32 = 24;

/// The partition of a key: `toPositive(murmur2(key)) % partitions`, as Kafka's Java client has it, so that Java and
/// Python producers put the records of a patient on the same partition as we do. An empty key has a fixed partition
/// too. `partitions` of 0 counts as 1.
#[must_use]
pub fn partition_of(key: &[u8], partitions: u32) -> u32 {
    (murmur2(key) & 0x7fff_ffff) % partitions.max(1)
}

/// Kafka's murmur2 (32 bits, little endian, its own seed).
fn murmur2(data: &[u8]) -> u32 {
    // Kafka's lengths are Java ints, so the cut is theirs too
    #[allow(clippy::cast_possible_truncation)]
    let mut h = SEED ^ data.len() as u32;
    let (chunks, tail) = data.as_chunks::<4>();
    for chunk in chunks {
        let mut k = u32::from_le_bytes(*chunk).wrapping_mul(M);
        k ^= k >> R;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !tail.is_empty() {
        for (i, byte) in tail.iter().enumerate() {
            h ^= u32::from(*byte) << (8 * i);
        }
        h = h.wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    h ^ (h >> 15)
}

#[cfg(test)]
mod tests {
    use super::{murmur2, partition_of};

    /// The vectors of Kafka's own `UtilsTest.testMurmur2`.
    #[test]
    fn is_kafkas_murmur2() {
        for (text, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(text.as_bytes()).cast_signed(), hash, "{text}");
        }
    }

    #[test]
    fn partitions_as_the_java_client_does() {
        assert_eq!(partition_of(b"21", 12), ((-973_932_308_i32) & 0x7fff_ffff) as u32 % 12);
        assert_eq!(partition_of(b"abc", 12), 479_470_107 % 12);
        assert_eq!(partition_of(b"", 12), partition_of(b"", 12));
        assert_eq!(partition_of(b"x", 1), 0);
        assert_eq!(partition_of(b"x", 0), 0);
    }
}
