//! The etcd driver under the suite, over a real server and behind a bad network.

mod etcd_server;

conformance::suite_faulty!(etcd_server::Server::new());
