//! Claims that stand under the session's lease and that nobody here speaks of.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use tooz_core::{Claim, ClaimId, Mode, Seat};

use crate::session::Session;
use crate::under::Under;

/// Those that the last beat saw and did not name; `None` where the lease may not be looked at.
#[derive(Debug)]
pub(crate) struct Unnamed(Mutex<Option<HashSet<ClaimId>>>);

impl Default for Unnamed {
    fn default() -> Self {
        Self(Mutex::new(Some(HashSet::new())))
    }
}

impl Unnamed {
    pub(crate) fn may_look(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    pub(crate) fn look_no_more(&self) {
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

/// The claims of this session that two beats in a row saw and did not name. A look that failed is made up for by the
/// next beat's.
pub(crate) fn strays(session: &Session, named: &[Claim], under: &Under) -> Vec<Claim> {
    let Some(standing) = under.claims() else { return Vec::new() };
    let named: HashSet<ClaimId> = named.iter().map(|claim| claim.id).collect();
    let unnamed = standing.filter(|(_, id)| !named.contains(id));
    let claim = |(seat, id)| {
        let (member, value) = (session.member.clone(), bytes::Bytes::new());
        // How it holds is found out by whoever withdraws it.
        Claim { id, seat, mode: Mode::Exclusive, member, value }
    };
    session.unnamed.again(unnamed).into_iter().map(claim).collect()
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
