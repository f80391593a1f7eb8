//! Where futures are dropped: one member whose calls are cut, and another one who looks at what stayed.

use std::cell::RefCell;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tooz_core::backend::Queue;
use tooz_core::{Builder, Coordinator, Election, Error, ErrorKind, Group, Guard, Lock, Result};

use super::beside;
use crate::cancel::{Cut, after, meanwhile};
use crate::faulty::Dice;

/// The lock of all calls.
const LOCK: &str = "dropped";
/// The group of all calls, which stays.
const GROUP: &str = "dropped";
/// How long a call that ends may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a call that waits for what does not come is let wait.
const WAIT: Duration = Duration::from_millis(10);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(1);

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Became {
    /// It was dropped at one of its awaits.
    Dropped,
    /// It was dropped while it waited for something that did not come.
    Parked,
    /// It ended before.
    Ended,
}

/// What a call may leave for a moment, and nothing longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Touches {
    Nothing,
    Lock,
    Leadership,
    Members,
}

/// What happens between the last poll of a call and its drop.
enum Meanwhile {
    Nothing,
    /// A pause of at most so long.
    Pause(Duration),
    /// Other calls of the same member.
    Calls,
}

/// Two members of one store: the calls of the first are dropped, the second looks at what stayed.
pub struct Site {
    connect: Box<dyn Fn(&str) -> Builder>,
    soon: Duration,
    rough: bool,
    meanwhile: Meanwhile,
    dice: RefCell<Dice>,
    /// Whose calls are dropped.
    pub(super) a: Coordinator,
    /// Who looks, holds and answers.
    pub(super) b: Coordinator,
}

impl Site {
    /// Connects both. `connect` is asked for `a`, whose calls are dropped, for `b`, who looks, and for others whose
    /// connecting and closing is dropped; `soon` is how long anything may stay. Where the network is `rough`, calls may
    /// fail.
    ///
    /// # Errors
    /// If the store stays silent.
    pub async fn open(
        connect: impl Fn(&str) -> Builder + 'static,
        soon: Duration,
        rough: bool,
    ) -> Result<Self> {
        let (a, b) = (connect("a").connect().await?, connect("b").connect().await?);
        let (meanwhile, dice) = (Meanwhile::Nothing, RefCell::new(Dice::new(0)));
        let site = Self { connect: Box::new(connect), soon, rough, meanwhile, dice, a, b };
        site.b.group(GROUP).create_if_missing().await?;
        site.warm().await?;
        Ok(site)
    }

    /// Drops come later than the last poll, by a pause drawn from the seed: what was waited for may have happened.
    #[must_use]
    pub fn pausing(self, longest: Duration, seed: u64) -> Self {
        Self { meanwhile: Meanwhile::Pause(longest), dice: RefCell::new(Dice::new(seed)), ..self }
    }

    /// Before each drop the same member makes other calls, which have to end as if nothing were under way.
    ///
    /// # Errors
    /// If the store stays silent.
    pub async fn going_on(self) -> Result<Self> {
        beside::prepare(&self.a).await?;
        Ok(Self { meanwhile: Meanwhile::Calls, ..self })
    }

    async fn meanwhile(&self) -> Result<()> {
        match self.meanwhile {
            Meanwhile::Nothing => Ok(()),
            Meanwhile::Pause(longest) => {
                let longest = usize::try_from(longest.as_micros()).unwrap_or(0);
                let pause = self.dice.borrow_mut().below(longest);
                sleep(Duration::from_micros(u64::try_from(pause).unwrap_or(0))).await;
                Ok(())
            }
            Meanwhile::Calls => beside::calls(&self.a, LOCK, GROUP, self.soon).await,
        }
    }

    /// Each has once had what a session makes when it is first needed.
    async fn warm(&self) -> Result<()> {
        for coord in [&self.a, &self.b] {
            self.surely(async || coord.lock(LOCK).acquire().await?.release().await).await?;
            self.surely(async || coord.group(GROUP).election().campaign("").await?.resign().await).await?;
            self.surely(async || coord.group(GROUP).join(&()).await?.leave().await).await?;
        }
        self.settled(Touches::Members).await.map(drop)
    }

    /// Closes both.
    ///
    /// # Errors
    /// If the store could not be told.
    pub async fn close(self) -> Result<()> {
        let closed = self.a.close().await;
        self.b.close().await?;
        if self.rough { Ok(()) } else { closed }
    }

    pub(super) fn builder(&self, member: &str) -> Builder {
        (self.connect)(member)
    }

    /// Connects one who is there for one call only.
    pub(super) async fn visitor(&self) -> Result<Coordinator> {
        self.surely(|| self.builder("c").connect()).await
    }

    /// The lock, as `a` has it.
    pub(super) fn lock(&self) -> Lock {
        self.a.lock(LOCK)
    }

    /// The same lock of another.
    pub(super) fn lock_of(coord: &Coordinator) -> Lock {
        coord.lock(LOCK)
    }

    /// The lock, held by `b`.
    pub(super) async fn held(&self) -> Result<Guard> {
        self.b.lock(LOCK).acquire().await
    }

    /// The group, as `a` has it.
    pub(super) fn group(&self) -> Group {
        self.a.group(GROUP)
    }

    /// The group, as `b` has it.
    pub(super) fn others_group(&self) -> Group {
        self.b.group(GROUP)
    }

    /// The leadership, as `a` has it.
    pub(super) fn election(&self) -> Election {
        self.group().election()
    }

    /// Drops a call that is to end after so many polls.
    pub(super) async fn cut<T>(&self, polls: usize, call: impl Future<Output = Result<T>>) -> Result<Became> {
        self.cut_perhaps(polls, call, &[]).await
    }

    /// The same of a call whose purpose may have been reached before, which these errors say.
    pub(super) async fn cut_perhaps<T>(
        &self,
        polls: usize,
        call: impl Future<Output = Result<T>>,
        fine: &[ErrorKind],
    ) -> Result<Became> {
        let mut other = Ok(());
        let cut = meanwhile(polls, async { other = self.meanwhile().await }, PATIENCE, call).await;
        other?;
        self.became(cut, fine)
    }

    /// Drops a call that waits for something that does not come.
    pub(super) async fn cut_wait<T>(
        &self,
        polls: usize,
        call: impl Future<Output = Result<T>>,
    ) -> Result<Became> {
        self.became(after(polls, WAIT, call).await, &[])
    }

    fn became<T>(&self, cut: Cut<Result<T>>, fine: &[ErrorKind]) -> Result<Became> {
        match cut {
            Cut::Dropped => Ok(Became::Dropped),
            Cut::Parked => Ok(Became::Parked),
            Cut::Ended(Err(error)) if !fine.contains(&error.kind()) && !self.is_weather(&error) => Err(error),
            Cut::Ended(_) => Ok(Became::Ended),
        }
    }

    /// Whether the network did it.
    fn is_weather(&self, error: &Error) -> bool {
        self.rough && error.is_transient()
    }

    /// Does what has to be done, as often as it takes: on a rough network, and where an earlier leave is under way.
    pub(super) async fn surely<T>(&self, mut make: impl AsyncFnMut() -> Result<T>) -> Result<T> {
        let began = Instant::now();
        loop {
            match make().await {
                Err(error)
                    if (self.is_weather(&error) || error.kind() == ErrorKind::AlreadyMember)
                        && began.elapsed() < PATIENCE =>
                {
                    sleep(LOOK).await;
                }
                other => return other,
            }
        }
    }

    /// Waits until nothing of the call is there any more, and says how long that took.
    pub(super) async fn settled(&self, touches: Touches) -> Result<Duration> {
        let began = Instant::now();
        match touches {
            Touches::Nothing => {}
            Touches::Lock => {
                self.vacant(&self.b.lock(LOCK)).await?;
                let guard = self.b.lock(LOCK).acquire_timeout(self.soon).await?;
                let free = began.elapsed();
                let Some(guard) = guard else {
                    return Err(self.overdue("the lock", &self.b.lock(LOCK).queue().await?));
                };
                guard.release().await?;
                self.vacant(&self.b.lock(LOCK)).await?;
                return Ok(free);
            }
            Touches::Leadership => {
                let election = self.b.group(GROUP).election();
                let term = election.campaign_timeout("b", self.soon).await?;
                let free = began.elapsed();
                let Some(term) = term else {
                    return Err(self.overdue("the leadership", &election.queue().await?));
                };
                term.resign().await?;
                let queue = async || {
                    let queue = election.queue().await?;
                    Ok((queue.holders.is_empty() && queue.waiting.is_empty(), format!("{queue:?}")))
                };
                self.within_soon(queue).await?;
                return Ok(free);
            }
            Touches::Members => {
                let group = self.b.group(GROUP);
                self.within_soon(async || {
                    let roster = group.members().await?;
                    Ok((roster.is_empty(), format!("{roster:?}")))
                })
                .await?;
            }
        }
        Ok(began.elapsed())
    }

    /// What was not to be had in time, and who has it or waits for it.
    fn overdue(&self, what: &str, queue: &Queue) -> Error {
        left(&format!("{what} was not free within {:?}, then {queue:?}", self.soon))
    }

    async fn vacant(&self, lock: &Lock) -> Result<()> {
        self.within_soon(async || {
            let queue = lock.queue().await?;
            Ok((queue.holders.is_empty() && queue.waiting.is_empty(), format!("{queue:?}")))
        })
        .await
    }

    /// Waits until nobody waits for the lock, which somebody holds.
    pub(super) async fn unqueued(&self) -> Result<()> {
        let lock = self.b.lock(LOCK);
        self.within_soon(async || {
            let queue = lock.queue().await?;
            Ok((queue.waiting.is_empty(), format!("{queue:?}")))
        })
        .await
    }

    /// Looks until it is as it should be; what was seen last, if it does not get there.
    async fn within_soon(&self, look: impl AsyncFn() -> Result<(bool, String)>) -> Result<()> {
        let began = Instant::now();
        loop {
            let (is_well, seen) = look().await?;
            if is_well {
                return Ok(());
            }
            if began.elapsed() > self.soon {
                return Err(left(&format!("{seen} after {:?}", self.soon)));
            }
            sleep(LOOK).await;
        }
    }
}

/// Something stayed.
pub(super) fn left(what: &str) -> Error {
    Error::new(ErrorKind::Internal, format!("left behind: {what}"))
}
