//! The record of a claim: what stands beside the main key, which has room for an id only.

use std::time::Duration;

use bytes::Bytes;
use tooz_core::{Claim, Error, ErrorKind, Mode, Name, Result, SessionId};

/// The version that begins every record.
const VERSION: u8 = b'1';
/// How many bytes the version, the mode, the session, the time to live and the member's length take.
const HEAD: usize = 1 + 1 + 32 + 10 + 3;
/// The longest value that is kept.
pub(crate) const LONGEST_VALUE: usize = 64 * 1024;

/// Who claims, for how long at a time, and an election's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) mode: Mode,
    pub(crate) session: SessionId,
    pub(crate) member: Name,
    pub(crate) value: Bytes,
}

impl Record {
    /// The record of a claim, as written: fixed places first, so that scripts need not parse.
    pub(crate) fn encode(claim: &Claim, session: SessionId, ttl: Duration) -> Result<Vec<u8>> {
        if claim.value.len() > LONGEST_VALUE {
            let text = format!("value has {} bytes: at most {LONGEST_VALUE} are allowed", claim.value.len());
            return Err(Error::new(ErrorKind::InvalidValue, text));
        }
        let mode = match claim.mode {
            Mode::Exclusive => 'x',
            Mode::Shared => 's',
        };
        let ttl = ttl.as_millis().min(9_999_999_999);
        let member = claim.member.as_str();
        let mut record =
            format!("{}{mode}{session}{ttl:010}{:03}{member}", char::from(VERSION), member.len())
                .into_bytes();
        record.extend_from_slice(&claim.value);
        Ok(record)
    }

    /// Reads a record; `None` where it is not one of ours.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_at_checked(HEAD)?;
        let head = std::str::from_utf8(head).ok()?;
        let mode = match head.get(..2)? {
            "1x" => Mode::Exclusive,
            "1s" => Mode::Shared,
            _ => return None,
        };
        let session = SessionId::parse(head.get(2..34)?)?;
        let _ttl: u64 = head.get(34..44)?.parse().ok()?;
        let (member, value) = rest.split_at_checked(head.get(44..)?.parse().ok()?)?;
        if value.len() > LONGEST_VALUE {
            return None;
        }
        let member = Name::new(std::str::from_utf8(member).ok()?).ok()?;
        Some(Self { mode, session, member, value: Bytes::copy_from_slice(value) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tooz_core::{ClaimId, Seat};

    use super::*;

    fn claim(member: &str, value: &[u8], mode: Mode) -> Claim {
        let member = Name::new(member).unwrap();
        let (id, seat) = (ClaimId::random(), Seat::Lock(member.clone()));
        Claim { id, seat, mode, member, value: Bytes::copy_from_slice(value) }
    }

    proptest! {
        #[test]
        fn records_read_back_what_was_written(member in ".{1,60}", value in prop::collection::vec(any::<u8>(), 0..300), shared: bool) {
            let mode = if shared { Mode::Shared } else { Mode::Exclusive };
            let claim = claim(&member, &value, mode);
            let session = SessionId::random();
            let record = Record::encode(&claim, session, Duration::from_secs(30)).unwrap();
            let read = Record::decode(&record).unwrap();
            prop_assert_eq!(read, Record { mode, session, member: claim.member, value: claim.value });
        }

        #[test]
        fn garbage_is_no_record(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            // Never a panic; anything that happens to be read has a valid name.
            let _ = Record::decode(&bytes);
        }
    }

    #[test]
    fn a_cut_or_newer_record_is_none() {
        let whole = Record::encode(
            &claim("member", b"v", Mode::Exclusive),
            SessionId::random(),
            Duration::from_secs(1),
        )
        .unwrap();
        for length in 0..HEAD + 6 {
            assert_eq!(Record::decode(whole.get(..length).unwrap()), None, "{length}");
        }
        let mut newer = whole;
        newer[0] = b'2';
        assert_eq!(Record::decode(&newer), None);
    }

    #[test]
    fn a_value_beyond_the_limit_is_refused() {
        let claim = claim("m", &vec![0; LONGEST_VALUE + 1], Mode::Exclusive);
        let refused = Record::encode(&claim, SessionId::random(), Duration::from_secs(1)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidValue);
    }
}
