//! tooz over ZooKeeper: locks, groups and elections shared with kazoo and Python tooz.
