//! Command lines of the suite's own small tools: `--name value` pairs.

use std::collections::BTreeMap;

/// Every driver of this workspace.
pub fn registry() -> tooz_core::Registry {
    tooz_core::Registry::embedded().with(tooz_file::FileDriver::new()).with(tooz_redis::RedisDriver::new())
}

/// The options given, each at most once.
#[derive(Clone, Debug, Default)]
pub struct Arguments(BTreeMap<String, String>);

impl Arguments {
    /// Reads `--name value` pairs.
    ///
    /// # Errors
    /// For anything else, and for names that are not `known`, listing those that are.
    pub fn read(arguments: impl Iterator<Item = String>, known: &[&str]) -> Result<Self, String> {
        let mut options = BTreeMap::new();
        let mut arguments = arguments.peekable();
        while let Some(argument) = arguments.next() {
            let name = argument.strip_prefix("--").filter(|name| known.contains(name));
            let name =
                name.ok_or_else(|| format!("{argument:?} is unknown; there are: --{}", known.join(", --")))?;
            let value = arguments.next().ok_or_else(|| format!("--{name} needs a value"))?;
            options.insert(name.to_owned(), value);
        }
        Ok(Self(options))
    }

    /// An option's text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// An option's number, or the usual one.
    ///
    /// # Errors
    /// If it is no whole number.
    pub fn number(&self, name: &str, usual: u64) -> Result<u64, String> {
        let Some(text) = self.text(name) else { return Ok(usual) };
        text.parse().map_err(|_| format!("--{name} {text:?} is no whole number"))
    }
}
