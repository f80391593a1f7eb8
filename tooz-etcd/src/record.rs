//! What a claim leaves beside the main key, in its place in the queue and in its holder's record.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde::de::{self, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use tooz_core::{Claim, ClaimId, Error, ErrorKind, Mode, Name, Result};

use crate::msgpack;

/// No record is larger: an election's value, a name and a few numbers.
const LARGEST: usize = 256 * 1024;

/// As stored: a msgpack array, so that later versions can append.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Record {
    shared: bool,
    member: String,
    value: Bytes,
    /// Readers: the common value of the main key and the lease that all of them keep alive.
    share: Option<(Bytes, i64)>,
    /// When it was granted, by the granter's wall clock.
    since_ms: Option<u64>,
}

/// Reads what there is to read and passes over what a later version appended.
impl<'de> Deserialize<'de> for Record {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_seq(Fields)
    }
}

struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Record;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of at least five")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<Record, A::Error> {
        fn next<'de, T: Deserialize<'de>, A: SeqAccess<'de>>(
            seq: &mut A,
            at: usize,
        ) -> std::result::Result<T, A::Error> {
            seq.next_element()?.ok_or_else(|| de::Error::invalid_length(at, &"five"))
        }
        let record = Record {
            shared: next(&mut seq, 0)?,
            member: next(&mut seq, 1)?,
            value: next(&mut seq, 2)?,
            share: next(&mut seq, 3)?,
            since_ms: next(&mut seq, 4)?,
        };
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(record)
    }
}

impl Record {
    /// Of a claim that waits.
    pub(crate) fn waiting(claim: &Claim) -> Self {
        Self {
            shared: claim.mode == Mode::Shared,
            member: claim.member.as_str().to_owned(),
            value: claim.value.clone(),
            share: None,
            since_ms: None,
        }
    }

    /// The same, granted now.
    pub(crate) fn granted(self) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { since_ms: u64::try_from(now.as_millis()).ok(), ..self }
    }

    /// The same, together with others under this lease.
    pub(crate) fn sharing(self, share: Bytes, lease: i64) -> Self {
        Self { share: Some((share, lease)), ..self }
    }

    /// The same with another value.
    pub(crate) fn amended(self, value: Bytes) -> Self {
        Self { value, ..self }
    }

    pub(crate) fn mode(&self) -> Mode {
        if self.shared { Mode::Shared } else { Mode::Exclusive }
    }

    pub(crate) fn member(&self) -> Option<Name> {
        Name::new(self.member.clone()).ok()
    }

    pub(crate) fn value(&self) -> Bytes {
        self.value.clone()
    }

    /// The common value of the main key and the common lease.
    pub(crate) fn share(&self) -> Option<(&[u8], i64)> {
        self.share.as_ref().map(|(share, lease)| (share.as_ref(), *lease))
    }

    /// How long ago it was granted, as far as wall clocks agree.
    pub(crate) fn age(&self) -> Option<Duration> {
        let since = UNIX_EPOCH.checked_add(Duration::from_millis(self.since_ms?))?;
        Some(SystemTime::now().duration_since(since).unwrap_or_default())
    }

    /// Whether this record and this value of the main key make `id` a holder.
    pub(crate) fn holds(&self, id: ClaimId, main: Option<&[u8]>) -> bool {
        let Some(main) = main else { return false };
        match &self.share {
            Some((share, _)) => share == main,
            None => main == id.as_bytes(),
        }
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>> {
        rmp_serde::to_vec(self)
            .map_err(|e| Error::new(ErrorKind::Internal, "a claim's record cannot be written").with_source(e))
    }

    /// What stands in the store; `None` where it is nothing of ours.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > LARGEST {
            return None;
        }
        msgpack::read(bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tooz_core::Seat;

    use super::*;

    fn claim() -> Claim {
        let name = Name::new("a").unwrap();
        Claim {
            id: ClaimId::random(),
            seat: Seat::Lock(name.clone()),
            mode: Mode::Shared,
            member: name,
            value: Bytes::from_static(b"\0\xff"),
        }
    }

    #[test]
    fn a_record_reads_back_what_it_wrote() {
        let record = Record::waiting(&claim()).granted().sharing(Bytes::from_static(b"s"), 7);
        assert_eq!(Record::decode(&record.encode().unwrap()), Some(record));
    }

    /// Interleaving 29: members of two versions share a store while they are upgraded.
    #[test]
    fn what_a_later_version_appends_is_passed_over() {
        let record = Record::waiting(&claim()).granted();
        let mut later = record.encode().unwrap();
        assert_eq!(later[0], 0x95, "an array of five");
        later[0] = 0x97;
        later.extend([0x2a, 0x91, 0xa1, b'x']);
        assert_eq!(Record::decode(&later), Some(record));
        assert_eq!(Record::decode(&[0x91, 0xc2]), None, "too short");
    }

    #[test]
    fn an_exclusive_holder_is_named_by_the_main_key_and_a_reader_by_the_common_value() {
        let claim = claim();
        let record = Record::waiting(&claim);
        assert!(record.holds(claim.id, Some(claim.id.as_bytes())));
        assert!(!record.holds(claim.id, Some(ClaimId::random().as_bytes())));
        assert!(!record.holds(claim.id, None));
        let reader = record.sharing(Bytes::from_static(b"common"), 7);
        assert!(reader.holds(claim.id, Some(b"common")));
        assert!(!reader.holds(claim.id, Some(claim.id.as_bytes())));
    }

    proptest! {
        #[test]
        fn what_others_wrote_is_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = Record::decode(&bytes);
        }
    }
}
