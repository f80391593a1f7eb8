//! Locks and elections.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::{Either, TryFutureExt};
use tooz_core::backend::{
    Amended, Doubt, Eviction, Grant, LockSteps, Mark, Position, Queue, Standing, Turn, Withdrawn,
};
use tooz_core::{Claim, ClaimId, Error, ErrorKind, Result, Seat};
use zookeeper_client::{CreateMode, Error as Fault, MultiWriteError};

use crate::error::{failed, unread};
use crate::furniture::Furniture;
use crate::notices::{Notices, tell};
use crate::sequence::{Contest, Entry};
use crate::session::Session;
use crate::streak::Streaks;
use crate::ticket::Ticket;
use crate::traces::Traces;

/// How many times the longest attempt a void mark stays: whatever was under way has arrived by then.
const VOID_FOR: u32 = 10;

/// The contests of one session.
pub(crate) struct Locks {
    pub(crate) session: Arc<Session>,
    pub(crate) traces: Traces,
    pub(crate) streaks: Streaks,
    pub(crate) furniture: Furniture,
    pub(crate) notices: Notices,
}

impl Locks {
    pub(crate) fn new(session: Arc<Session>) -> Self {
        Self {
            session,
            traces: Traces::default(),
            streaks: Streaks::default(),
            furniture: Furniture::default(),
            notices: Notices::default(),
        }
    }

    /// The claim's node: as remembered, or as found.
    pub(crate) async fn node_of(&self, claim: &Claim) -> Result<Option<String>> {
        if let Some(node) = self.traces.node(claim.id) {
            return Ok(Some(node));
        }
        let contest = self.contenders(&claim.seat).await?;
        Ok(contest.of_claim(claim.id).next().map(|entry| entry.name.clone()))
    }

    /// Who contends for a seat.
    pub(crate) async fn contenders(&self, seat: &Seat) -> Result<Contest> {
        let client = self.session.client()?;
        let directory = self.session.keys.seat(seat);
        match client.list_children(&directory).await {
            Ok(children) => Ok(self.furniture.contest(&directory, children)),
            Err(Fault::NoNode) => Ok(Contest::default()),
            Err(fault) => Err(unread("list a queue", fault)),
        }
    }

    /// Removes every node of a claim, and its value.
    pub(crate) async fn take_out(&self, claim: &Claim) -> Result<Withdrawn> {
        let (session, client) = (&self.session, self.session.client()?);
        let directory = session.keys.seat(&claim.seat);
        let nodes = match self.traces.node(claim.id) {
            Some(node) => vec![node],
            None => {
                let contest = self.contenders(&claim.seat).await?;
                contest.of_claim(claim.id).map(|entry| entry.name.clone()).collect()
            }
        };
        let sent = session.now();
        let delete =
            || nodes.iter().map(|node| client.delete(&format!("{directory}/{node}"), None)).collect();
        let word = self.last_word(claim, &client)?;
        let mut deletions: Vec<_> = if word.is_none() { delete() } else { Vec::new() };
        // On the way: whoever waits behind it looks behind that, also where this call is not polled again.
        self.traces.ring(claim.id);
        let value = self.has_value(claim).then(|| client.delete(&session.keys.value(claim.id), None));
        let mut withdrawn = Withdrawn::Absent;
        if let Some(word) = word {
            match word.await {
                Ok(_) => {
                    session.committed(sent);
                    withdrawn = Withdrawn::Removed;
                }
                // Its node is gone, or the directory is not ours to write to.
                Err(MultiWriteError::OperationFailed { .. }) => {
                    deletions = delete();
                    self.traces.ring(claim.id);
                }
                Err(fault) => return Err(failed("leave the queue", fault.into())),
            }
        }
        for deletion in deletions {
            match deletion.await {
                Ok(()) => withdrawn = Withdrawn::Removed,
                Err(Fault::NoNode) => {}
                Err(fault) => return Err(failed("leave the queue", fault)),
            }
            session.committed(sent);
        }
        if let Some(value) = value {
            match value.await {
                Ok(()) | Err(Fault::NoNode) => {}
                Err(fault) => return Err(failed("remove the value", fault)),
            }
        }
        self.traces.forget(claim.id);
        self.streaks.left(&claim.seat, claim.id);
        Ok(withdrawn)
    }

    /// Whether a value may have been written for the claim: an election's can be amended.
    fn has_value(&self, claim: &Claim) -> bool {
        !claim.value.is_empty() || matches!(claim.seat, Seat::Leader(_))
    }

    async fn give_up(&self, claim: &Claim, doubt: Doubt) -> Result<Withdrawn> {
        if doubt == Doubt::None {
            return self.take_out(claim).await;
        }
        // What one attempt has found is not all there may be.
        self.traces.begin(claim.id);
        self.traces.leave_void(claim.id, self.session.now());
        let client = self.session.client()?;
        let options = CreateMode::Ephemeral.with_acls(self.session.acls);
        match client.create(&self.session.keys.void(claim.id), b"", &options).await {
            Ok(_) | Err(Fault::NodeExists) => {}
            Err(fault) => return Err(failed("make the claim void", fault)),
        }
        self.take_out(claim).await
    }

    /// Removes void marks that no attempt can meet any more. What it cannot remove goes with the session.
    pub(crate) async fn sweep_voids(&self) -> Result<()> {
        let session = &self.session;
        let old = self.traces.old_voids(session.now() - session.timeout * VOID_FOR);
        if old.is_empty() {
            return Ok(());
        }
        let client = session.client()?;
        let deletions: Vec<_> =
            old.iter().map(|claim| client.delete(&session.keys.void(*claim), None)).collect();
        for deletion in deletions {
            match deletion.await {
                Ok(()) | Err(Fault::NoNode) => {}
                Err(fault) => return Err(failed("remove a void mark", fault)),
            }
        }
        Ok(())
    }

    async fn change_value(&self, claim: &Claim) -> Result<Amended> {
        let contest = self.contenders(&claim.seat).await?;
        let Some(own) = contest.holding().iter().find(|entry| entry.claim == Some(claim.id)) else {
            return Ok(Amended::Absent);
        };
        let own = format!("{}/{}", self.session.keys.seat(&claim.seat), own.name);
        // A claim that came without a value has none to write over.
        for is_new in [false, true, false] {
            if let Some(amended) = self.write_value(claim, &own, is_new).await? {
                return Ok(amended);
            }
        }
        Err(Error::new(ErrorKind::Unavailable, "the value's node changes all the time"))
    }

    /// Writes or makes the value while the claim's node stands, so that none is left behind a withdrawal. `None` if it is
    /// not there to be written, or there already.
    async fn write_value(&self, claim: &Claim, own: &str, is_new: bool) -> Result<Option<Amended>> {
        let (session, client) = (&self.session, self.session.client()?);
        let path = session.keys.value(claim.id);
        let options = CreateMode::Ephemeral.with_acls(session.acls);
        let mut writer = client.new_multi_writer();
        let written = writer.add_check_version(own, -1).and_then(|()| match is_new {
            true => writer.add_create(&path, &claim.value, &options),
            false => writer.add_set_data(&path, &claim.value, None),
        });
        written.map_err(|fault| failed("write the value", fault))?;
        match writer.commit().await {
            Ok(_) => Ok(Some(Amended::Done)),
            Err(MultiWriteError::OperationFailed { index: 0, source: Fault::NoNode }) => {
                Ok(Some(Amended::Absent))
            }
            Err(MultiWriteError::OperationFailed { source: Fault::NoNode | Fault::NodeExists, .. }) => {
                Ok(None)
            }
            Err(fault) => Err(failed("write the value", fault.into())),
        }
    }

    /// Deals with the holders, or those named. Who turns out to be furniture is left alone; then there may be others.
    async fn oust(&self, seat: &Seat, how: Eviction, only: &[ClaimId]) -> Result<Vec<ClaimId>> {
        let mut dealt_with = Vec::new();
        let mut has_furniture = true;
        while has_furniture {
            has_furniture = false;
            for holder in self.contenders(seat).await?.holding() {
                let is_meant = only.is_empty() || holder.claim.is_some_and(|claim| only.contains(&claim));
                if !is_meant || holder.claim.is_some_and(|claim| dealt_with.contains(&claim)) {
                    continue;
                }
                match self.oust_one(seat, how, holder).await? {
                    Ousted::Done => dealt_with.extend(holder.claim),
                    Ousted::Absent => {}
                    Ousted::Furniture => has_furniture = true,
                }
            }
        }
        Ok(dealt_with)
    }

    async fn oust_one(&self, seat: &Seat, how: Eviction, holder: &Entry) -> Result<Ousted> {
        let (session, client) = (&self.session, self.session.client()?);
        let path = format!("{}/{}", session.keys.seat(seat), holder.name);
        let (data, stat) = match client.get_data(&path).await {
            Ok((_, stat)) if self.furniture.notice(&path, &stat) => return Ok(Ousted::Furniture),
            Ok(found) => found,
            Err(Fault::NoNode) => return Ok(Ousted::Absent),
            Err(fault) => return Err(failed("evict a holder", fault)),
        };
        let done = match how {
            Eviction::Force => Either::Left(client.delete(&path, None)),
            // Written again as it is: other languages read the holder's name there.
            Eviction::Notice => Either::Right(client.set_data(&path, &data, Some(stat.version)).map_ok(drop)),
        };
        let notices = session.keys.notices(stat.ephemeral_owner);
        // Sent behind it.
        let look = (stat.ephemeral_owner != session.owner).then(|| client.get_data(&notices));
        match done.await {
            // Another's notice in between says the same.
            Ok(()) | Err(Fault::BadVersion) => {}
            Err(Fault::NoNode) => return Ok(Ousted::Absent),
            Err(fault) => return Err(failed("evict a holder", fault)),
        }
        match (holder.claim, look) {
            (Some(claim), None) => self.traces.ring(claim),
            // It is done; not told, the holder hears later.
            (Some(claim), Some(look)) => drop(tell(&client, &notices, look.await, claim).await),
            (None, _) => {}
        }
        Ok(Ousted::Done)
    }
}

/// What became of a holder.
enum Ousted {
    Done,
    Absent,
    Furniture,
}

#[async_trait]
impl LockSteps for Locks {
    async fn claim(&self, claim: &Claim) -> Result<Standing> {
        self.session.step("claim", self.contend(claim)).await
    }

    async fn try_claim(&self, claim: &Claim) -> Result<Option<Grant>> {
        self.session.step("try", self.attempt(claim)).await
    }

    async fn turn(&self, claim: &Claim, position: &Position) -> Turn {
        let Some(ticket) = Ticket::read(&position.ticket) else { return Turn::AskAgain };
        // Whatever went wrong, the claim is to be sent again, which tells.
        self.wait(claim, ticket).await.unwrap_or(Turn::AskAgain)
    }

    async fn amend(&self, claim: &Claim) -> Result<Amended> {
        self.session.step("amend", self.change_value(claim)).await
    }

    async fn withdraw(&self, claim: &Claim, doubt: Doubt) -> Result<Withdrawn> {
        self.session.step("withdraw", self.give_up(claim, doubt)).await
    }

    async fn evict(&self, seat: &Seat, how: Eviction, only: &[ClaimId]) -> Result<Vec<ClaimId>> {
        self.session.step("evict", self.oust(seat, how, only)).await
    }

    async fn queue(&self, seat: &Seat) -> Result<Queue> {
        self.session.step("look at a queue", self.look(seat)).await
    }

    async fn stirred(&self, seat: &Seat, mark: Mark) {
        self.stirred_since(seat, mark).await;
    }

    async fn ousted(&self, claim: &Claim) {
        self.watch_hold(claim).await;
    }

    #[cfg(unix)]
    fn tether(&self, _claim: &Claim) -> Option<std::os::fd::OwnedFd> {
        None
    }
}
