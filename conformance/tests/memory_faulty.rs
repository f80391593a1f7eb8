//! Core over the memory driver behind a bad network, on a paused clock.

mod common;

conformance::suite_faulty!(common::Memory::new());
