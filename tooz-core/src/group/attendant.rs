//! The task behind a membership: joins, brings it back when it is lost, leaves.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::{Enrolled, MembershipState, no_such_group};
use crate::backend::{Enrolment, Joined, Updated};
use crate::capability::Capabilities;
use crate::clock::Moment;
use crate::engine::Lane;
use crate::error::{Effect, Error, ErrorKind, Result};
use crate::id::SessionId;
use crate::lost::Cause;
use crate::retry;
use crate::session::{Session, groups};
use crate::shared::Core;

/// So many sessions are remembered whose joins went unanswered.
const DOUBTS: usize = 8;

/// What the user wants of the task that attends the membership. Its end of the line closing means: leave.
pub(super) enum Wish {
    Update(Capabilities, oneshot::Sender<Result<()>>),
    Leave(oneshot::Sender<Result<()>>),
    Detach,
}

/// The one task that owns a membership's state.
pub(super) struct Attendant {
    core: Arc<Core>,
    enrolled: Arc<Enrolled>,
    capabilities: Capabilities,
    inbox: mpsc::UnboundedReceiver<Wish>,
    /// Sessions under which it may stand, the newest last: what a new session may replace. More than one while a join
    /// is in doubt.
    stood: Vec<SessionId>,
    /// Held once the user has let go without leaving: a line that never closes.
    own_line: Option<mpsc::UnboundedSender<Wish>>,
    /// When a join last went unanswered: it may land after a leave, for as long as an attempt takes.
    in_doubt: Option<Moment>,
    /// What stands there, if anything does, may have other capabilities than are wanted now.
    outdated: bool,
}

/// Why attending ends.
enum Done {
    /// The store has nothing of it any more.
    Gone,
    /// It is to be given up; tell whoever asked.
    Leave(Option<oneshot::Sender<Result<()>>>),
    /// The coordinator was dropped: left to its time to live.
    Orphaned,
}

impl Attendant {
    pub(super) fn new(
        core: &Arc<Core>,
        enrolled: &Arc<Enrolled>,
        capabilities: Capabilities,
        inbox: mpsc::UnboundedReceiver<Wish>,
    ) -> Self {
        Self {
            core: Arc::clone(core),
            enrolled: Arc::clone(enrolled),
            capabilities,
            inbox,
            stood: core.ledger().take_left_behind(enrolled.group()),
            own_line: None,
            in_doubt: None,
            outdated: false,
        }
    }

    pub(super) async fn run(mut self, answer: oneshot::Sender<Result<()>>) {
        let attending = self.core.attending();
        let done = match self.first_join().await {
            // A dropped caller has closed the line of wishes too, so the next look at it leaves.
            Ok(()) => {
                let _ = answer.send(Ok(()));
                self.attend().await
            }
            Err(failure) => {
                let _ = answer.send(Err(failure));
                if self.in_doubt.is_some() { Done::Leave(None) } else { Done::Gone }
            }
        };
        if let Done::Leave(answer) = done {
            let left = self.leave(self.core.now() + self.core.settings().timeout).await;
            let goes_on = left.is_err();
            if let Some(answer) = answer {
                // Whoever asked may have given up waiting.
                let _ = answer.send(left);
            }
            if goes_on {
                self.leave_while_its_session_lives().await;
            }
        }
        // Off the books first: then nobody who waits for everyone to leave finds it there.
        drop(self);
        drop(attending);
    }

    async fn first_join(&mut self) -> Result<()> {
        let until = self.core.now() + self.core.settings().timeout;
        let mut tries = 0;
        loop {
            let session = self.core.open_session(Some(until)).await?;
            let failure = match self.join_under(&session).await {
                Ok(Joined::Done) => return Ok(()),
                Ok(Joined::NoGroup) => return Err(no_such_group()),
                Ok(Joined::Taken) => {
                    let member = &self.core.settings().member;
                    let text = format!("member \"{member}\" is in it already, from another live session");
                    return Err(already_member(&text));
                }
                Err(failure) => failure,
            };
            tries += 1;
            let pause = retry::back_off(tries, self.core.dice());
            if !failure.is_transient() || self.core.now() + pause >= until {
                return Err(if self.in_doubt.is_some() { failure.effect_unknown() } else { failure });
            }
            self.core.sleep(pause).await;
        }
    }

    /// Stays with the membership until it is over, bringing it back whenever it is lost.
    async fn attend(&mut self) -> Done {
        loop {
            if self.core.ending().is_some() {
                return self.ended();
            }
            // Without a session it stands nowhere, and wishes are heard while there is none.
            if let Some(session) = self.core.current_session()
                && let Some(standing) = self.enrolled.standing_under(session.epoch)
            {
                self.enrolled.set_state(MembershipState::Joined);
                if let Some(done) = self.stand(&session, &standing).await {
                    return done;
                }
            }
            self.enrolled.set_standing(None);
            self.enrolled.set_state(MembershipState::Rejoining);
            if let Some(done) = self.rejoin().await {
                return done;
            }
        }
    }

    /// Waits while it stands; `None` when it stands no more.
    async fn stand(&mut self, session: &Arc<Session>, standing: &Enrolment) -> Option<Done> {
        loop {
            let standing = self.enrolled.standing_under(session.epoch).unwrap_or_else(|| standing.clone());
            let expelled = async {
                match groups(&*session.backend) {
                    Ok(groups) => groups.expelled(&standing).await,
                    Err(_) => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                cause = self.core.ended() => return Some(Self::done_after(cause)),
                wish = self.inbox.recv() => match wish {
                    None => return Some(Done::Leave(None)),
                    Some(Wish::Leave(answer)) => return Some(Done::Leave(Some(answer))),
                    Some(Wish::Detach) => self.keep_for_good(),
                    Some(Wish::Update(capabilities, answer)) => {
                        let updated = self.update(session, capabilities).await;
                        let gone = updated.as_ref().is_err_and(|e| e.kind() == ErrorKind::NotMember);
                        // Whoever asked may have given up waiting.
                        let _ = answer.send(updated);
                        if gone {
                            return None;
                        }
                    }
                },
                () = self.core.session_over(session.epoch) => return None,
                () = self.enrolled.nudged() => return None,
                () = expelled => return None,
            }
        }
    }

    /// Joins again, trying until it succeeds or is refused for good.
    async fn rejoin(&mut self) -> Option<Done> {
        let mut tries = 0;
        loop {
            let core = Arc::clone(&self.core);
            let session = tokio::select! {
                biased;
                session = core.open_session(None) => session,
                wish = self.inbox.recv() => match self.wish_while_away(wish) {
                    Some(done) => return Some(done),
                    None => continue,
                },
            };
            let Ok(session) = session else { return Some(self.ended()) };
            match self.join_under(&session).await {
                Ok(Joined::Done) => {
                    tracing::info!(group = %self.enrolled.group(), session = %session.id, "joined again");
                    return None;
                }
                Ok(refusal @ (Joined::NoGroup | Joined::Taken)) => {
                    tracing::warn!(group = %self.enrolled.group(), ?refusal, "cannot join again");
                    return Some(Done::Gone);
                }
                Err(failure) => {
                    tries += 1;
                    tracing::debug!(tries, %failure, "cannot join again yet");
                }
            }
            let pause = self.core.sleep(retry::back_off(tries, self.core.dice()));
            tokio::select! {
                biased;
                () = pause => {}
                cause = core.ended() => return Some(Self::done_after(cause)),
                wish = self.inbox.recv() => if let Some(done) = self.wish_while_away(wish) {
                    return Some(done);
                },
            }
        }
    }

    fn wish_while_away(&mut self, wish: Option<Wish>) -> Option<Done> {
        match wish {
            None => Some(Done::Leave(None)),
            Some(Wish::Leave(answer)) => Some(Done::Leave(Some(answer))),
            Some(Wish::Detach) => {
                self.keep_for_good();
                None
            }
            Some(Wish::Update(capabilities, answer)) => {
                // It takes force with the next join, which leaves alone what it finds there of this session's.
                self.capabilities = capabilities;
                self.outdated = true;
                let _ = answer.send(Ok(()));
                None
            }
        }
    }

    /// From now on only the coordinator's end ends it.
    fn keep_for_good(&mut self) {
        let (line, inbox) = mpsc::unbounded_channel();
        self.inbox = inbox;
        self.own_line = Some(line);
    }

    async fn join_under(&mut self, session: &Arc<Session>) -> Result<Joined> {
        let joined = self.enter(session).await?;
        if matches!(joined, Joined::Done) {
            self.stood = vec![session.id];
            let enrolment = self.enrolment(session.id);
            if self.outdated {
                let updated = self.bring_up_to_date(session, &enrolment).await;
                updated.inspect_err(|failure| session.heed(failure))?;
            }
            self.enrolled.set_standing(Some((session.epoch, enrolment)));
            self.enrolled.set_state(MembershipState::Joined);
        }
        Ok(joined)
    }

    /// Makes the session a member in the place of whichever of ours stands there.
    async fn enter(&mut self, session: &Arc<Session>) -> Result<Joined> {
        for replaces in self.others(session.id) {
            let enrolment = Enrolment { replaces, ..self.enrolment(session.id) };
            let backend = Arc::clone(session);
            let step = Box::pin(async move { groups(&*backend.backend)?.join(&enrolment).await });
            let answer = self.core.attempt(Lane::Engine, "join", step).await;
            match answer.map_err(|failure| self.core.meant(session, failure)) {
                // By another of ours, perhaps.
                Ok(Joined::Taken) => {}
                Ok(Joined::Done) => {
                    self.doubt(session.id);
                    return Ok(Joined::Done);
                }
                Ok(Joined::NoGroup) => return Ok(Joined::NoGroup),
                Err(failure) => {
                    session.heed(&failure);
                    if failure.effect() == Effect::Unknown {
                        self.in_doubt = Some(self.core.now());
                        self.doubt(session.id);
                    }
                    return Err(failure);
                }
            }
        }
        Ok(Joined::Taken)
    }

    /// Replaces the capabilities that an earlier join may have brought there.
    async fn bring_up_to_date(&mut self, session: &Arc<Session>, enrolment: &Enrolment) -> Result<()> {
        let (sent, backend) = (enrolment.clone(), Arc::clone(session));
        let step = Box::pin(async move { groups(&*backend.backend)?.update(&sent).await });
        let answer = self.core.attempt(Lane::Engine, "update", step).await;
        match answer.map_err(|failure| self.core.meant(session, failure))? {
            Updated::Done => {
                self.outdated = false;
                Ok(())
            }
            Updated::Absent => Err(Error::new(ErrorKind::Unavailable, "what has just joined is gone again")),
        }
    }

    /// What else it may stand under, the newest first; nearly always that is one session or none.
    fn others(&self, session: SessionId) -> Vec<Option<SessionId>> {
        let mut others: Vec<_> =
            self.stood.iter().rev().filter(|stood| **stood != session).copied().map(Some).collect();
        if others.is_empty() {
            others.push(None);
        }
        others
    }

    /// It may stand under this session too.
    fn doubt(&mut self, session: SessionId) {
        self.stood.retain(|stood| *stood != session);
        if self.stood.len() == DOUBTS {
            self.stood.remove(1); // of the first alone it is known that it stood there
        }
        self.stood.push(session);
    }

    fn enrolment(&self, session: SessionId) -> Enrolment {
        Enrolment {
            group: self.enrolled.group().clone(),
            member: self.core.settings().member.clone(),
            session,
            replaces: None,
            capabilities: self.capabilities.as_bytes().clone(),
        }
    }

    async fn update(&mut self, session: &Arc<Session>, capabilities: Capabilities) -> Result<()> {
        let Some(standing) = self.enrolled.standing_under(session.epoch) else {
            return Err(Error::new(ErrorKind::NotMember, "the membership was lost; it is coming back"));
        };
        let before = std::mem::replace(&mut self.capabilities, capabilities);
        let enrolment = self.enrolment(standing.session);
        self.enrolled.set_standing(Some((session.epoch, enrolment.clone())));
        let updated = self.core.step(Lane::Engine, "update", |session| {
            let enrolment = enrolment.clone();
            Box::pin(async move { groups(&*session.backend)?.update(&enrolment).await })
        });
        match updated.await {
            Ok(Updated::Done) => Ok(()),
            Ok(Updated::Absent) => {
                let text = "the membership was lost; it is coming back with the new capabilities";
                Err(Error::new(ErrorKind::NotMember, text))
            }
            Err(failure) => {
                if failure.effect() == Effect::None {
                    // Nor may a later join bring it.
                    self.capabilities = before;
                    self.enrolled.set_standing(Some((session.epoch, standing)));
                }
                Err(failure)
            }
        }
    }

    /// Leaves, trying until it succeeds or the time is up.
    async fn leave(&mut self, until: Moment) -> Result<()> {
        self.enrolled.set_standing(None);
        let mut tries = 0;
        loop {
            let Some(session) = self.core.any_session(until).await else {
                let text = "the store is out of reach; the membership ends with its time to live";
                return Err(Error::new(ErrorKind::Unavailable, text));
            };
            let failure = match self.leave_once(&session).await {
                Ok(()) => match self.in_doubt.take().map(|since| since + self.core.settings().attempt()) {
                    // The join in doubt may land after this leave: once more, when its time is up.
                    Some(lands) if lands > self.core.now() => {
                        self.core.sleep(lands.since(self.core.now())).await;
                        continue;
                    }
                    _ => {
                        self.stood.clear();
                        return Ok(());
                    }
                },
                Err(failure) => failure,
            };
            tries += 1;
            let pause = retry::back_off(tries, self.core.dice());
            if self.core.now() + pause >= until {
                return Err(failure);
            }
            self.core.sleep(pause).await;
        }
    }

    /// What stands under a session that lives on has no end of its own; under a lost one, its time to live.
    async fn leave_while_its_session_lives(&mut self) {
        let mut tries = 0;
        while let Some(session) = self.core.current_session() {
            if !self.stood.contains(&session.id) {
                return;
            }
            if self.leave_once(&session).await.is_ok() {
                self.stood.clear();
                return;
            }
            tries += 1;
            self.core.sleep(retry::back_off(tries, self.core.dice())).await;
        }
    }

    /// A session ends only what is its own: what may stand under an earlier one first becomes that.
    async fn leave_once(&mut self, session: &Arc<Session>) -> Result<()> {
        if self.stood.iter().any(|stood| *stood != session.id) {
            self.enter(session).await?;
        }
        let (enrolment, told) = (self.enrolment(session.id), Arc::clone(session));
        let step = Box::pin(async move { groups(&*told.backend)?.leave(&enrolment).await });
        let left = self.core.attempt(Lane::Engine, "leave", step).await;
        left.inspect_err(|failure| session.heed(failure)).map(drop)
    }

    fn ended(&self) -> Done {
        Self::done_after(self.core.ending().unwrap_or(Cause::Closed))
    }

    fn done_after(cause: Cause) -> Done {
        match cause {
            Cause::Orphaned => Done::Orphaned,
            _ => Done::Leave(None),
        }
    }
}

impl Drop for Attendant {
    /// Off the books, however it ends.
    fn drop(&mut self) {
        self.enrolled.set_standing(None);
        let group = self.enrolled.group();
        self.core.ledger().leave_behind(group, std::mem::take(&mut self.stood));
        self.core.ledger().resign(&self.enrolled);
        self.enrolled.set_state(MembershipState::Left);
    }
}

pub(super) fn already_member(text: &str) -> Error {
    Error::new(ErrorKind::AlreadyMember, text)
}
