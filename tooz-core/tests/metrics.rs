//! What the feature `metrics` counts.
#![cfg(feature = "metrics")]
#![allow(clippy::unwrap_used, reason = "a failed assumption in a test is a failed test")]

mod common;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use common::builder;
use metrics::{
    Counter, CounterFn, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use tooz_core::Cause;
use tooz_core::memory::Store;

/// Remembers which metrics were written.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<BTreeSet<String>>>);

struct Line(Written, String);

impl Line {
    fn write(&self) {
        self.0.0.lock().unwrap().insert(self.1.clone());
    }
}

impl CounterFn for Line {
    fn increment(&self, _: u64) {
        self.write();
    }

    fn absolute(&self, _: u64) {
        self.write();
    }
}

impl HistogramFn for Line {
    fn record(&self, _: f64) {
        self.write();
    }
}

impl Written {
    fn line(&self, key: &Key) -> Arc<Line> {
        let labels: Vec<_> = key.labels().map(|l| format!("{}={}", l.key(), l.value())).collect();
        Arc::new(Line(self.clone(), format!("{}{{{}}}", key.name(), labels.join(","))))
    }
}

impl Recorder for Written {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.line(key))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.line(key))
    }
}

#[tokio::test(start_paused = true)]
async fn waits_holds_steps_renewals_and_losses_are_counted() {
    let written = Written::default();
    let _recording = metrics::set_default_local_recorder(&written);
    let coord = builder("metrics", "a").connect().await.unwrap();
    let lock = coord.lock("x");
    let guard = lock.acquire().await.unwrap();
    let waiting = tokio::spawn({
        let lock = lock.clone();
        async move { lock.acquire().await }
    });
    while lock.queue().await.unwrap().waiting.is_empty() {
        tokio::task::yield_now().await;
    }
    guard.release().await.unwrap();
    let guard = waiting.await.unwrap().unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(10)).await;
    Store::named("metrics").expire("a");
    assert_eq!(guard.lost().await, Cause::SessionEnded);
    drop(guard);
    coord.close().await.unwrap();

    let written = written.0.lock().unwrap();
    for expected in [
        "tooz_step_seconds{step=claim}",
        "tooz_step_seconds{step=withdraw}",
        "tooz_step_seconds{step=renew}",
        "tooz_wait_seconds{}",
        "tooz_contended_total{}",
        "tooz_hold_seconds{}",
        "tooz_renew_seconds{}",
        "tooz_lost_total{cause=SessionEnded}",
        "tooz_session_lost_total{cause=SessionEnded}",
    ] {
        assert!(written.contains(expected), "{expected} is missing in {written:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_weight_that_cannot_count_is_counted() {
    let written = Written::default();
    let _recording = metrics::set_default_local_recorder(&written);
    let coord = builder("metrics-weights", "a").connect().await.unwrap();
    let counted = || written.0.lock().unwrap().contains("tooz_ring_weights_corrected_total{}");

    let part = coord.group("g").join_partitioned(tooz_core::MAX_WEIGHT).await.unwrap();
    assert!(!part.ring().is_empty() && !counted());
    let mut changes = part.changes();
    part.set_weight(1).await.unwrap();
    changes.next().await.unwrap();
    assert!(!counted());
    part.set_weight(1_000_000_000).await.unwrap();
    changes.next().await.unwrap();
    assert!(counted());
    part.leave().await.unwrap();
    coord.close().await.unwrap();
}
