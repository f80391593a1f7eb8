//! Shared claims: together with each other, never with an exclusive one.

use tooz_core::Mode;

use crate::World;
use crate::world::lock;

/// Readers hold together, each with a token of its own.
pub(super) async fn readers_hold_together(world: &World) {
    let (a, b, seat) = (world.open("a").await, world.open("b").await, lock("nightly"));
    let (one, two) = (a.shared_on(&seat), b.shared_on(&seat));
    let (first, second) = (a.take(&one).await, b.take(&two).await);
    assert!(first.token < second.token);
    assert_eq!(a.take(&one).await.token, first.token, "sent again");

    let queue = a.queue(&seat).await;
    let holders: Vec<_> = queue.holders.iter().map(|holder| (holder.claim, holder.mode)).collect();
    assert_eq!(holders, [(Some(one.id), Mode::Shared), (Some(two.id), Mode::Shared)]);
}

/// A writer waits for the last reader.
pub(super) async fn a_writer_waits_for_the_last_reader(world: &World) {
    let (a, b, c, seat) =
        (world.open("a").await, world.open("b").await, world.open("c").await, lock("nightly"));
    let (one, two, writer) = (a.shared_on(&seat), b.shared_on(&seat), c.claim_on(&seat));
    a.take(&one).await;
    b.take(&two).await;
    c.enqueue(&writer).await;
    assert_eq!(c.attempt(&c.claim_on(&seat)).await, None);

    a.give_back(&one).await;
    c.enqueue(&writer).await;
    b.give_back(&two).await;
    c.hold(&writer).await;
    assert_eq!(a.attempt(&a.shared_on(&seat)).await, None);
}

/// A reader waits for the writer.
pub(super) async fn a_reader_waits_for_the_writer(world: &World) {
    let (a, b, seat) = (world.open("a").await, world.open("b").await, lock("nightly"));
    let (writer, reader) = (a.claim_on(&seat), b.shared_on(&seat));
    a.take(&writer).await;
    assert_eq!(b.attempt(&b.shared_on(&seat)).await, None);
    b.enqueue(&reader).await;
    let (_, ()) = tokio::join!(b.hold(&reader), a.give_back(&writer));
}

/// A reader does not overtake a writer that waits, so that writers do not starve.
pub(super) async fn a_reader_does_not_overtake_a_waiting_writer(world: &World) {
    let (a, b, c, seat) =
        (world.open("a").await, world.open("b").await, world.open("c").await, lock("nightly"));
    let (reader, writer, late) = (a.shared_on(&seat), b.claim_on(&seat), c.shared_on(&seat));
    a.take(&reader).await;
    b.enqueue(&writer).await;
    assert_eq!(c.attempt(&c.shared_on(&seat)).await, None);
    c.enqueue(&late).await;

    a.give_back(&reader).await;
    b.hold(&writer).await;
    c.enqueue(&late).await;
    b.give_back(&writer).await;
    c.hold(&late).await;
}

/// All readers at the head of the queue are let in together, and a reader behind the next writer is not.
pub(super) async fn leading_readers_are_let_in_together(world: &World) {
    let a = world.open("a").await;
    let seat = lock("nightly");
    let first = a.claim_on(&seat);
    a.take(&first).await;
    let (b, c, d, e) =
        (world.open("b").await, world.open("c").await, world.open("d").await, world.open("e").await);
    let (r1, r2, writer, r3) = (b.shared_on(&seat), c.shared_on(&seat), d.claim_on(&seat), e.shared_on(&seat));
    b.enqueue(&r1).await;
    c.enqueue(&r2).await;
    d.enqueue(&writer).await;
    e.enqueue(&r3).await;

    a.give_back(&first).await;
    tokio::join!(b.hold(&r1), c.hold(&r2));
    d.enqueue(&writer).await;
    e.enqueue(&r3).await;

    b.give_back(&r1).await;
    d.enqueue(&writer).await;
    c.give_back(&r2).await;
    d.hold(&writer).await;
    d.give_back(&writer).await;
    e.hold(&r3).await;
}

/// When a waiting writer gives up, the readers behind it are let in to those who hold.
pub(super) async fn a_writer_that_gives_up_lets_readers_pass(world: &World) {
    let (a, b, c, seat) =
        (world.open("a").await, world.open("b").await, world.open("c").await, lock("nightly"));
    let (reader, writer, late) = (a.shared_on(&seat), b.claim_on(&seat), c.shared_on(&seat));
    a.take(&reader).await;
    b.enqueue(&writer).await;
    c.enqueue(&late).await;
    let (_, ()) = tokio::join!(c.hold(&late), b.give_back(&writer));
    assert_eq!(a.queue(&seat).await.holders.len(), 2);
}

/// A reader whose process was killed does not hold up the writer, nor free the seat of the other readers.
pub(super) async fn a_dead_reader_frees_only_its_own_share(world: &World) {
    let (a, b, c, seat) =
        (world.open("a").await, world.open("b").await, world.open("c").await, lock("nightly"));
    let (dead, alive, writer) = (a.shared_on(&seat), b.shared_on(&seat), c.claim_on(&seat));
    a.take(&dead).await;
    b.take(&alive).await;
    c.enqueue(&writer).await;

    world.crash(a).await;
    c.enqueue(&writer).await;
    b.give_back(&alive).await;
    c.hold(&writer).await;
}
