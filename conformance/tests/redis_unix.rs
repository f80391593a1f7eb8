//! The redis driver under the suite, over a Unix socket.

mod redis_kinds;

conformance::suite!(redis_kinds::Store::socket());
