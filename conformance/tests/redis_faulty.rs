//! Core over the redis driver behind a bad network, over a real server.

mod redis_server;

conformance::suite_faulty!(redis_server::Server::new());
