//! Every order in which threads can renew, lose, watch and wait for one guard, played by loom.
//!
//! The files are those of the crate; behind `crate::sync` stand loom's primitives. `LOOM_LOG=1` shows a failing order.

#![allow(dead_code, unreachable_pub, unused_imports)] // the files are taken as they are
#![allow(clippy::unwrap_used, clippy::print_stdout)] // a failed assumption here is a failed test

#[path = "../src/clock.rs"]
mod clock;
#[path = "../src/lost.rs"]
mod lost;
#[path = "../src/signal.rs"]
mod signal;

/// loom's primitives, and a bell that tells whoever waits when it is rung, as tokio's does.
mod sync {
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    pub(crate) use loom::sync::atomic::{AtomicU64, Ordering};
    pub(crate) use loom::sync::{Mutex, MutexGuard};

    #[derive(Debug)]
    pub(crate) struct Notify(Mutex<(u64, Vec<Waker>)>);

    impl Notify {
        pub(crate) fn new() -> Self {
            Self(Mutex::new((0, Vec::new())))
        }

        pub(crate) fn notify_waiters(&self) {
            let mut rung = self.0.lock().unwrap();
            rung.0 += 1;
            let wakers = std::mem::take(&mut rung.1);
            drop(rung);
            wakers.into_iter().for_each(Waker::wake);
        }

        pub(crate) fn notified(&self) -> Notified<'_> {
            Notified { notify: self, since: self.0.lock().unwrap().0 }
        }
    }

    pub(crate) struct Notified<'a> {
        notify: &'a Notify,
        since: u64,
    }

    impl Notified<'_> {
        pub(crate) fn enable(self: Pin<&mut Self>) -> bool {
            false
        }
    }

    impl Future for Notified<'_> {
        type Output = ();

        fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
            let mut rung = self.notify.0.lock().unwrap();
            if rung.0 != self.since {
                return Poll::Ready(());
            }
            rung.1.push(cx.waker().clone());
            Poll::Pending
        }
    }
}

#[path = "../src/backend/proof.rs"]
mod proof;
#[path = "../src/session/tenure.rs"]
mod tenure;
#[path = "../src/session/validity.rs"]
mod validity;

mod backend {
    pub use crate::proof::Proof;
}

use std::sync::Arc;
use std::time::Duration;

use clock::Moment;
use loom::thread;
use lost::Cause;
use tenure::Tenure;
use validity::Deadline;

fn at(ms: u64) -> Moment {
    Moment::ORIGIN + Duration::from_millis(ms)
}

fn until(ms: u64) -> Deadline {
    Deadline::at(at(ms))
}

fn begun(ms: u64) -> Arc<Tenure> {
    let tenure = Tenure::new();
    tenure.begin(until(ms));
    Arc::new(tenure)
}

/// Whoever saw the deadline pass is never proved wrong by an answer that comes late.
fn what_somebody_saw_end_is_never_held_again() {
    let tenure = begun(100);
    let watch = Arc::clone(&tenure);
    let watcher = thread::spawn(move || {
        // At 100 the deadline of old is over, the one of the renewal is not: either may be found.
        let first = watch.is_valid(at(100));
        (first, watch.is_valid(at(101)), watch.is_valid(at(102)))
    });
    let renew = Arc::clone(&tenure);
    let renewer = thread::spawn(move || renew.renew(at(99), until(500)));
    let (first, second, third) = watcher.join().unwrap();
    renewer.join().unwrap();
    assert!(first >= second && second >= third, "held again: {first} {second} {third}");
    let held = tenure.is_valid(at(103));
    assert_eq!(held, third, "in the end it is as the last one saw it");
    assert_eq!(tenure.cause(), (!held).then_some(Cause::Expired));
}

/// Ousted and closed at once, while a renewal is under way: lost for good, told once, for one reason.
fn it_is_lost_once_for_one_reason_whoever_renews_meanwhile() {
    let tenure = begun(100);
    let [ousting, closing, renewing] = [(); 3].map(|()| Arc::clone(&tenure));
    let ousting = thread::spawn(move || ousting.lose(Cause::Ousted));
    let closing = thread::spawn(move || closing.lose(Cause::Closed));
    renewing.renew(at(50), until(500));
    let ends = (ousting.join().unwrap(), closing.join().unwrap());
    assert!(ends.0 != ends.1, "exactly one of them ended it: {ends:?}");
    assert!(!tenure.is_valid(at(1)), "no renewal revives it");
    tenure.renew(at(1), until(900));
    assert!(!tenure.is_valid(at(1)));
    assert_eq!(tenure.cause(), Some(if ends.0 { Cause::Ousted } else { Cause::Closed }));
}

/// The deadline only ever moves forward, whichever answer comes first.
fn two_renewals_leave_the_later_deadline() {
    let tenure = begun(100);
    let [early, late] = [(); 2].map(|()| Arc::clone(&tenure));
    let threads = [
        thread::spawn(move || early.renew(at(10), until(200))),
        thread::spawn(move || late.renew(at(20), until(300))),
    ];
    let seen = [tenure.deadline(), tenure.deadline()];
    assert!(seen[0] <= seen[1]);
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(tenure.deadline(), until(300));
}

/// Whoever waits for the loss is woken, whenever it came.
fn whoever_waits_for_the_loss_is_woken() {
    let tenure = begun(100);
    let watch = Arc::clone(&tenure);
    let waiter = thread::spawn(move || loom::future::block_on(watch.lost()));
    let sees = !tenure.is_valid(at(100));
    assert!(sees);
    assert_eq!(waiter.join().unwrap(), Cause::Expired);
}

/// Dropped while somebody waits: the wait ends.
fn whoever_waits_is_told_that_there_is_nobody_left_to_lose_it() {
    let tenure = Tenure::new();
    tenure.begin(until(100));
    let mut lost = tenure.subscribe();
    let waiter = thread::spawn(move || loom::future::block_on(lost.wait_for(Option::is_some)));
    drop(tenure);
    assert!(waiter.join().unwrap().is_err());
}

fn main() {
    let models: [(&str, fn()); 5] = [
        ("what_somebody_saw_end_is_never_held_again", what_somebody_saw_end_is_never_held_again),
        (
            "it_is_lost_once_for_one_reason_whoever_renews_meanwhile",
            it_is_lost_once_for_one_reason_whoever_renews_meanwhile,
        ),
        ("two_renewals_leave_the_later_deadline", two_renewals_leave_the_later_deadline),
        ("whoever_waits_for_the_loss_is_woken", whoever_waits_for_the_loss_is_woken),
        (
            "whoever_waits_is_told_that_there_is_nobody_left_to_lose_it",
            whoever_waits_is_told_that_there_is_nobody_left_to_lose_it,
        ),
    ];
    // As the usual harness, what is named on the command line is played, or all.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    for (name, model) in models {
        if wanted.is_empty() || wanted.iter().any(|word| name.contains(word.as_str())) {
            loom::model(model);
            println!("model {name} ... ok");
        }
    }
}
