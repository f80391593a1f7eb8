//! The driver against the pure reference.

use crate::{World, volume};
use crate::model::agree;

/// Drawn histories of three members, with claims repeated, withdrawn, made void and evicted, and groups
/// made, joined, left and deleted: the driver reports the facts that the reference reports.
pub(super) async fn the_driver_agrees_with_the_reference(world: &World) {
    let mut sessions = Vec::new();
    for member in ["a", "b", "c"] {
        sessions.push(world.open(member).await);
    }
    let (seed, rounds) = (volume::seed().unwrap_or(1), volume::rounds(100));
    let profile = sessions[0].backend.profile().clone();
    let rounds = u32::try_from(rounds).unwrap_or(u32::MAX);
    if let Err(difference) = agree(&sessions, &profile, rounds, seed).await {
        panic!("seed {seed}: {difference}");
    }
}
