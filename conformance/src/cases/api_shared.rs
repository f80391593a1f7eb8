//! Shared locks.

use super::queued;
use crate::{World, within};

/// Readers hold together; a writer gets its turn after them, and readers after it.
pub(super) async fn readers_share_and_writers_wait(world: &World) {
    let (a, b, c) = (world.connect("a").await, world.connect("b").await, world.connect("c").await);
    let one = a.lock("data").shared().acquire().await.unwrap();
    let two = b.lock("data").shared().acquire().await.unwrap();
    assert!(one.is_held() && two.is_held());
    assert!(one.fencing_token() < two.fencing_token());
    assert!(c.lock("data").try_acquire().await.unwrap().is_none());

    let writer = tokio::spawn({
        let lock = c.lock("data");
        async move { lock.acquire().await }
    });
    queued(&a, "data", 1).await;
    assert!(a.lock("data").shared().try_acquire().await.unwrap().is_none(), "a reader overtook a writer");
    one.release().await.unwrap();
    assert!(!writer.is_finished());
    two.release().await.unwrap();
    let writer = within("the writer's turn", writer).await.unwrap().unwrap();
    assert!(a.lock("data").shared().try_acquire().await.unwrap().is_none());
    writer.release().await.unwrap();
    drop(within("the reader's turn", a.lock("data").shared().acquire()).await.unwrap());
}

/// Two shared holders of one coordinator are two: dropping one leaves the other.
pub(super) async fn shared_guards_of_one_coordinator_are_two(world: &World) {
    let (a, b) = (world.connect("a").await, world.connect("b").await);
    let one = a.lock("data").shared().acquire().await.unwrap();
    let two = a.lock("data").shared().acquire().await.unwrap();
    one.release().await.unwrap();
    assert!(two.is_held());
    assert!(b.lock("data").try_acquire().await.unwrap().is_none());
    two.release().await.unwrap();
    drop(within("the writer's turn", b.lock("data").acquire()).await.unwrap());
}
