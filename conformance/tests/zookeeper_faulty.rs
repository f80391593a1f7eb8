//! Core over the ZooKeeper driver behind a bad network, on a real server.

mod zookeeper_server;

conformance::suite_faulty!(zookeeper_server::Chroot::new());
