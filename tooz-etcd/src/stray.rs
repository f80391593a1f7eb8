//! Claims that stand under the session's lease and that nobody here speaks of.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use etcd_client::LeaseTimeToLiveOptions;
use tokio::time::timeout;
use tooz_core::{Claim, ClaimId, ErrorKind, Mode, Result, Seat};

use crate::keys;
use crate::session::Session;

/// A look at the lease may take this part of its time to live: it must not hold up the beat it comes with.
const PATIENCE: u32 = 12;

/// Those that the last beat saw and did not name; `None` where the lease may not be looked at.
#[derive(Debug)]
pub(crate) struct Unnamed(Mutex<Option<HashSet<ClaimId>>>);

impl Default for Unnamed {
    fn default() -> Self {
        Self(Mutex::new(Some(HashSet::new())))
    }
}

impl Unnamed {
    fn may_look(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn look_no_more(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Takes those that a beat saw and did not name, and tells which of them the one before did not name either.
    ///
    /// One beat alone is no proof: it may have been sent before the answer to a claim came, or have seen a claim that
    /// was being given back.
    fn again(&self, seen: impl Iterator<Item = (Seat, ClaimId)>) -> Vec<(Seat, ClaimId)> {
        let seen: Vec<_> = seen.collect();
        let now = seen.iter().map(|(_, id)| *id).collect();
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = last.replace(now).unwrap_or_default();
        let mut told = HashSet::new();
        seen.into_iter().filter(|(_, id)| before.contains(id) && told.insert(*id)).collect()
    }
}

/// The claims of this session that two beats in a row saw and did not name. A look that fails is made up for by the
/// next beat's.
pub(crate) async fn strays(session: &Session, named: &[Claim]) -> Vec<Claim> {
    if !session.unnamed.may_look() {
        return Vec::new();
    }
    let standing = match timeout(session.lease.ttl / PATIENCE, under_lease(session)).await {
        Ok(Ok(standing)) => standing,
        Ok(Err(error)) if error.kind() == ErrorKind::Denied => {
            // Somebody put a key of theirs under our lease.
            session.unnamed.look_no_more();
            return Vec::new();
        }
        _ => return Vec::new(),
    };
    let named: HashSet<ClaimId> = named.iter().map(|claim| claim.id).collect();
    let unnamed = standing.into_iter().filter(|(_, id)| !named.contains(id));
    let claim = |(seat, id)| {
        let (member, value) = (session.member.clone(), bytes::Bytes::new());
        // How it holds is found out by whoever withdraws it.
        Claim { id, seat, mode: Mode::Exclusive, member, value }
    };
    session.unnamed.again(unnamed).into_iter().map(claim).collect()
}

/// Whatever holds or waits under the session's lease.
async fn under_lease(session: &Session) -> Result<Vec<(Seat, ClaimId)>> {
    let lease = session.lease.id;
    let options = || Some(LeaseTimeToLiveOptions::new().with_keys());
    let asked =
        session.line.call(|mut client| async move { client.lease_time_to_live(lease, options()).await });
    let answer = asked.await?;
    Ok(answer.keys().iter().filter_map(|key| keys::holding(key).or_else(|| keys::waiting(key))).collect())
}

#[cfg(test)]
mod tests {
    use tooz_core::Name;

    use super::*;

    #[test]
    fn only_what_two_beats_in_a_row_did_not_name_is_a_stray_and_it_is_told_once_each() {
        let unnamed = Unnamed::default();
        let seat = || Seat::Lock(Name::new("a").unwrap());
        let (one, other) = (ClaimId::random(), ClaimId::random());
        let beat = |ids: &[ClaimId]| unnamed.again(ids.iter().map(|id| (seat(), *id)));
        assert_eq!(beat(&[one]), []);
        assert_eq!(beat(&[one, other, one]), [(seat(), one)]);
        assert_eq!(beat(&[other]), [(seat(), other)]);
        assert_eq!(beat(&[]), []);
        assert_eq!(beat(&[other]), [], "it was away in between");
        unnamed.look_no_more();
        assert!(!unnamed.may_look());
    }
}
