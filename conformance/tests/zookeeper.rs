//! The ZooKeeper driver under the suite, on a real server.

mod common;

conformance::suite!(common::zookeeper::Chroot::new());
