//! Sessions: proofs, ends, and the store they live in.

use super::*;

#[tokio::test(start_paused = true)]
async fn every_wait_ends_with_its_session() {
    let (store, clock) = (Store::named("t-ends"), clock());
    let (a, b) = (Client::open(&store, "a", &clock).await, Client::open(&store, "b", &clock).await);
    b.held(&b.exclusive()).await;
    a.groups().create(&name("blue")).await.unwrap();
    let enrolment = a.enrolment(b"\xc0");
    assert_eq!(a.groups().join(&enrolment).await.unwrap(), Joined::Done);
    let other = a.claim("other", Mode::Exclusive);
    a.held(&other).await;
    let (seat_mark, roster_mark) = (
        a.locks().queue(&other.seat).await.unwrap().mark,
        a.groups().members(&name("blue")).await.unwrap().unwrap().mark,
    );

    let turn = a.waiting(&a.exclusive()).await;
    let locks = Arc::clone(&a.backend);
    let nothing = Seat::Lock(name("nothing"));
    let nothing_mark = a.locks().queue(&nothing).await.unwrap().mark;
    let waits = tokio::spawn(async move {
        let (locks, groups) = (locks.locks().unwrap(), locks.groups().unwrap());
        let (blue, red) = (name("blue"), name("red"));
        tokio::join!(
            locks.ousted(&other),
            locks.stirred(&other.seat, seat_mark),
            locks.stirred(&nothing, nothing_mark),
            groups.expelled(&enrolment),
            groups.stirred(&blue, Some(roster_mark)),
            groups.stirred(&red, None),
        )
    });
    let lost = tokio::spawn({
        let backend = Arc::clone(&a.backend);
        async move { backend.lost().await }
    });
    tokio::task::yield_now().await;
    assert!(!lost.is_finished() && !waits.is_finished() && !turn.is_finished());

    assert_eq!(store.expire("a"), [a.session]);
    assert_eq!(turn.await.unwrap(), Turn::AskAgain);
    assert_eq!(lost.await.unwrap(), Cause::SessionEnded);
    waits.await.unwrap();
    let error = a.locks().claim(&a.exclusive()).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::SessionLost, Effect::None));
    assert!(error.to_string().contains("\"a\""), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_proof_counts_from_the_clock_of_its_own_coordinator() {
    let (store, clock) = (Store::named("t-proof"), clock());
    let a = Client::open(&store, "a", &clock).await;
    let opened_at = clock.now();
    assert_eq!(a.proof, Proof::Lease { sent: opened_at, ttl: TTL });
    assert_eq!(a.backend.profile().liveness, Liveness::Lease(TTL));

    // The store's time moves, the coordinator's does not.
    store.advance(TTL / 2);
    let grant = a.held(&a.exclusive()).await;
    assert_eq!(grant.proof, a.proof);
    tokio::time::advance(Duration::from_secs(1)).await;
    let sent = clock.now();
    assert_eq!(a.backend.renew(&[], &[]).await.unwrap().proof, Proof::Lease { sent, ttl: TTL });
}

#[tokio::test(start_paused = true)]
async fn advancing_the_store_ends_sessions_at_once_and_rearms_their_ears() {
    let (store, clock) = (Store::named("t-advance"), clock());
    let (a, b) = (Client::open(&store, "a", &clock).await, Client::open(&store, "b", &clock).await);
    a.held(&a.exclusive()).await;
    let turn = b.waiting(&b.exclusive()).await;
    store.advance(TTL - Duration::from_secs(1));
    b.backend.renew(&[], &[]).await.unwrap();

    // One second is left of `a`, although its timer was set for ten.
    let before = clock.now();
    assert!(matches!(turn.await.unwrap(), Turn::Granted(_)));
    assert!(clock.now().since(before) <= Duration::from_millis(1002));
    store.advance(TTL);
    assert_eq!(b.backend.lost().await, Cause::SessionEnded);
    assert_eq!(store.leftovers(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_member_that_is_cut_off_neither_speaks_nor_hears() {
    let (store, clock) = (Store::named("t-cut"), clock());
    let (a, b) = (Client::open(&store, "a", &clock).await, Client::open(&store, "b", &clock).await);
    let of_a = a.exclusive();
    a.held(&of_a).await;
    store.cut_off("a");
    let error = a.backend.renew(&[], &[]).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unavailable, Effect::None));
    assert_eq!(
        try_open(&store.url(), &opening("a", &clock)).await.err().unwrap().kind(),
        ErrorKind::Unavailable
    );

    store.expire("a");
    let lost = Arc::clone(&a.backend);
    let mut lost = tokio::spawn(async move { lost.lost().await });
    assert!(is_pending(&mut lost).await);
    b.held(&b.exclusive()).await;
    store.reconnect("a");
    assert_eq!(lost.await.unwrap(), Cause::SessionEnded);
}

#[tokio::test(start_paused = true)]
async fn a_closed_session_gives_everything_back_and_stays_closed() {
    let (store, clock) = (Store::named("t-close"), clock());
    let a = Client::open(&store, "a", &clock).await;
    a.held(&a.exclusive()).await;
    a.groups().create(&name("blue")).await.unwrap();
    a.groups().join(&a.enrolment(b"\xc0")).await.unwrap();
    for _ in 0..2 {
        a.backend.close().await.unwrap();
        assert_eq!(a.backend.lost().await, Cause::Closed);
        assert_eq!(store.leftovers(), Vec::<String>::new());
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_without_data_ends_every_session() {
    let (store, clock) = (Store::named("t-restart"), clock());
    let a = Client::open(&store, "a", &clock).await;
    let grant = a.held(&a.exclusive()).await;
    store.restart(Data::Kept);
    assert_eq!(store.snapshot().held.len(), 1);

    store.restart(Data::Lost);
    assert_eq!(a.backend.lost().await, Cause::SessionEnded);
    let b = Client::open(&store, "b", &clock).await;
    assert!(b.held(&b.exclusive()).await.token > grant.token);
}

#[tokio::test(start_paused = true)]
async fn a_store_lives_while_it_is_used_and_its_tokens_grow_for_ever() {
    let clock = clock();
    let store = Store::named("t-lives");
    let a = Client::open(&store, "a", &clock).await;
    drop(store);
    assert_eq!(Store::named("t-lives").snapshot().sessions.len(), 1);
    assert!(Store::named("t-lives2").snapshot().sessions.is_empty());
    let token = a.held(&a.exclusive()).await.token;
    drop(a);

    let store = Store::named("t-lives");
    assert!(store.snapshot().sessions.is_empty());
    let b = Client::open(&store, "b", &clock).await;
    assert!(b.held(&b.exclusive()).await.token > token);
}
