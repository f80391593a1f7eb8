//! The memory driver under the suite, on a paused clock.

mod common;

conformance::suite!(common::Memory::new());
