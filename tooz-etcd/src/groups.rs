//! Steps and waits of groups.

use std::sync::Arc;

use async_trait::async_trait;
use etcd_client::{Compare, GetOptions, Txn, TxnOp};
use tooz_core::backend::{Created, Deleted, Enrolment, GroupSteps, Joined, Left, Mark, RosterFact, Updated};
use tooz_core::{Error, ErrorKind, Name, Result};

use crate::claim::ATTEMPTS;
use crate::error::busy;
use crate::keys::{self, GROUPS, GroupKeys};
use crate::roster::{self, session_of};
use crate::session::Session;
use crate::txn::{
    self, absent, delete, get, leased, none_below, none_between, present, put, revision, unchanged,
};
use crate::under::Under;
use crate::watch::Subject;

/// Groups of one session.
pub(crate) struct Groups {
    session: Arc<Session>,
}

impl Groups {
    pub(crate) fn new(session: Arc<Session>) -> Self {
        Self { session }
    }

    async fn txn(&self, txn: Txn) -> Result<etcd_client::TxnResponse> {
        let answer = self.session.line.txn(txn).await?;
        self.session.note(revision(&answer));
        Ok(answer)
    }

    /// The same, where a lease that is gone is the session's own, or that of its memberships alone.
    async fn leased_txn(&self, txn: Txn) -> Result<etcd_client::TxnResponse> {
        let session = &self.session;
        let mut answer = session.line.txn(txn.clone()).await;
        if session.enrolled.is_some() && is_gone(&answer) {
            // Ends the session if its other lease is gone too; otherwise there is this one again.
            session.renew().await?;
            answer = session.line.txn(txn).await;
            if is_gone(&answer) {
                return Err(Error::new(ErrorKind::Unavailable, "the lease of the memberships ended again"));
            }
        }
        let answer = session.heed(answer)?;
        session.note(revision(&answer));
        Ok(answer)
    }

    /// The member's key stands under this session.
    fn mine(&self, member: &str) -> Compare {
        leased(member, self.session.membership_lease())
    }

    /// Those of the memberships that stand no more.
    pub(crate) async fn no_more(&self, memberships: &[Enrolment], under: &Under) -> Result<Vec<Name>> {
        let key = |enrolment: &Enrolment| GroupKeys::of(&enrolment.group).member(&enrolment.member);
        let unsure: Vec<_> = memberships.iter().filter(|enrolment| !under.has(&key(enrolment))).collect();
        let mut expelled = Vec::new();
        for chunk in unsure.chunks(100) {
            let gets: Vec<TxnOp> = chunk.iter().map(|enrolment| get(key(enrolment))).collect();
            let answer = self.txn(Txn::new().and_then(gets)).await?;
            let answers = answer.op_responses();
            for (at, enrolment) in chunk.iter().enumerate() {
                let member = txn::first(answers.get(at));
                if member.is_none_or(|member| member.lease != self.session.membership_lease()) {
                    expelled.push(enrolment.group.clone());
                }
            }
        }
        Ok(expelled)
    }
}

#[async_trait]
impl GroupSteps for Groups {
    async fn create(&self, group: &Name) -> Result<Created> {
        self.session.check()?;
        let key = GroupKeys::of(group).group;
        let then = [TxnOp::put(key.as_str(), key.as_str(), None)];
        let answer = self.txn(Txn::new().when([absent(key.as_str())]).and_then(then)).await?;
        Ok(if answer.succeeded() { Created::New } else { Created::Existed })
    }

    async fn delete(&self, group: &Name) -> Result<Deleted> {
        self.session.check()?;
        let keys = GroupKeys::of(group);
        let mut first = keys.group.clone().into_bytes();
        first.push(0);
        let empty = [
            present(keys.group.as_str()),
            none_between(first, keys::after_prefix(&keys.group)),
            none_below(&keys.odd),
        ];
        let txn = Txn::new()
            .when(empty)
            .and_then([delete(keys.group.as_str())])
            .or_else([get(keys.group.as_str())]);
        let answer = self.txn(txn).await?;
        Ok(match (answer.succeeded(), txn::first(answer.op_responses().first())) {
            (true, _) => Deleted::Gone,
            (false, Some(_)) => Deleted::NotEmpty,
            (false, None) => Deleted::Missing,
        })
    }

    async fn list(&self) -> Result<Vec<Name>> {
        let odd = keys::odd_groups();
        let below = |prefix: &str| {
            let options = GetOptions::new().with_prefix().with_keys_only();
            TxnOp::get(prefix, Some(options))
        };
        let answer = self.txn(Txn::new().and_then([below(GROUPS), below(&odd)])).await?;
        let seen = answer.op_responses().into_iter().flat_map(|response| txn::all(Some(&response)));
        Ok(seen.filter_map(|seen| keys::group_of(&seen.key)).collect())
    }

    async fn join(&self, enrolment: &Enrolment) -> Result<Joined> {
        self.session.check()?;
        let keys = GroupKeys::of(&enrolment.group);
        let (member, incarnation) = (keys.member(&enrolment.member), keys.incarnation(&enrolment.member));
        let lease = self.session.membership_lease();
        let enter = || {
            vec![
                put(member.as_str(), enrolment.capabilities.to_vec(), lease),
                put(incarnation.as_str(), enrolment.session.to_string(), lease),
            ]
        };
        let look = vec![get(keys.group.as_str()), get(member.as_str()), get(incarnation.as_str())];
        let first = Txn::new()
            .when([present(keys.group.as_str()), absent(member.as_str())])
            .and_then(enter())
            .or_else(look);
        for _ in 0..ATTEMPTS {
            let answer = self.leased_txn(first.clone()).await?;
            if answer.succeeded() {
                return Ok(Joined::Done);
            }
            let answers = answer.op_responses();
            if txn::first(answers.first()).is_none() {
                return Ok(Joined::NoGroup);
            }
            let Some(known) = txn::first(answers.get(1)) else { continue };
            if known.lease == lease {
                return Ok(Joined::Done);
            }
            let session = txn::first(answers.get(2)).filter(|seen| seen.lease == known.lease);
            let session = session.as_ref().and_then(session_of);
            if session.is_none() || session != enrolment.replaces {
                return Ok(Joined::Taken);
            }
            let same = [present(keys.group.as_str()), unchanged(member.as_str(), known.modified)];
            if self.leased_txn(Txn::new().when(same).and_then(enter())).await?.succeeded() {
                return Ok(Joined::Done);
            }
        }
        Err(busy())
    }

    async fn leave(&self, enrolment: &Enrolment) -> Result<Left> {
        let keys = GroupKeys::of(&enrolment.group);
        let member = keys.member(&enrolment.member);
        let then = [delete(member.as_str()), delete(keys.incarnation(&enrolment.member))];
        let answer = self.txn(Txn::new().when([self.mine(&member)]).and_then(then)).await?;
        let there = answer.succeeded() && txn::deleted(answer.op_responses().first()) > 0;
        Ok(if there { Left::Done } else { Left::Absent })
    }

    async fn update(&self, enrolment: &Enrolment) -> Result<Updated> {
        self.session.check()?;
        let member = GroupKeys::of(&enrolment.group).member(&enrolment.member);
        let lease = self.session.membership_lease();
        let then = [put(member.as_str(), enrolment.capabilities.to_vec(), lease)];
        let when = [present(member.as_str()), self.mine(&member)];
        let answer = self.leased_txn(Txn::new().when(when).and_then(then)).await?;
        Ok(if answer.succeeded() { Updated::Done } else { Updated::Absent })
    }

    async fn members(&self, group: &Name) -> Result<Option<RosterFact>> {
        roster::read(&self.session, group).await
    }

    async fn stirred(&self, group: &Name, mark: Option<Mark>) {
        if self.session.check().is_err() {
            return;
        }
        let keys = GroupKeys::of(group);
        let mark = mark.map(|mark| i64::try_from(mark.0).unwrap_or(i64::MAX));
        let Ok(view) = self.session.ear.view(subject(&keys), 0).await else { return };
        view.until(|state| {
            let news = match mark {
                Some(mark) => state.horizon() > mark,
                None => state.get(&keys.group).is_some(),
            };
            (news || state.is_dead()).then_some(())
        })
        .await;
    }

    async fn expelled(&self, enrolment: &Enrolment) {
        let keys = GroupKeys::of(&enrolment.group);
        let member = keys.member(&enrolment.member);
        let lease = self.session.membership_lease();
        let (mut revision, mut denied) = (0, 0);
        loop {
            let mut renewals = self.session.renewals();
            let view = match self.session.check() {
                Ok(()) => self.session.ear.view(subject(&keys), revision).await.ok(),
                Err(_) => None,
            };
            let Some(view) = view else {
                self.session.next_beat(&mut renewals).await;
                continue;
            };
            let ended = view.until(|state| {
                if state.is_dead() {
                    return Some(false);
                }
                let stands = state.get(&member).is_some_and(|seen| seen.lease == lease);
                (!stands && state.horizon() > denied).then_some(true)
            });
            if !ended.await {
                continue;
            }
            // When the session has ended, that is the cause, and not somebody who replaced the member.
            if self.session.is_gone().await {
                return std::future::pending().await;
            }
            // Of two watches one may lag behind the other, and not all members may have been read: the store itself has
            // the last word, until there is news that came after the question.
            let (asked, under) = (self.session.revision(), Under::default()); // only a look of its own tells
            match self.no_more(std::slice::from_ref(enrolment), &under).await {
                Ok(groups) if !groups.is_empty() => return,
                Ok(_) => denied = asked,
                // Whoever may not look is refused at once, however often it asks.
                Err(_) => self.session.next_beat(&mut renewals).await,
            }
            revision = self.session.revision();
        }
    }
}

fn is_gone<T>(answer: &Result<T>) -> bool {
    answer.as_ref().err().map(Error::kind) == Some(ErrorKind::SessionLost)
}

/// The keys of a group, as the ear watches them.
fn subject(keys: &GroupKeys) -> Subject {
    Subject { keys: Vec::new(), prefixes: vec![keys.group.clone(), keys.odd.clone()], queue: None }
}
