//! Blocking calls, wherever they are made.

#![allow(clippy::unwrap_used)] // a failed assumption here is a failed test

use std::sync::mpsc;
use std::time::Duration;

use tooz_core::blocking::Coordinator;
use tooz_core::{Capabilities, Cause, MembershipState, Name, Observation, Registry, State, blocking};

fn open(store: &str, member: &str) -> Coordinator {
    blocking::connect(Registry::embedded().builder(format!("memory://{store}")).member(member)).unwrap()
}

/// A task may go on for so long before it has to yield, which blocking code never does.
#[test]
fn blocking_calls_within_a_task_go_on_for_ever() {
    let (done, told) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let coord = blocking::connect(Registry::embedded().builder("memory://blocking-budget")).unwrap();
            let group = coord.group("g");
            group.create().unwrap();
            for _ in 0..200 {
                group.join(&()).unwrap().leave().unwrap();
            }
            coord.close().unwrap();
        });
        done.send(()).unwrap();
    });
    told.recv_timeout(Duration::from_secs(30)).expect("the calls end");
}

/// What a program keeps of how things stand is its own: a look that is held on to stops no heartbeat and no closing.
#[test]
fn a_look_at_the_state_that_is_held_on_to_holds_up_nobody() {
    let (done, told) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let coord = Registry::embedded().builder("memory://blocking-look").connect().await.unwrap();
            let state = coord.state();
            if let State::Connected = state.borrow() {
                coord.close().await.unwrap();
            }
            assert_eq!(state.borrow(), State::Closed);
        });
        done.send(()).unwrap();
    });
    told.recv_timeout(Duration::from_secs(30)).expect("closing ends");
}

#[test]
fn a_queue_is_watched_and_a_guard_tells_what_it_is() {
    let (a, b) = (open("blocking-queue", "a"), open("blocking-queue", "b"));
    let guard = a.lock("nightly").acquire().unwrap();
    assert_eq!((guard.name(), guard.deadline().is_some()), (Name::new("nightly").unwrap(), true));
    assert!(guard.remaining().is_some_and(|left| left > Duration::ZERO));
    #[cfg(unix)]
    assert!(guard.tether().is_none(), "only the kernel's locks have one");
    let mut view = b.lock("nightly").watch().unwrap();
    assert_eq!(view.borrow().holders[0].claim, Some(guard.claim_id()));
    let hold = guard.hold();

    guard.release().unwrap();

    assert_eq!(hold.lost_blocking(), Cause::Closed);
    while !view.borrow().holders.is_empty() {
        view.changed().unwrap();
    }
    a.close().unwrap();
    b.close().unwrap();
}

#[test]
fn candidates_are_watched_and_a_leadership_is_a_guard() {
    let (a, b) = (open("blocking-lead", "a"), open("blocking-lead", "b"));
    let (election, other) = (a.group("g").election(), b.group("g").election());
    let term = election.campaign("a:1").unwrap();
    assert_eq!((term.token(), term.guard().fencing_token()), (term.term(), term.term()));
    assert!(term.deadline().is_some() && term.remaining().is_some());
    let mut view = other.watch().unwrap();
    assert_eq!(view.borrow().holders[0].claim, Some(term.guard().claim_id()));
    let observer = other.observe().unwrap();
    assert!(matches!(observer.borrow(), Observation::Held(leader) if leader.term == Some(term.term())));

    let candidate = std::thread::spawn(move || other.campaign("b:1").unwrap());
    while view.borrow().waiting.is_empty() {
        view.changed().unwrap();
    }
    assert_eq!(election.queue().unwrap().waiting.len(), 1);
    term.resign().unwrap();
    candidate.join().unwrap().detach();

    assert_eq!(election.leader().unwrap().unwrap().value.unwrap(), "b:1", "a detached leader leads on");
    a.close().unwrap();
    b.close().unwrap();
}

#[test]
fn a_membership_tells_where_it_stands() {
    let coord = open("blocking-member", "a");
    let group = coord.group("g");
    group.create().unwrap();
    let me = group.join_with(Capabilities::of(&1).unwrap()).unwrap();
    assert_eq!((me.group().as_str(), me.member().as_str()), ("g", "a"));
    me.update_with(Capabilities::of(&2).unwrap()).unwrap();
    assert_eq!(group.members().unwrap().get("a").unwrap().capabilities().read::<u8>().unwrap(), 2);
    let mut state = me.watch_state();
    assert_eq!(state.borrow_and_update(), MembershipState::Joined);
    let watching = std::thread::spawn(move || state.wait_for(|state| *state == MembershipState::Left));
    me.leave().unwrap();
    assert_eq!(watching.join().unwrap().unwrap(), MembershipState::Left);

    let part = coord.group("pool").join_partitioned(1).unwrap();
    assert_eq!(part.membership().group().as_str(), "pool");
    part.leave().unwrap();
    coord.close().unwrap();
}

#[test]
fn a_coordinator_tells_what_it_is_and_how_it_stands() {
    let coord = open("blocking-told", "a");
    assert_eq!((coord.endpoint().scheme(), coord.profile().store), ("memory", "memory"));
    assert!(coord.margin() > Duration::ZERO && coord.session().is_some());
    let mut state = coord.watch_state();
    assert_eq!(state.borrow(), State::Connected);
    let watching = std::thread::spawn(move || {
        state.changed().unwrap();
        state.wait_for(|state| *state == State::Closed)
    });
    coord.close().unwrap();
    assert_eq!(watching.join().unwrap().unwrap(), State::Closed);
    let mut over = coord.watch_state();
    assert_eq!(over.changed().unwrap_err().kind(), tooz_core::ErrorKind::Closed);
    assert_eq!(coord.session(), None);
}
