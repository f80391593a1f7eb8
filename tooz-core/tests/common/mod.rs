//! A tap on the driver interface: lets a test hold back, change or forge single answers.
#![allow(dead_code, reason = "every test file uses its own part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed assumption in a test is a failed test")]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Notify, watch};
use tooz_core::backend::*;
use tooz_core::*;

/// Knobs of a tapped backend.
#[derive(Default)]
pub(crate) struct Script {
    /// Renewals are carried out but not answered while set.
    pub(crate) hold_renewals: Switch,
    /// Renewals are sent but not carried out while set.
    pub(crate) delay_renewals: Switch,
    /// Claims are carried out but not answered while set.
    pub(crate) hold_claims: Switch,
    /// Withdrawals wait before being carried out while set.
    pub(crate) hold_withdrawals: Switch,
    /// `turn` never ends by itself while set; positions ask to be revisited after this time.
    pub(crate) mute_turns: Mutex<Option<Duration>>,
    /// Hand-overs come with this proof.
    pub(crate) turn_proof: Mutex<Option<Proof>>,
    /// Claims are answered with this proof.
    pub(crate) claim_proof: Mutex<Option<Proof>>,
    /// Added to the next renewal.
    pub(crate) strays: Mutex<Vec<Claim>>,
    /// Reported as ousted by the next renewal.
    pub(crate) ousted: Mutex<Vec<ClaimId>>,
    /// Replies of claims to lose after carrying them out.
    pub(crate) lose_claim_replies: AtomicUsize,
    /// Replies of evictions to lose after carrying them out.
    pub(crate) lose_evict_replies: AtomicUsize,
    /// Number of claim steps sent.
    pub(crate) claims: AtomicUsize,
    /// Number of waits for an ousting.
    pub(crate) watched: AtomicUsize,
    /// What the latest renewal was asked to renew.
    pub(crate) renewed: Mutex<Vec<ClaimId>>,
    /// Renewals answered with an error while set.
    pub(crate) fail_renewals: AtomicBool,
    /// Withdrawals seen, with their doubt.
    pub(crate) withdrawals: Mutex<Vec<(ClaimId, Doubt)>>,
    /// Withdrawals fail, without effect, while set.
    pub(crate) fail_withdrawals: AtomicBool,
    /// Claims on this seat, and their withdrawals, are refused.
    pub(crate) refused: Mutex<Option<Seat>>,
    /// The store cannot tell strays while set.
    pub(crate) hide_strays: AtomicBool,
    /// Claims beyond this number (if any) are never answered: ends what would otherwise be a storm.
    pub(crate) most_claims: AtomicUsize,
    /// Claims to answer with "the session is lost".
    pub(crate) session_lost_claims: AtomicUsize,
    /// Tries to carry out, and to answer with "the session is lost".
    pub(crate) session_lost_tries: AtomicUsize,
    /// Claims, joins and looks to answer, once their session was closed, as a closed session does.
    pub(crate) answers_when_closed: AtomicUsize,
    /// Claims to panic over.
    pub(crate) panicking_claims: AtomicUsize,
    /// Joins that never arrive, though nobody knows.
    pub(crate) lose_joins: AtomicUsize,
    /// Replies of joins to lose after carrying them out.
    pub(crate) lose_join_replies: AtomicUsize,
    /// Closings never arrive while set.
    pub(crate) lose_closings: AtomicBool,
    /// Joins are carried out but not answered while set.
    pub(crate) hold_joins: Switch,
    /// Joins to fail without effect.
    pub(crate) fail_joins: AtomicUsize,
    /// Updates to fail without effect.
    pub(crate) fail_updates: AtomicUsize,
    /// Looks at groups are refused while set.
    pub(crate) refuse_looks: AtomicBool,
    /// Reported as expelled by the next renewal.
    pub(crate) expelled: Mutex<Vec<Name>>,
    /// Fetches are sent but not answered while set, and how many were sent.
    pub(crate) hold_fetches: Switch,
    pub(crate) fetches: AtomicUsize,
    /// Leaves fail, without effect, while set.
    pub(crate) fail_leaves: AtomicBool,
    /// Changes the profile of sessions opened from now on.
    pub(crate) profile: Mutex<Option<fn(&mut Profile)>>,
    /// Rung, it ends waits for an ousting as the end of their session does, which whoever waits for that hears later.
    pub(crate) ended_unheard: Notify,
    pub(crate) has_ended: AtomicBool,
    /// Sessions closed, and how many of them outside of a runtime.
    pub(crate) closed: watch::Sender<usize>,
    pub(crate) closed_outside: AtomicUsize,
}

pub(crate) struct Switch(watch::Sender<bool>);

impl Default for Switch {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Switch {
    pub(crate) fn set(&self, on: bool) {
        self.0.send_replace(on);
    }

    pub(crate) async fn off(&self) {
        self.0.subscribe().wait_for(|on| !on).await.unwrap();
    }
}

impl Script {
    pub(crate) fn wrap(self: &Arc<Self>) -> Wrap {
        let script = Arc::clone(self);
        Arc::new(move |inner| {
            let mut profile = inner.profile().clone();
            if let Some(change) = *script.profile.lock().unwrap() {
                change(&mut profile);
            }
            Arc::new(Tap { inner, profile, script: Arc::clone(&script) })
        })
    }
}

fn take_one(left: &AtomicUsize) -> bool {
    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

impl Script {
    fn refuse(&self, claim: &Claim) -> Result<()> {
        match self.refused.lock().unwrap().as_ref() == Some(&claim.seat) {
            true => Err(Error::new(ErrorKind::Denied, "scripted: refused")),
            false => Ok(()),
        }
    }
}

fn scripted() -> Error {
    Error::new(ErrorKind::Unavailable, "scripted")
}

struct Tap {
    inner: Arc<dyn Backend>,
    profile: Profile,
    script: Arc<Script>,
}

impl Tap {
    fn inner(&self) -> &dyn LockSteps {
        self.inner.locks().unwrap()
    }

    async fn answer_when_closed(&self) -> Result<()> {
        if !take_one(&self.script.answers_when_closed) {
            return Ok(());
        }
        self.script.closed.subscribe().wait_for(|closed| *closed > 0).await.unwrap();
        Err(Error::new(ErrorKind::Closed, "scripted: the session is closed"))
    }
}

#[async_trait]
impl Backend for Tap {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    async fn renew(&self, claims: &[Claim], memberships: &[Enrolment]) -> Result<Renewal> {
        *self.script.renewed.lock().unwrap() = claims.iter().map(|claim| claim.id).collect();
        self.script.delay_renewals.off().await;
        let mut renewal = self.inner.renew(claims, memberships).await?;
        if self.script.hide_strays.load(Ordering::SeqCst) {
            renewal.stray.clear();
        }
        renewal.stray.append(&mut self.script.strays.lock().unwrap());
        renewal.ousted.append(&mut self.script.ousted.lock().unwrap());
        renewal.expelled.append(&mut self.script.expelled.lock().unwrap());
        self.script.hold_renewals.off().await;
        if self.script.fail_renewals.load(Ordering::SeqCst) {
            return Err(scripted().effect_unknown());
        }
        Ok(renewal)
    }

    async fn lost(&self) -> Cause {
        if self.script.has_ended.swap(false, Ordering::SeqCst) {
            return Cause::SessionEnded;
        }
        self.inner.lost().await
    }

    async fn close(&self) -> Result<()> {
        if tokio::runtime::Handle::try_current().is_err() {
            self.script.closed_outside.fetch_add(1, Ordering::SeqCst);
        }
        let closed = match self.script.lose_closings.load(Ordering::SeqCst) {
            true => Err(scripted().effect_unknown()),
            false => self.inner.close().await,
        };
        self.script.closed.send_modify(|closed| *closed += 1);
        closed
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

#[async_trait]
impl TopicSteps for Tap {
    async fn publish(&self, publication: &Publication) -> Result<Offset> {
        self.inner.topics().unwrap().publish(publication).await
    }

    async fn fetch(&self, channel: &Channel, after: Option<Offset>, limit: Limit) -> Result<Batch> {
        self.script.fetches.fetch_add(1, Ordering::SeqCst);
        let batch = self.inner.topics().unwrap().fetch(channel, after, limit).await?;
        self.script.hold_fetches.off().await;
        Ok(batch)
    }

    async fn trim(&self, channel: &Channel, retention: Retention) -> Result<u64> {
        self.inner.topics().unwrap().trim(channel, retention).await
    }

    async fn stirred(&self, channel: &Channel, mark: Mark) {
        self.inner.topics().unwrap().stirred(channel, mark).await;
    }
}

#[async_trait]
impl LockSteps for Tap {
    async fn claim(&self, claim: &Claim) -> Result<Standing> {
        let claims = 1 + self.script.claims.fetch_add(1, Ordering::SeqCst);
        let most = self.script.most_claims.load(Ordering::SeqCst);
        if most > 0 && claims > most {
            std::future::pending::<()>().await;
        }
        if take_one(&self.script.session_lost_claims) {
            return Err(Error::new(ErrorKind::SessionLost, "scripted: the session is lost"));
        }
        self.answer_when_closed().await?;
        self.script.refuse(claim)?;
        if take_one(&self.script.panicking_claims) {
            self.inner().claim(claim).await?;
            panic!("scripted: a defect of the driver");
        }
        let mut standing = self.inner().claim(claim).await?;
        match &mut standing {
            Standing::Held(grant) => {
                if let Some(proof) = *self.script.claim_proof.lock().unwrap() {
                    grant.proof = proof;
                }
            }
            Standing::Waiting(position) => position.revisit = *self.script.mute_turns.lock().unwrap(),
        }
        self.script.hold_claims.off().await;
        if take_one(&self.script.lose_claim_replies) {
            return Err(Error::new(ErrorKind::Unavailable, "scripted: the reply is lost").effect_unknown());
        }
        Ok(standing)
    }

    async fn try_claim(&self, claim: &Claim) -> Result<Option<Grant>> {
        let granted = self.inner().try_claim(claim).await?;
        if take_one(&self.script.session_lost_tries) {
            return Err(Error::new(ErrorKind::SessionLost, "scripted: the session is lost"));
        }
        Ok(granted)
    }

    async fn turn(&self, claim: &Claim, position: &Position) -> Turn {
        if self.script.mute_turns.lock().unwrap().is_some() {
            std::future::pending::<()>().await;
        }
        let turn = self.inner().turn(claim, position).await;
        match (turn, *self.script.turn_proof.lock().unwrap()) {
            (Turn::Granted(grant), Some(proof)) => Turn::Granted(Grant { proof, ..grant }),
            (turn, _) => turn,
        }
    }

    async fn amend(&self, claim: &Claim) -> Result<Amended> {
        self.inner().amend(claim).await
    }

    async fn withdraw(&self, claim: &Claim, doubt: Doubt) -> Result<Withdrawn> {
        self.script.withdrawals.lock().unwrap().push((claim.id, doubt));
        self.script.hold_withdrawals.off().await;
        self.script.refuse(claim)?;
        if self.script.fail_withdrawals.load(Ordering::SeqCst) {
            return Err(scripted());
        }
        self.inner().withdraw(claim, doubt).await
    }

    async fn evict(&self, seat: &Seat, how: Eviction, only: &[ClaimId]) -> Result<Vec<ClaimId>> {
        let hit = self.inner().evict(seat, how, only).await?;
        if take_one(&self.script.lose_evict_replies) {
            return Err(Error::new(ErrorKind::Unavailable, "scripted: the reply is lost").effect_unknown());
        }
        Ok(hit)
    }

    async fn queue(&self, seat: &Seat) -> Result<Queue> {
        self.answer_when_closed().await?;
        self.inner().queue(seat).await
    }

    async fn stirred(&self, seat: &Seat, mark: Mark) {
        self.inner().stirred(seat, mark).await;
    }

    async fn ousted(&self, claim: &Claim) {
        self.script.watched.fetch_add(1, Ordering::SeqCst);
        tokio::select! {
            biased;
            () = self.inner().ousted(claim) => {}
            () = self.script.ended_unheard.notified() => {}
        }
    }

    fn tether(&self, claim: &Claim) -> Option<std::os::fd::OwnedFd> {
        self.inner().tether(claim)
    }
}

impl Tap {
    fn rooms(&self) -> &dyn GroupSteps {
        self.inner.groups().unwrap()
    }
}

#[async_trait]
impl GroupSteps for Tap {
    async fn create(&self, group: &Name) -> Result<Created> {
        self.rooms().create(group).await
    }

    async fn delete(&self, group: &Name) -> Result<Deleted> {
        self.rooms().delete(group).await
    }

    async fn list(&self) -> Result<Vec<Name>> {
        self.rooms().list().await
    }

    async fn join(&self, enrolment: &Enrolment) -> Result<Joined> {
        self.answer_when_closed().await?;
        if take_one(&self.script.lose_joins) {
            return Err(scripted().effect_unknown());
        }
        if take_one(&self.script.fail_joins) {
            return Err(scripted());
        }
        let joined = self.rooms().join(enrolment).await?;
        self.script.hold_joins.off().await;
        if take_one(&self.script.lose_join_replies) {
            return Err(scripted().effect_unknown());
        }
        Ok(joined)
    }

    async fn leave(&self, enrolment: &Enrolment) -> Result<Left> {
        if self.script.fail_leaves.load(Ordering::SeqCst) {
            return Err(scripted());
        }
        self.rooms().leave(enrolment).await
    }

    async fn update(&self, enrolment: &Enrolment) -> Result<Updated> {
        if take_one(&self.script.fail_updates) {
            return Err(scripted());
        }
        self.rooms().update(enrolment).await
    }

    async fn members(&self, group: &Name) -> Result<Option<RosterFact>> {
        self.answer_when_closed().await?;
        if self.script.refuse_looks.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Denied, "scripted: refused"));
        }
        self.rooms().members(group).await
    }

    async fn stirred(&self, group: &Name, mark: Option<Mark>) {
        self.rooms().stirred(group, mark).await;
    }

    async fn expelled(&self, enrolment: &Enrolment) {
        self.rooms().expelled(enrolment).await;
    }
}

/// A coordinator on paused time, with the script tapped in.
pub(crate) async fn connect(store: &str, member: &str, script: &Arc<Script>) -> Coordinator {
    builder(store, member).wrap(script.wrap()).connect().await.unwrap()
}

/// A builder for paused time: everything runs on the test's runtime and its clock.
pub(crate) fn builder(store: &str, member: &str) -> Builder {
    Registry::embedded()
        .builder(format!("memory://{store}"))
        .member(member)
        .ttl(Duration::from_secs(10))
        .engine(Engine::Current)
        .clock(shared_clock())
}

/// One clock per test thread: tokio's time is per runtime, and so is each test.
fn shared_clock() -> TokioClock {
    thread_local!(static CLOCK: TokioClock = TokioClock::new());
    CLOCK.with(|clock| *clock)
}

/// Lets every task that can go on go on.
pub(crate) async fn settle() {
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
}
