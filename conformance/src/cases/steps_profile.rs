//! What is declared is there, what is not declared is refused.

use tooz_core::backend::{Fencing, Liveness};
use tooz_core::{Effect, ErrorKind, FencingToken};

use crate::World;
use crate::world::{lock, name};

/// Facets are there exactly where they are declared, and the driver promises no more than its sessions keep.
pub(super) async fn facets_are_there_as_declared(world: &World) {
    let a = world.open("a").await;
    let profile = a.backend.profile();
    assert!(!profile.store.is_empty());
    assert_eq!(profile.locks.is_some(), a.backend.locks().is_some(), "locks");
    assert_eq!(profile.groups.is_some(), a.backend.groups().is_some(), "groups");
    assert_eq!(profile.topics.is_some(), a.backend.topics().is_some(), "topics");
    if let Some(topics) = &profile.topics {
        assert!(topics.largest_body >= 64 * 1024, "a message of {} bytes is none", topics.largest_body);
    }
    if let Liveness::Lease(ttl) = profile.liveness {
        assert!(!ttl.is_zero(), "a lease of no time");
    }
    if let Some(locks) = &profile.locks {
        assert!(!locks.notice.is_zero(), "a notice that takes no time");
        let token = a.take(&a.claim_on(&lock("nightly"))).await.token;
        if locks.fencing != Fencing::None {
            assert!(token > FencingToken::new(0), "fencing is declared, but the token is {token}");
        }
    }
    let usual = world.harness().driver().profile();
    assert_eq!(usual.store, profile.store);
    assert_eq!(usual.store, world.harness().driver().name());
}

/// Shared claims are refused as unsupported where they are not declared, and leave nothing.
pub(super) async fn shared_claims_are_refused_where_undeclared(world: &World) {
    let a = world.open("a").await;
    let profile = a.backend.profile();
    let Some(locks) = a.backend.locks() else { return };
    if profile.locks.as_ref().is_some_and(|locks| locks.shared) {
        return;
    }
    let claim = a.shared_on(&lock("nightly"));
    for refused in [locks.claim(&claim).await.map(drop), locks.try_claim(&claim).await.map(drop)] {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unsupported);
    }
    let queue = a.queue(&lock("nightly")).await;
    assert!(queue.holders.is_empty() && queue.waiting.is_empty(), "{queue:?}");
}

/// A step that was refused for good says that it changed nothing.
pub(super) async fn errors_say_whether_the_store_changed(world: &World) {
    let a = world.open("a").await;
    a.backend.close().await.unwrap();
    if let Some(locks) = a.backend.locks() {
        assert_eq!(locks.claim(&a.claim_on(&lock("x"))).await.unwrap_err().effect(), Effect::None);
    }
    if let Some(groups) = a.backend.groups() {
        let refused = groups.join(&a.enrolment(&name("x"), b"\xc0")).await;
        assert_eq!(refused.unwrap_err().effect(), Effect::None);
    }
}
