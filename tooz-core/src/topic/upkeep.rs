//! When a publisher lets go of old messages.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::backend::Retention;
use crate::channel::Channel;
use crate::clock::Moment;

/// So many channels are remembered; of one forgotten in between, the next publish trims once more.
const REMEMBERED: usize = 1024;

/// At the latest after so many messages.
const MOST: u64 = 1000;

/// Never more often by age alone.
const SHORTEST: Duration = Duration::from_secs(1);

/// What this coordinator published since it trimmed last, per channel.
#[derive(Debug, Default)]
pub(crate) struct Upkeep(Mutex<HashMap<Channel, Tended>>);

#[derive(Clone, Copy, Debug)]
struct Tended {
    /// When it was trimmed last.
    at: Moment,
    /// Messages since then.
    published: u64,
}

impl Upkeep {
    /// One more message was published: whether to trim after it. Who asks at the same time is told so only
    /// once.
    pub(super) fn is_due(&self, channel: &Channel, retention: Retention, now: Moment) -> bool {
        let mut tended = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_channel) = tended.get_mut(channel) {
            of_channel.published += 1;
            let due = is_due(*of_channel, retention, now);
            if due {
                *of_channel = Tended { at: now, published: 0 };
            }
            return due;
        }
        if tended.len() >= REMEMBERED {
            tended.clear();
        }
        tended.insert(channel.clone(), Tended { at: now, published: 0 });
        true
    }
}

/// Pure: after a tenth of the count, or of the age.
fn is_due(tended: Tended, retention: Retention, now: Moment) -> bool {
    tended.published >= (retention.count / 10).clamp(1, MOST)
        || now.since(tended.at) >= (retention.age / 10).max(SHORTEST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Name;

    fn channel(name: &str) -> Channel {
        Channel::Topic(Name::new(name).unwrap())
    }

    #[test]
    fn the_first_message_and_every_tenth_part_trim() {
        let (upkeep, retention) = (Upkeep::default(), Retention { count: 50, ..Retention::default() });
        let due: Vec<bool> =
            (0..11).map(|_| upkeep.is_due(&channel("a"), retention, Moment::ORIGIN)).collect();
        let trims: Vec<usize> = (0..11).filter(|i| due.get(*i) == Some(&true)).collect();
        assert_eq!(trims, [0, 5, 10]);
        assert!(upkeep.is_due(&channel("b"), retention, Moment::ORIGIN), "each channel for itself");
    }

    #[test]
    fn a_slow_publisher_trims_by_age() {
        let (upkeep, retention) = (Upkeep::default(), Retention::default());
        assert!(upkeep.is_due(&channel("a"), retention, Moment::ORIGIN));
        let soon = Moment::ORIGIN + Duration::from_secs(359);
        assert!(!upkeep.is_due(&channel("a"), retention, soon));
        assert!(upkeep.is_due(&channel("a"), retention, soon + Duration::from_secs(1)));
    }

    #[test]
    fn many_channels_are_not_remembered_for_ever() {
        let upkeep = Upkeep::default();
        for i in 0..3000 {
            upkeep.is_due(&channel(&i.to_string()), Retention::default(), Moment::ORIGIN);
        }
        assert!(upkeep.0.lock().unwrap().len() <= REMEMBERED);
    }
}
