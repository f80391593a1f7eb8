//! The ids that a channel knows, as far as this session has read them.

use std::collections::{HashMap, VecDeque};

use tooz_core::{Incarnation, MessageId, Result};

use crate::folder::Folder;
use crate::log::{State, entries};

/// So many ids of messages whose segment is gone are still known.
const REMEMBERED: usize = 8192;

/// Read from the indexes, and only ever at the gate: nothing is decided by it that does not stand there.
#[derive(Debug, Default)]
pub(crate) struct Known {
    incarnation: Option<Incarnation>,
    /// Up to this message all are read.
    until: u64,
    numbers: HashMap<MessageId, u64>,
    order: VecDeque<(u64, MessageId)>,
}

impl Known {
    /// Reads what was published since.
    pub(crate) fn catch_up(&mut self, folder: &Folder, state: &State) -> Result<()> {
        if self.incarnation != Some(state.incarnation) || self.until > state.last {
            *self = Self { incarnation: Some(state.incarnation), ..Self::default() };
        }
        let from = self.until + 1;
        if from > state.last {
            return Ok(());
        }
        let mut read = Vec::new();
        entries(folder, state, from, |entry| {
            read.push((entry.number, entry.id));
            true
        })?;
        read.into_iter().for_each(|(number, id)| self.insert(number, id));
        self.until = state.last;
        self.forget(state.segments.first().copied().unwrap_or(0));
        Ok(())
    }

    /// The message of this id.
    pub(crate) fn number(&self, id: MessageId) -> Option<u64> {
        self.numbers.get(&id).copied()
    }

    /// One more, published by ourselves.
    pub(crate) fn add(&mut self, incarnation: Incarnation, number: u64, id: MessageId) {
        if self.incarnation == Some(incarnation) && self.until + 1 == number {
            self.insert(number, id);
            self.until = number;
        }
    }

    fn insert(&mut self, number: u64, id: MessageId) {
        self.numbers.insert(id, number);
        self.order.push_back((number, id));
    }

    /// Forgets the oldest of those that stand in no segment any more.
    fn forget(&mut self, oldest: u64) {
        while let Some((number, id)) = self.order.front().copied()
            && number < oldest
            && self.order.len() > REMEMBERED
        {
            self.order.pop_front();
            self.numbers.remove(&id);
        }
    }
}
