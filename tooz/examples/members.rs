//! A group: join with capabilities, see who is here, follow who comes and goes.
//!
//! ```text
//! cargo run -p tooz --example members
//! ```

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use serde::{Deserialize, Serialize};
use tooz::Event;

mod backend;

#[derive(Debug, Serialize, Deserialize)]
struct Capabilities {
    weight: u32,
}

#[tokio::main]
async fn main() -> tooz::Result<()> {
    let url = backend::url();
    tooz::with(url.clone(), "watcher", |coord| async move {
        let group = coord.group("example-workers");
        group.create_if_missing().await?;
        let mut view = group.watch().await?;

        tooz::with(&url, "worker-1", |worker| async move {
            let membership = worker.group("example-workers").join(&Capabilities { weight: 1 }).await?;
            membership.update(&Capabilities { weight: 3 }).await?;
            membership.leave().await
        })
        .await?;

        // Changes that cancel out between two looks may not be told; the last state always is.
        println!("members now: {:?}", view.borrow().names().collect::<Vec<_>>());
        let mine = group.join(&Capabilities { weight: 7 }).await?;
        loop {
            let event = view.next_event().await?;
            println!("{event:?}");
            if matches!(&event, Event::Joined(member) if member.name() == coord.member()) {
                break;
            }
        }
        for member in &group.members().await? {
            let weight = member.capabilities().read::<Capabilities>()?.weight;
            println!("{} has weight {weight}", member.name());
        }
        mine.leave().await?;
        group.delete().await
    })
    .await
}
