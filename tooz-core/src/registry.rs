//! Which drivers there are: a value, not a global.

use std::fmt;
use std::sync::Arc;

use crate::backend::Driver;
use crate::endpoint::Endpoint;
use crate::error::{Error, ErrorKind, Result};
use crate::options::Builder;

/// The drivers a program can use, found by URL scheme.
///
/// The facade's `tooz::registry()` has every compiled-in driver; a driver of your own joins with
/// [`with`](Registry::with).
#[derive(Clone, Default)]
pub struct Registry {
    drivers: Vec<Arc<dyn Driver>>,
}

/// Schemes of drivers that come as features of the facade, for the error that names the missing feature.
const FEATURES: &[(&str, &[&str])] = &[
    ("file", &["file"]),
    ("redis", &["redis", "rediss", "redis+unix", "redis+sentinel", "redis+cluster"]),
    ("etcd", &["etcd", "etcds", "etcd3", "etcd3+http", "etcd3+https"]),
    ("zookeeper", &["zookeeper", "kazoo"]),
];

impl Registry {
    /// No drivers at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// The drivers that live in core: `memory`.
    pub fn embedded() -> Self {
        Self::new().with(crate::memory::driver())
    }

    /// Adds a driver; for schemes that several speak, the last one added wins.
    #[must_use]
    pub fn with(mut self, driver: impl Driver + 'static) -> Self {
        self.drivers.push(Arc::new(driver));
        self
    }

    /// Starts building a coordinator over the store at `url`.
    pub fn builder(&self, url: impl Into<String>) -> Builder {
        Builder::new(self.clone(), url.into())
    }

    /// The drivers, in the order added.
    pub fn drivers(&self) -> impl Iterator<Item = &Arc<dyn Driver>> {
        self.drivers.iter()
    }

    /// The driver that speaks the endpoint's scheme.
    ///
    /// # Errors
    /// [`ErrorKind::UnknownScheme`], listing the schemes there are and the feature that adds a known one.
    pub fn find(&self, endpoint: &Endpoint) -> Result<Arc<dyn Driver>> {
        let scheme = endpoint.scheme();
        if let Some(driver) = self.drivers.iter().rev().find(|driver| driver.schemes().contains(&scheme)) {
            return Ok(Arc::clone(driver));
        }
        let mut known: Vec<_> = self.drivers.iter().flat_map(|driver| driver.schemes()).copied().collect();
        known.sort_unstable();
        let hint = FEATURES
            .iter()
            .find(|(_, schemes)| schemes.contains(&scheme))
            .map_or_else(String::new, |(feature, _)| {
                format!("; for {scheme}:// enable the feature \"{feature}\" of the crate tooz")
            });
        Err(Error::new(
            ErrorKind::UnknownScheme,
            format!("URL scheme {scheme:?} is not compiled in; there are: {}{hint}", known.join(", ")),
        ))
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.drivers.iter().map(|driver| driver.name())).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_scheme_is_answered_with_those_there_are_and_the_feature_to_enable() {
        let find = |url: &str| Registry::embedded().find(&Endpoint::parse(url).unwrap()).err().unwrap();
        let known = find("rediss://h");
        assert_eq!(known.kind(), ErrorKind::UnknownScheme);
        assert!(
            known.to_string().contains("there are: memory; for rediss:// enable the feature \"redis\""),
            "{known}"
        );
        assert!(!find("nope://h").to_string().contains("feature"));
    }
}
