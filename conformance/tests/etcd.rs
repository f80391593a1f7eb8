//! The etcd driver under the suite, over a real server.

mod etcd_server;

conformance::suite!(etcd_server::Server::new());
