//! Turns: hand-over, eviction, many waiters.

use super::*;

#[tokio::test(start_paused = true)]
async fn release_wakes_the_next_with_its_grant() {
    let (store, clock) = (Store::named("t-release"), clock());
    let (a, b) = (Client::open(&store, "a", &clock).await, Client::open(&store, "b", &clock).await);
    let (of_a, of_b) = (a.exclusive(), b.exclusive());
    let first = a.held(&of_a).await;
    let mut turn = b.waiting(&of_b).await;
    assert!(is_pending(&mut turn).await);

    assert_eq!(a.locks().withdraw(&of_a, Doubt::None).await.unwrap(), Withdrawn::Removed);
    let Turn::Granted(second) = turn.await.unwrap() else { panic!("not granted") };
    assert!(second.token > first.token);

    a.backend.close().await.unwrap();
    b.backend.close().await.unwrap();
    assert_eq!(store.leftovers(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn the_seat_of_a_dropped_backend_passes_on_when_its_time_is_up() {
    let (store, clock) = (Store::named("t-orphan"), clock());
    let (a, b) = (Client::open(&store, "a", &clock).await, Client::open(&store, "b", &clock).await);
    a.held(&a.exclusive()).await;
    let start = clock.now();
    let turn = b.waiting(&b.exclusive()).await;
    drop(a.backend);
    tokio::time::sleep(TTL / 2).await;
    b.backend.renew(&[], &[]).await.unwrap();

    // Nobody takes a step meanwhile: the ear of `b` notices.
    assert!(matches!(turn.await.unwrap(), Turn::Granted(_)));
    let passed = clock.now().since(start);
    assert!(passed >= TTL && passed < TTL + Duration::from_millis(5), "{passed:?}");
}

/// Interleaving 6: whoever was told to let go, or was thrown out, hears of it at once.
#[tokio::test(start_paused = true)]
async fn a_holder_hears_of_its_eviction_at_once() {
    let (store, clock) = (Store::named("t-evict"), clock());
    let (a, b) = (Client::open(&store, "a", &clock).await, Client::open(&store, "b", &clock).await);
    for how in [Eviction::Notice, Eviction::Force] {
        let claim = a.exclusive();
        a.held(&claim).await;
        let (backend, of_a) = (Arc::clone(&a.backend), claim.clone());
        let mut ousted = tokio::spawn(async move { backend.locks().unwrap().ousted(&of_a).await });
        assert!(is_pending(&mut ousted).await);

        assert_eq!(b.locks().evict(&claim.seat, how, &[]).await.unwrap(), [claim.id]);
        ousted.await.unwrap();
        a.locks().withdraw(&claim, Doubt::None).await.unwrap();
    }
}

/// Interleaving 7, through the driver.
#[tokio::test(start_paused = true)]
async fn a_void_claim_is_answered_as_closed() {
    let (store, clock) = (Store::named("t-void"), clock());
    let a = Client::open(&store, "a", &clock).await;
    let claim = a.exclusive();
    assert_eq!(a.locks().withdraw(&claim, Doubt::MayLand).await.unwrap(), Withdrawn::Absent);
    assert_eq!(a.locks().claim(&claim).await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(a.locks().try_claim(&claim).await.unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_hand_over_among_many_waiters_wakes_one() {
    const WAITERS: usize = 2000;
    let (store, clock) = (Store::named("t-many"), clock());
    let a = Client::open(&store, "a", &clock).await;
    let holder = a.exclusive();
    a.held(&holder).await;
    let claims: Vec<Claim> = (0..WAITERS).map(|_| a.exclusive()).collect();
    let mut waits: Vec<_> = Vec::new();
    for claim in &claims {
        let Standing::Waiting(position) = a.locks().claim(claim).await.unwrap() else { panic!("held") };
        let (backend, claim) = (Arc::clone(&a.backend), claim.clone());
        waits.push(polled(async move { backend.locks().unwrap().turn(&claim, &position).await }));
    }
    waits.iter_mut().for_each(|wait| assert!(wait.poll().is_none()));
    waits.iter_mut().for_each(|wait| assert!(!wait.woken()));

    a.locks().withdraw(&holder, Doubt::None).await.unwrap();
    let woken: Vec<usize> = (0..WAITERS).filter(|i| waits[*i].woken()).collect();
    assert_eq!(woken, [0]);
    assert!(matches!(waits[0].poll(), Some(Turn::Granted(_))));

    // One that gives up in the middle of the queue wakes only its own wait.
    a.locks().withdraw(&claims[1000], Doubt::None).await.unwrap();
    assert_eq!((1..WAITERS).filter(|i| waits[*i].woken()).collect::<Vec<_>>(), [1000]);
    assert_eq!(waits[1000].poll(), Some(Turn::AskAgain));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_wait_leaves_nothing_behind() {
    let (store, clock) = (Store::named("t-dropped"), clock());
    let (a, b) = (Client::open(&store, "a", &clock).await, Client::open(&store, "b", &clock).await);
    let of_b = b.exclusive();
    b.held(&of_b).await;
    tokio::task::yield_now().await;
    let shared = crate::memory::shared::Shared::named(store.name());
    let bells = shared.bells();

    let mark = a.locks().queue(&of_b.seat).await.unwrap().mark;
    for _ in 0..100 {
        let mut wait = polled({
            let (backend, seat) = (Arc::clone(&a.backend), of_b.seat.clone());
            async move { backend.locks().unwrap().stirred(&seat, mark).await }
        });
        assert!(wait.poll().is_none());
    }
    assert_eq!(shared.bells(), bells);
}
