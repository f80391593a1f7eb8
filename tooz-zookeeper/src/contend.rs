//! Entering a contest, and finding oneself in it again.

use tooz_core::backend::{Grant, Position, Standing};
use tooz_core::{Claim, Error, ErrorKind, FencingToken, Mode, Result};
use zookeeper_client::{CreateMode, Error as Fault, Stat};

use crate::error::{failed, unread};
use crate::locks::Locks;
use crate::sequence::{Contest, Place, prefix};
use crate::streak::Made;
use crate::ticket::Ticket;

/// How often a claim is entered again whose node or directory went while it was entered.
const TRIES: usize = 3;

impl Locks {
    /// Takes the seat or a place in its queue.
    pub(crate) async fn contend(&self, claim: &Claim) -> Result<Standing> {
        let fresh = self.traces.begin(claim.id);
        if (!fresh || self.traces.has_voids())
            && let Some(standing) = self.again(claim).await?
        {
            return Ok(standing);
        }
        for _ in 0..TRIES {
            if let Some(standing) = self.enter(claim).await? {
                return Ok(standing);
            }
        }
        Err(Error::new(ErrorKind::Unavailable, "the claim's node is removed as soon as it is made")
            .effect_unknown())
    }

    /// Takes the seat if nobody is in the way.
    pub(crate) async fn attempt(&self, claim: &Claim) -> Result<Option<Grant>> {
        // What stands there already costs one read and nobody anything.
        let mut contest = self.contenders(&claim.seat).await?;
        if contest.of_claim(claim.id).next().is_none() {
            if self.traces.has_voids() && self.is_void(claim).await? {
                return Err(self.refuse(claim));
            }
            if self.is_taken(claim, &mut contest).await? {
                return Ok(None);
            }
        } else {
            return match self.again(claim).await? {
                Some(Standing::Held(grant)) => Ok(Some(grant)),
                _ => Ok(None),
            };
        }
        match self.contend(claim).await? {
            Standing::Held(grant) => Ok(Some(grant)),
            Standing::Waiting(_) => {
                self.take_out(claim).await?;
                Ok(None)
            }
        }
    }

    /// Whether somebody is in the way. Whom this session has not met before it looks at: it may be furniture.
    async fn is_taken(&self, claim: &Claim, contest: &mut Contest) -> Result<bool> {
        let (session, client) = (&self.session, self.session.client()?);
        let directory = session.keys.seat(&claim.seat);
        while let Some(entry) = contest.in_the_way_of(claim.mode) {
            let name = entry.name.clone();
            let path = format!("{directory}/{name}");
            let is_ours = entry.claim.is_some_and(|claim| self.traces.node(claim).as_ref() == Some(&name));
            if is_ours || self.furniture.has_met(&path) {
                return Ok(true);
            }
            let stat = client.check_stat(&path).await;
            let stat = stat.map_err(|fault| unread("look at who is in the way", fault))?;
            if stat.is_some_and(|stat| !self.furniture.notice(&path, &stat)) {
                self.furniture.meet(path);
                return Ok(true);
            }
            // Furniture, or gone since it was listed.
            contest.leave_out(&name);
        }
        Ok(false)
    }

    /// Makes the claim's node and looks where it stands, sent together: one round trip. Where nobody else is
    /// [expected](crate::streak), looks only if the node's number says that somebody came. `None` if the node was not
    /// there any more, or there was no directory to make it in, which there is now.
    async fn enter(&self, claim: &Claim) -> Result<Option<Standing>> {
        let (session, client) = (&self.session, self.session.client()?);
        let directory = session.keys.seat(&claim.seat);
        let (value, void_path) = (session.keys.value(claim.id), session.keys.void(claim.id));
        let path = format!("{directory}/{}", prefix(claim.id, claim.mode));
        let ephemeral = CreateMode::Ephemeral.with_acls(session.acls);
        let sequential = CreateMode::EphemeralSequential.with_acls(session.acls);

        let sent = session.now();
        let record = (!claim.value.is_empty()).then(|| client.create(&value, &claim.value, &ephemeral));
        let create = client.create(&path, claim.member.as_str().as_bytes(), &sequential);
        let last = self.streaks.last(&claim.seat);
        let list = last.is_none().then(|| client.list_children(&directory));
        // After the claim was sent: see there.
        let void_look = self.traces.has_voids().then(|| client.check_stat(&void_path));

        if let Some(record) = record {
            match record.await {
                Ok(_) | Err(Fault::NodeExists) => {}
                Err(fault) => return Err(failed("write the value", fault)),
            }
        }
        let (stat, sequence) = match create.await {
            Ok(created) => created,
            Err(Fault::NoNode) => {
                self.make_seat(claim).await?;
                return Ok(None);
            }
            Err(fault) => return Err(failed("enter the queue", fault)),
        };
        session.committed(sent);
        let made = Made { number: sequence.into_i64(), transaction: stat.czxid };
        let is_next = last.is_some_and(|last| made.follows(last));
        let children = match (list, is_next) {
            (Some(list), _) => Some(list.await),
            (None, true) => None,
            (None, false) => Some(client.list_children(&directory).await),
        };
        let children = children.transpose().map_err(|fault| failed("list the queue", fault))?;
        let contest = children.map(|children| self.furniture.contest(&directory, children));
        if let Some(void_look) = void_look
            && void_look.await.map_err(|fault| failed("look for a void mark", fault))?.is_some()
        {
            self.take_out(claim).await?;
            return Err(self.refuse(claim));
        }
        let node = format!("{}{sequence}", prefix(claim.id, claim.mode));
        let standing = match contest {
            Some(contest) => self.standing(claim, &contest, &node, stat).await?,
            None => {
                self.traces.found(claim.id, &node);
                Some(Standing::Held(Grant { token: token(&stat), proof: session.proof() }))
            }
        };
        match (&standing, claim.mode) {
            (Some(Standing::Held(grant)), Mode::Exclusive) if grant.token == token(&stat) => {
                self.streaks.held(&claim.seat, claim.id, made);
            }
            _ => self.streaks.broken(&claim.seat),
        }
        Ok(standing)
    }

    /// Where the claim stands that has just made `node`.
    async fn standing(
        &self,
        claim: &Claim,
        contest: &Contest,
        node: &str,
        stat: Stat,
    ) -> Result<Option<Standing>> {
        let mut own = contest.of_claim(claim.id).map(|entry| entry.name.as_str());
        let Some(first) = own.next() else { return Ok(None) };
        let surplus: Vec<&str> = own.collect();
        if first == node && surplus.is_empty() {
            self.traces.found(claim.id, node);
            return Ok(Some(self.judge(contest, node, stat)));
        }
        // An earlier attempt went unanswered and has made a node after all: that one counts.
        self.remove(claim, &surplus).await?;
        self.again(claim).await
    }

    /// Where the claim stands by an earlier attempt; `None` if it does not.
    async fn again(&self, claim: &Claim) -> Result<Option<Standing>> {
        let (session, client) = (&self.session, self.session.client()?);
        if self.traces.has_voids() && self.is_void(claim).await? {
            return Err(self.refuse(claim));
        }
        let contest = self.contenders(&claim.seat).await?;
        let mut own = contest.of_claim(claim.id).map(|entry| entry.name.as_str());
        let Some(first) = own.next() else { return Ok(None) };
        let surplus: Vec<&str> = own.collect();
        if !surplus.is_empty() {
            self.remove(claim, &surplus).await?;
        }
        let path = format!("{}/{first}", session.keys.seat(&claim.seat));
        let stat = client.check_stat(&path).await.map_err(|fault| unread("look at a claim", fault))?;
        let Some(stat) = stat.filter(|stat| stat.ephemeral_owner == session.owner) else { return Ok(None) };
        self.traces.found(claim.id, first);
        Ok(Some(self.judge(&contest, first, stat)))
    }

    /// What the place of a node of this session means.
    pub(crate) fn judge(&self, contest: &Contest, node: &str, stat: Stat) -> Standing {
        match contest.place(node) {
            Some(Place::Behind { predecessor, ahead, leads }) => {
                let token = token(&stat);
                let (node, predecessor) = (node.to_owned(), predecessor.name.clone());
                let ticket = Ticket { node, predecessor, token, leads };
                Standing::Waiting(Position {
                    ahead: Some(u64::try_from(ahead).unwrap_or(u64::MAX)),
                    ticket: ticket.write(),
                    revisit: None,
                })
            }
            _ => Standing::Held(Grant { token: token(&stat), proof: self.session.proof() }),
        }
    }

    /// Removes nodes of a claim beside the one that counts.
    async fn remove(&self, claim: &Claim, nodes: &[&str]) -> Result<()> {
        let client = self.session.client()?;
        let directory = self.session.keys.seat(&claim.seat);
        for node in nodes {
            match client.delete(&format!("{directory}/{node}"), None).await {
                Ok(()) | Err(Fault::NoNode) => {}
                Err(fault) => return Err(failed("remove a surplus node", fault)),
            }
        }
        Ok(())
    }

    /// Whether the claim was withdrawn while an attempt went unanswered.
    async fn is_void(&self, claim: &Claim) -> Result<bool> {
        let client = self.session.client()?;
        let look = client.check_stat(&self.session.keys.void(claim.id)).await;
        Ok(look.map_err(|fault| unread("look for a void mark", fault))?.is_some())
    }

    /// The claim is void. Nobody withdraws it again, so its trace goes here.
    fn refuse(&self, claim: &Claim) -> Error {
        self.traces.forget(claim.id);
        Error::new(ErrorKind::Closed, "the claim was withdrawn before it arrived")
    }

    /// Makes a seat's directory. It stays for ever: Python's locks remember theirs.
    async fn make_seat(&self, claim: &Claim) -> Result<()> {
        let client = self.session.client()?;
        let options = CreateMode::Persistent.with_acls(self.session.acls);
        let made = client.mkdir(&self.session.keys.seat(&claim.seat), &options).await;
        made.map_err(|fault| failed("make the seat", fault))
    }
}

/// The transaction that made the node: grows with the order of the queue, on all servers.
pub(crate) fn token(stat: &Stat) -> FencingToken {
    FencingToken::new(u64::try_from(stat.czxid).unwrap_or_default())
}
