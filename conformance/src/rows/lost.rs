//! Answers are lost: the store has done what was asked, and whoever asked does not know.

use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::time::timeout;
use tooz_core::{Coordinator, Guard};

use super::parts::connect;
use super::{Line, Order, Outcome, Run};
use crate::checkers::{Least, check};
use crate::history::{Op, Outcome as Came, Recorder, merge, now};
use crate::proxy::{Loss, Proxy};

/// Members, each behind a network of its own.
const MEMBERS: u64 = 6;
/// How long anybody may wait for a lock that somebody gives back.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which answer is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    ToAcquire,
    ToRelease,
}

pub(super) fn acquires(order: &Order) -> Outcome<Line> {
    run(order, "lost-acquires", Answer::ToAcquire)
}

pub(super) fn releases(order: &Order) -> Outcome<Line> {
    run(order, "lost-releases", Answer::ToRelease)
}

fn run(order: &Order, row: &str, answer: Answer) -> Outcome<Line> {
    let run = Run::start(row, order)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let lost = runtime.block_on(async {
        let each = order.volume.div_ceil(MEMBERS);
        let members = (0..MEMBERS).map(|member| lose(&run, order, answer, member, each));
        Outcome::Ok(try_join_all(members).await?.into_iter().sum::<u64>())
    })?;
    let records = merge(run.folder())?;
    let failed = |op: Op| {
        records.iter().filter(|record| record.op == op && matches!(record.result, Came::Error(_))).count()
    };
    let mut line = Line {
        done: lost,
        hits: lost,
        least_hits: order.volume,
        ..Line::new(row, &order.kind.to_string(), order.volume)
    };
    line.fact("failed acquires", failed(Op::Acquire));
    line.fact("failed releases", failed(Op::Release));
    let volume = usize::try_from(order.volume)?;
    let least = Least { grants: volume * 2, hand_overs: volume, writes: volume * 2, ..Least::default() };
    line.violate(check(&records, &least));
    Ok(run.end(line))
}

/// One who loses answers, and one beside it who takes every lock right after it.
struct Couple {
    loser: Coordinator,
    other: Coordinator,
    proxy: Proxy,
    history: [Recorder; 2],
    patience: Duration,
    register: crate::checkers::Register,
}

/// Loses so many answers and says how many were lost.
async fn lose(run: &Run, order: &Order, answer: Answer, member: u64, count: u64) -> Outcome<u64> {
    let (proxy, url) = run.store.behind().ok_or("no network leads to a directory")?;
    let names = [format!("loser-{member}"), format!("other-{member}")];
    let recorder = |name: &String| Recorder::to_file(name, &run.folder().join(format!("{name}.jsonl")));
    let [first, second] = &names;
    let mut couple = Couple {
        loser: connect(&url, first, order.ttl()).await?,
        other: connect(&run.store.url(), second, order.ttl()).await?,
        proxy,
        history: [recorder(first)?, recorder(second)?],
        patience: PATIENCE + order.slack,
        register: crate::checkers::Register::open(&run.folder().join(format!("register-{member}")))?,
    };
    let before = couple.proxy.counts().lost;
    let mut turn = 0;
    // Again where a loss met a beat instead: what counts is how many were meant and lost.
    while turn < count && run.has_time() {
        turn += u64::from(couple.turn(answer, &format!("lost-{member}-{turn}")).await?);
    }
    let lost = couple.proxy.counts().lost - before;
    couple.loser.close().await?;
    couple.other.close().await?;
    Ok(lost.min(turn))
}

impl Couple {
    /// One answer lost; whether it was, before the next one was asked for.
    async fn turn(&mut self, answer: Answer, name: &str) -> Outcome<bool> {
        let before = self.proxy.counts().lost;
        if answer == Answer::ToAcquire {
            self.proxy.lose_next(Loss::Reply, name);
        }
        let [mine, theirs] = &self.history;
        let guard = acquire(&self.loser, name, mine, self.patience).await?;
        use_it(&guard, name, mine, &mut self.register)?;
        if answer == Answer::ToRelease {
            self.proxy.lose_next(Loss::Reply, name);
        }
        release(guard, name, mine).await?;
        // Whatever became of the answer: the lock is free.
        let guard = acquire(&self.other, name, theirs, self.patience).await?;
        use_it(&guard, name, theirs, &mut self.register)?;
        release(guard, name, theirs).await?;
        Ok(self.proxy.counts().lost > before)
    }
}

async fn acquire(coord: &Coordinator, name: &str, recorder: &Recorder, patience: Duration) -> Outcome<Guard> {
    let call = now();
    let guard = timeout(patience, coord.lock(name).acquire()).await;
    let guard = guard.map_err(|_| format!("{name} was not free within {patience:?}"))?;
    match guard {
        Ok(guard) => {
            let token = Some(guard.fencing_token().get());
            recorder.note(Op::Acquire, name, call, Came::Yes, token, guard.deadline())?;
            Ok(guard)
        }
        Err(error) => {
            recorder.note(Op::Acquire, name, call, Came::Error(error.to_string()), None, None)?;
            Err(error.into())
        }
    }
}

fn use_it(
    guard: &Guard,
    name: &str,
    recorder: &Recorder,
    register: &mut crate::checkers::Register,
) -> Outcome<()> {
    let token = guard.fencing_token().get();
    let call = now();
    let held = if guard.is_held() { Came::Yes } else { Came::No };
    recorder.note(Op::IsHeld, name, call, held, Some(token), guard.deadline())?;
    let call = now();
    let came = register.write(token)?;
    Ok(recorder.note(Op::Write, name, call, came, Some(token), guard.deadline())?)
}

async fn release(guard: Guard, name: &str, recorder: &Recorder) -> Outcome<()> {
    let (call, token) = (now(), Some(guard.fencing_token().get()));
    let came = match guard.release().await {
        Ok(()) => Came::Yes,
        Err(error) => Came::Error(error.to_string()),
    };
    Ok(recorder.note(Op::Release, name, call, came, token, None)?)
}
