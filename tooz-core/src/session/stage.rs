//! How far a claim has come.

/// Where a claim stands between its first request and its withdrawal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Stage {
    /// Nothing was sent yet.
    Unsent = 0,
    /// Sent, not answered.
    Asked = 1,
    /// The store has it in a queue.
    Waiting = 2,
    /// The store granted it.
    Held = 3,
    /// Being given back, or given back.
    Leaving = 4,
}

impl Stage {
    /// As an atomic keeps it.
    pub(super) fn from_bits(bits: u8) -> Self {
        match bits {
            0 => Self::Unsent,
            1 => Self::Asked,
            2 => Self::Waiting,
            3 => Self::Held,
            _ => Self::Leaving,
        }
    }
}
