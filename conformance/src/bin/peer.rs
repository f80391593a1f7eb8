//! A member of ours that does as it is told, as those that speak Python do: `peer --url URL --member NAME`.
//!
//! Each line read is a request, each line written its answer; see [`conformance::peers`].

#![allow(clippy::print_stdout, clippy::print_stderr)] // a command speaks

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use conformance::arguments::Arguments;
use conformance::history::now;
use conformance::peers::Witness;
use serde_json::{Value, json};
use tooz_core::{Coordinator, Delivery, From, Guard, Leadership, Membership, Retention, Subscription};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// What it holds.
struct Peer {
    coord: Coordinator,
    guards: BTreeMap<String, Guard>,
    memberships: BTreeMap<String, Membership>,
    terms: BTreeMap<String, Leadership>,
    reading: BTreeMap<String, Subscription>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peer: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Outcome<()> {
    let arguments = Arguments::read(std::env::args().skip(1), &["url", "member"])?;
    let url = arguments.text("url").ok_or("which store? --url redis://localhost")?;
    let member = arguments.text("member").ok_or("who? --member NAME")?;
    let coord = tooz::registry().builder(url).member(member).connect().await?;
    let mut peer = Peer {
        coord,
        guards: BTreeMap::new(),
        memberships: BTreeMap::new(),
        terms: BTreeMap::new(),
        reading: BTreeMap::new(),
    };
    answer(now(), Ok(json!("ready")))?;
    // One request at a time: nothing else has to run while the next is awaited.
    for line in std::io::stdin().lines() {
        let request: Value = serde_json::from_str(&line?)?;
        let begun = now();
        answer(begun, peer.carry_out(&request).await)?;
    }
    drop(peer.guards);
    Ok(peer.coord.close().await?)
}

fn answer(begun: u64, result: Outcome<Value>) -> Outcome<()> {
    let (name, value) = match result {
        Ok(value) => ("ok", value),
        Err(error) => ("error", error.to_string().into()),
    };
    println!("{}", json!({ name: value, "begun": begun, "ended": now() }));
    Ok(std::io::stdout().flush()?)
}

impl Peer {
    async fn carry_out(&mut self, request: &Value) -> Outcome<Value> {
        let text = |name: &str| request.get(name).and_then(Value::as_str).ok_or(format!("no {name}"));
        let number = |name: &str| request.get(name).and_then(Value::as_u64).ok_or(format!("no {name}"));
        match text("do")? {
            "acquire" => {
                let lock = self.coord.lock(text("name")?);
                let shared = request.get("shared").and_then(Value::as_bool).unwrap_or(false);
                let lock = if shared { lock.shared() } else { lock };
                let guard = match request.get("timeout").and_then(Value::as_f64) {
                    None => Some(lock.acquire().await?),
                    Some(0.0) => lock.try_acquire().await?,
                    Some(seconds) => lock.acquire_timeout(Duration::from_secs_f64(seconds)).await?,
                };
                Ok(guard.map(|guard| self.guards.insert(guard.name().to_string(), guard)).is_some().into())
            }
            "release" => match self.guards.remove(text("name")?) {
                Some(guard) => Ok(guard.release().await.is_ok().into()),
                None => Ok(false.into()),
            },
            "cycles" => {
                self.cycles(text("name")?, number("count")?, &Witness::at(Path::new(text("folder")?))).await
            }
            "create" => Ok(self.coord.group(text("group")?).create().await.map(|()| Value::Null)?),
            "join" => {
                let group = text("group")?;
                let capabilities = request.get("capabilities").unwrap_or(&Value::Null);
                let membership = self.coord.group(group).join(capabilities).await?;
                self.memberships.insert(group.to_owned(), membership);
                Ok(Value::Null)
            }
            "leave" => match self.memberships.remove(text("group")?) {
                Some(membership) => Ok(membership.leave().await.map(|()| Value::Null)?),
                None => Err("no member".into()),
            },
            "members" => {
                let roster = self.coord.group(text("group")?).members().await?;
                let mut names: Vec<_> = roster.names().collect();
                names.sort_unstable();
                Ok(names.into())
            }
            "campaign" => {
                let group = text("group")?;
                let term = self.coord.group(group).election().campaign("").await?;
                self.terms.insert(group.to_owned(), term);
                Ok(true.into())
            }
            "resign" => match self.terms.remove(text("group")?) {
                Some(term) => Ok(term.resign().await.is_ok().into()),
                None => Ok(false.into()),
            },
            "publish" => {
                let [count, bytes] = [number("count")?, number("bytes")?];
                self.publish(text("topic")?, count, usize::try_from(bytes)?).await
            }
            "subscribe" => {
                let topic = text("topic")?;
                let reading = self.coord.topic(topic).subscribe(From::Beginning).await?;
                self.reading.insert(topic.to_owned(), reading);
                Ok(Value::Null)
            }
            "read" => {
                let reading = self.reading.get_mut(text("topic")?).ok_or("not subscribed")?;
                read(reading, number("count")?).await
            }
            "memory" => Ok(resident_kib()?.into()),
            act => Err(format!("no peer can {act}").into()),
        }
    }

    /// Payloads of one repeated byte, so that a torn or mixed one shows.
    async fn publish(&self, topic: &str, count: u64, bytes: usize) -> Outcome<Value> {
        let retention = Retention { count: u64::MAX, age: Duration::from_secs(86_400) };
        let topic = self.coord.topic(topic).retain(retention);
        for number in 0..count {
            topic.publish(vec![u8::try_from(number % 251)?; bytes]).await?;
        }
        Ok(count.into())
    }

    async fn cycles(&self, name: &str, count: u64, witness: &Witness) -> Outcome<Value> {
        let lock = self.coord.lock(name);
        for _ in 0..count {
            let guard = lock.acquire().await?;
            witness.visit()?;
            guard.release().await?;
        }
        Ok(count.into())
    }
}

/// Reads so many messages, none missing; the number of the last.
async fn read(reading: &mut Subscription, count: u64) -> Outcome<Value> {
    let mut last = 0;
    for _ in 0..count {
        match reading.next().await? {
            Delivery::Message(message) => last = message.offset.number(),
            other => return Err(format!("{other:?} after message {last}").into()),
        }
    }
    Ok(last.into())
}

/// What this process has in memory.
fn resident_kib() -> Outcome<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
