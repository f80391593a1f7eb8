//! One session with a memory store.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;

use super::ear::Ear;
use super::shared::Shared;
use super::state::{Refusal, State, Subject};
use crate::backend::{Backend, Enrolment, GroupSteps, LockSteps, Opening, Profile, Renewal, TopicSteps};
use crate::claim::Claim;
use crate::clock::{Clock, Moment};
use crate::error::{Error, ErrorKind, Result};
use crate::id::SessionId;
use crate::lost::Cause;
use crate::name::Name;

/// One session. Dropped without `close`, what it has stays in the store until its time is up.
#[derive(Debug)]
pub(super) struct MemoryBackend {
    shared: Arc<Shared>,
    pub(super) session: SessionId,
    member: Name,
    clock: Arc<dyn Clock>,
    profile: Profile,
    closed: AtomicBool,
    ear: Ear,
}

impl MemoryBackend {
    pub(super) fn new(shared: Arc<Shared>, opening: &Opening, profile: Profile, ear: Ear) -> Self {
        Self {
            shared,
            session: opening.session,
            member: opening.member.clone(),
            clock: Arc::clone(&opening.clock),
            profile,
            closed: AtomicBool::new(false),
            ear,
        }
    }

    /// Takes a step that the store may refuse.
    pub(super) fn ask<T>(&self, act: impl FnOnce(&mut State, Moment) -> Result<T, Refusal>) -> Result<T> {
        self.tell(act)?.map_err(|refusal| match refusal {
            Refusal::SessionEnded => Error::new(
                refusal.kind(),
                format!("session of \"{}\" has ended in memory://{}", self.member, self.shared.name()),
            ),
            Refusal::Void => refusal.into(),
        })
    }

    /// Takes a step that the store never refuses.
    pub(super) fn tell<T>(&self, act: impl FnOnce(&mut State, Moment) -> T) -> Result<T> {
        if self.shared.is_cut_off(&self.member) {
            return Err(unreachable(&self.shared));
        }
        Ok(self.shared.step(act))
    }

    /// Waits until `look` sees something; `None` when the session ended first.
    pub(super) async fn until<T>(&self, subject: Subject, look: impl Fn(&State) -> Option<T>) -> Option<T> {
        self.shared.until(self.session, &self.member, subject, look).await
    }
}

#[async_trait]
impl Backend for MemoryBackend {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    async fn renew(&self, claims: &[Claim], memberships: &[Enrolment]) -> Result<Renewal> {
        let sent = self.clock.now();
        self.ask(|state, now| state.renew(now, sent, self.session, claims, memberships))
    }

    async fn lost(&self) -> Cause {
        let _: Option<()> = self.until(Subject::Session(self.session), |_| None).await;
        if self.closed.load(Ordering::Acquire) { Cause::Closed } else { Cause::SessionEnded }
    }

    async fn close(&self) -> Result<()> {
        self.tell(|state, now| {
            // Before anybody hears of the end.
            self.closed
                .store(state.is_open(self.session) || self.closed.load(Ordering::Acquire), Ordering::Release);
            state.close(now, self.session);
        })?;
        self.ear.stop();
        Ok(())
    }

    fn locks(&self) -> Option<&dyn LockSteps> {
        Some(self)
    }

    fn groups(&self) -> Option<&dyn GroupSteps> {
        Some(self)
    }

    fn topics(&self) -> Option<&dyn TopicSteps> {
        Some(self)
    }
}

/// What a member that is cut off is told: the step never arrived.
pub(super) fn unreachable(shared: &Shared) -> Error {
    Error::new(ErrorKind::Unavailable, format!("memory://{} does not answer: cut off", shared.name()))
}
