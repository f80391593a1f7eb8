//! One seat at one revision, as far as a claim has to know it.

use std::time::Duration;

use etcd_client::{TxnOp, TxnResponse};
use tooz_core::{ClaimId, Mode};

use crate::keys::{self, SeatKeys};
use crate::place::is_place;
use crate::record::Record;
use crate::txn::{self, Seen, count_below, get, oldest_below};

/// What a transaction saw of a seat, beside one claim's own keys.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    pub(crate) revision: i64,
    /// The claim was made void.
    pub(crate) void: bool,
    /// The claim's record as a holder.
    pub(crate) mine: Option<Seen>,
    /// The claim's place in the queue.
    pub(crate) place: Option<Seen>,
    pub(crate) main: Option<Seen>,
    pub(crate) share: Option<Seen>,
    /// The oldest place in the queue.
    pub(crate) head: Option<Seen>,
    /// Records of holders, stale ones included.
    pub(crate) records: u64,
    /// Places in the queue.
    pub(crate) waiting: u64,
    /// The mark that foreign clients were seen.
    pub(crate) foreign: Option<Seen>,
    /// Ask again after this time at the latest.
    pub(crate) revisit: Option<Duration>,
}

/// How the seat stands to a newcomer or to the head of the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// Nobody holds.
    Open,
    /// Readers held and all of them are gone; their main key, written at this revision, has yet to expire.
    Abandoned(i64),
    /// Readers hold, under this common value and lease; their main key was written at this revision.
    Shared(bytes::Bytes, i64, i64),
    /// Somebody holds alone.
    Shut,
}

impl Look {
    /// The gets that make a look; nine operations.
    pub(crate) fn ops(keys: &SeatKeys, id: ClaimId) -> Vec<TxnOp> {
        vec![
            get(keys::void(id)),
            get(keys.holder(id)),
            get(keys.place(id)),
            get(keys.main.as_str()),
            get(keys.share()),
            oldest_below(&keys.queue(), 1),
            count_below(&keys.holders()),
            count_below(&keys.queue()),
            get(keys.foreign()),
        ]
    }

    /// Reads the answers to [`ops`](Self::ops), which begin at `at`.
    pub(crate) fn read(response: &TxnResponse, at: usize) -> Self {
        let answers = response.op_responses();
        let nth = |n: usize| answers.get(at + n);
        Self {
            revision: txn::revision(response),
            void: txn::first(nth(0)).is_some(),
            mine: txn::first(nth(1)),
            place: txn::first(nth(2)),
            main: txn::first(nth(3)),
            share: txn::first(nth(4)),
            head: txn::first(nth(5)),
            records: txn::count(nth(6)),
            waiting: txn::count(nth(7)),
            foreign: txn::first(nth(8)),
            revisit: None,
        }
    }

    /// The value of the main key.
    pub(crate) fn main_value(&self) -> Option<&[u8]> {
        self.main.as_ref().map(|main| main.value.as_ref())
    }

    /// The claim's grant, if it holds.
    pub(crate) fn held(&self, id: ClaimId) -> Option<(i64, Record)> {
        let mine = self.mine.as_ref()?;
        let record = Record::decode(&mine.value)?;
        record.holds(id, self.main_value()).then_some((mine.created, record))
    }

    /// Whether another kind of client holds: every holder of ours has a record.
    pub(crate) fn is_foreign(&self) -> bool {
        self.records == 0 && self.door() == Door::Shut
    }

    pub(crate) fn door(&self) -> Door {
        door(self.main.as_ref(), self.share.as_ref(), self.records > 0)
    }

    /// Whether nobody stands before the claim: it is the head, or would be if it queued.
    pub(crate) fn is_first(&self) -> bool {
        match (&self.place, &self.head) {
            (Some(place), Some(head)) => place.created == head.created,
            (_, head) => head.is_none(),
        }
    }

    /// Whether what is no place stands before all places.
    pub(crate) fn is_blocked(&self, keys: &SeatKeys) -> bool {
        self.head.as_ref().is_some_and(|head| !is_place(head, &keys.queue()))
    }

    /// Claims before one that has just queued.
    pub(crate) fn ahead(&self) -> Option<u64> {
        let place = self.place.as_ref()?;
        let fresh = place.created == self.revision;
        let holders = self.records.max(u64::from(self.main.is_some()));
        fresh.then(|| holders + self.waiting.saturating_sub(1))
    }
}

/// How a seat stands, by its main key, its mark of readers and whether any holder's record stands.
pub(crate) fn door(main: Option<&Seen>, share: Option<&Seen>, records: bool) -> Door {
    let Some(main) = main else { return Door::Open };
    match share {
        // The same value under the same lease: written together, and Python did not come between.
        Some(share) if share.value == main.value && share.modified == main.modified => match records {
            true => Door::Shared(main.value.clone(), main.lease, main.modified),
            false => Door::Abandoned(main.modified),
        },
        _ => Door::Shut,
    }
}

impl Door {
    /// Whether a claim of this mode may take the seat.
    pub(crate) fn admits(&self, mode: Mode) -> bool {
        match self {
            Self::Open | Self::Abandoned(_) => true,
            Self::Shared(..) => mode == Mode::Shared,
            Self::Shut => false,
        }
    }
}
