//! Ids of 128 bits: a type for each thing that has one, so that none is taken for another's.

use std::fmt;

use uuid::Uuid;

/// A type of ids.
macro_rules! id {
    ($(#[$about:meta])* $name:ident) => {
        $(#[$about])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// The id as stored: 16 bytes.
            pub fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// The 16 bytes.
            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// Reads 32 hex digits, as [`Display`](fmt::Display) writes them.
            pub fn parse(text: &str) -> Option<Self> {
                // Uuid reads other ways of writing too.
                (text.len() == 32).then(|| Uuid::try_parse(text).ok().map(Self))?
            }
        }

        /// 32 lower-case hex digits.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0.simple())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

/// A type of ids that are drawn.
macro_rules! drawn {
    ($($name:ident),*) => {$(
        impl $name {
            /// A new random id.
            pub fn random() -> Self {
                Self(Uuid::new_v4())
            }
        }
    )*};
}

id! {
    /// A 128-bit id chosen before a claim is first sent, so that a retry is recognised as the same claim.
    ClaimId
}

id! {
    /// The 128-bit id of one session, and so of one incarnation of a member.
    SessionId
}

id! {
    /// A 128-bit id chosen before a message is first sent, so that a retry is recognised as the same message.
    MessageId
}

id! {
    /// Which life of a channel an offset belongs to: another one after the store lost or forgot the channel.
    Incarnation
}

drawn!(ClaimId, SessionId, MessageId);

/// The first message begins a life: its id names it.
impl From<MessageId> for Incarnation {
    fn from(first: MessageId) -> Self {
        Self::from_bytes(*first.as_bytes())
    }
}
