//! Core over the ZooKeeper driver behind a bad network, on a real server.

mod common;

conformance::suite_faulty!(common::zookeeper::Chroot::new());
