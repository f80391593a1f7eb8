//! The ZooKeeper driver under the suite, on a real server.

mod zookeeper_server;

conformance::suite!(zookeeper_server::Chroot::new());
