//! How much of the ring a member asks for, and how much of it counts.

use rmpv::Value;

use crate::group::Member;
use crate::name::Name;

/// The largest weight that counts. More counts as this much.
pub const MAX_WEIGHT: u32 = 10_000;

/// About how many points a ring has at most: where members ask for more, the heaviest are cut down, all to
/// the same weight, until the rest fits. Every member keeps at least a weight of 1.
pub const MAX_POINTS: u64 = 1 << 21;

/// One member's part in a ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// The member.
    pub member: Name,
    /// The weight it asks for; `None` where the capability `weight` is there but is no whole number.
    pub asked: Option<u64>,
    /// The weight that counts.
    pub weight: u32,
}

impl Share {
    /// Whether the weight that counts is another than the one asked for.
    pub fn is_corrected(&self) -> bool {
        self.asked != Some(u64::from(self.weight))
    }
}

/// What a member's capabilities ask for, as Python's partitioner reads them: the entry `weight` of a map,
/// else 1; whole numbers below zero are as good as zero, booleans are 1 and 0. Anything else stops Python's
/// partitioner with an error, and is `None` here.
pub(super) fn asked_by(member: &Member) -> Option<u64> {
    if !member.has_readable_capabilities() {
        return None;
    }
    match member.capabilities().value() {
        Ok(value) => asked_in(&value),
        Err(_) => None,
    }
}

fn asked_in(capabilities: &Value) -> Option<u64> {
    let Value::Map(entries) = capabilities else { return Some(1) };
    let named = |key: &Value| key.as_str() == Some("weight");
    // Python's dictionaries keep the last of two entries of one key.
    match entries.iter().rev().find(|(key, _)| named(key)) {
        None => Some(1),
        Some((_, Value::Boolean(weight))) => Some(u64::from(*weight)),
        Some((_, Value::Integer(weight))) => Some(weight.as_u64().unwrap_or(0)),
        Some(_) => None,
    }
}

/// The weights that count, for members by name. What is no weight counts as 1.
pub(super) fn shares(asked: Vec<(Name, Option<u64>)>, partitions: u32) -> Vec<Share> {
    let wanted = |asked: Option<u64>| {
        let bounded = asked.unwrap_or(1).min(u64::from(MAX_WEIGHT));
        u32::try_from(bounded).unwrap_or(MAX_WEIGHT)
    };
    let weights: Vec<u32> = asked.iter().map(|(_, asked)| wanted(*asked)).collect();
    let level = level(&weights, MAX_POINTS / u64::from(partitions.max(1)));
    let share = |((member, asked), weight): ((Name, Option<u64>), u32)| Share {
        member,
        asked,
        weight: weight.min(level),
    };
    asked.into_iter().zip(weights).map(share).collect()
}

/// The highest level at which all weights, cut down to it, sum up to no more than `room`; at least 1.
fn level(weights: &[u32], room: u64) -> u32 {
    let fits = |level: u32| weights.iter().map(|weight| u64::from(*weight.min(&level))).sum::<u64>() <= room;
    let (mut low, mut high) = (1, MAX_WEIGHT);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if fits(middle) { low = middle } else { high = middle - 1 }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(value: Value) -> Value {
        Value::Map(vec![("weight".into(), value)])
    }

    #[test]
    fn weights_are_read_as_python_reads_them() {
        for (capabilities, asked) in [
            (Value::Nil, 1),
            (Value::from(7), 1),
            (Value::Array(vec![7.into()]), 1),
            (Value::Map(vec![]), 1),
            (Value::Map(vec![(Value::Binary(b"weight".to_vec()), 7.into())]), 1),
            (map(3.into()), 3),
            (map(0.into()), 0),
            (map((-3).into()), 0),
            (map(i64::MIN.into()), 0),
            (map(true.into()), 1),
            (map(false.into()), 0),
            (map(u64::MAX.into()), u64::MAX),
            (Value::Map(vec![("weight".into(), 2.into()), ("weight".into(), 5.into())]), 5),
        ] {
            assert_eq!(asked_in(&capabilities), Some(asked), "{capabilities}");
        }
    }

    #[test]
    fn what_stops_python_counts_as_one() {
        for odd in [1.5.into(), 3.0.into(), f64::NAN.into(), "3".into(), Value::Nil, Value::Array(vec![])] {
            assert_eq!(asked_in(&map(odd)), None);
        }
        let told = shares(vec![(Name::new("odd").unwrap(), None)], 32);
        assert_eq!(told.first().map(|share| (share.weight, share.is_corrected())), Some((1, true)));
    }

    #[test]
    fn the_greedy_are_cut_down_and_the_modest_keep_theirs() {
        let asked = |index: usize| if index < 1_000 { u64::MAX } else { 2 };
        let all = (0..2_000).map(|index| (Name::new(format!("m{index}")).unwrap(), Some(asked(index))));
        let told = shares(all.collect(), 32);
        let points: u64 = told.iter().map(|share| u64::from(share.weight) * 32).sum();
        assert!(points <= MAX_POINTS && points > MAX_POINTS * 9 / 10, "{points} points");
        assert!(told.iter().skip(1_000).all(|share| share.weight == 2 && !share.is_corrected()));
        assert!(told.iter().take(1_000).all(|share| share.is_corrected()));
    }

    #[test]
    fn everybody_keeps_a_weight_of_one() {
        assert_eq!(level(&[5; 100], 10), 1);
        assert_eq!(level(&[], 10), MAX_WEIGHT);
        assert_eq!(level(&[5, 1_000], 105), 100);
    }
}
