//! The parts that processes of a row play, and the command line by which they are told.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use futures_util::stream::{self, FuturesUnordered, StreamExt, TryStreamExt};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::watch::Receiver;
use tokio::time::{sleep, timeout};
use tooz_core::{Coordinator, Event, From, Guard, Lock};

use super::Outcome;
use super::crew::{dismissed, say};
use super::desert::{Way, desert};
use super::hoarded::CROWD;
use super::published::{publish_all, read_all};
use crate::arguments::Arguments;
use crate::checkers::Register;
use crate::faulty::Dice;
use crate::history::{Op, Outcome as Came, Recorder, now};

/// The options of a worker.
const KNOWN: &[&str] = &["part", "member", "url", "ttl-ms", "folder", "name", "count"];
/// Between two looks of a holder at what it holds.
const LOOK: Duration = Duration::from_millis(50);
/// Between two uses of the resource by a visitor.
const USE: Duration = Duration::from_millis(10);
/// Uses of the resource under one grant by those who let go soon, at most.
const USES: usize = 8;
/// How long a visitor waits for its turn before it asks again.
const TURN: Duration = Duration::from_secs(5);
/// After a failure, before the next try.
const PAUSE: Duration = Duration::from_millis(50);

/// Who plays.
pub(super) struct Player {
    pub(super) coord: Coordinator,
    recorder: Recorder,
    folder: PathBuf,
    name: String,
    count: u64,
    ttl: Duration,
    over: Receiver<bool>,
}

/// Plays the part that a worker's command line names.
///
/// # Errors
/// If the command line is wrong, or the part cannot be played.
pub async fn play(arguments: impl Iterator<Item = String>) -> Outcome<()> {
    let arguments = Arguments::read(arguments, KNOWN)?;
    let text = |name: &str| arguments.text(name).ok_or_else(|| format!("no --{name}"));
    let member = text("member")?;
    let ttl = Duration::from_millis(arguments.number("ttl-ms", 2000)?);
    let folder = PathBuf::from(text("folder")?);
    let recorder = Recorder::to_file(member, &folder.join(format!("{member}.jsonl")))?;
    let (url, count) = (text("url")?, arguments.number("count", 1)?);
    if text("part")? == "reader" {
        return read_all(|| connect(url, member, ttl), count, &recorder).await;
    }
    let coord = connect(url, member, ttl).await?;
    let player = Arc::new(Player {
        coord,
        recorder,
        folder,
        name: text("name")?.to_owned(),
        count,
        ttl,
        over: dismissed(),
    });
    match text("part")? {
        "contender" => player.contend().await?,
        "holder" => player.hold().await?,
        "heir" => player.inherit().await?,
        "next" => player.follow().await?,
        "visitor" => player.visit().await?,
        "member" => player.attend().await?,
        "observer" => player.observe().await?,
        "publisher" => publish_all(&player.coord, player.count, &player.recorder).await?,
        "hoarder" => return player.hoard().await,
        part => match part.parse::<Way>() {
            Ok(way) => desert(Arc::clone(&player), way).await?,
            Err(()) => return Err(format!("nobody plays {part:?}").into()),
        },
    }
    // What a fault left behind may make this fail; the history counts.
    let _ = player.coord.close().await;
    Ok(())
}

/// Connects, if not at once then soon: the server may be down, or the machine busy.
pub(super) async fn connect(url: &str, member: &str, ttl: Duration) -> tooz_core::Result<Coordinator> {
    const PATIENCE: Duration = Duration::from_secs(45);
    let began = Instant::now();
    loop {
        match tooz::registry().builder(url).member(member).ttl(ttl).connect().await {
            Err(error) if error.is_transient() && began.elapsed() < PATIENCE => sleep(PAUSE).await,
            other => return other,
        }
    }
}

impl Player {
    pub(super) fn locks(&self) -> impl Iterator<Item = (String, Lock)> {
        (0..self.count).map(|number| {
            let name = format!("{}-{number}", self.name);
            let lock = self.coord.lock(&name);
            (name, lock)
        })
    }

    fn register(&self, name: &str) -> Outcome<Register> {
        Ok(Register::open(&self.folder.join(format!("register-{name}")))?)
    }

    pub(super) async fn until_over(&self) {
        let _ = self.over.clone().wait_for(|over| *over).await; // whoever tells lives as long as the process
    }

    fn note(&self, op: Op, name: &str, call: u64, came: Came, guard: &Guard) -> Outcome<()> {
        let token = Some(guard.fencing_token().get());
        Ok(self.recorder.note(op, name, call, came, token, guard.deadline())?)
    }

    /// Acquires and notes; what goes wrong is noted and no failure.
    async fn acquire(&self, name: &str, lock: &Lock, patience: Duration) -> Outcome<Option<Guard>> {
        let call = now();
        match lock.acquire_timeout(patience).await {
            Ok(Some(guard)) => {
                // A process may be stopped between the grant and the return. Then the guard is lost when it is first
                // looked at, and nobody ever took it for held.
                let late = || Came::Error("lost before anybody looked".to_owned());
                let came = if guard.is_held() { Came::Yes } else { late() };
                self.note(Op::Acquire, name, call, came, &guard)?;
                return Ok(Some(guard));
            }
            Ok(None) => self.recorder.note(Op::Acquire, name, call, Came::No, None, None)?,
            Err(error) => {
                self.recorder.note(Op::Acquire, name, call, Came::Error(error.to_string()), None, None)?;
                sleep(PAUSE).await;
            }
        }
        Ok(None)
    }

    /// Asks the guard, notes, and says what it answered.
    pub(super) fn look(&self, name: &str, guard: &Guard) -> Outcome<bool> {
        let call = now();
        let held = guard.is_held();
        self.note(Op::IsHeld, name, call, if held { Came::Yes } else { Came::No }, guard)?;
        Ok(held)
    }

    fn write(&self, name: &str, guard: &Guard, register: &mut Register) -> Outcome<()> {
        let call = now();
        let came = register.write(guard.fencing_token().get())?;
        self.note(Op::Write, name, call, came, guard)
    }

    pub(super) async fn release(&self, name: &str, guard: Guard) -> Outcome<()> {
        let (call, token) = (now(), Some(guard.fencing_token().get()));
        let came = match guard.release().await {
            Ok(()) => Came::Yes,
            Err(error) => Came::Error(error.to_string()),
        };
        Ok(self.recorder.note(Op::Release, name, call, came, token, None)?)
    }

    /// So many cycles of one lock, as fast as they go.
    async fn contend(&self) -> Outcome<()> {
        say("ready")?;
        let mut register = self.register(&self.name)?;
        let cycles = usize::try_from(self.count)?;
        Ok(crate::contend::contend(&self.coord, &self.name, cycles, &self.recorder, &mut register).await?)
    }

    /// Takes so many locks, and uses each once.
    pub(super) async fn take_all(&self) -> Outcome<Vec<(String, Guard)>> {
        let mut held = Vec::new();
        for (name, lock) in self.locks() {
            let guard = self.acquire(&name, &lock, TURN).await?.ok_or_else(|| format!("no {name}"))?;
            let mut register = self.register(&name)?;
            self.write(&name, &guard, &mut register)?;
            held.push((name, guard));
        }
        Ok(held)
    }

    /// Holds so many locks, looks at them now and then, and gives them back in the end.
    async fn hold(&self) -> Outcome<()> {
        let held = self.take_all().await?;
        say("ready")?;
        loop {
            for (name, guard) in &held {
                self.look(name, guard)?;
            }
            if timeout(LOOK, self.until_over()).await.is_ok() {
                break;
            }
        }
        for (name, guard) in held {
            self.release(&name, guard).await?;
        }
        Ok(())
    }

    /// Waits for so many locks, each of which is taken once and given back; ready once it waits for all of them.
    async fn inherit(&self) -> Outcome<()> {
        let ready = async {
            for (_, lock) in self.locks() {
                while lock.queue().await?.waiting.is_empty() {
                    sleep(Duration::from_millis(1)).await;
                }
            }
            say("ready")
        };
        tokio::try_join!(self.follow(), ready)?;
        Ok(())
    }

    /// The same, for holders that leave as soon as somebody waits.
    async fn follow(&self) -> Outcome<()> {
        const LONG: Duration = Duration::from_secs(120);
        let waits = self.locks().map(async |(name, lock)| {
            let guard = self.acquire(&name, &lock, LONG).await?.ok_or_else(|| format!("no {name}"))?;
            let mut register = self.register(&name)?;
            self.write(&name, &guard, &mut register)?;
            self.look(&name, &guard)?;
            self.release(&name, guard).await
        });
        try_join_all(waits).await?;
        Ok(())
    }

    /// Takes, uses and gives back so many locks, over and over, whatever happens. Every second lock is let go of soon;
    /// whoever has one of the others clings to it for up to two times to live, so that faults last longer than claims.
    async fn visit(&self) -> Outcome<()> {
        say("ready")?;
        let visits = self.locks().zip(0_u64..).map(async |((name, lock), number)| {
            let mut register = self.register(&name)?;
            let mut dice = Dice::new(u64::from(std::process::id()) << 16 | number);
            let clings = usize::try_from(self.ttl.as_millis() * 2 / USE.as_millis())?;
            let uses = if number % 2 == 0 { USES } else { clings };
            while !*self.over.borrow() {
                let Some(guard) = self.acquire(&name, &lock, TURN).await? else { continue };
                let mut held = true;
                for _ in 0..=dice.below(uses) {
                    held = self.look(&name, &guard)?;
                    // Written without another look, as by a process that was stopped in between.
                    self.write(&name, &guard, &mut register)?;
                    if !held || *self.over.borrow() {
                        break;
                    }
                    sleep(USE).await;
                }
                if held {
                    self.release(&name, guard).await?;
                }
            }
            Outcome::Ok(())
        });
        try_join_all(visits).await?;
        Ok(())
    }

    /// Is a member of a group from its first moment to its last.
    async fn attend(&self) -> Outcome<()> {
        let call = now();
        let membership = self.coord.group(&self.name).join(&()).await?;
        self.recorder.attend(Op::Join, &self.name, call, Came::Yes)?;
        say("ready")?;
        self.until_over().await;
        let call = now();
        let came = match membership.leave().await {
            Ok(()) => Came::Yes,
            Err(error) => Came::Error(error.to_string()),
        };
        Ok(self.recorder.attend(Op::Leave, &self.name, call, came)?)
    }

    /// Follows a group and notes whatever it is told.
    async fn observe(&self) -> Outcome<()> {
        let group = self.coord.group(&self.name);
        group.create_if_missing().await?;
        let mut view = group.watch().await?;
        for member in view.borrow().names() {
            self.recorder.see(Op::SeeJoined, &self.name, member)?;
        }
        say("ready")?;
        loop {
            let event = tokio::select! {
                event = view.next_event() => event?,
                () = self.until_over() => return Ok(()),
            };
            let (op, member) = match &event {
                Event::Joined(member) => (Op::SeeJoined, member),
                Event::Left(member) => (Op::SeeLeft, member),
                Event::Updated(_) => continue,
            };
            self.recorder.see(op, &self.name, member.name().as_str())?;
        }
    }

    /// Holds, waits for, is a member of and subscribes to very much, and says how long giving it all back took.
    async fn hoard(&self) -> Outcome<()> {
        // Whose kernel keeps locks needs descriptors for each.
        let (limit, enough) = (getrlimit(Resource::Nofile), Some(100_000));
        if setrlimit(Resource::Nofile, Rlimit { current: enough, maximum: limit.maximum.max(enough) })
            .is_err()
        {
            setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?;
        }
        const AT_ONCE: usize = 200;
        let numbers = |share: u64| stream::iter(0..self.count / share);
        let held = numbers(1).map(async |number| {
            let lock = self.coord.lock(format!("held-{number}"));
            lock.acquire().await
        });
        let guards: Vec<Guard> = held.buffer_unordered(AT_ONCE).try_collect().await?;
        let joined = numbers(10).map(async |number| {
            let group = self.coord.group(format!("group-{number}"));
            group.create_if_missing().await?;
            group.join(&()).await
        });
        let memberships: Vec<_> = joined.buffer_unordered(AT_ONCE).try_collect().await?;
        let mut subscriptions = Vec::new();
        if self.coord.profile().topics.is_some() {
            let subscribed = numbers(100)
                .map(async |number| self.coord.topic(format!("topic-{number}")).subscribe(From::Now).await);
            subscriptions = subscribed.buffer_unordered(AT_ONCE).try_collect().await?;
        }
        let crowded: Vec<Lock> = (0..self.count.div_ceil(CROWD))
            .map(|number| self.coord.lock(format!("{}-{number}", self.name)))
            .collect();
        let waits = crowded.iter().cycle().take(usize::try_from(self.count)?).map(async |lock| {
            loop {
                match lock.acquire().await {
                    Ok(guard) => break guard,
                    Err(_) => sleep(PAUSE).await, // so many at once may be too many for a busy machine
                }
            }
        });
        let mut waits: FuturesUnordered<_> = waits.collect();
        let waiting = waits.len();
        loop {
            let queues =
                crowded.iter().map(async |lock| Ok::<_, tooz_core::Error>(lock.queue().await?.waiting.len()));
            if try_join_all(queues).await?.into_iter().sum::<usize>() >= waiting {
                break;
            }
            if timeout(LOOK, waits.next()).await.is_ok() {
                return Err("somebody was granted what another holds".into());
            }
        }
        let subscribed = subscriptions.len();
        say(&format!(
            "{} locks, {waiting} waiters for {} others, {} memberships, {subscribed} subscriptions",
            guards.len(),
            crowded.len(),
            memberships.len()
        ))?;
        tokio::select! {
            _ = waits.next() => return Err("a waiter came through".into()),
            () = self.until_over() => {}
        }
        if let Some(lost) = guards.iter().position(|guard| !guard.is_held()) {
            return Err(format!("lock {lost} was lost").into());
        }
        let began = Instant::now();
        drop(waits);
        drop((guards, memberships, subscriptions));
        self.coord.close().await?;
        say(&began.elapsed().as_millis().to_string())
    }
}
