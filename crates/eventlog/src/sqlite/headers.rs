//! Headers as one blob: for each, name length (u16), name, value length (u32), value; little endian.

use crate::LogError;
use bytes::{Buf, Bytes};

pub(super) fn encode(headers: &[(&'static str, Bytes)]) -> Result<Vec<u8>, LogError> {
    let mut blob = Vec::with_capacity(headers.iter().map(|(name, value)| 6 + name.len() + value.len()).sum());
    for (name, value) in headers {
        let too_long = |_| LogError::Refused("a header is too long".to_owned());
        blob.extend_from_slice(&u16::try_from(name.len()).map_err(too_long)?.to_le_bytes());
        blob.extend_from_slice(name.as_bytes());
        blob.extend_from_slice(&u32::try_from(value.len()).map_err(too_long)?.to_le_bytes());
        blob.extend_from_slice(value);
    }
    Ok(blob)
}

pub(super) fn decode(blob: &Bytes) -> Result<Vec<(String, Bytes)>, LogError> {
    let mut rest = blob.clone();
    let mut headers = Vec::new();
    while rest.has_remaining() {
        headers.push(one(&mut rest).ok_or_else(|| LogError::Unavailable("broken headers in the log".to_owned()))?);
    }
    Ok(headers)
}

fn one(rest: &mut Bytes) -> Option<(String, Bytes)> {
    let length = usize::from(rest.try_get_u16_le().ok()?);
    let name = take(rest, length)?;
    let length = usize::try_from(rest.try_get_u32_le().ok()?).ok()?;
    let value = take(rest, length)?;
    Some((std::str::from_utf8(&name).ok()?.to_owned(), value))
}

fn take(rest: &mut Bytes, length: usize) -> Option<Bytes> {
    (rest.len() >= length).then(|| rest.split_to(length))
}

#[cfg(test)]
mod tests {
    use super::{decode, encode};
    use bytes::Bytes;

    #[test]
    fn come_back_and_broken_ones_are_errors() {
        let headers = vec![("id", Bytes::from_static(b"1")), ("empty", Bytes::new())];
        let blob = Bytes::from(encode(&headers).unwrap());
        let back: Vec<(String, Bytes)> = headers.iter().map(|(n, v)| ((*n).to_owned(), v.clone())).collect();
        assert_eq!(decode(&blob).unwrap(), back);
        assert_eq!(decode(&Bytes::new()).unwrap(), []);
        for cut in 1..blob.len() {
            // a cut between two headers is a shorter list; every other is an error, none a panic
            assert!(decode(&blob.slice(..cut)).map_or(true, |headers| headers.len() == 1));
        }
    }
}
