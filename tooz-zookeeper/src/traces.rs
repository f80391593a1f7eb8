//! Where this session's claims are known to lie, and word of each for whoever waits with it or behind it: saves a
//! search or a watch, decides nothing.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;
use tooz_core::{ClaimId, Moment};

use crate::session::locked;

/// What is known of a claim's node.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Trace {
    /// It was sent; there may be none, one or, where an answer was lost, several.
    Sent,
    /// This is its only node; whether it was waited with.
    At { node: String, waited: bool },
}

/// A claim and those who listen for news of it.
#[derive(Debug)]
struct Known {
    trace: Trace,
    /// There once somebody listens; dropped to tell them.
    bell: Option<watch::Sender<()>>,
}

impl Known {
    fn of(trace: Trace) -> Self {
        Self { trace, bell: None }
    }

    fn listen(&mut self) -> Listener {
        Listener(self.bell.get_or_insert_default().subscribe())
    }
}

/// Hears when it is worth a look at the claim: it was withdrawn, is sent again, or was dealt with by others.
#[derive(Debug)]
pub(crate) struct Listener(watch::Receiver<()>);

impl Listener {
    /// Waits for news.
    pub(crate) async fn stirred(mut self) {
        while self.0.changed().await.is_ok() {}
    }
}

/// The traces of one session's claims, from being sent to being withdrawn.
#[derive(Debug, Default)]
pub(crate) struct Traces {
    nodes: Mutex<HashMap<ClaimId, Known>>,
    voids: Mutex<Vec<(ClaimId, Moment)>>,
    any_voids: AtomicBool,
}

impl Traces {
    /// A claim is about to be sent; whether it was never sent before.
    pub(crate) fn begin(&self, claim: ClaimId) -> bool {
        let mut nodes = locked(&self.nodes);
        nodes.insert(claim, Known::of(Trace::Sent)).is_none()
    }

    /// The claim was found to have exactly this node.
    pub(crate) fn found(&self, claim: ClaimId, node: &str) {
        // Withdrawn meanwhile, it is to stay forgotten.
        if let Some(known) = locked(&self.nodes).get_mut(&claim) {
            known.trace = Trace::At { node: node.to_owned(), waited: false };
        }
    }

    /// The claim came to hold with this node after it had waited: others are likely to wait for it in turn.
    pub(crate) fn came_to_hold(&self, claim: ClaimId, node: &str) {
        if let Some(known) = locked(&self.nodes).get_mut(&claim) {
            known.trace = Trace::At { node: node.to_owned(), waited: true };
        }
    }

    /// Its node, where it came to hold with it after it had waited.
    pub(crate) fn waited(&self, claim: ClaimId) -> Option<String> {
        match &locked(&self.nodes).get(&claim)?.trace {
            Trace::At { node, waited: true } => Some(node.clone()),
            _ => None,
        }
    }

    /// Its only node, where that is known.
    pub(crate) fn node(&self, claim: ClaimId) -> Option<String> {
        match &locked(&self.nodes).get(&claim)?.trace {
            Trace::At { node, .. } => Some(node.clone()),
            Trace::Sent => None,
        }
    }

    /// Listens for news of a claim; `None` if it is not this session's, or withdrawn.
    pub(crate) fn listen(&self, claim: ClaimId) -> Option<Listener> {
        locked(&self.nodes).get_mut(&claim).map(Known::listen)
    }

    /// The same, if this is its only node: whoever waits for that one hears in time.
    pub(crate) fn listen_at(&self, claim: ClaimId, node: &str) -> Option<Listener> {
        let mut nodes = locked(&self.nodes);
        let known = nodes.get_mut(&claim)?;
        matches!(&known.trace, Trace::At { node: own, .. } if own == node).then(|| known.listen())
    }

    /// Others have done something to the claim.
    pub(crate) fn ring(&self, claim: ClaimId) {
        if let Some(known) = locked(&self.nodes).get_mut(&claim) {
            known.bell = None;
        }
    }

    /// Others may have done something to any claim.
    pub(crate) fn ring_all(&self) {
        for known in locked(&self.nodes).values_mut() {
            known.bell = None;
        }
    }

    /// The claim is withdrawn.
    pub(crate) fn forget(&self, claim: ClaimId) {
        locked(&self.nodes).remove(&claim);
    }

    /// A mark that makes a claim void is about to be left.
    pub(crate) fn leave_void(&self, claim: ClaimId, now: Moment) {
        let mut voids = locked(&self.voids);
        voids.push((claim, now));
        self.any_voids.store(true, Ordering::SeqCst);
    }

    /// Takes the marks out that were left before this moment: whatever they were for has arrived or never will.
    pub(crate) fn old_voids(&self, before: Moment) -> Vec<ClaimId> {
        if !self.has_voids() {
            return Vec::new();
        }
        let mut voids = locked(&self.voids);
        let old = voids.iter().filter(|(_, left)| *left < before).map(|(claim, _)| *claim).collect();
        voids.retain(|(_, left)| *left >= before);
        self.any_voids.store(!voids.is_empty(), Ordering::SeqCst);
        old
    }

    /// Whether this session left one that still counts: only a claim's own session does. To be asked after the claim was
    /// sent, so that a withdrawal in between either finds its node or is found by it.
    pub(crate) fn has_voids(&self) -> bool {
        self.any_voids.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_known_by_its_node_from_the_finding_to_the_next_sending() {
        let (traces, claim) = (Traces::default(), ClaimId::random());
        assert!(traces.begin(claim));
        assert_eq!(traces.node(claim), None);
        traces.found(claim, "x");
        assert_eq!(traces.node(claim).as_deref(), Some("x"));
        assert_eq!(traces.waited(claim), None);
        traces.came_to_hold(claim, "x");
        assert_eq!(traces.waited(claim).as_deref(), Some("x"));
        assert_eq!(traces.node(claim).as_deref(), Some("x"));
        assert!(!traces.begin(claim), "sent before");
        assert_eq!(traces.node(claim), None, "an attempt under way may make another node");
        traces.forget(claim);
        traces.found(claim, "late");
        traces.came_to_hold(claim, "late");
        assert_eq!(traces.node(claim), None);
    }

    #[tokio::test]
    async fn whoever_listens_hears_when_a_claim_is_rung_sent_again_or_withdrawn_and_not_before() {
        let (traces, claim) = (Traces::default(), ClaimId::random());
        assert!(traces.listen(claim).is_none());
        traces.begin(claim);
        assert!(traces.listen_at(claim, "x").is_none(), "where it lies is not known");
        type Happens = fn(&Traces, ClaimId);
        let dealt_with: Happens = Traces::ring;
        let missed: Happens = |traces, _| traces.ring_all();
        let sent_again: Happens = |traces, claim| assert!(!traces.begin(claim));
        let withdrawn: Happens = Traces::forget;
        for happens in [dealt_with, missed, sent_again, withdrawn] {
            traces.found(claim, "x");
            assert!(traces.listen_at(claim, "y").is_none());
            let (any, at) = (traces.listen(claim).unwrap(), traces.listen_at(claim, "x").unwrap());
            let mut both = std::pin::pin!(futures_util::future::join(any.stirred(), at.stirred()));
            traces.came_to_hold(claim, "x");
            assert!(futures_util::poll!(&mut both).is_pending());
            happens(&traces, claim);
            assert!(futures_util::poll!(&mut both).is_ready());
        }
        assert!(traces.listen(claim).is_none());
    }

    #[test]
    fn void_marks_count_until_they_are_old() {
        let (traces, claim) = (Traces::default(), ClaimId::random());
        assert!(!traces.has_voids());
        traces.leave_void(claim, Moment::from_nanos(5));
        assert_eq!(traces.old_voids(Moment::from_nanos(5)), []);
        assert!(traces.has_voids());
        assert_eq!(traces.old_voids(Moment::from_nanos(6)), [claim]);
        assert!(!traces.has_voids());
    }
}
