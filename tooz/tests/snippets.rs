//! The programs in documents are programs: each stands here word for word, or in a file named below, and is compiled.

#![allow(dead_code, unused_variables, reason = "compiled, not run")]
#![allow(clippy::print_stdout, reason = "programs may print")]
#![allow(clippy::unwrap_used, reason = "a failed assumption is a failed test")]

use std::fs;
use std::path::{Path, PathBuf};

#[rustfmt::skip] // as the document shows it
mod program {
    async fn write_report(token: u64) {}

    #[tokio::main]
    async fn main() -> tooz::Result<()> {
        tooz::with("file:///tmp/my-app", "worker-1", |coord| async move {  // a directory of ours; or redis://… and its like
            let guard = coord.lock("nightly").acquire().await?;      // waits its turn, first come, first served
            write_report(guard.fencing_token().get()).await;         // the resource refuses smaller tokens
            guard.release().await?;

            let group = coord.group("workers");                      // who is alive, and what can they do?
            group.create_if_missing().await?;
            let me = group.join(&serde_json::json!({ "weight": 3 })).await?;
            let mut view = group.watch().await?;
            println!("{} workers", view.borrow().len());

            let term = group.election().campaign("10.0.0.1:7000").await?;   // who leads?
            tokio::select! {
                cause = term.lost() => println!("no longer leading: {cause}"),
                event = view.next_event() => println!("{event:?}"),
            }
            me.leave().await
        })
        .await                                                       // everything is given back on every way out
    }
}

#[rustfmt::skip]
mod messages {
    use std::time::Duration;

    fn apply(payload: &[u8]) {}

    async fn fragment(coord: tooz::Coordinator) -> tooz::Result<()> {
        use tooz::{Delivery, From};                                      // and std::time::Duration

        let topic = coord.topic("config");
        let offset = topic.publish("colour=blue").await?;                // sent again after a lost answer, still one message
        let mut changes = topic.subscribe(From::Beginning).await?;       // or From::Now, or From::After(offset)
        while let Delivery::Message(message) = changes.next().await? {   // also a Stream; keep message.offset to go on later
            apply(&message.payload);
        }
        coord.group("workers").send("worker-2", "job 7 is yours").await?;                  // read by group.inbox(), with its sender
        let reply = coord.group("workers").request("worker-2", "how far?", Duration::from_secs(5)).await?; // None if none came
        coord.group("workers").broadcast("pause").await?;                                  // read by group.messages(From::Now)
        Ok(())
    }
}

#[rustfmt::skip]
mod partition {
    fn run(job: &str) {}

    fn stop(job: &str) {}

    async fn fragment(coord: tooz::Coordinator, jobs: Vec<String>) -> tooz::Result<()> {
        use tooz::Move;

        let part = coord.group("pool").join_partitioned(1).await?;       // 1: this member's weight
        for job in jobs.iter().filter(|job| part.is_mine(job)) { run(job); }
        let mut changes = part.changes();
        let moves = changes.next().await?;                               // somebody came or went
        for job in &jobs {
            match moves.of(job) {
                Some(Move::ToMe(from)) => run(job),                      // `from` did it before
                Some(Move::Away(to)) => stop(job),                       // `to` does it now
                None => {}
            }
        }
        part.leave().await?;
        Ok(())
    }
}

#[rustfmt::skip]
mod registry {
    use tooz_file::FileDriver as MyDriver;

    async fn fragment() -> tooz::Result<()> {
        let coord = tooz::registry().with(MyDriver::new()).builder("mystore://host").member("worker-1").connect().await?;
        Ok(())
    }
}

/// Files that are compiled, and the name in them that stands for the reader's own.
const COMPILED: [(&str, &str); 2] = [
    (include_str!("snippets.rs"), ""),
    (include_str!("../../conformance/outside/tests/suite.rs"), "AtADesk"),
];

/// What is said line by line: indentation, empty lines and comments of their own say nothing to the compiler.
fn lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//")).collect()
}

/// The Rust in a document, block by block.
fn blocks(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.split("```rust\n").skip(1).map(|rest| lines(rest.split("```").next().unwrap_or_default()))
}

fn is_compiled(block: &[&str]) -> bool {
    COMPILED.iter().any(|(source, stands_for)| {
        let source =
            if stands_for.is_empty() { source.to_string() } else { source.replace(stands_for, "MyHarness") };
        lines(&source).windows(block.len()).any(|lines| lines == block)
    })
}

#[test]
fn what_documents_show_is_compiled() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut documents: Vec<PathBuf> =
        fs::read_dir(root.join("docs/guide")).unwrap().map(|entry| entry.unwrap().path()).collect();
    documents.push(root.join("README.md"));
    let mut seen = 0;
    for document in documents {
        let text = fs::read_to_string(&document).unwrap();
        for block in blocks(&text) {
            assert!(is_compiled(&block), "in {document:?}, and nowhere that is compiled: {block:#?}");
            seen += 1;
        }
    }
    assert!(seen >= 5, "only {seen} blocks were found");
}
