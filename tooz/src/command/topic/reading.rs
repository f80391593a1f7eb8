//! Where to begin to read, how to show what was read, and when to stop.

use serde_json::{Map, Value, json};
use tooz::{From, Offset};

use crate::command::context::Context;
use crate::command::failure::Failure;
use crate::command::value::text_or_bytes;

/// Reads `now`, `beginning` or an offset.
pub(crate) fn start(text: &str) -> Result<From, String> {
    match text {
        "now" => Ok(From::Now),
        "beginning" => Ok(From::Beginning),
        offset => offset.parse::<Offset>().map(From::After).map_err(|_| {
            "give now, beginning, or an offset as publish and subscribe --json show it".to_owned()
        }),
    }
}

/// How many messages are still wanted.
pub(super) struct Countdown(Option<u64>);

impl Countdown {
    pub(super) fn from(count: Option<u64>) -> Self {
        Self(count)
    }

    /// One more was shown.
    pub(super) fn tick(&mut self) {
        self.0 = self.0.map(|left| left.saturating_sub(1));
    }

    pub(super) fn is_over(&self) -> bool {
        self.0 == Some(0)
    }
}

/// A message for machines.
pub(super) fn machine(offset: Offset, sender: &str, payload: &[u8]) -> Map<String, Value> {
    let mut told = Map::new();
    told.insert("event".to_owned(), "message".into());
    told.insert("offset".to_owned(), offset.to_string().into());
    told.insert("number".to_owned(), offset.number().into());
    told.insert("sender".to_owned(), sender.into());
    told.insert("data".to_owned(), text_or_bytes(payload));
    told
}

/// Never silent: a result for machines, a note for people, whose results are messages only.
pub(super) fn tell_gap(context: &Context, missed: u64) -> Result<(), Failure> {
    let told = json!({ "event": "lagged", "missed": missed });
    tell(
        context,
        &format!("missed {missed} messages: they are no longer retained, or written for a newer version"),
        &told,
    )
}

/// As [`tell_gap`].
pub(super) fn tell_reset(context: &Context) -> Result<(), Failure> {
    let text = "the topic begins anew: the store has lost or forgotten what was there before";
    tell(context, text, &json!({ "event": "reset" }))
}

fn tell(context: &Context, human: &str, machine: &Value) -> Result<(), Failure> {
    if context.out.is_json() {
        return context.out.say(human, machine);
    }
    context.out.note(human, machine);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_begin_now_at_the_beginning_or_after_an_offset() {
        assert_eq!(start("now"), Ok(From::Now));
        assert_eq!(start("beginning"), Ok(From::Beginning));
        let offset = format!("{}:7:0", "0".repeat(32));
        assert_eq!(start(&offset), Ok(From::After(offset.parse().unwrap())));
        assert!(start("yesterday").unwrap_err().contains("beginning"));
    }

    #[test]
    fn without_a_count_reading_goes_on() {
        let mut ever = Countdown::from(None);
        ever.tick();
        assert!(!ever.is_over());
        let mut two = Countdown::from(Some(2));
        two.tick();
        assert!(!two.is_over());
        two.tick();
        assert!(two.is_over());
    }
}
