//! What a claim leaves beside the main key, in its place in the queue and in its holder's record.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tooz_core::{Claim, ClaimId, Error, ErrorKind, Mode, Name, Result};

/// No record is larger: an election's value, a name and a few numbers.
const LARGEST: usize = 256 * 1024;

/// As stored: a msgpack array, so that later versions can append.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    shared: bool,
    member: String,
    value: Bytes,
    /// Readers: the common value of the main key and the lease that all of them keep alive.
    share: Option<(Bytes, i64)>,
    /// When it was granted, by the granter's wall clock.
    since_ms: Option<u64>,
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
        rmp_serde::from_slice(bytes).ok()
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
