//! A lease, a fence and two clients that may be paused anywhere, with every order of events: with the fence the register
//! never takes a stale write; without it the same clients write over each other, and with clocks that agree it takes a
//! pause between the look and the write to do so.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a failed assumption here is a failed test

use stateright::{Checker, Model, Property};

const CLIENTS: usize = 2;
/// Grants that are played.
const MOST_GRANTS: u8 = 3;
/// A lease is over with the tick after so many, a claim with the last of them: the margin.
const LEASE: u8 = 2;

/// What a client is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Client {
    Idle,
    /// Granted with this token, claimed for so many ticks of its own clock.
    Holds {
        token: u8,
        left: u8,
    },
    /// It has looked, found that it holds, and is about to write; it may be stopped right here for any time.
    Writes {
        token: u8,
    },
    /// Dead.
    Crashed,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    clients: [Client; CLIENTS],
    /// Who has the lease in the store, and for how many ticks yet.
    lease: Option<(usize, u8)>,
    /// The last token given.
    token: u8,
    /// The largest token that the register has seen.
    fence: u8,
    /// A write by a smaller token came after one by a larger, and was taken.
    stale_taken: bool,
    /// One was refused.
    stale_refused: bool,
    /// Two claimed at once.
    overlap: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Act {
    Acquire(usize),
    Look(usize),
    Write(usize),
    Release(usize),
    Crash(usize),
    /// Time passes, for those who are stopped too: whoever wakes finds the claim over.
    Tick,
}

struct Lease {
    fenced: bool,
    /// Whether claims end a margin before the lease, or a tick after it.
    margin: bool,
}

impl Lease {
    fn claim(&self) -> u8 {
        if self.margin { LEASE } else { LEASE + 2 }
    }
}

impl Model for Lease {
    type State = State;
    type Action = Act;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            clients: [Client::Idle; CLIENTS],
            lease: None,
            token: 0,
            fence: 0,
            stale_taken: false,
            stale_refused: false,
            overlap: false,
        }]
    }

    fn actions(&self, state: &State, acts: &mut Vec<Act>) {
        for (nth, client) in state.clients.iter().enumerate() {
            match client {
                Client::Idle if state.lease.is_none() && state.token < MOST_GRANTS => {
                    acts.push(Act::Acquire(nth))
                }
                Client::Holds { left, .. } => {
                    if *left > 0 {
                        acts.push(Act::Look(nth));
                    }
                    acts.extend([Act::Release(nth), Act::Crash(nth)]);
                }
                Client::Writes { .. } => acts.extend([Act::Write(nth), Act::Crash(nth)]),
                Client::Idle | Client::Crashed => {}
            }
        }
        if state.lease.is_some() {
            acts.push(Act::Tick);
        }
    }

    fn next_state(&self, last: &State, act: Act) -> Option<State> {
        let mut state = last.clone();
        match act {
            Act::Acquire(nth) => {
                state.token += 1;
                state.lease = Some((nth, LEASE));
                state.clients[nth] = Client::Holds { token: state.token, left: self.claim() };
            }
            Act::Look(nth) => {
                let Client::Holds { token, .. } = state.clients[nth] else { return None };
                state.clients[nth] = Client::Writes { token };
            }
            Act::Write(nth) => {
                let Client::Writes { token } = state.clients[nth] else { return None };
                let stale = token < state.fence;
                let taken = !(self.fenced && stale);
                state.stale_taken |= stale && taken;
                state.stale_refused |= stale && !taken;
                state.fence = state.fence.max(token);
                state.clients[nth] = Client::Idle;
                // It writes once and gives back what is still its own.
                state.lease = state.lease.filter(|(owner, _)| *owner != nth);
            }
            Act::Release(nth) => {
                state.clients[nth] = Client::Idle;
                state.lease = state.lease.filter(|(owner, _)| *owner != nth);
            }
            Act::Crash(nth) => state.clients[nth] = Client::Crashed,
            Act::Tick => {
                state.lease = state.lease.and_then(|(owner, left)| Some((owner, left.checked_sub(1)?)));
                for client in &mut state.clients {
                    if let Client::Holds { left, .. } = client {
                        *left = left.saturating_sub(1);
                    }
                }
            }
        }
        let claiming =
            state.clients.iter().filter(|it| matches!(it, Client::Holds { left: 1.., .. })).count();
        state.overlap |= claiming > 1;
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("no stale write is taken", |_, state: &State| !state.stale_taken),
            Property::always("no two claim at once", |_, state: &State| !state.overlap),
            // The models would prove nothing if these could not happen.
            Property::sometimes("a stale write comes", |_, state: &State| {
                state.stale_taken || state.stale_refused
            }),
            Property::sometimes("the second after a crash holds", |_, state: &State| {
                state.clients.contains(&Client::Crashed)
                    && state.clients.iter().any(|it| matches!(it, Client::Holds { token: 2.., .. }))
            }),
        ]
    }
}

#[test]
fn with_a_fence_no_stale_write_is_ever_taken() {
    let checker = Lease { fenced: true, margin: true }.checker().spawn_bfs().join();
    checker.assert_properties();
    assert!(checker.unique_state_count() > 200, "{} states are too few", checker.unique_state_count());
}

#[test]
fn without_a_fence_a_pause_between_look_and_write_is_enough() {
    let checker = Lease { fenced: false, margin: true }.checker().spawn_bfs().join();
    let path = checker.discovery("no stale write is taken").unwrap();
    let acts = path.into_actions();
    assert!(acts.contains(&Act::Tick), "{acts:?}");
    assert!(checker.discovery("no two claim at once").is_none());
}

#[test]
fn a_claim_that_outlives_its_lease_overlaps_the_next_one_and_the_fence_still_holds() {
    let checker = Lease { fenced: true, margin: false }.checker().spawn_bfs().join();
    assert!(checker.discovery("no two claim at once").is_some());
    assert!(checker.discovery("no stale write is taken").is_none());
}
