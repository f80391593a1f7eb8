//! A driver whose network is bad: the same promises must hold through it.
//!
//! [`Faulty`] wraps any session. Requests are refused, lost before they arrive or after they were carried
//! out, carried out twice, or carried out long after an error was reported and after later ones; waits end
//! early. All by a seed, so that a failure can be played again.

mod cable;
mod dice;
mod stale;
mod steps;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tooz_core::backend::Backend;
use tooz_core::memory::Step;
use tooz_core::{Error, ErrorKind, Result};

pub use self::cable::{Cable, Cut};
pub use self::dice::Dice;
use self::dice::Fate;
use self::stale::Stale;

/// How often what goes wrong, in percent of the steps; the rest goes well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Odds {
    /// The request is refused at once and the client knows it.
    pub refused: u8,
    /// The request never arrives; the client does not know.
    pub lost_request: u8,
    /// The request is carried out, its answer is lost.
    pub lost_reply: u8,
    /// The request is carried out twice.
    pub twice: u8,
    /// The client gives up, and the request is carried out after later ones.
    pub late: u8,
    /// A wait ends although nothing happened.
    pub early: u8,
    /// The request takes its time to arrive, and the answer too: up to [`SLOWEST`] each.
    pub slow: u8,
    /// Others come first, before the request arrives and before its answer does; again and again, so below 100.
    pub yields: u8,
    /// A look shows what the one before it would have shown.
    pub stale: u8,
    /// At most so many steps in a row go wrong: after that the network heals for a moment.
    pub in_a_row: u8,
}

/// The longest that a request or an answer is under way.
pub const SLOWEST: Duration = Duration::from_millis(200);

impl Odds {
    /// Nothing goes wrong.
    pub const NONE: Self = Self {
        refused: 0,
        lost_request: 0,
        lost_reply: 0,
        twice: 0,
        late: 0,
        early: 0,
        slow: 0,
        yields: 0,
        stale: 0,
        in_a_row: 0,
    };
}

impl Default for Odds {
    /// A third of all steps goes wrong, never more than two in a row. Nothing takes time and no look is stale.
    fn default() -> Self {
        let wrong = Self { refused: 6, lost_request: 7, lost_reply: 8, twice: 6, late: 7, ..Self::NONE };
        Self { early: 20, in_a_row: 2, ..wrong }
    }
}

/// A session behind a bad network.
pub struct Faulty {
    inner: Arc<dyn Backend>,
    dice: Mutex<Dice>,
    odds: Odds,
    late: Arc<Late>,
    cable: Arc<Cable>,
    stale: Stale,
}

/// Requests that were given up and are still under way, of one session.
#[derive(Default)]
pub struct Late {
    steps: Mutex<Vec<Step>>,
    session: Mutex<Option<Weak<dyn Backend>>>,
}

impl Late {
    /// Carries out whatever is still under way, if the session still exists.
    pub async fn land(&self) {
        loop {
            let Some(step) = locked(&self.steps).pop() else { return };
            let session = locked(&self.session).as_ref().and_then(Weak::upgrade);
            if let Some(session) = session {
                // Nobody is left to hear the answer.
                let _ = step.send(&*session).await;
            }
        }
    }

    /// How many requests are still under way.
    pub fn count(&self) -> usize {
        locked(&self.steps).len()
    }
}

impl Faulty {
    /// Puts a bad network before a session. The same seed gives the same faults to the same steps.
    pub fn new(inner: Arc<dyn Backend>, seed: u64, odds: Odds) -> Self {
        let late = Arc::new(Late::default());
        *locked(&late.session) = Some(Arc::downgrade(&inner));
        let (cable, stale) = (Arc::default(), Stale::default());
        Self { inner, dice: Mutex::new(Dice::new(seed)), odds, late, cable, stale }
    }

    /// Over this cable, which others may cut.
    #[must_use]
    pub fn over(self, cable: Arc<Cable>) -> Self {
        Self { cable, ..self }
    }

    /// The requests still under way: to be carried out before the last look at the store.
    pub fn late(&self) -> Arc<Late> {
        Arc::clone(&self.late)
    }

    /// Sends one step through the network. `late` is the step as a value where it may arrive after later
    /// ones without harm that no driver could prevent; others that are given up arrive at once.
    async fn pass<'a, T>(
        &'a self,
        late: Option<Step>,
        go: impl Fn() -> BoxFuture<'a, Result<T>>,
    ) -> Result<T> {
        self.take_time().await;
        if self.cable.cut() == Cut::Requests {
            return Err(unanswered("requests are cut off"));
        }
        self.land_one().await;
        let outcome = self.suffer(late, go).await;
        self.take_time().await;
        match self.cable.cut() {
            Cut::Replies => Err(unanswered("replies are cut off")),
            _ => outcome,
        }
    }

    /// Some way of one step, where that takes time.
    async fn take_time(&self) {
        if self.odds.yields > 0 {
            loop {
                let yields = locked(&self.dice).percent(self.odds.yields);
                if !yields {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        let span = {
            let mut dice = locked(&self.dice);
            if self.odds.slow == 0 || self.cable.cut() == Cut::Calm || !dice.percent(self.odds.slow) {
                return;
            }
            let longest = usize::try_from(SLOWEST.as_millis()).unwrap_or(0);
            Duration::from_millis(u64::try_from(dice.below(longest)).unwrap_or(0))
        };
        tokio::time::sleep(span).await;
    }

    async fn suffer<'a, T>(
        &'a self,
        late: Option<Step>,
        go: impl Fn() -> BoxFuture<'a, Result<T>>,
    ) -> Result<T> {
        let fate = match self.cable.cut() {
            Cut::Calm => Fate::Well,
            _ => locked(&self.dice).fate(&self.odds),
        };
        match (fate, late) {
            (Fate::Well, _) => go().await,
            (Fate::Refused, _) => Err(Error::new(ErrorKind::Unavailable, "fault: connection refused")),
            (Fate::LostRequest, _) => Err(unanswered("request lost")),
            (Fate::LostReply, _) | (Fate::Late, None) => {
                go().await?;
                Err(unanswered("reply lost"))
            }
            (Fate::Twice, _) => {
                let first = go().await;
                // The answer to the second copy finds nobody.
                let _ = go().await;
                first
            }
            (Fate::Late, Some(step)) => {
                locked(&self.late.steps).push(step);
                Err(unanswered("request delayed"))
            }
        }
    }

    /// Perhaps carries out a late request before the next step: any of them, so that they also change order.
    async fn land_one(&self) {
        let step = {
            let mut steps = locked(&self.late.steps);
            let mut dice = locked(&self.dice);
            match steps.len() {
                0 => None,
                _ if dice.percent(50) => None,
                n => Some(steps.swap_remove(dice.below(n))),
            }
        };
        if let Some(step) = step {
            // The client gave up on this answer long ago.
            let _ = step.send(&*self.inner).await;
        }
    }

    /// Whether a wait ends although nothing happened: by chance, or because it could not be asked for.
    async fn ends_early(&self) -> bool {
        if self.cable.cut() == Cut::Requests {
            self.cable.passes(Cut::Requests).await;
            return true;
        }
        let early = locked(&self.dice).percent(self.odds.early);
        if early {
            tokio::task::yield_now().await;
        }
        early
    }

    /// Ends when this client can hear what it was to be told; `false` if it could not at first.
    async fn hears(&self) -> bool {
        let heard = self.cable.cut() != Cut::Replies;
        self.cable.passes(Cut::Replies).await;
        heard
    }
}

fn unanswered(what: &str) -> Error {
    Error::new(ErrorKind::Unavailable, format!("fault: {what}")).effect_unknown()
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_come_with_their_odds_and_heal_after_so_many_in_a_row() {
        let odds = Odds::default();
        let mut dice = Dice::new(7);
        let fates: Vec<Fate> = (0..10_000).map(|_| dice.fate(&odds)).collect();

        let wrong = fates.iter().filter(|fate| **fate != Fate::Well).count();
        assert!((2_000..4_000).contains(&wrong), "{wrong}");
        for fate in [Fate::Refused, Fate::LostRequest, Fate::LostReply, Fate::Twice, Fate::Late] {
            assert!(fates.contains(&fate), "{fate:?} never happens");
        }
        assert!(fates.windows(3).all(|three| three.contains(&Fate::Well)), "three in a row went wrong");
    }

    #[test]
    fn the_same_seed_gives_the_same_faults() {
        let draw = |seed| -> Vec<Fate> {
            let mut dice = Dice::new(seed);
            (0..100).map(|_| dice.fate(&Odds::default())).collect()
        };
        assert_eq!(draw(3), draw(3));
        assert_ne!(draw(3), draw(4));
    }
}
