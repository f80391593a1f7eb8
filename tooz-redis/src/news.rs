//! What scripts publish to a session.

use tooz_core::{ClaimId, FencingToken};

/// News of one claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// The seat was handed over to the claim while it waited with this ticket.
    Granted {
        /// As the claim was told when it queued.
        ticket: u64,
        /// The grant's.
        token: FencingToken,
    },
    /// Its turn may have come.
    Ask,
    /// It was told to let go, or removed.
    LetGo,
}

impl News {
    /// Reads a message: a letter, the claim, and what the letter needs. `None` for anything else.
    pub(crate) fn read(message: &[u8]) -> Option<(ClaimId, Self)> {
        let mut words = std::str::from_utf8(message).ok()?.split(' ');
        let letter = words.next()?;
        let claim = ClaimId::parse(words.next()?)?;
        let news = match letter {
            "G" => {
                let ticket = words.next()?.parse().ok()?;
                let token = words.next()?.parse().ok().map(FencingToken::new)?;
                Self::Granted { ticket, token }
            }
            "A" => Self::Ask,
            "E" | "X" => Self::LetGo,
            _ => return None,
        };
        words.next().is_none().then_some((claim, news))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_and_anything_else_is_not() {
        let claim = ClaimId::random();
        let token = FencingToken::new(7);
        let read = |text: String| News::read(text.as_bytes());
        assert_eq!(read(format!("G {claim} 5 7")), Some((claim, News::Granted { ticket: 5, token })));
        assert_eq!(read(format!("A {claim}")), Some((claim, News::Ask)));
        assert_eq!(read(format!("X {claim}")), Some((claim, News::LetGo)));
        for odd in ["", "G", "A x", "Z 00000000000000000000000000000000", "\u{fffd}"] {
            assert_eq!(News::read(odd.as_bytes()), None, "{odd}");
        }
        assert_eq!(read(format!("G {claim} 5")), None);
        assert_eq!(read(format!("G {claim} -5 7")), None);
        assert_eq!(read(format!("A {claim} more")), None);
        assert_eq!(News::read(b"\xff\xfe"), None);
    }
}
