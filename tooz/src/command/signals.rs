//! Signals that reach the command.

use std::io;
use std::task::Poll;

use rustix::process::Signal as Own;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::job;

/// Signals that end the command while it waits, and are passed on to a running child.
const ENDING: &[SignalKind] =
    &[SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup(), SignalKind::quit()];

/// A stream of the signals a command deals with itself.
#[derive(Debug)]
pub(crate) struct Signals {
    streams: Vec<(i32, Signal)>,
    /// What we sent to our own process group and is still to reach us too.
    echoes: Vec<i32>,
}

impl Signals {
    /// INT, TERM, HUP and QUIT.
    ///
    /// HUP and QUIT stay ignored where they were when the command started (`nohup`), here and in the child.
    /// INT and TERM are always heard: shells start the background jobs of a script with INT ignored, and a
    /// script that sends INT by hand means it. Needs a tokio runtime around it.
    pub(crate) fn ending() -> io::Result<Self> {
        Self::of(ENDING)
    }

    /// Those and what a child may be told: USR1, USR2 and the stop and go of job control.
    pub(crate) fn forwarded() -> io::Result<Self> {
        let mut kinds = ENDING.to_vec();
        kinds.extend([SignalKind::user_defined1(), SignalKind::user_defined2(), stop(), go_on()]);
        Self::of(&kinds)
    }

    fn of(kinds: &[SignalKind]) -> io::Result<Self> {
        let ignored =
            ignored() & (bit(SignalKind::hangup().as_raw_value()) | bit(SignalKind::quit().as_raw_value()));
        let heard = kinds.iter().filter(|kind| ignored & bit(kind.as_raw_value()) == 0);
        let streams =
            heard.map(|kind| Ok((kind.as_raw_value(), signal(*kind)?))).collect::<io::Result<_>>()?;
        Ok(Self { streams, echoes: Vec::new() })
    }

    /// The next signal's number. May be dropped and asked again.
    pub(crate) async fn next(&mut self) -> i32 {
        loop {
            let number = self.heard().await;
            match self.echoes.iter().position(|echo| *echo == number) {
                Some(at) => drop(self.echoes.swap_remove(at)),
                None => return number,
            }
        }
    }

    async fn heard(&mut self) -> i32 {
        std::future::poll_fn(|context| {
            for (number, stream) in &mut self.streams {
                if stream.poll_recv(context).is_ready() {
                    return Poll::Ready(*number);
                }
            }
            Poll::Pending
        })
        .await
    }

    /// The next signal that ends the command. Ctrl-Z stops it meanwhile.
    pub(crate) async fn next_ending(&mut self) -> i32 {
        loop {
            let number = self.next().await;
            if number == stop().as_raw_value() && job::stop_own_group() {
                self.pass_over(Own::TSTP);
            }
            if ENDING.iter().any(|kind| kind.as_raw_value() == number) {
                return number;
            }
        }
    }

    /// Passes over the next one of this kind: it was sent to our own process group and reaches us too.
    pub(crate) fn pass_over(&mut self, signal: Own) {
        let own = signal.as_raw();
        if self.streams.iter().any(|(number, _)| *number == own) && !self.echoes.contains(&own) {
            self.echoes.push(own);
        }
    }
}

/// The terminal's stop, Ctrl-Z.
pub(crate) fn stop() -> SignalKind {
    SignalKind::from_raw(Own::TSTP.as_raw())
}

/// The shell's `fg` and `bg`.
pub(crate) fn go_on() -> SignalKind {
    SignalKind::from_raw(Own::CONT.as_raw())
}

fn bit(number: i32) -> u64 {
    u32::try_from(number - 1).ok().and_then(|shift| 1_u64.checked_shl(shift)).unwrap_or(0)
}

/// The set of signals ignored by this process, as bits; where `/proc` does not tell, none.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
