//! Looks and waits of groups.

use super::*;

#[tokio::test(start_paused = true)]
async fn what_happens_between_a_look_and_its_wait_ends_the_wait() {
    let (store, clock) = (Store::named("t-between"), clock());
    let (a, b) = (Client::open(&store, "a", &clock).await, Client::open(&store, "b", &clock).await);
    let of_b = b.exclusive();

    // Taken and given back: the seat looks as before, and yet it changed.
    let mark = a.locks().queue(&of_b.seat).await.unwrap().mark;
    b.held(&of_b).await;
    b.locks().withdraw(&of_b, Doubt::None).await.unwrap();
    a.locks().stirred(&of_b.seat, mark).await;

    a.groups().create(&name("blue")).await.unwrap();
    a.groups().stirred(&name("blue"), None).await;
    let mark = a.groups().members(&name("blue")).await.unwrap().unwrap().mark;
    assert_eq!(b.groups().join(&b.enrolment(b"\xc0")).await.unwrap(), Joined::Done);
    a.groups().stirred(&name("blue"), Some(mark)).await;
    let roster = a.groups().members(&name("blue")).await.unwrap().unwrap();
    assert_eq!((&roster.members[0].member, roster.members[0].session), (&b.member, Some(b.session)));

    // Nothing happened since.
    let backend = Arc::clone(&a.backend);
    let mut wait =
        tokio::spawn(
            async move { backend.groups().unwrap().stirred(&name("blue"), Some(roster.mark)).await },
        );
    assert!(is_pending(&mut wait).await);
    assert_eq!(b.groups().update(&b.enrolment(b"\x80")).await.unwrap(), Updated::Done);
    wait.await.unwrap();
    assert_eq!(b.groups().leave(&b.enrolment(b"\x80")).await.unwrap(), Left::Done);
    assert_eq!(b.groups().delete(&name("blue")).await.unwrap(), Deleted::Gone);
    assert_eq!(b.groups().create(&name("blue")).await.unwrap(), Created::New);
    assert_eq!(a.groups().list().await.unwrap(), [name("blue")]);
}

#[tokio::test(start_paused = true)]
async fn the_time_a_member_joined_stays_the_same_from_look_to_look() {
    let (store, clock) = (Store::named("t-joined"), clock());
    let a = Client::open(&store, "a", &clock).await;
    a.groups().create(&name("blue")).await.unwrap();
    a.groups().join(&a.enrolment(b"\xc0")).await.unwrap();
    let first = a.groups().members(&name("blue")).await.unwrap();
    tokio::time::advance(Duration::from_secs(3)).await;
    assert_eq!(a.groups().members(&name("blue")).await.unwrap(), first);
    let joined = first.unwrap().members[0].joined_at.unwrap();
    let age = std::time::SystemTime::now().duration_since(joined).unwrap();
    assert!(age < Duration::from_secs(60), "{age:?}");
}
