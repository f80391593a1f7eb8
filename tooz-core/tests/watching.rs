//! What whoever watches is told when the store does not let itself be looked at.
#![allow(clippy::unwrap_used, reason = "a failed assumption in a test is a failed test")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{Script, builder, connect};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Counts the warnings of watchers.
#[derive(Clone, Default)]
struct Warnings(Arc<AtomicUsize>);

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN && metadata.target() == "tooz_core::watcher"
    }

    fn event(&self, _: &Event<'_>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// It answers from what was seen last: an operator hears of it, once in a row of refusals.
#[tokio::test(start_paused = true)]
async fn a_view_that_the_store_refuses_is_warned_of_and_goes_on_when_it_is_let() {
    let warnings = Warnings::default();
    let _listening = tracing::subscriber::set_default(warnings.clone());
    let (script, store) = (Arc::new(Script::default()), "watching-refused");
    let coord = connect(store, "watcher", &script).await;
    let other = builder(store, "other").connect().await.unwrap();
    coord.group("g").create().await.unwrap();
    let mut view = coord.group("g").watch().await.unwrap();

    for row in 1..=2 {
        script.refuse_looks.store(true, Ordering::SeqCst);
        let me = other.group("g").join(&()).await.unwrap();
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(warnings.0.load(Ordering::SeqCst), row, "once in a row");
        assert!(view.borrow().is_empty(), "what was seen last");

        script.refuse_looks.store(false, Ordering::SeqCst);
        view.changed().await.unwrap();
        assert!(view.borrow().contains("other"));
        me.leave().await.unwrap();
        view.changed().await.unwrap();
    }
    coord.close().await.unwrap();
    other.close().await.unwrap();
}
