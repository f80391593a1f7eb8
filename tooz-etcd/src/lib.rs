//! tooz over etcd: locks, groups and elections shared with Python clients.
