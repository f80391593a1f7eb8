//! Watches held claims, so that a holder whose lock is broken hears of it at once.

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::mpsc;

use super::{Place, Session};
use crate::lost::Cause;
use crate::shared::Core;

/// A claim held for a shorter time is not worth a watch.
const SETTLE: Duration = Duration::from_millis(20);

/// How long the work under an ousted claim may take to end, and its guard to be dropped, before the claim is withdrawn.
pub(crate) const LET_GO: Duration = Duration::from_millis(250);

/// Holds one wait per held claim of a session; dropped with the session. However quickly short holds follow each other,
/// none of them is waited for: each has its own time to end.
pub(super) async fn watch(
    core: &Core,
    session: Arc<Session>,
    mut held: mpsc::UnboundedReceiver<Weak<Place>>,
) {
    let mut waits = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            Some(()) = waits.next() => {}
            first = held.recv() => {
                let Some(first) = first else { return };
                let mut young = vec![first];
                while let Ok(next) = held.try_recv() {
                    // Most are over by now where many short ones follow each other.
                    young.extend((next.strong_count() > 0).then_some(next));
                }
                let settled = core.sleep(SETTLE);
                tokio::pin!(settled);
                // The others are waited for meanwhile.
                loop {
                    tokio::select! {
                        biased;
                        Some(()) = waits.next() => {}
                        () = &mut settled => break,
                    }
                }
                let old = young.iter().filter_map(Weak::upgrade);
                waits.extend(old.map(|place| wait(core, Arc::clone(&session), &place)));
            }
        }
    }
}

/// Ends when the claim is ousted, which it then tells, and withdrawn, or gone anyway. Does not keep the place alive.
fn wait<'a>(core: &'a Core, session: Arc<Session>, place: &Arc<Place>) -> impl Future<Output = ()> + use<'a> {
    let claim = place.claim();
    let mut lost = place.tenure().subscribe();
    let place = Arc::downgrade(place);
    async move {
        let Some(locks) = session.backend.locks() else { return };
        let cause = tokio::select! {
            biased;
            // First: of what is let go of nothing is asked. Ends with an error when the place is dropped.
            lost = lost.wait_for(Option::is_some) => lost.ok().flatten(),
            () = locks.ousted(&claim) => {
                // It may be the first to hear of the end of its session, with which it ends as well.
                if let Some(cause) = session.backend.lost().now_or_never() {
                    session.tenure.lose(cause);
                    return;
                }
                if let Some(place) = place.upgrade() {
                    place.lose(Cause::Ousted);
                }
                Some(Cause::Ousted)
            }
        };
        if cause == Some(Cause::Ousted) {
            core.sleep(LET_GO).await;
            if let Some(place) = place.upgrade() {
                place.send_withdrawal();
            }
        }
    }
}
