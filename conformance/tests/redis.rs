//! The redis driver under the suite, over a real server.

mod redis_server;

conformance::suite!(redis_server::Server::new());
