//! The file driver under the suite.

mod common;

conformance::suite!(common::Directory::new());
