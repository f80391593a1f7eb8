//! tooz over Redis: locks, groups and elections shared with Python clients.
