//! `tooz break`: take a lock away from its holders.

use serde_json::{Value, json};
use tooz::backend::{Eviction, Holder};
use tooz::{ClaimId, Name};

use super::context::Context;
use super::exit::Exit;
use super::failure::Failure;
use super::who;

pub(crate) async fn run(context: &Context, name: &str, now: bool) -> Result<Exit, Failure> {
    let lock_name = Name::new(name)?;
    let how = if now { Eviction::Force } else { Eviction::Notice };
    let (holders, evicted) = context
        .briefly(async |coord| {
            let lock = coord.lock(name);
            // Only for their names: who came later is not hit by what was decided for those before.
            let holders = lock.queue().await?.holders;
            Ok((holders, lock.evict(how).await?))
        })
        .await
        .map_err(|failure| failure.perhaps("taken away"))?;
    context.out.say(human(&lock_name, &holders, &evicted), &machine(&lock_name, &holders, &evicted))?;
    Ok(Exit::Done)
}

fn member(holders: &[Holder], claim: ClaimId) -> Option<&Name> {
    holders.iter().find(|holder| holder.claim == Some(claim)).and_then(|holder| holder.member.as_ref())
}

fn human(lock: &Name, holders: &[Holder], evicted: &[ClaimId]) -> String {
    if evicted.is_empty() {
        return format!("lock \"{lock}\": nobody held it");
    }
    let names: Vec<_> = evicted.iter().map(|claim| who::called(member(holders, *claim))).collect();
    format!("lock \"{lock}\": taken from {}", names.join(" and "))
}

fn machine(lock: &Name, holders: &[Holder], evicted: &[ClaimId]) -> Value {
    let evicted = evicted.iter().map(|claim| {
        let member = member(holders, *claim).map(Name::as_str);
        json!({ "member": member, "claim": claim.to_string() })
    });
    json!({ "lock": lock.as_str(), "evicted": evicted.collect::<Vec<_>>() })
}
