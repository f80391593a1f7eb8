//! The redis driver under the suite, behind sentinels.

mod redis_kinds;

conformance::suite!(redis_kinds::Store::sentinels());
