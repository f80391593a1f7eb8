//! A whole seat at one revision: who holds, who waits.

use tooz_core::backend::{Contender, Holder, Mark, Queue};
use tooz_core::{ClaimId, Mode, Result};

use crate::claim::token;
use crate::keys::{self, SeatKeys};
use crate::place::is_place;
use crate::record::Record;
use crate::session::Session;
use crate::txn::{self, Seen, get, oldest_around, revision};

/// A whole seat at one revision.
pub(crate) struct Scene {
    pub(crate) revision: i64,
    pub(crate) main: Option<Seen>,
    /// Those of each kind oldest first.
    keys: Vec<Seen>,
}

/// Reads a whole seat.
pub(crate) async fn survey(session: &Session, keys: &SeatKeys) -> Result<Scene> {
    let looks = |most| {
        let mut looks = vec![get(keys.main.as_str())];
        looks.extend(oldest_around(&keys.prefix, &keys.queue(), most));
        looks
    };
    let answer = session.line.look(looks).await?;
    session.note(revision(&answer));
    let answers = answer.op_responses();
    Ok(Scene {
        revision: revision(&answer),
        main: txn::first(answers.first()),
        keys: answers.iter().skip(1).flat_map(|answer| txn::all(Some(answer))).collect(),
    })
}

impl Scene {
    /// Those who hold, oldest grant first.
    pub(crate) fn holders<'a>(
        &'a self,
        keys: &'a SeatKeys,
    ) -> impl Iterator<Item = (ClaimId, &'a Seen, Record)> {
        let main = self.main.as_ref().map(|main| main.value.as_ref());
        let prefix = keys.holders();
        self.keys.iter().filter_map(move |seen| {
            let id = keys::claim_of(&seen.key, &prefix)?;
            let record = Record::decode(&seen.value)?;
            record.holds(id, main).then_some((id, seen, record))
        })
    }

    /// Whoever holds without a record of ours, named by the value it left, or by when it left it where
    /// that is no id.
    pub(crate) fn foreign(&self, keys: &SeatKeys) -> Option<ClaimId> {
        let main = self.main.as_ref()?;
        if self.holders(keys).next().is_some() || self.is_shared() {
            return None;
        }
        let id = main.value.as_ref().try_into().ok();
        Some(ClaimId::from_bytes(id.unwrap_or_else(|| {
            let when = i128::from(main.created) << 64 | i128::from(main.modified);
            when.to_be_bytes()
        })))
    }

    /// Whether readers hold, or held.
    pub(crate) fn is_shared(&self) -> bool {
        let share = self.keys.iter().find(|seen| seen.key.ends_with(b"/share"));
        matches!((&self.main, share), (Some(main), Some(share)) if share.modified == main.modified)
    }

    /// The oldest place in the queue.
    pub(crate) fn head(&self, keys: &SeatKeys) -> Option<&Seen> {
        let queue = keys.queue();
        self.keys.iter().find(|seen| is_place(seen, &queue))
    }

    pub(crate) fn queue(&self, keys: &SeatKeys) -> Queue {
        let mut holders: Vec<Holder> = self
            .holders(keys)
            .map(|(id, seen, record)| Holder {
                claim: Some(id),
                member: record.member(),
                mode: record.mode(),
                token: Some(token(seen.created)),
                value: Some(record.value()),
                age: record.age(),
            })
            .collect();
        if holders.is_empty() && self.main.is_some() && !self.is_shared() {
            let claim = self.foreign(keys);
            let mode = Mode::Exclusive;
            holders.push(Holder { claim, member: None, mode, token: None, value: None, age: None });
        }
        let queue = keys.queue();
        let waiting = self.keys.iter().filter_map(|seen| {
            let id = keys::claim_of(&seen.key, &queue).filter(|_| seen.lease != 0)?;
            let record = Record::decode(&seen.value)?;
            Some(Contender { claim: Some(id), member: record.member(), mode: record.mode() })
        });
        let mark = Mark(u64::try_from(self.revision).unwrap_or(0));
        Queue { mark, holders, waiting: waiting.collect(), revisit: None }
    }
}
