//! Whether a history was allowed. Each checker is pure: records in, violations out.
//!
//! | | promise | checker |
//! |---|---|---|
//! | C1 | grants that exclude each other do not overlap, and come in the order of their tokens | [`exclusion`] |
//! | C2 | tokens strictly increase, and what the fenced register accepts never goes back | [`tokens`] |
//! | C3 | the last true `is_held` of a grant comes before the next grant is known | [`claims`] |
//! | C5 | every subscriber of a topic reads the same order, without gaps, each message once | [`order`] |
//! | C6 | a live member is never reported gone, and views end as the group does | [`membership`] |
//! | C7 | nothing is left behind | [`leftovers`] |
//!
//! A run in which too little happened proves nothing: see [`Traffic`].

mod claims;
mod exclusion;
mod grants;
mod membership;
mod order;
mod register;
mod tokens;
mod traffic;

use std::fmt;

pub use self::claims::claims;
pub use self::exclusion::exclusion;
pub use self::grants::{Grant, grants};
pub use self::membership::membership;
pub use self::order::order;
pub use self::register::Register;
pub use self::tokens::tokens;
pub use self::traffic::{Least, Traffic};
use crate::history::Record;

/// One broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which: `C1` …
    pub promise: &'static str,
    /// What happened.
    pub text: String,
    /// When, in nanoseconds since boot, where that is one moment.
    pub at: Option<u64>,
}

impl Violation {
    /// What happened to a promise.
    pub fn new(promise: &'static str, text: String) -> Self {
        Self { promise, text, at: None }
    }

    /// At this moment.
    #[must_use]
    pub fn at(self, at: u64) -> Self {
        Self { at: Some(at), ..self }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.promise, self.text)
    }
}

/// C7: nothing is left behind.
pub fn leftovers(left: &[String]) -> Vec<Violation> {
    left.iter().map(|line| Violation::new("C7", format!("left behind: {line}"))).collect()
}

/// C1, C2, C3 and C5 over all names of a history, and that enough happened.
pub fn check(records: &[Record], least: &Least) -> Vec<Violation> {
    let grants = grants(records);
    let mut violations = exclusion(&grants);
    violations.extend(tokens(records, &grants));
    violations.extend(claims(&grants));
    violations.extend(order(records));
    violations.extend(Traffic::of(records, &grants).violations(least));
    violations
}

/// Shorthands for the checkers' own tests.
#[cfg(test)]
pub(crate) mod tests {
    use crate::history::{Op, Outcome, Record};

    pub(crate) fn record(proc: &str, op: Op, call: u64, token: u64, result: Outcome) -> Record {
        let (name, returned) = ("x".to_owned(), Some(call + 1));
        Record {
            proc: proc.to_owned(),
            op,
            name,
            call,
            returned,
            result,
            token: Some(token),
            claim_until: None,
        }
    }

    /// An exclusive grant from `from` to `to` with one write in between.
    pub(crate) fn cycle(proc: &str, from: u64, to: u64, token: u64, nth: u64) -> Vec<Record> {
        vec![
            record(proc, Op::Acquire, from, token, Outcome::Yes),
            record(proc, Op::IsHeld, from + 2, token, Outcome::Yes),
            record(proc, Op::Write, from + 4, token, Outcome::Accepted(nth)),
            record(proc, Op::Release, to, token, Outcome::Yes),
        ]
    }
}
