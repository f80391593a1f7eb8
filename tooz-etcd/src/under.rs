//! What stands under a session's leases: one request for each tells it, however many claims and memberships there are.
//!
//! The server answers from the memory of whoever leads, or believes it does. So this spares looks at what is there, and
//! what is missing is looked at; it proves nothing.

use std::collections::HashSet;

use etcd_client::LeaseTimeToLiveOptions;
use tokio::time::timeout;
use tooz_core::{Claim, ClaimId, ErrorKind, Mode, Result, Seat};

use crate::keys::{self, SeatKeys};
use crate::session::Session;

/// A look may take this part of a time to live: it must not hold up the beat it comes with.
const PATIENCE: u32 = 12;

/// The keys under the leases; `None` where they could not be looked at.
#[derive(Debug, Default)]
pub(crate) struct Under {
    keys: Option<HashSet<Vec<u8>>>,
    /// Where more than one record of a holder stands: the main key is that of one of them only.
    crowded: HashSet<Seat>,
}

impl Under {
    /// Looks at the lease of the claims, and at that of the memberships if there are any and it is another.
    pub(crate) async fn look(session: &Session, has_memberships: bool) -> Self {
        if !session.unnamed.may_look() {
            return Self::default();
        }
        let enrolled = session.enrolled.as_ref().filter(|_| has_memberships);
        let looks = async {
            let claims = keys_under(session, session.lease.id);
            let Some(enrolled) = enrolled else { return claims.await };
            let (mut all, memberships) = tokio::try_join!(claims, keys_under(session, enrolled.id))?;
            all.extend(memberships);
            Ok(all)
        };
        match timeout(session.ttl() / PATIENCE, looks).await {
            Ok(Ok(keys)) => Self::of(keys),
            Ok(Err(error)) if error.kind() == ErrorKind::Denied => {
                // Somebody put a key of theirs under our lease.
                session.unnamed.look_no_more();
                Self::default()
            }
            // The next beat looks again.
            _ => Self::default(),
        }
    }

    fn of(keys: Vec<Vec<u8>>) -> Self {
        let (mut seats, mut crowded) = (HashSet::new(), HashSet::new());
        for (seat, _) in keys.iter().filter_map(|key| keys::holding(key)) {
            if !seats.insert(seat.clone()) {
                crowded.insert(seat);
            }
        }
        Self { keys: Some(keys.into_iter().collect()), crowded }
    }

    /// Whether there was a look, and it showed the key.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.keys.as_ref().is_some_and(|keys| keys.contains(key.as_bytes()))
    }

    /// Whether the claim holds or waits for all that is to be seen here. Of readers it is not: they share a lease.
    pub(crate) fn confirms(&self, claim: &Claim) -> bool {
        let keys = SeatKeys::of(&claim.seat);
        claim.mode == Mode::Exclusive
            && if self.has(&keys.holder(claim.id)) {
                self.has(&keys.main) && !self.crowded.contains(&claim.seat)
            } else {
                self.has(&keys.place(claim.id))
            }
    }

    /// Whatever holds or waits; `None` if there was no look.
    pub(crate) fn claims(&self) -> Option<impl Iterator<Item = (Seat, ClaimId)>> {
        let keys = self.keys.as_ref()?;
        Some(keys.iter().filter_map(|key| keys::holding(key).or_else(|| keys::waiting(key))))
    }
}

/// The keys that stand under a lease.
pub(crate) async fn keys_under(session: &Session, lease: i64) -> Result<Vec<Vec<u8>>> {
    let options = || Some(LeaseTimeToLiveOptions::new().with_keys());
    let answer = session
        .line
        .call(|mut client| async move { client.lease_time_to_live(lease, options()).await })
        .await?;
    Ok(answer.keys().to_vec())
}

#[cfg(test)]
mod tests {
    use tooz_core::Name;

    use super::*;

    fn claim(mode: Mode) -> Claim {
        let name = || Name::new("a").unwrap();
        Claim {
            id: ClaimId::random(),
            seat: Seat::Lock(name()),
            mode,
            member: name(),
            value: bytes::Bytes::new(),
        }
    }

    #[test]
    fn what_stands_is_confirmed_and_what_leaves_a_doubt_is_not() {
        let keys = SeatKeys::of(&claim(Mode::Exclusive).seat);
        let under =
            |names: &[&String]| Under::of(names.iter().map(|name| name.as_bytes().to_vec()).collect());
        let (holds, waits) = (claim(Mode::Exclusive), claim(Mode::Exclusive));
        let (record, other) = (keys.holder(holds.id), keys.holder(waits.id));
        let (place, main) = (keys.place(waits.id), keys.main.clone());

        let seen = under(&[&main, &record, &place]);
        assert!(seen.confirms(&holds) && seen.confirms(&waits));
        assert_eq!(seen.claims().unwrap().count(), 2);
        assert!(!seen.confirms(&claim(Mode::Exclusive)));
        assert!(!under(&[&record, &place]).confirms(&holds), "the main key is another's");
        assert!(!under(&[&main, &record, &other]).confirms(&holds), "the main key may be the other's");
        assert!(!under(&[&main]).confirms(&holds), "the main key alone says nothing");

        let reader = claim(Mode::Shared);
        assert!(!under(&[&main, &keys.holder(reader.id), &keys.place(reader.id)]).confirms(&reader));
        let blind = Under::default();
        assert!(!blind.confirms(&holds) && !blind.has(&main) && blind.claims().is_none());
    }
}
