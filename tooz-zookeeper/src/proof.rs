//! Until when a ZooKeeper session is proved to live. Pure arithmetic, no clock.
//!
//! A server answers reads, pings and even `sync` while it is cut off from its peers, and the leader, which
//! alone ends sessions, hears of a follower's clients only with the pings it sends every half tick. So an
//! answer by itself proves nothing. But a *committed write* shows that its server was connected to the leader
//! when it was sent, and if another request had been answered by then for more than half a tick, the leader
//! has heard of that one:
//!
//! ```text
//! proved = the sending of the newest request that was sent T/4 and answered T/5 before the sending of an
//!          answered write
//! ```
//!
//! `T/5` is longer than half a tick as long as `T` is four ticks or more, which
//! [`connect`](crate::connect) sees to. Creating a session is a write of its own and proves its own sending. A client that reconnects is
//! vouched for by the leader before anything else is answered, so the rule needs no memory of connections.

use std::collections::VecDeque;
use std::time::Duration;

use tooz_core::Moment;
use tooz_core::backend::Proof;

/// How many answered requests are remembered.
const REMEMBERED: usize = 16;

/// A request that was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Answered {
    sent: Moment,
    at: Moment,
}

/// What the answers so far prove.
#[derive(Clone, Debug)]
pub(crate) struct Proofs {
    ttl: Duration,
    proved: Moment,
    answered: VecDeque<Answered>,
}

impl Proofs {
    /// A session whose creation was sent at `sent` and granted `ttl`.
    pub(crate) fn new(sent: Moment, ttl: Duration) -> Self {
        Self { ttl, proved: sent, answered: VecDeque::new() }
    }

    /// The newest proof.
    pub(crate) fn newest(&self) -> Proof {
        Proof::Lease { sent: self.proved, ttl: self.ttl }
    }

    /// A write that was sent at `sent` was answered at `at`.
    pub(crate) fn committed(&mut self, sent: Moment, at: Moment) {
        let (ttl, proved) = (self.ttl, &mut self.proved);
        let is_vouched = |older: &Answered| older.sent + ttl / 4 <= sent && older.at + ttl / 5 <= sent;
        self.answered.retain(|older| {
            let vouched = is_vouched(older);
            if vouched {
                *proved = (*proved).max(older.sent);
            }
            !vouched
        });
        self.remember(Answered { sent, at });
    }

    /// The mistake that the rule is there for: takes any answer as a proof of its own sending.
    #[cfg(feature = "testing")]
    pub(crate) fn believe(&mut self, sent: Moment) {
        self.proved = self.proved.max(sent);
    }

    /// Keeps one answer in each `T/16`, the first one: where there are many, little is lost by it.
    fn remember(&mut self, answer: Answered) {
        let spacing = self.ttl / 16;
        let crowded = self.answered.back().is_some_and(|last| answer.sent < last.sent + spacing);
        if !crowded && self.answered.len() < REMEMBERED {
            self.answered.push_back(answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const T: Duration = Duration::from_secs(20);

    fn at(ms: u64) -> Moment {
        Moment::ORIGIN + Duration::from_millis(ms)
    }

    fn sent(proofs: &Proofs) -> Moment {
        match proofs.newest() {
            Proof::Lease { sent, ttl } => {
                assert_eq!(ttl, T);
                sent
            }
            Proof::Kernel => panic!("a session is a lease"),
        }
    }

    /// Interleaving 3: what was proved when nothing was claimed before.
    #[test]
    fn the_creation_of_a_session_proves_its_own_sending() {
        assert_eq!(sent(&Proofs::new(at(7), T)), at(7));
    }

    /// Interleaving 1: the answer of a write vouches for those before it, never for itself.
    #[test]
    fn a_write_proves_the_one_before_it_and_never_itself() {
        let mut proofs = Proofs::new(at(0), T);
        proofs.committed(at(7_000), at(7_010));
        assert_eq!(sent(&proofs), at(0));
        proofs.committed(at(14_000), at(14_010));
        assert_eq!(sent(&proofs), at(7_000));
        proofs.committed(at(21_000), at(21_010));
        assert_eq!(sent(&proofs), at(14_000));
    }

    #[test]
    fn a_write_sent_too_soon_after_another_proves_nothing_of_it() {
        let mut proofs = Proofs::new(at(0), T);
        proofs.committed(at(7_000), at(7_010));
        proofs.committed(at(11_999), at(12_010));
        assert_eq!(sent(&proofs), at(0));
        proofs.committed(at(12_000), at(12_020));
        assert_eq!(sent(&proofs), at(7_000));
    }

    /// A request that was held up on its way reached the server when it was answered, not when it was sent.
    #[test]
    fn a_write_sent_right_after_a_late_answer_proves_nothing_of_it() {
        let mut proofs = Proofs::new(at(0), T);
        proofs.committed(at(1_000), at(7_000));
        proofs.committed(at(7_001), at(7_010));
        assert_eq!(sent(&proofs), at(0));
        proofs.committed(at(11_000), at(11_010));
        assert_eq!(sent(&proofs), at(1_000));
    }

    /// Interleaving 3: beats go on while nothing is held, and never too close to each other.
    #[test]
    fn beats_every_third_of_the_ttl_keep_more_than_a_fifth_of_it_ahead() {
        let mut proofs = Proofs::new(at(0), T);
        for beat in 1..50_u64 {
            let now = beat * 7_400; // a third and ten percent
            proofs.committed(at(now), at(now + 200));
            let left = (sent(&proofs) + T).since(at(now + 7_400));
            assert!(beat < 2 || left > T / 5, "{left:?} left before beat {}", beat + 1);
        }
    }

    proptest! {
        /// However many writes there are: memory stays bounded, the proof never goes back and is never younger
        /// than a quarter of the time to live before the newest write.
        #[test]
        fn proofs_never_go_back_nor_too_far(steps in prop::collection::vec((0_u64..3_000, 0_u64..2_000), 1..200)) {
            let mut proofs = Proofs::new(at(0), T);
            let (mut now, mut last) = (0, at(0));
            for (pause, delay) in steps {
                now += pause;
                proofs.committed(at(now), at(now + delay));
                let proved = sent(&proofs);
                prop_assert!(proved >= last && (proved == at(0) || proved + T / 4 <= at(now)));
                prop_assert!(proofs.answered.len() <= REMEMBERED);
                last = proved;
            }
        }
    }
}
