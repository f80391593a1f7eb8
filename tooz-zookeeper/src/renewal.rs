//! One beat: a committed write, and a look at what this session still has: at each beat, or now and then if that is much.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use tooz_core::backend::{Enrolment, Renewal};
use tooz_core::{Claim, Result};
use zookeeper_client::Error as Fault;

use crate::error::{failed, unread};
use crate::keys::Keys;
use crate::sequence::Contest;
use crate::session::Session;

/// With more nodes than that, they are not listed at each beat.
const MANY: usize = 500;
/// But at one in so many: once in a time to live.
const ONE_IN: usize = 3;

impl Session {
    /// Whether this beat is to tell what stands no more. Of what goes, its watch tells at once: the list is for what
    /// was missed or has no [watch](crate::watches), and for what nobody remembers.
    fn lists_now(&self) -> bool {
        let unlisted = self.unlisted.fetch_add(1, Ordering::Relaxed);
        self.had.load(Ordering::Relaxed) <= MANY || unlisted + 1 >= ONE_IN
    }

    /// Proves the session and tells what of it stands no more: one write and one read, sent together.
    pub(crate) async fn renew(&self, claims: &[Claim], memberships: &[Enrolment]) -> Result<Renewal> {
        let client = self.client()?;
        let sent = self.now();
        #[cfg(feature = "testing")]
        if self.credulous {
            let look = client.check_stat(&self.keys.session(self.owner)).await;
            look.map_err(|fault| unread("look for the session", fault))?;
            self.believe(sent);
            return Ok(Renewal { proof: self.proof(), ousted: vec![], stray: vec![], expelled: vec![] });
        }
        let lists = self.lists_now();
        let (beat, list) = (self.beat(&client), lists.then(|| client.list_ephemerals("/")));
        match beat.await {
            Ok(stat) => {
                self.committed(sent);
                self.set_clock(&stat);
            }
            Err(Fault::NoNode) => self.register_again().await?,
            Err(fault) => return Err(failed("beat", fault)),
        }
        let Some(list) = list else {
            return Ok(Renewal { proof: self.proof(), ousted: vec![], stray: vec![], expelled: vec![] });
        };
        let nodes = list.await.map_err(|fault| unread("list what the session has", fault))?;
        self.had.store(nodes.len(), Ordering::Relaxed);
        self.unlisted.store(0, Ordering::Relaxed);
        let (ousted, stray) = standing(&self.keys, &nodes, claims, &self.member);
        let nodes: HashSet<&str> = nodes.iter().map(String::as_str).collect();
        let stands = |enrolment: &&Enrolment| {
            !nodes.contains(self.keys.member(&enrolment.group, &enrolment.member).as_str())
        };
        let expelled = memberships.iter().filter(stands).map(|enrolment| enrolment.group.clone()).collect();
        Ok(Renewal { proof: self.proof(), ousted, stray, expelled })
    }
}

/// Which of these claims have no node any more, and which claims have one that are not among them.
fn standing(
    keys: &Keys,
    nodes: &[String],
    claims: &[Claim],
    member: &tooz_core::Name,
) -> (Vec<tooz_core::ClaimId>, Vec<Claim>) {
    let asked: HashSet<_> = claims.iter().map(|claim| claim.id).collect();
    let mut there = HashSet::new();
    let mut stray = Vec::new();
    for path in nodes {
        let Some((seat, node)) = keys.contender(path) else { continue };
        let contest = Contest::of(vec![node.to_owned()]);
        let Some((id, mode)) = contest.entries().first().and_then(|entry| Some((entry.claim?, entry.mode)))
        else {
            continue;
        };
        if there.insert(id) && !asked.contains(&id) {
            stray.push(Claim { id, seat, mode, member: member.clone(), value: bytes::Bytes::new() });
        }
    }
    let ousted = claims.iter().map(|claim| claim.id).filter(|id| !there.contains(id)).collect();
    (ousted, stray)
}

#[cfg(test)]
mod tests {
    use tooz_core::{ClaimId, Mode, Name, Seat};

    use super::*;
    use crate::sequence::prefix;

    /// Interleaving 9: what of ours nobody remembers is told, to be withdrawn.
    #[test]
    fn what_stands_is_told_from_what_went_and_from_what_nobody_asked_about() {
        let keys = Keys::new("tooz", false);
        let member = Name::new("w").unwrap();
        let claim = |text: &str, mode| Claim {
            id: ClaimId::random(),
            seat: Seat::Lock(Name::new(text).unwrap()),
            mode,
            member: member.clone(),
            value: bytes::Bytes::new(),
        };
        let (held, gone, stray) =
            (claim("a/b", Mode::Exclusive), claim("c", Mode::Exclusive), claim("d", Mode::Shared));
        let node =
            |claim: &Claim| format!("{}/{}0000000007", keys.seat(&claim.seat), prefix(claim.id, claim.mode));
        let nodes = [node(&held), node(&stray), keys.session(7), "/tooz/blue/w".to_owned()];
        let facts = standing(&keys, &nodes, &[held, gone.clone()], &member);
        assert_eq!(facts, (vec![gone.id], vec![stray]));
    }
}
