//! How much tests do, and from which seed: the environment may say otherwise than usual.

/// The seed to replay (`TOOZ_SEED`).
///
/// # Panics
/// If it is no whole number: a run of another one would pass for it.
pub fn seed() -> Option<u64> {
    variable("TOOZ_SEED")
}

/// How many rounds to go (`TOOZ_ROUNDS`), or the usual number.
///
/// # Panics
/// If it is no whole number: a short run would pass for a long one.
pub fn rounds(usual: u64) -> u64 {
    variable("TOOZ_ROUNDS").unwrap_or(usual)
}

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| crate::verdict::fail(format!("{name}={text:?} is no whole number"))))
}
