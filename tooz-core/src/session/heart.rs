//! Keeps one session alive and ends its claims in time when it cannot.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::gate::Pending;
use super::validity::{self, Deadline};
use super::{Chore, Place, Session, Stage, Withdrawal};
use crate::backend::{Doubt, Enrolment, Liveness, Renewal};
use crate::clock::Moment;
use crate::engine::Lane;
use crate::error::{Error, ErrorKind, Result};
use crate::lost::Cause;
use crate::orders::ordered;
use crate::shared::Core;
use crate::{observe, retry};

/// Attempts of a beat that may be unanswered at the same time.
const OUTSTANDING: usize = 3;

/// Ends with the reason when the session is lost, whoever saw it first.
pub(super) async fn beat_until_lost(core: &Arc<Core>, session: &Arc<Session>) -> Cause {
    match session.backend.profile().liveness {
        Liveness::Kernel => {
            tokio::select! {
                biased;
                cause = session.backend.lost() => cause,
                cause = session.tenure.lost() => cause,
            }
        }
        Liveness::Lease(ttl) => {
            tokio::select! {
                biased;
                cause = session.backend.lost() => cause,
                cause = session.tenure.lost() => cause,
                cause = guard_deadlines(core, session, ttl) => cause,
                cause = beat(core, session, ttl) => cause,
            }
        }
    }
}

/// What one beat renewed and what became of it.
struct Beat {
    /// Weakly, so that a beat under way is never what keeps an abandoned claim; and whether it was held.
    places: Vec<(Weak<Place>, Stage)>,
    sent: Moment,
    answer: Result<Renewal>,
}

/// Sends beats at their time, the next one beside one that is not answered, and credits the answers.
async fn beat(core: &Arc<Core>, session: &Arc<Session>, ttl: Duration) -> Cause {
    let mut beats: JoinSet<Beat> = JoinSet::new();
    let mut failures = 0;
    let mut pause = validity::beat_interval(ttl, core.dice());
    loop {
        let beat = tokio::select! {
            biased;
            Some(Ok(beat)) = beats.join_next() => Some(beat),
            () = core.sleep(pause) => None,
        };
        match beat {
            None => {
                if beats.len() < OUTSTANDING {
                    send(core, session, &mut beats);
                }
                pause = validity::beat_timeout(ttl);
            }
            Some(Beat { places, sent, answer: Ok(renewal) }) => {
                observe::renewed(core.now().since(sent));
                credit(core, session, &places, renewal);
                failures = 0;
                pause = validity::beat_interval(ttl, core.dice());
            }
            Some(Beat { answer: Err(failure), .. }) => {
                if failure.kind() == ErrorKind::SessionLost {
                    return Cause::SessionEnded;
                }
                failures += 1;
                core.suspend(session, &failure);
                pause = retry::back_off(failures, core.dice()).min(validity::beat_timeout(ttl));
            }
        }
    }
}

/// Sends one beat for the claims and memberships whose answers have already come: its proof applies to
/// these alone.
fn send(core: &Arc<Core>, session: &Arc<Session>, beats: &mut JoinSet<Beat>) {
    let places = core.ledger().renewable(session.epoch);
    let claims: Vec<_> = places.iter().map(|place| place.claim()).collect();
    let places: Vec<_> = places.iter().map(|place| (Arc::downgrade(place), place.stage())).collect();
    let memberships: Vec<Enrolment> = core.ledger().enrolments(session.epoch);
    let backend = Arc::clone(&session.backend);
    let step = Box::pin(async move { backend.renew(&claims, &memberships).await });
    let core = Arc::clone(core);
    let sent = core.now();
    beats.spawn(ordered(async move {
        let answer = core.attempt(Lane::Engine, "renew", step).await;
        Beat { places, sent, answer }
    }));
}

/// Applies an answer to the session and to exactly the claims its beat named.
fn credit(core: &Core, session: &Session, places: &[(Weak<Place>, Stage)], renewal: Renewal) {
    let now = core.now();
    let until = validity::claim_until(renewal.proof, core.settings().margin);
    session.tenure.renew(now, until);
    session.proof.set(renewal.proof);
    for (place, stage_when_sent) in places {
        let Some(place) = place.upgrade() else { continue };
        if renewal.ousted.contains(&place.id()) {
            match (stage_when_sent, place.stage()) {
                (Stage::Held, Stage::Held) => {
                    place.lose(Cause::Ousted);
                }
                // Ousted from the queue, and granted since: the next beat tells what became of the grant.
                (_, Stage::Held) => {}
                _ => place.nudge(),
            }
        } else {
            place.prove(until);
            // Granted since: the beat renewed its place in the queue, and not always what it holds by.
            if (*stage_when_sent, place.stage()) == (Stage::Held, Stage::Held) {
                place.renew(now, until);
            }
        }
    }
    for claim in renewal.stray {
        // A grant or queue entry that nobody here knows of: a claim that landed late.
        if !core.ledger().knows(claim.id) {
            core.withdraw_stray(claim, session.epoch);
        }
    }
    for enrolled in core.ledger().enrolled() {
        if renewal.expelled.contains(enrolled.group()) {
            enrolled.nudge();
        }
    }
    core.resume();
}

/// Ends the session at its deadline and claims at theirs, each a notice early; looks at the clock again
/// and again because timers stand still while the machine sleeps. While nothing is held it does not look:
/// then nobody can be misled, and a new guard is checked against the clock when it is born.
async fn guard_deadlines(core: &Core, session: &Session, ttl: Duration) -> Cause {
    let (notice, recheck) = (validity::notice(ttl), validity::recheck(ttl));
    let mut idle_looks = 0;
    loop {
        // Set before looking, so that a claim held after the look is sure to end the rest.
        session.watch.set_resting(idle_looks >= IDLE_LOOKS);
        let now = core.now();
        let mut nearest = match session.tenure.remaining(now + notice) {
            Some(until) => until,
            None => return Cause::Expired,
        };
        idle_looks += 1;
        for place in core.ledger().renewable(session.epoch) {
            if place.stage() != Stage::Held {
                continue;
            }
            idle_looks = 0;
            match place.tenure().deadline() {
                until if until.is_beyond(now, notice) => nearest = nearest.min(until),
                _ => {
                    place.lose(Cause::Expired);
                }
            }
        }
        if idle_looks > IDLE_LOOKS {
            tokio::select! {
                biased;
                () = core.sleep(nap(now, nearest, notice, Duration::MAX)) => {}
                () = session.watch.roused() => idle_looks = 0,
            }
        } else {
            core.sleep(nap(now, nearest, notice, recheck)).await;
        }
    }
}

/// Looks without anything held before resting, so that short locks in a row do not rouse it every time.
const IDLE_LOOKS: u32 = 8;

/// The rest of the watch over deadlines while nothing is held.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    resting: AtomicBool,
    rouse: Notify,
}

impl Watch {
    fn set_resting(&self, resting: bool) {
        self.resting.store(resting, Ordering::SeqCst);
    }

    async fn roused(&self) {
        self.rouse.notified().await;
    }

    /// Something is held now. Costs one load unless the watch rests.
    pub(crate) fn rouse(&self) {
        if self.resting.load(Ordering::SeqCst) {
            self.rouse.notify_one();
        }
    }
}

fn nap(now: Moment, nearest: Deadline, notice: Duration, recheck: Duration) -> Duration {
    let until = nearest.moment().map_or(recheck, |moment| (moment - notice).since(now));
    until.clamp(Duration::from_millis(1), recheck)
}

impl Core {
    fn withdraw_stray(&self, claim: crate::claim::Claim, epoch: u64) {
        tracing::warn!(seat = %claim.seat, claim = %claim.id, "withdrawing a claim that nobody here made");
        let gate = self.ledger().gate(&claim.seat);
        self.send_chore(Chore::Withdraw(Withdrawal::new(claim, Doubt::None, epoch, Pending::new(gate))));
    }

    /// A beat failed: says until when the session is still trusted.
    fn suspend(&self, session: &Session, failure: &Error) {
        tracing::debug!(%failure, "beat failed");
        if let Some(until) = session.tenure.deadline().moment() {
            self.set_state(crate::State::Suspended { until });
        }
    }

    fn resume(&self) {
        self.set_state(crate::State::Connected);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn naps_end_a_notice_before_the_nearest_deadline_or_at_the_next_recheck() {
        let ms = Duration::from_millis;
        let now = Moment::ORIGIN + ms(1_000);
        let nap = |until| nap(now, Deadline::at(Moment::ORIGIN + ms(until)), ms(60), ms(250));
        assert_eq!(nap(1_200), ms(140));
        assert_eq!(nap(9_000), ms(250));
        assert_eq!(nap(1_010), ms(1));
        assert_eq!(super::nap(now, Deadline::NEVER, ms(60), ms(250)), ms(250));
    }
}
