//! Clean-up of what was let go: withdraws abandoned claims until the store has nothing of them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;

use super::chore::{Chore, Withdrawal};
use super::locks;
use crate::backend::Liveness;
use crate::engine::Lane;
use crate::error::ErrorKind;
use crate::orders::ordered;
use crate::retry;
use crate::shared::Core;

/// Withdrawals that ask the store at the same time. Those that wait to ask again are not among them: what cannot be
/// withdrawn keeps nothing else from being.
const AT_ONCE: usize = 64;

/// The task that withdraws, on the engine; fed by drops, which only send.
pub(crate) struct Janitor {
    core: Arc<Core>,
    chores: mpsc::UnboundedReceiver<Chore>,
}

impl Janitor {
    pub(crate) fn new(core: Arc<Core>, chores: mpsc::UnboundedReceiver<Chore>) -> Self {
        Self { core, chores }
    }

    pub(crate) async fn run(mut self) {
        let mut under_way = JoinSet::new();
        let room = Arc::new(Semaphore::new(AT_ONCE));
        loop {
            tokio::select! {
                biased;
                Some(_) = under_way.join_next() => {}
                chore = self.chores.recv() => match chore {
                    None => return,
                    Some(Chore::Withdraw(withdrawal)) => {
                        let (core, room) = (Arc::clone(&self.core), Arc::clone(&room));
                        under_way.spawn(ordered(withdraw(core, room, withdrawal)));
                    }
                    Some(Chore::Flush(done)) => finish(&mut under_way, done).await,
                },
            }
        }
    }
}

async fn finish(under_way: &mut JoinSet<()>, done: oneshot::Sender<()>) {
    while under_way.join_next().await.is_some() {}
    // Whoever asked may have given up waiting.
    let _ = done.send(());
}

/// Failures in a row after which an operator should hear of it.
const WORTH_A_WARNING: u32 = 8;

/// A store that refuses so often refuses for good: rights are missing, or what stands there cannot be read.
const MOST_REFUSALS: u32 = 4;

/// Tries until the store answers, or until the store must have freed the claim by itself: under a session
/// that lives on, it never does. Where the store refuses, a beat that finds something of it makes it a stray.
async fn withdraw(core: Arc<Core>, room: Arc<Semaphore>, mut withdrawal: Withdrawal) {
    if let Some(reliance) = withdrawal.reliance.take() {
        reliance.over(&core).await;
    }
    let until = core.now() + lifetime(&core);
    let (mut tries, mut refusals) = (0, 0);
    while let Some(session) = core.any_session(until).await {
        let lives_on = session.epoch == withdrawal.epoch;
        let claim = withdrawal.claim.clone();
        let (through, doubt) = (Arc::clone(&session), withdrawal.doubt);
        let step = Box::pin(async move { locks(&*through.backend)?.withdraw(&claim, doubt).await });
        // Never closed.
        let asking = room.acquire().await;
        let answer = core.attempt(Lane::Engine, "withdraw", step).await;
        drop(asking);
        let Err(failure) = answer else { break };
        session.heed(&failure);
        tries += 1;
        refusals += u32::from(!failure.is_transient() && failure.kind() != ErrorKind::SessionLost);
        if refusals >= MOST_REFUSALS {
            tracing::warn!(seat = %withdrawal.claim.seat, %failure, "the store refuses to withdraw a claim");
            break;
        }
        match tries {
            WORTH_A_WARNING => {
                tracing::warn!(seat = %withdrawal.claim.seat, %failure, "cannot withdraw a claim yet");
            }
            _ => tracing::debug!(seat = %withdrawal.claim.seat, tries, %failure, "withdrawal failed"),
        }
        let pause = retry::back_off(tries, core.dice());
        if !lives_on && core.now() + pause >= until {
            tracing::warn!(seat = %withdrawal.claim.seat, "gave up withdrawing; the store frees it by its time to live");
            break;
        }
        core.sleep(pause).await;
    }
    core.ledger().strike(withdrawal.claim.id);
}

fn lifetime(core: &Core) -> Duration {
    match core.profile().liveness {
        Liveness::Lease(ttl) => ttl.saturating_mul(2),
        Liveness::Kernel => core.settings().timeout.saturating_mul(2),
    }
}
