//! Core over the file driver behind a bad network.

mod common;

conformance::suite_faulty!(common::Directory::new());
