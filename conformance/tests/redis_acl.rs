//! The redis driver under the suite, as a user with the least permissions on a Unix socket.

mod redis_kinds;

conformance::suite!(redis_kinds::Store::user());
