//! The redis driver under the suite, over TLS with certificates on both sides.

mod redis_kinds;

conformance::suite!(redis_kinds::Store::tls());
