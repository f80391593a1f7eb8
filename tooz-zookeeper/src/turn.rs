//! Waiting for one's turn, and for the end of a hold.

use tooz_core::backend::{Grant, Standing, Turn};
use tooz_core::{Claim, Result};
use zookeeper_client::{Error as Fault, MultiWriteError};

use crate::error::{failed, unread};
use crate::locks::Locks;
use crate::sequence::Contest;
use crate::ticket::Ticket;

impl Locks {
    /// Waits until the claim holds or should be sent again. Wakes when its predecessor goes, and looks at the
    /// whole queue only then.
    pub(crate) async fn wait(&self, claim: &Claim, mut ticket: Ticket) -> Result<Turn> {
        let session = &self.session;
        let directory = session.keys.seat(&claim.seat);
        let own_path = format!("{directory}/{}", ticket.node);
        loop {
            let states = session.states();
            let (predecessor, own) = {
                let client = session.client()?;
                let path = format!("{directory}/{}", ticket.predecessor);
                let looks = (client.check_and_watch_stat(&path), client.check_and_watch_stat(&own_path));
                let predecessor = looks.0.await.map_err(|fault| unread("watch the predecessor", fault))?;
                (predecessor, looks.1.await.map_err(|fault| unread("watch a claim", fault))?)
            };
            if own.0.is_none_or(|stat| stat.ephemeral_owner != session.owner) {
                return Ok(Turn::AskAgain);
            }
            if predecessor.0.is_some() {
                session.heard(states, vec![predecessor.1, own.1]).await;
            }
            match self.confirm(claim, &ticket).await? {
                Some(Standing::Held(grant)) => {
                    return Ok(Turn::Granted(Grant { token: ticket.token, ..grant }));
                }
                Some(Standing::Waiting(position)) => {
                    let Some(next) = Ticket::read(&position.ticket) else { return Ok(Turn::AskAgain) };
                    ticket = next;
                }
                None => return Ok(Turn::AskAgain),
            }
        }
    }

    /// Where the claim stands now; `None` if it is gone. That its node is there is asked of the quorum by a
    /// write that changes nothing, since a server that is cut off would show what was; the list is sent along.
    async fn confirm(&self, claim: &Claim, ticket: &Ticket) -> Result<Option<Standing>> {
        let (session, client) = (&self.session, self.session.client()?);
        let directory = session.keys.seat(&claim.seat);
        let path = format!("{directory}/{}", ticket.node);
        let mut writer = client.new_multi_writer();
        writer.add_check_version(&path, -1).map_err(|fault| failed("confirm a claim", fault))?;
        let sent = session.now();
        let (check, list, look) =
            (writer.commit(), client.list_children(&directory), client.check_stat(&path));
        match check.await {
            Ok(_) => session.committed(sent),
            Err(MultiWriteError::OperationFailed { source: Fault::NoNode, .. }) => return Ok(None),
            Err(fault) => return Err(failed("confirm a claim", fault.into())),
        }
        let contest = Contest::of(list.await.map_err(|fault| unread("list a queue", fault))?);
        let stat = look.await.map_err(|fault| unread("look at a claim", fault))?;
        let own = stat.filter(|stat| stat.ephemeral_owner == session.owner);
        Ok(own
            .filter(|_| contest.place(&ticket.node).is_some())
            .map(|stat| self.judge(&contest, &ticket.node, stat)))
    }

    /// Waits until a claim that holds was told to let go, or its node is gone.
    pub(crate) async fn watch_hold(&self, claim: &Claim) {
        loop {
            let states = self.session.states();
            match self.look_at_hold(claim).await {
                Ok(Some(watch)) => self.session.heard(states, vec![watch]).await,
                Ok(None) => return,
                Err(_) if self.session.is_over() => return,
                Err(_) => self.session.until_changed(states).await,
            }
        }
    }

    /// A watch on the claim's node; `None` if it is gone or was told to let go.
    async fn look_at_hold(&self, claim: &Claim) -> Result<Option<zookeeper_client::OneshotWatcher>> {
        let Some(node) = self.node_of(claim).await? else { return Ok(None) };
        let client = self.session.client()?;
        let path = format!("{}/{node}", self.session.keys.seat(&claim.seat));
        let (stat, watch) =
            client.check_and_watch_stat(&path).await.map_err(|fault| unread("watch a claim", fault))?;
        let stands = stat.is_some_and(|stat| stat.ephemeral_owner == self.session.owner && stat.version == 0);
        Ok(stands.then_some(watch))
    }
}
