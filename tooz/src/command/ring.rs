//! `tooz ring`: which members are responsible for keys.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tooz::{HashRing, Name};

use super::context::Context;
use super::exit::Exit;
use super::failure::Failure;
use super::output::plain;

/// What is wanted of the ring.
#[derive(Debug)]
pub(crate) struct Wish<'a> {
    pub(crate) partitions: u32,
    pub(crate) replicas: u32,
    pub(crate) ignore: &'a [String],
}

pub(crate) async fn run(context: &Context, words: &[String], wish: &Wish<'_>) -> Result<Exit, Failure> {
    let (ring, keys) = if context.common.members.is_empty() {
        let (group, keys) = group_and_keys(words)?;
        (live(context, &group, wish.partitions).await?, keys)
    } else {
        (HashRing::with_partitions(wish.partitions, members(&context.common.members)?), words)
    };
    let rows = keys.iter().map(|key| row(key, &owners(&ring, key, wish)));
    context.out.list(rows.collect())?;
    Ok(Exit::Done)
}

fn group_and_keys(words: &[String]) -> Result<(Name, &[String]), Failure> {
    match words.split_first() {
        Some((group, keys)) if !keys.is_empty() => Ok((Name::new(group)?, keys)),
        _ => Err(Failure::usage("give a group and keys, or members (--member NAME[=WEIGHT]) and keys")),
    }
}

async fn live(context: &Context, group: &Name, partitions: u32) -> Result<HashRing, Failure> {
    let roster = context.briefly(async |coord| Ok(coord.group(group).members().await?)).await?;
    Ok(HashRing::of_roster(partitions, &roster))
}

/// Reads `NAME` and `NAME=WEIGHT`. The last `=` counts, so that a name with one is given with its weight.
fn members(given: &[String]) -> Result<BTreeMap<Name, u32>, Failure> {
    let mut members = BTreeMap::new();
    for text in given {
        let (member, weight) = text.rsplit_once('=').unwrap_or((text, "1"));
        let weight: u32 =
            weight.parse().ok().filter(|weight| *weight <= tooz::MAX_WEIGHT).ok_or_else(|| {
                let most = tooz::MAX_WEIGHT;
                Failure::usage(format!(
                    "--member {text}: write NAME or NAME=WEIGHT, a whole number up to {most}"
                ))
            })?;
        if members.insert(Name::new(member)?, weight).is_some() {
            return Err(Failure::usage(format!("--member {text}: the member is given twice")));
        }
    }
    Ok(members)
}

fn owners<'a>(ring: &'a HashRing, key: &str, wish: &Wish<'_>) -> Vec<&'a Name> {
    let replicas = usize::try_from(wish.replicas).unwrap_or(usize::MAX);
    let mut owners = ring.owners_ignoring(key, replicas, wish.ignore);
    owners.sort_unstable();
    owners
}

fn row(key: &str, owners: &[&Name]) -> (String, Value) {
    let human = owners.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let machine: Vec<_> = owners.iter().map(|owner| owner.as_str()).collect();
    (format!("{}\t{human}", plain(key)), json!({ "key": key, "owners": machine }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(given: &[&str]) -> Result<Vec<(String, u32)>, Failure> {
        let given: Vec<_> = given.iter().map(|text| (*text).to_owned()).collect();
        Ok(members(&given)?.into_iter().map(|(member, weight)| (member.to_string(), weight)).collect())
    }

    #[test]
    fn members_have_a_weight_of_one_unless_told() {
        let told = read(&["a", "b=3", "c=d=2", "e=0"]).unwrap();
        assert_eq!(
            told,
            [("a", 1), ("b", 3), ("c=d", 2), ("e", 0)].map(|(name, weight)| (name.into(), weight))
        );
        for wrong in [["a=x"].as_slice(), &["a="], &["=2"], &["a=-1"], &["a=10001"], &["a", "a=2"], &[""]] {
            assert_eq!(read(wrong).unwrap_err().exit, Exit::Usage, "{wrong:?}");
        }
    }

    #[test]
    fn keys_and_owners_cannot_harm_a_terminal() {
        let owner = Name::new("web\u{1b}[2J").unwrap();
        let (human, machine) = row("a\tb", &[&owner]);
        assert_eq!(human, "a\\tb\tweb\\u{1b}[2J");
        assert_eq!(machine, json!({ "key": "a\tb", "owners": ["web\u{1b}[2J"] }));
    }
}
