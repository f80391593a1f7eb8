//! The redis driver under the suite, in a cluster.

mod redis_kinds;

conformance::suite!(redis_kinds::Store::cluster());
