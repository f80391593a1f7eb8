//! What the profile does not declare is refused to users, by kind.

use tooz_core::backend::{Fairness, Fencing};
use tooz_core::{ErrorKind, Requirement};

use crate::World;

/// Undeclared facets are refused as unsupported; declared ones are there.
pub(super) async fn undeclared_facets_are_refused(world: &World) {
    let coord = world.connect("a").await;
    let profile = coord.profile().clone();
    let lock = coord.lock("nightly").acquire().await.map(drop);
    let campaign = coord.group("blue").election().campaign("").await.map(drop);
    for outcome in [lock, campaign] {
        match profile.locks {
            Some(_) => outcome.unwrap(),
            None => assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Unsupported),
        }
    }
    let group = coord.group("blue").create_if_missing().await;
    match profile.groups {
        // Behind a bad network an attempt that went unanswered may have made it.
        Some(_) => assert!(group.unwrap() || world.is_faulty()),
        None => {
            assert_eq!(group.unwrap_err().kind(), ErrorKind::Unsupported);
            assert_eq!(coord.groups().await.unwrap_err().kind(), ErrorKind::Unsupported);
        }
    }
    let published = coord.topic("config").publish("blue").await.map(drop);
    let subscribed = coord.topic("config").subscribe(tooz_core::From::Now).await.map(drop);
    for outcome in [published, subscribed] {
        match profile.topics {
            Some(_) => outcome.unwrap(),
            None => assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Unsupported),
        }
    }
    let shared = coord.lock("shared").shared().acquire().await.map(drop);
    match profile.locks {
        Some(locks) if locks.shared => shared.unwrap(),
        _ => assert_eq!(shared.unwrap_err().kind(), ErrorKind::Unsupported),
    }
}

/// A requirement connects exactly where the profile meets it.
pub(super) async fn requirements_are_checked_when_connecting(world: &World) {
    let profile = world.profile().await;
    let all = [
        Requirement::fencing(Fencing::ClockBound),
        Requirement::fencing(Fencing::Monotonic),
        Requirement::fairness(Fairness::Fifo),
        Requirement::shared_locks(),
        Requirement::push(),
        Requirement::groups(),
        Requirement::topics(),
    ];
    for requirement in all {
        match world.builder("a").require(requirement).connect().await {
            Ok(coord) => {
                assert!(requirement.is_met_by(&profile), "{requirement} is not met, but connects");
                coord.close().await.unwrap();
            }
            Err(error) => {
                assert!(!requirement.is_met_by(&profile), "{requirement} is met, but refused: {error}");
                assert_eq!(error.kind(), ErrorKind::Unsupported);
                assert!(error.to_string().contains(&requirement.to_string()), "{error}");
            }
        }
    }
}

/// Options and URLs that mean nothing are refused before anything is sent.
pub(super) async fn unknown_options_are_refused(world: &World) {
    let url = world.harness().url();
    let sign = if url.contains('?') { '&' } else { '?' };
    let unknown = tooz_core::Registry::new().builder(url.clone()).connect().await.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::UnknownScheme);
    let bad = world.builder_at(format!("{url}{sign}no_such_option=1"), "a").connect().await.unwrap_err();
    assert_eq!(bad.kind(), ErrorKind::InvalidOption);
    assert!(bad.to_string().contains("no_such_option") && bad.to_string().contains("lock_timeout"), "{bad}");
    for member in [String::new(), "x".repeat(256)] {
        let bad = world.builder("a").member(member).connect().await.unwrap_err();
        assert_eq!(bad.kind(), ErrorKind::InvalidName);
    }
}
