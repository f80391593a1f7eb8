//! Names of locks, groups and members.

use std::fmt;
use std::sync::Arc;

use crate::error::{Error, ErrorKind};

/// A name of a lock, a group or a member: 1 to 255 bytes of UTF-8, carried exactly.
///
/// Every character is allowed, `/`, `..`, NUL and newlines included: each driver encodes a name to one
/// safe segment of its store and decodes it again. Two different names never meet in a store.
///
/// ```
/// use tooz_core::Name;
///
/// assert_eq!(Name::new("nightly")?.as_str(), "nightly");
/// assert!(Name::new("").is_err());
/// assert!(Name::new("x".repeat(256)).is_err());
/// # Ok::<(), tooz_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

/// The longest name in bytes.
pub const MAX_NAME_BYTES: usize = 255;

impl Name {
    /// Checks the length and keeps the text as it is.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidName`] for an empty name or one of more than 255 bytes.
    pub fn new(text: impl AsRef<str>) -> Result<Self, Error> {
        let text = text.as_ref();
        if text.is_empty() {
            return Err(Error::new(
                ErrorKind::InvalidName,
                "name is empty: give 1 to 255 bytes of UTF-8 text",
            ));
        }
        if text.len() > MAX_NAME_BYTES {
            let head: String = text.chars().take(24).collect();
            return Err(Error::new(
                ErrorKind::InvalidName,
                format!(
                    "name {head:?}… has {} bytes: give 1 to {MAX_NAME_BYTES} bytes of UTF-8 text",
                    text.len()
                ),
            ));
        }
        Ok(Self(text.into()))
    }

    /// The text, exactly as given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The text with everything escaped that could move a terminal's cursor or turn its text around.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            if is_unruly(c) { write!(f, "{}", c.escape_default())? } else { write!(f, "{c}")? }
        }
        Ok(())
    }
}

/// Whether it acts on what shows it: a control character, or one that changes the direction of what follows, so that a
/// line reads as another (CVE-2021-42574).
#[doc(hidden)]
pub fn is_unruly(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq<str> for Name {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Name {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_of_1_to_255_bytes_is_carried_exactly() {
        for text in ["a", "../x", "a\nb", "a\0b", "{x}", "*?[", "é".repeat(127).as_str(), &"x".repeat(255)] {
            assert_eq!(Name::new(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn empty_and_overlong_names_are_refused_with_the_allowed_length() {
        for text in [String::new(), "x".repeat(256), "é".repeat(128)] {
            let error = Name::new(&text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidName);
            assert!(error.to_string().contains("255"), "{error}");
        }
    }

    #[test]
    fn display_escapes_what_would_move_a_terminal() {
        assert_eq!(Name::new("a\u{1b}[2Jb\n").unwrap().to_string(), "a\\u{1b}[2Jb\\n");
    }
}
