//! Waiting for one's turn, and for the end of a hold.

use futures_util::future::BoxFuture;
use tooz_core::backend::{Grant, Standing, Turn};
use tooz_core::{Claim, Mode, Result};
use zookeeper_client::{Client, Error as Fault, MultiWriteError, MultiWriteResult, Stat};

use crate::contend::token;
use crate::error::{failed, unread};
use crate::locks::Locks;
use crate::look::found;
use crate::sequence::{claim_of, is_exclusive};
use crate::ticket::Ticket;
use crate::watches::{Use, Watch};

/// The answer to the removal of a node that leaves word.
pub(crate) type LastWord<'a> = BoxFuture<'a, std::result::Result<Vec<MultiWriteResult>, MultiWriteError>>;

/// Where a waiting claim was found.
enum Found {
    /// Nowhere.
    Gone,
    /// Still in the queue.
    Waits(Ticket),
    /// First.
    Holds(Stat),
}

impl Locks {
    /// Waits until the claim holds or should be sent again. Wakes when its predecessor goes.
    pub(crate) async fn wait(&self, claim: &Claim, mut ticket: Ticket) -> Result<Turn> {
        let session = &self.session;
        let directory = session.keys.seat(&claim.seat);
        let own_path = format!("{directory}/{}", ticket.node);
        loop {
            let states = session.states();
            // Before the look.
            let neighbour = claim_of(&ticket.predecessor)
                .and_then(|claim| self.traces.listen_at(claim, &ticket.predecessor));
            let (predecessor, own) = {
                let client = session.client()?;
                let path = format!("{directory}/{}", ticket.predecessor);
                let what_for = match (&neighbour, ticket.leads) {
                    (Some(_), _) => Use::Own,
                    (None, true) => Use::Turn,
                    (None, false) => Use::Wait,
                };
                let look = |path: &str, what_for| session.watches.stat(&client, path, what_for);
                let looks = (look(&path, what_for), look(&own_path, Use::Own));
                let predecessor = looks.0.await.map_err(|fault| unread("watch the predecessor", fault))?;
                (predecessor, looks.1.await.map_err(|fault| unread("watch a claim", fault))?)
            };
            if own.0.is_none_or(|stat| stat.ephemeral_owner != session.owner) {
                return Ok(Turn::AskAgain);
            }
            let mut leaves_word = false;
            if let Some(stat) = predecessor.0 {
                if self.furniture.notice(&format!("{directory}/{}", ticket.predecessor), &stat) {
                    return Ok(Turn::AskAgain);
                }
                leaves_word = self.leaves_word(claim, &ticket, stat.ephemeral_owner).await;
                let neighbour = neighbour.filter(|_| !predecessor.1.is_set());
                let heard = session.heard(states, vec![predecessor.1, own.1]);
                let is_news = match neighbour {
                    // A claim of our own before this one: what becomes of it is known here.
                    Some(neighbour) => tokio::select! {
                        is_news = heard => is_news,
                        () = neighbour.stirred() => true,
                    },
                    None => heard.await,
                };
                if !is_news {
                    continue;
                }
            }
            match self.confirm(claim, &ticket, !leaves_word).await? {
                Found::Gone => return Ok(Turn::AskAgain),
                Found::Waits(next) => ticket = next,
                Found::Holds(stat) => {
                    self.traces.came_to_hold(claim.id, &ticket.node);
                    self.streaks.broken(&claim.seat);
                    return Ok(Turn::Granted(Grant { token: token(&stat), proof: session.proof() }));
                }
            }
        }
    }

    /// Whether the predecessor, a node of this session's, will say that it was the first when it lets go: then
    /// the queue need not be read.
    async fn leaves_word(&self, claim: &Claim, ticket: &Ticket, owner: i64) -> bool {
        // No more than a guess: where it fails, the queue is read.
        ticket.leads
            || (self.session.keys.takes_word(&claim.seat)
                && is_exclusive(&ticket.predecessor)
                && self.session.session_of(owner).await.is_ok_and(|session| session.is_some()))
    }

    /// Where the claim stands now. That its node is there is asked of the quorum by a write that changes nothing,
    /// since a server that is cut off would show what was; everything else is sent along.
    ///
    /// Nobody comes to stand before a claim once it has its number. So it is the first as soon as its
    /// predecessor is gone, if that was the first when the queue was read, or has left word that it was when it let
    /// go. Otherwise the queue is read: with `list`, at once.
    async fn confirm(&self, claim: &Claim, ticket: &Ticket, list: bool) -> Result<Found> {
        let (session, client) = (&self.session, self.session.client()?);
        let directory = session.keys.seat(&claim.seat);
        let path = format!("{directory}/{}", ticket.node);
        let mut writer = client.new_multi_writer();
        writer.add_check_version(&path, -1).map_err(|fault| failed("confirm a claim", fault))?;
        let sent = session.now();
        let check = writer.commit();
        let look = client.check_stat(&path);
        let predecessor = client.check_stat(&format!("{directory}/{}", ticket.predecessor));
        let word = (!ticket.leads && !list).then(|| client.get_data(&directory));
        let list = list.then(|| client.list_children(&directory));
        match check.await {
            Ok(_) => session.committed(sent),
            Err(MultiWriteError::OperationFailed { source: Fault::NoNode, .. }) => return Ok(Found::Gone),
            Err(fault) => return Err(failed("confirm a claim", fault.into())),
        }
        let stat = look.await.map_err(|fault| unread("look at a claim", fault))?;
        let Some(stat) = stat.filter(|stat| stat.ephemeral_owner == session.owner) else {
            return Ok(Found::Gone);
        };
        if predecessor.await.map_err(|fault| unread("look at the predecessor", fault))?.is_some() {
            return Ok(Found::Waits(ticket.clone()));
        }
        let is_next = match word {
            Some(word) => {
                let word = found(word.await)?.map(|(word, _)| word);
                word.is_some_and(|word| word == ticket.predecessor.as_bytes())
            }
            None => ticket.leads,
        };
        if is_next {
            return Ok(Found::Holds(stat));
        }
        let list = list.unwrap_or_else(|| client.list_children(&directory));
        let children = list.await.map_err(|fault| unread("list a queue", fault))?;
        let contest = self.furniture.contest(&directory, children);
        if contest.place(&ticket.node).is_none() {
            return Ok(Found::Gone);
        }
        Ok(match self.judge(&contest, &ticket.node, stat) {
            Standing::Held(_) => Found::Holds(stat),
            Standing::Waiting(position) => Ticket::read(&position.ticket).map_or(Found::Gone, Found::Waits),
        })
    }

    /// Removes the node of a claim that came to hold after it had waited, and leaves word of it in the directory:
    /// one transaction, sent at once. `None` where there is nobody to tell, or no room.
    pub(crate) fn last_word<'a>(&self, claim: &Claim, client: &'a Client) -> Result<Option<LastWord<'a>>> {
        let node = self.traces.waited(claim.id).filter(|_| claim.mode == Mode::Exclusive);
        let Some(node) = node.filter(|_| self.session.keys.takes_word(&claim.seat)) else { return Ok(None) };
        let directory = self.session.keys.seat(&claim.seat);
        let mut writer = client.new_multi_writer();
        writer
            .add_delete(&format!("{directory}/{node}"), None)
            .and_then(|()| writer.add_set_data(&directory, node.as_bytes(), None))
            .map_err(|fault| failed("leave the queue", fault))?;
        Ok(Some(Box::pin(writer.commit())))
    }

    /// Waits until a claim that holds was told to let go, or its node is gone.
    pub(crate) async fn watch_hold(&self, claim: &Claim) {
        loop {
            let states = self.session.states();
            // Before the look, as are the notices.
            let Some(listener) = self.traces.listen(claim.id) else { return };
            let is_told = self.notices.stand();
            match self.look_at_hold(claim).await {
                Ok(Some(watch)) if watch.is_set() => {
                    self.session.heard(states, vec![watch]).await;
                }
                Ok(Some(_)) if is_told => tokio::select! {
                    biased;
                    () = listener.stirred() => {}
                    () = self.notices.attend(&self.session, &self.traces) => {}
                },
                Ok(Some(_)) => {
                    // Without, it is looked at when the connection is another.
                    if self.notices.begin(&self.session).await.is_err() {
                        self.session.until_changed(states).await;
                    }
                }
                Ok(None) => return,
                Err(_) if self.session.is_over() => return,
                Err(_) => self.session.until_changed(states).await,
            }
        }
    }

    /// A watch on the claim's node; `None` if it is gone or was told to let go.
    async fn look_at_hold(&self, claim: &Claim) -> Result<Option<Watch>> {
        let Some(node) = self.node_of(claim).await? else { return Ok(None) };
        let client = self.session.client()?;
        let path = format!("{}/{node}", self.session.keys.seat(&claim.seat));
        let look = self.session.watches.stat(&client, &path, Use::Own);
        let (stat, watch) = look.await.map_err(|fault| unread("watch a claim", fault))?;
        let stands = stat.is_some_and(|stat| stat.ephemeral_owner == self.session.owner && stat.version == 0);
        Ok(stands.then_some(watch))
    }
}
