//! The driver beside the model, and under real threads.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::*;
use crate::clock::BootClock;
use crate::memory::{Fact, State, Step};

#[tokio::test(start_paused = true)]
async fn the_driver_reports_what_the_model_reports() {
    let (store, clock) = (Store::named("t-model"), clock());
    let mut model = State::new();
    let (a, b) = (Client::open(&store, "a", &clock).await, Client::open(&store, "b", &clock).await);
    for client in [&a, &b] {
        model.open(clock.now(), client.session, &client.member, TTL);
    }
    let (of_a, of_b, reader) = (a.exclusive(), b.exclusive(), a.claim("nightly", Mode::Shared));
    let enrolment = a.enrolment(b"\xc0");
    let steps = [
        (&a, Step::Claim(of_a.clone())),
        (&b, Step::Claim(of_b.clone())),
        (&a, Step::TryClaim(reader.clone())),
        (&a, Step::Claim(reader.clone())),
        (&b, Step::Renew { claims: vec![of_b.clone(), of_a.clone()], memberships: vec![enrolment.clone()] }),
        (&a, Step::Amend(Claim { value: Bytes::from_static(b"v"), ..of_a.clone() })),
        (&b, Step::Queue(of_a.seat.clone())),
        (&b, Step::Evict { seat: of_a.seat.clone(), how: Eviction::Notice, only: vec![] }),
        (&a, Step::Withdraw(of_a.clone(), Doubt::MayLand)),
        (&b, Step::Claim(of_b.clone())),
        (&a, Step::Join(enrolment.clone())),
        (&a, Step::Create(name("blue"))),
        (&a, Step::Join(enrolment.clone())),
        (&a, Step::Update(Enrolment { capabilities: Bytes::from_static(b"\x80"), ..enrolment.clone() })),
        (&b, Step::Members(name("blue"))),
        (&b, Step::List),
        (&b, Step::Delete(name("blue"))),
        (&a, Step::Leave(enrolment.clone())),
        (&b, Step::Evict { seat: of_b.seat.clone(), how: Eviction::Force, only: vec![of_b.id] }),
        (&a, Step::Claim(reader)),
        (&a, Step::Close),
        (&b, Step::Queue(of_a.seat.clone())),
    ];
    for (client, step) in steps {
        tokio::time::advance(Duration::from_millis(7)).await;
        let fact = step.send(&*client.backend).await.unwrap();
        let expected = model.apply(clock.now(), client.session, &step).unwrap();
        assert_eq!(fact.essence(), expected.essence(), "{step:?}");
    }
    let late = Step::Claim(of_a);
    assert_eq!(late.send(&*a.backend).await.unwrap_err().kind(), ErrorKind::SessionLost);
    let refusal = model.apply(clock.now(), a.session, &late).unwrap_err();
    assert_eq!(refusal.kind(), ErrorKind::SessionLost);
    assert!(
        matches!(store.apply(b.session, &Step::List), Ok(Fact::List(groups)) if groups == [name("blue")])
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn contenders_on_several_threads_exclude_each_other_and_none_is_forgotten() {
    const CONTENDERS: usize = 8;
    const TURNS: usize = 250;
    let store = Store::named("t-threads");
    let clock: Arc<dyn Clock> = Arc::new(BootClock);
    let inside = Arc::new(AtomicU32::new(0));
    let last = Arc::new(AtomicU64::new(0));
    let mut tasks = Vec::new();
    for i in 0..CONTENDERS {
        let client = Client::open(&store, &format!("m{i}"), &clock).await;
        let (inside, last) = (Arc::clone(&inside), Arc::clone(&last));
        tasks.push(tokio::spawn(async move {
            for _ in 0..TURNS {
                client.backend.renew(&[], &[]).await.unwrap();
                let claim = client.exclusive();
                let grant = loop {
                    match client.locks().claim(&claim).await.unwrap() {
                        Standing::Held(grant) => break grant,
                        Standing::Waiting(position) => {
                            if let Turn::Granted(grant) = client.locks().turn(&claim, &position).await {
                                break grant;
                            }
                        }
                    }
                };
                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                let before = last.swap(grant.token.get(), Ordering::SeqCst);
                assert!(before < grant.token.get());
                tokio::task::yield_now().await;
                inside.fetch_sub(1, Ordering::SeqCst);
                assert_eq!(client.locks().withdraw(&claim, Doubt::None).await.unwrap(), Withdrawn::Removed);
            }
            client.backend.close().await.unwrap();
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(store.leftovers(), Vec::<String>::new());
}
