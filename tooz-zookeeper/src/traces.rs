//! Where this session's claims are known to lie: saves a search, decides nothing.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

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

/// The traces of one session's claims, from being sent to being withdrawn.
#[derive(Debug, Default)]
pub(crate) struct Traces {
    nodes: Mutex<HashMap<ClaimId, Trace>>,
    voids: Mutex<Vec<(ClaimId, Moment)>>,
    any_voids: AtomicBool,
}

impl Traces {
    /// A claim is about to be sent; whether it was never sent before.
    pub(crate) fn begin(&self, claim: ClaimId) -> bool {
        let mut nodes = locked(&self.nodes);
        let fresh = !nodes.contains_key(&claim);
        nodes.insert(claim, Trace::Sent);
        fresh
    }

    /// The claim was found to have exactly this node.
    pub(crate) fn found(&self, claim: ClaimId, node: &str) {
        // Withdrawn meanwhile, it is to stay forgotten.
        if let Some(trace) = locked(&self.nodes).get_mut(&claim) {
            *trace = Trace::At { node: node.to_owned(), waited: false };
        }
    }

    /// The claim came to hold with this node after it had waited: others are likely to wait for it in turn.
    pub(crate) fn came_to_hold(&self, claim: ClaimId, node: &str) {
        if let Some(trace) = locked(&self.nodes).get_mut(&claim) {
            *trace = Trace::At { node: node.to_owned(), waited: true };
        }
    }

    /// Its node, where it came to hold with it after it had waited.
    pub(crate) fn waited(&self, claim: ClaimId) -> Option<String> {
        match locked(&self.nodes).get(&claim) {
            Some(Trace::At { node, waited: true }) => Some(node.clone()),
            _ => None,
        }
    }

    /// Its only node, where that is known.
    pub(crate) fn node(&self, claim: ClaimId) -> Option<String> {
        match locked(&self.nodes).get(&claim) {
            Some(Trace::At { node, .. }) => Some(node.clone()),
            _ => None,
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
