//! Two candidates, one leader, and an observer who sees the change of office.
//!
//! ```text
//! cargo run -p tooz --example leader
//! ```

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use tooz::Observation;

mod backend;

#[tokio::main]
async fn main() -> tooz::Result<()> {
    let url = backend::url();
    tooz::with(url.clone(), "candidate-1", |first| async move {
        tooz::with(url, "candidate-2", |second| async move {
            let mut observer = first.group("example").election().observe().await?;

            let term = first.group("example").election().campaign("10.0.0.1:7000").await?;
            println!("candidate-1 leads: term {}", term.term());

            // The second waits for its turn while the first leads on under a new address, then resigns.
            let election = second.group("example").election();
            let (won, resigned) = tokio::join!(election.campaign("10.0.0.2:7000"), async {
                term.proclaim("10.0.0.1:7001").await?;
                println!("observed: {}", show(observer.next().await));
                term.resign().await
            });
            let (term, ()) = (won?, resigned?);
            println!("candidate-2 leads: term {}", term.term());
            println!("observed: {}", show(observer.next().await));
            term.resign().await
        })
        .await
    })
    .await
}

fn show(observation: Option<Observation>) -> String {
    match observation {
        None => "the end".to_owned(),
        Some(Observation::Vacant) => "nobody leads".to_owned(),
        Some(Observation::Held(leader)) => format!("{:?} leads with {:?}", leader.member, leader.value),
    }
}
