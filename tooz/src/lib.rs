//! x
pub use tooz_core::*;
/// x
pub fn registry() -> Registry { Registry::embedded() }
/// x
pub fn builder(url: impl Into<String>) -> Builder { registry().builder(url) }
