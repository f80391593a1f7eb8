//! Clean-up of what was let go: withdraws abandoned claims until the store has nothing of them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::locks;
use super::place::{Chore, Withdrawal};
use crate::backend::Liveness;
use crate::engine::Lane;
use crate::orders::ordered;
use crate::retry;
use crate::shared::Core;

/// Withdrawals at the same time.
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
        loop {
            tokio::select! {
                biased;
                Some(_) = under_way.join_next() => {}
                chore = self.chores.recv(), if under_way.len() < AT_ONCE => match chore {
                    None => return,
                    Some(Chore::Withdraw(withdrawal)) => {
                        under_way.spawn(ordered(withdraw(Arc::clone(&self.core), withdrawal)));
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

/// Tries until the store answers, or until the store must have freed the claim by itself: under a session
/// that lives on, it never does.
async fn withdraw(core: Arc<Core>, withdrawal: Withdrawal) {
    let until = core.now() + lifetime(&core);
    let mut tries = 0;
    while let Some(session) = core.any_session(until).await {
        let lives_on = session.epoch == withdrawal.epoch;
        let claim = withdrawal.claim.clone();
        let (through, doubt) = (Arc::clone(&session), withdrawal.doubt);
        let step = Box::pin(async move { locks(&*through.backend)?.withdraw(&claim, doubt).await });
        let Err(failure) = core.attempt(Lane::Engine, "withdraw", step).await else { break };
        session.heed(&failure);
        tries += 1;
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
