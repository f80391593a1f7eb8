//! A session: a lease, what proves it alive, and its end.

use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use etcd_client::{LeaseGrantOptions, LeaseKeepAliveStream, LeaseKeeper, ResponseHeader, Txn, TxnResponse};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tooz_core::backend::{Opening, Proof};
use tooz_core::{Cause, Clock, Error, ErrorKind, Moment, Name, Result, SessionId};

use crate::error::session_ended;
use crate::keys;
use crate::line::Line;
use crate::stray::Unnamed;
use crate::txn::get;
use crate::watch::Ear;

/// So many terms may begin while leases are kept alive.
pub(crate) const TERMS: usize = 4;

/// One session with the servers.
pub(crate) struct Session {
    pub(crate) line: Arc<Line>,
    pub(crate) ear: Ear,
    pub(crate) member: Name,
    /// Under which claims stand.
    pub(crate) lease: Lease,
    /// Under which memberships stand: the same lease, unless their time to live differs.
    pub(crate) enrolled: Option<Lease>,
    clock: Arc<dyn Clock>,
    /// When the newest answered keep-alive of `lease` was sent. What it proves shows later, if it proves anything.
    renewed: Mutex<Moment>,
    /// When the newest answered proof of `lease` was sent.
    proved: Mutex<Moment>,
    /// The newest revision any answer was given at.
    revision: AtomicI64,
    /// The newest term of a leader that an answer was given in for which a majority stood.
    term: AtomicU64,
    ended: watch::Sender<Option<Cause>>,
    /// Rung by every renewal that was answered.
    renewals: watch::Sender<()>,
    pub(crate) unnamed: Unnamed,
    /// How many beats looked at claims.
    pub(crate) beats: AtomicUsize,
}

/// What keeping a lease alive came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    /// When it was asked for.
    pub(crate) sent: Moment,
    /// The term of whoever answered. It believed to lead.
    pub(crate) term: u64,
}

/// A lease as granted, and the stream that keeps it alive while nobody uses it.
pub(crate) struct Lease {
    pub(crate) id: i64,
    pub(crate) ttl: Duration,
    /// The term of whoever granted it.
    pub(crate) term: u64,
    idle: Mutex<Option<Stream>>,
}

impl Lease {
    /// Asks for a lease of this time to live, and says when it asked.
    /// The server chooses the id where it is zero.
    pub(crate) async fn grant(
        line: &Line,
        clock: &dyn Clock,
        ttl: Duration,
        id: i64,
    ) -> Result<(Self, Moment)> {
        let seconds = i64::try_from(ttl.as_secs().saturating_add(u64::from(ttl.subsec_nanos() > 0)))
            .unwrap_or(i64::MAX);
        let options = || Some(LeaseGrantOptions::new().with_id(id));
        let sent = clock.now();
        let answer = line
            .call(|mut client| async move { client.lease_grant(seconds.max(1), options()).await })
            .await?;
        let ttl = Duration::from_secs(u64::try_from(answer.ttl()).unwrap_or(0));
        let term = answer.header().map_or(0, ResponseHeader::raft_term);
        Ok((Self { id: answer.id(), ttl, term, idle: Mutex::default() }, sent))
    }

    /// Keeps it alive for another time to live. `SessionLost` if it is gone.
    ///
    /// Answers carry no id of their request, so a stream has one request outstanding and is given up with
    /// an answer that does not come; a second caller meanwhile opens its own.
    pub(crate) async fn keep_alive(&self, line: &Line, clock: &dyn Clock) -> Result<Kept> {
        let idle = self.idle().take();
        let (mut open, mut is_new) = match idle {
            Some(open) => (open, false),
            None => (stream(line, self.id).await?, true),
        };
        loop {
            match beat(line, clock, &mut open).await {
                Answer::Kept(kept) => {
                    *self.idle() = Some(open);
                    return Ok(kept);
                }
                Answer::Gone => return Err(session_ended()),
                // A stream that broke is opened again at once, by whatever server answers.
                Answer::Broken if !is_new => (open, is_new) = (stream(line, self.id).await?, true),
                Answer::Broken | Answer::None => return Err(line.abandon()),
            }
        }
    }

    /// Ends it and everything under it. Gone before is fine.
    pub(crate) async fn revoke(&self, line: &Line) -> Result<()> {
        revoke(line, self.id).await
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Option<Stream>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The ids of a session's leases, for claims and for memberships: from the session's own id, so that a lease
/// is known from a session's name alone.
pub(crate) fn lease_ids(session: SessionId) -> [i64; 2] {
    // 15 of 32 hex digits fit a positive number, and leave room for telling the two apart.
    let digits: String = session.to_string().chars().take(15).collect();
    let number = i64::from_str_radix(&digits, 16).unwrap_or(1);
    [number << 1 | 1, (number << 1) + 2]
}

/// Ends a lease and everything under it. Gone before is fine.
pub(crate) async fn revoke(line: &Line, id: i64) -> Result<()> {
    match line.call(|mut client| async move { client.lease_revoke(id).await }).await {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::SessionLost => Ok(()),
        Err(error) => Err(error),
    }
}

/// Keeps a lease alive on a stream of its own. `SessionLost` if it is gone.
pub(crate) async fn keep_alive(line: &Line, clock: &dyn Clock, id: i64) -> Result<Kept> {
    match beat(line, clock, &mut stream(line, id).await?).await {
        Answer::Kept(kept) => Ok(kept),
        Answer::Gone => Err(session_ended()),
        Answer::Broken | Answer::None => Err(line.abandon()),
    }
}

/// Keeps leases alive, and what is sent there is answered in its order.
type Stream = (LeaseKeeper, LeaseKeepAliveStream);

async fn stream(line: &Line, id: i64) -> Result<Stream> {
    line.call(|mut client| async move { client.lease_keep_alive(id).await }).await
}

fn advance(newest: &Mutex<Moment>, sent: Moment) {
    let mut newest = newest.lock().unwrap_or_else(PoisonError::into_inner);
    *newest = (*newest).max(sent);
}

/// How a keep-alive on a stream was answered.
enum Answer {
    Kept(Kept),
    /// The lease has ended.
    Gone,
    /// The stream is of no use any more.
    Broken,
    /// Not in time.
    None,
}

async fn beat(line: &Line, clock: &dyn Clock, (keeper, stream): &mut Stream) -> Answer {
    let sent = clock.now();
    let asked = async {
        keeper.keep_alive().await.ok()?;
        stream.message().await.ok()?
    };
    match tokio::time::timeout(line.timeout(), asked).await {
        Ok(Some(answer)) if answer.ttl() > 0 => {
            Answer::Kept(Kept { sent, term: answer.header().map_or(0, ResponseHeader::raft_term) })
        }
        Ok(Some(_)) => Answer::Gone,
        Ok(None) => Answer::Broken,
        Err(_) => Answer::None,
    }
}

impl Session {
    /// Opens a session; runs on the runtime that lives as long as it.
    pub(crate) async fn open(line: Arc<Line>, opening: &Opening) -> Result<(Arc<Self>, Proof)> {
        let clock = Arc::clone(&opening.clock);
        let [first, second] = lease_ids(opening.session);
        let (lease, sent) = Lease::grant(&line, &*clock, opening.ttl, first).await?;
        let enrolled = match opening.membership_ttl == opening.ttl {
            true => None,
            false => Some(Lease::grant(&line, &*clock, opening.membership_ttl, second).await?.0),
        };
        let proof = Proof::Lease { sent, ttl: lease.ttl };
        let term = AtomicU64::new(lease.term);
        let session = Self {
            ear: Ear::start(Arc::clone(&line), &Handle::current()),
            line,
            member: opening.member.clone(),
            lease,
            enrolled,
            clock,
            renewed: Mutex::new(sent),
            proved: Mutex::new(sent),
            revision: AtomicI64::new(0),
            term,
            ended: watch::channel(None).0,
            renewals: watch::channel(()).0,
            unnamed: Unnamed::default(),
            beats: AtomicUsize::new(0),
        };
        Ok((Arc::new(session), proof))
    }

    /// Refuses steps of a session that has ended.
    pub(crate) fn check(&self) -> Result<()> {
        if self.ended.borrow().is_some() { Err(session_ended()) } else { Ok(()) }
    }

    /// Where proofs take their moments from.
    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// The newest proof that the session lives.
    pub(crate) fn proof(&self) -> Proof {
        let sent = *self.proved.lock().unwrap_or_else(PoisonError::into_inner);
        Proof::Lease { sent, ttl: self.lease.ttl }
    }

    /// The time to live of the session: of the first of its leases that ends if no beat comes.
    pub(crate) fn ttl(&self) -> Duration {
        let enrolled = self.enrolled.as_ref().unwrap_or(&self.lease);
        self.lease.ttl.min(enrolled.ttl)
    }

    /// The lease that memberships stand under.
    pub(crate) fn membership_lease(&self) -> i64 {
        self.enrolled.as_ref().unwrap_or(&self.lease).id
    }

    /// Asks for another time to live of the leases, and says when. Who answers believes to lead, and may have been deposed:
    /// a proof it is only once a majority has answered later [in the same term](Self::term).
    pub(crate) async fn renew(&self) -> Result<Kept> {
        self.check()?;
        let renewed = self.heed(self.lease.keep_alive(&self.line, self.clock()).await)?;
        advance(&self.renewed, renewed.sent);
        if let Some(enrolled) = &self.enrolled {
            // A membership lease that is gone shows in the memberships, not in the session.
            match enrolled.keep_alive(&self.line, self.clock()).await {
                Err(error) if error.kind() == ErrorKind::SessionLost => self.grant_again(enrolled).await?,
                kept => drop(kept?),
            }
        }
        Ok(renewed)
    }

    /// Takes a renewal that was sent at that moment for a proof.
    pub(crate) fn prove(&self, sent: Moment) -> Proof {
        advance(&self.proved, sent);
        self.renewals.send_replace(());
        Proof::Lease { sent, ttl: self.lease.ttl }
    }

    /// When the newest renewal that was answered was sent.
    pub(crate) fn renewed(&self) -> Moment {
        *self.renewed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest term that is known.
    pub(crate) fn term(&self) -> u64 {
        self.term.load(Ordering::SeqCst)
    }

    /// Notes the term of an answer for which a majority stood.
    pub(crate) fn note_term(&self, answer: &TxnResponse) {
        self.term.fetch_max(answer.header().map_or(0, ResponseHeader::raft_term), Ordering::SeqCst);
    }

    /// Asks for something that only a leader with a majority behind it can answer.
    pub(crate) async fn hear_a_majority(&self) -> Result<()> {
        let answer = self.line.txn(Txn::new().and_then([get(keys::FORMAT)])).await?;
        self.note_term(&answer);
        Ok(())
    }

    /// Asks for the membership lease anew, under its id, so that the memberships can come back to it.
    async fn grant_again(&self, enrolled: &Lease) -> Result<()> {
        let granted = Lease::grant(&self.line, self.clock(), enrolled.ttl, enrolled.id).await;
        if self.check().is_err() {
            // Whoever closed the session may have given it back before.
            enrolled.revoke(&self.line).await?;
            return Err(session_ended());
        }
        match granted {
            // Another step of this session was quicker.
            Err(error) if error.kind() == ErrorKind::Denied => Ok(()),
            granted => granted.map(drop),
        }
    }

    /// Tells of renewals from now on: whoever failed to listen or to ask tries again with the next.
    pub(crate) fn renewals(&self) -> watch::Receiver<()> {
        self.renewals.subscribe()
    }

    /// Ends with a renewal that these tell of. Pending where the session has ended.
    pub(crate) async fn next_beat(&self, renewals: &mut watch::Receiver<()>) {
        if self.check().is_err() || renewals.changed().await.is_err() {
            std::future::pending().await
        }
    }

    /// Notes what an answer says about the session's end.
    pub(crate) fn heed<T>(&self, answer: Result<T>) -> Result<T> {
        if answer.as_ref().err().map(Error::kind) == Some(ErrorKind::SessionLost) {
            self.end(Cause::SessionEnded);
        }
        answer
    }

    /// Notes the revision of an answer.
    pub(crate) fn note(&self, revision: i64) {
        self.revision.fetch_max(revision, Ordering::SeqCst);
    }

    /// The newest revision this session had an answer from.
    pub(crate) fn revision(&self) -> i64 {
        self.revision.load(Ordering::SeqCst)
    }

    /// Ends the session for this process. The first cause stays.
    pub(crate) fn end(&self, cause: Cause) {
        self.ended.send_if_modified(|ended| {
            let first = ended.is_none();
            ended.get_or_insert(cause);
            first
        });
        self.ear.end();
    }

    /// Whether the store says that the session has ended.
    pub(crate) async fn is_gone(&self) -> bool {
        matches!(self.renew().await, Err(error) if error.kind() == ErrorKind::SessionLost)
    }

    /// Ends with the session.
    pub(crate) async fn ended(&self) -> Cause {
        let mut ended = self.ended.subscribe();
        match ended.wait_for(Option::is_some).await {
            Ok(cause) => cause.unwrap_or(Cause::SessionEnded),
            Err(_) => Cause::SessionEnded,
        }
    }

    /// Gives the leases back, and with them everything under them.
    pub(crate) async fn revoke(&self) -> Result<()> {
        let claims = self.lease.revoke(&self.line).await;
        if let Some(enrolled) = &self.enrolled {
            enrolled.revoke(&self.line).await?;
        }
        claims
    }
}
