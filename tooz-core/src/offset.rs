//! Places in a channel.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorKind};
use crate::id::Incarnation;

/// A message's place in its channel. Strictly increasing from message to message within one
/// [`Incarnation`]; offsets of two incarnations cannot be compared.
///
/// Written as text it can be kept and subscribed after later, also by another process:
///
/// ```
/// # async fn run() -> tooz_core::Result<()> {
/// # let coord = tooz_core::Registry::embedded().builder("memory://docs-offset").connect().await?;
/// let offset = coord.topic("config").publish("v2").await?;
/// let kept = offset.to_string();
/// assert_eq!(kept.parse::<tooz_core::Offset>()?, offset);
/// # coord.close().await
/// # }
/// # pollster::block_on(run()).unwrap();
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Offset {
    incarnation: Incarnation,
    number: u64,
    place: u64,
}

impl Offset {
    /// The offset of the message `number` of this incarnation, counted from 1 without gaps. `place` is the
    /// driver's own way to find it again (a revision, a transaction id), or zero.
    pub fn new(incarnation: Incarnation, number: u64, place: u64) -> Self {
        Self { incarnation, number, place }
    }

    /// Which life of the channel it belongs to.
    pub fn incarnation(self) -> Incarnation {
        self.incarnation
    }

    /// The how-many-eth message of its incarnation it is, from 1, retained ones or not.
    pub fn number(self) -> u64 {
        self.number
    }

    /// The driver's own note.
    pub fn place(self) -> u64 {
        self.place
    }
}

impl PartialOrd for Offset {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self.incarnation == other.incarnation).then(|| self.number.cmp(&other.number))
    }
}

/// `incarnation:number:place`.
impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.incarnation, self.number, self.place)
    }
}

impl fmt::Debug for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Offset({self})")
    }
}

impl FromStr for Offset {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parsed = || {
            let mut parts = text.split(':');
            let incarnation = Incarnation::parse(parts.next()?)?;
            let (number, place) = (digits(parts.next()?)?, digits(parts.next()?)?);
            parts.next().is_none().then_some(Self { incarnation, number, place })
        };
        parsed().ok_or_else(|| {
            let text = format!("{text:?} is no offset: give one as it was shown, incarnation:number:place");
            Error::new(ErrorKind::InvalidValue, text)
        })
    }
}

fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::MessageId;

    #[test]
    fn offsets_read_back_what_they_write_and_nothing_else() {
        let offset = Offset::new(Incarnation::from(MessageId::random()), 7, u64::MAX);
        assert_eq!(offset.to_string().parse::<Offset>().unwrap(), offset);
        let id = offset.incarnation().to_string();
        for text in ["", "7", &id, &format!("{id}:7"), &format!("{id}:+7:0"), &format!("{id}:7:0:0"), "x:1:2"]
        {
            assert_eq!(text.parse::<Offset>().unwrap_err().kind(), ErrorKind::InvalidValue, "{text}");
        }
    }

    #[test]
    fn offsets_of_two_incarnations_are_neither_before_nor_after() {
        let (a, b) = (Incarnation::from(MessageId::random()), Incarnation::from(MessageId::random()));
        assert!(Offset::new(a, 1, 9) < Offset::new(a, 2, 3));
        assert_eq!(Offset::new(a, 1, 0).partial_cmp(&Offset::new(b, 2, 0)), None);
    }
}
