//! What a proxy was told to do.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::{Counts, Protocol};

/// A direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From clients to the server.
    Up,
    /// From the server to clients.
    Down,
    /// Both.
    Both,
}

/// What is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The request: the server never hears it.
    Request,
    /// The answer: the server has done what was asked.
    Reply,
}

/// What becomes of new connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    Open,
    Deaf,
    Shut,
}

/// What holds now.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) server: SocketAddr,
    pub(super) door: Door,
    pub(super) delay: Duration,
    pub(super) rate: Option<u32>,
    pub(super) generation: u64,
    up_cut: bool,
    down_cut: bool,
}

impl Rules {
    pub(super) fn cut(&mut self, way: Way) {
        self.up_cut |= way != Way::Down;
        self.down_cut |= way != Way::Up;
    }

    pub(super) fn join(&mut self) {
        (self.up_cut, self.down_cut, self.door) = (false, false, Door::Open);
    }

    /// Whether nothing passes in one direction.
    pub(super) fn is_cut(&self, way: Way) -> bool {
        (self.up_cut && way != Way::Down) || (self.down_cut && way != Way::Up)
    }
}

/// The rules, the losses to come and the counts of one proxy.
#[derive(Debug)]
pub(super) struct Control {
    pub(super) protocol: Protocol,
    rules: watch::Sender<Rules>,
    losses: Mutex<VecDeque<(Loss, String)>>,
    counts: Mutex<Counts>,
}

impl Control {
    pub(super) fn new(server: SocketAddr, protocol: Protocol) -> Self {
        let rules = Rules {
            server,
            door: Door::Open,
            delay: Duration::ZERO,
            rate: None,
            generation: 0,
            up_cut: false,
            down_cut: false,
        };
        let rules = watch::Sender::new(rules);
        Self { protocol, rules, losses: Mutex::default(), counts: Mutex::default() }
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Rules)) {
        self.rules.send_modify(change);
    }

    pub(super) fn rules(&self) -> watch::Receiver<Rules> {
        self.rules.subscribe()
    }

    pub(super) fn door(&self) -> Door {
        self.rules.borrow().door
    }

    /// Ends at the next reset.
    pub(super) async fn until_reset(&self) {
        let mut rules = self.rules();
        let now = rules.borrow().generation;
        let _ = rules.wait_for(|rules| rules.generation != now).await; // the sender is ours, so it lives
    }

    pub(super) fn count(&self, count: impl FnOnce(&mut Counts)) {
        count(&mut locked(&self.counts));
    }

    pub(super) fn counts(&self) -> Counts {
        locked(&self.counts).clone()
    }

    pub(super) fn lose_next(&self, loss: Loss, text: &str) {
        locked(&self.losses).push_back((loss, text.to_owned()));
    }

    /// What is to be lost of this request: the first loss in line that means it.
    pub(super) fn loss_of(&self, request: &[u8]) -> Option<Loss> {
        let mut losses = locked(&self.losses);
        let meant =
            |text: &str| text.is_empty() || request.windows(text.len()).any(|part| part == text.as_bytes());
        let found = losses.iter().position(|(_, text)| meant(text))?;
        losses.remove(found).map(|(loss, _)| loss)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
