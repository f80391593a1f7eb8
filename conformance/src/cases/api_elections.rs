//! Elections over coordinators.

use std::time::Duration;

use tooz_core::{Cause, ErrorKind, FencingToken, Observation};

use crate::{World, eventually, within};

/// Who campaigns on a vacant seat leads, shows its value, proclaims another, and resigns.
pub(super) async fn a_leader_campaigns_proclaims_and_resigns(world: &World) {
    let (a, b) = (world.connect("a").await, world.connect("b").await);
    let election = a.group("blue").election();
    assert_eq!(election.leader().await.unwrap(), None);
    let term = election.campaign("a:1").await.unwrap();
    assert!(term.is_held());
    let seen = b.group("blue").election().leader().await.unwrap().expect("a leads");
    assert_eq!(seen.value.as_deref(), Some(b"a:1".as_slice()));
    assert_eq!(seen.term, Some(term.term()));
    assert_eq!(seen.member.as_ref().map(AsRef::as_ref), Some("a"));

    term.proclaim("a:2").await.unwrap();
    let seen = b.group("blue").election().leader().await.unwrap().expect("a leads");
    assert_eq!(seen.value.as_deref(), Some(b"a:2".as_slice()));
    assert_eq!(seen.term, Some(term.term()), "proclaiming began a new term");
    term.resign().await.unwrap();
    assert_eq!(b.group("blue").election().leader().await.unwrap(), None);
}

/// At most one leads; the next candidate follows with a larger term, and a try or a limit gives up.
pub(super) async fn one_leads_and_the_next_follows(world: &World) {
    let (a, b) = (world.connect("a").await, world.connect("b").await);
    let first = a.group("blue").election().campaign("a").await.unwrap();
    let election = b.group("blue").election();
    assert!(election.try_campaign("b").await.unwrap().is_none());
    assert!(election.campaign_timeout("b", Duration::from_millis(50)).await.unwrap().is_none());
    let next = tokio::spawn(async move { election.campaign("b").await });
    eventually("see the candidate wait", async || {
        let queue = a.group("blue").election().queue().await.map_err(|e| e.to_string())?;
        if queue.waiting.len() == 1 { Ok(()) } else { Err(format!("{queue:?}")) }
    })
    .await;
    let term = first.term();
    drop(first);
    let second = within("the next term", next).await.unwrap().unwrap();
    assert!(second.term() > term);
    second.resign().await.unwrap();
}

/// An observer sees vacancy, each leader and each value, with terms that never go back.
pub(super) async fn an_observer_sees_vacancy_and_growing_terms(world: &World) {
    let (a, b) = (world.connect("a").await, world.connect("b").await);
    let mut observer = b.group("blue").election().observe().await.unwrap();
    let mut next = async || within("the next observation", observer.next()).await.expect("the observer goes on");
    assert_eq!(next().await, Observation::Vacant);
    let mut last = FencingToken::new(0);
    for round in 0..3 {
        let term = a.group("blue").election().campaign(format!("{round}")).await.unwrap();
        let Observation::Held(leader) = next().await else { panic!("vacant while led") };
        assert_eq!(leader.value.as_deref(), Some(round.to_string().as_bytes()));
        assert!(leader.term.expect("a term") > last);
        last = term.term();
        term.proclaim(format!("{round}+")).await.unwrap();
        let Observation::Held(leader) = next().await else { panic!("vacant while led") };
        assert_eq!(leader.value.as_deref(), Some(format!("{round}+").as_bytes()));
        assert_eq!(leader.term, Some(last));
        term.resign().await.unwrap();
        assert_eq!(next().await, Observation::Vacant);
    }
}

/// A leader that is closed leads no more, and says so.
pub(super) async fn a_closed_leader_leads_no_more(world: &World) {
    let (a, b) = (world.connect("a").await, world.connect("b").await);
    let term = a.group("blue").election().campaign("a").await.unwrap();
    a.close().await.unwrap();
    assert_eq!(term.lost().await, Cause::Closed);
    assert_eq!(term.proclaim("late").await.unwrap_err().kind(), ErrorKind::Lost);
    assert!(b.group("blue").election().try_campaign("b").await.unwrap().is_some());
}

/// The lock and the election of one name are two seats, and so are the elections of two groups.
pub(super) async fn elections_and_locks_of_one_name_are_apart(world: &World) {
    let coord = world.connect("a").await;
    let _lock = coord.lock("blue").try_acquire().await.unwrap().expect("free");
    let _blue = coord.group("blue").election().try_campaign("").await.unwrap().expect("vacant");
    let _green = coord.group("green").election().try_campaign("").await.unwrap().expect("vacant");
}

/// A value beyond the limit is refused.
pub(super) async fn a_value_beyond_the_limit_is_refused(world: &World) {
    let coord = world.connect("a").await;
    let election = coord.group("blue").election();
    let huge = vec![0_u8; 70_000];
    assert_eq!(election.campaign(huge.clone()).await.unwrap_err().kind(), ErrorKind::InvalidValue);
    let term = election.campaign("fine").await.unwrap();
    assert_eq!(term.proclaim(huge).await.unwrap_err().kind(), ErrorKind::InvalidValue);
    assert!(term.is_held());
}
