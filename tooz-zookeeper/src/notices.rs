//! One watch for whatever others do to the holds of a session that have none of their own.
//!
//! Whoever breaks a lock names the claim in the notices of its session, if that keeps any. A session begins to once it has a
//! hold for which there is no room under [watch](crate::watches). One of its holds attends, the others listen; when
//! that one is dropped, the next takes over.

use tokio::sync::{Mutex as TaskMutex, OnceCell};
use tokio::time::timeout;
use tooz_core::{ClaimId, Effect, Result};
use zookeeper_client::{Client, CreateMode, Error as Fault, Stat, StateWatcher};

use crate::error::{failed, unread};
use crate::session::Session;
use crate::traces::Traces;
use crate::watches::{Use, Watch};

/// So many claims stand in a session's notices, the newest last. Each writing names one.
const MOST: usize = 64;
/// How often whoever names a claim tries, when others do so at the same time.
const TRIES: usize = 2;

/// The notices of one session, by that session.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    begun: OnceCell<()>,
    /// The version that was read last; `None` before the first of a node that is not known to be new. Locked by
    /// whoever attends.
    seen: TaskMutex<Option<i32>>,
}

impl Notices {
    /// Whether others find the notices: what they do from then on is told there.
    pub(crate) fn stand(&self) -> bool {
        self.begun.initialized()
    }

    /// Lets others find the notices. Where they cannot be kept, nobody does: then heartbeats tell what is gone.
    pub(crate) async fn begin(&self, session: &Session) -> Result<()> {
        let begin = async || {
            match create(session).await {
                Ok(is_new) => *self.seen.lock().await = is_new.then_some(0),
                Err(error) if session.is_over() || error.effect() == Effect::Unknown => return Err(error),
                // Refused, or somebody has removed the directory.
                Err(_) => {}
            }
            Ok(())
        };
        self.begun.get_or_try_init(begin).await.copied()
    }

    /// Rings the claims that others name, for as long as it is polled and the session lives.
    pub(crate) async fn attend(&self, session: &Session, traces: &Traces) {
        let mut seen = self.seen.lock().await;
        while !session.is_over() {
            let states = session.states();
            match read(session).await {
                Ok(Some((data, stat, watch))) => {
                    let named = named(&data);
                    match news(&named, *seen, stat.version) {
                        Some(news) => news.iter().for_each(|claim| traces.ring(*claim)),
                        None => traces.ring_all(),
                    }
                    *seen = Some(stat.version);
                    session.heard(states, vec![watch]).await;
                }
                // Somebody cleaned up too well.
                Ok(None) => {
                    *seen = None;
                    if create(session).await.is_err() {
                        later(session, states).await;
                    }
                }
                Err(_) => later(session, states).await,
            }
        }
    }
}

/// Waits, after a failure, for another connection or so long that a refusal costs little.
async fn later(session: &Session, states: StateWatcher) {
    // Either will do.
    let _ = timeout(session.ttl, session.heard(states, Vec::new())).await;
}

/// Makes the node; whether it was not there before.
async fn create(session: &Session) -> Result<bool> {
    let client = session.client()?;
    let options = CreateMode::Ephemeral.with_acls(session.acls);
    match client.create(&session.keys.notices(session.owner), b"", &options).await {
        Ok(_) => Ok(true),
        Err(Fault::NodeExists) => Ok(false),
        Err(fault) => Err(failed("begin to keep notices", fault)),
    }
}

async fn read(session: &Session) -> Result<Option<(Vec<u8>, Stat, Watch)>> {
    let client = session.client()?;
    match session.watches.data(&client, &session.keys.notices(session.owner), Use::Turn).await {
        Ok(found) => Ok(Some(found)),
        Err(Fault::NoNode) => Ok(None),
        Err(fault) => Err(unread("watch the notices", fault)),
    }
}

/// Names a claim that was dealt with, in the notices of its session. `look` was sent after that was done: a session that
/// has begun to keep notices since has looked at its claims since.
pub(crate) async fn tell(
    client: &Client,
    path: &str,
    mut look: std::result::Result<(Vec<u8>, Stat), Fault>,
    claim: ClaimId,
) -> Result<()> {
    for _ in 0..TRIES {
        let (data, stat) = match look {
            Ok(found) => found,
            Err(Fault::NoNode) => return Ok(()),
            Err(fault) => return Err(unread("read the notices of a session", fault)),
        };
        match client.set_data(path, &with(&data, claim), Some(stat.version)).await {
            Ok(_) | Err(Fault::NoNode) => return Ok(()),
            Err(Fault::BadVersion) => look = client.get_data(path).await,
            Err(fault) => return Err(failed("write a notice", fault)),
        }
    }
    // Too many at once: what names nobody means everybody.
    match client.set_data(path, b"", None).await {
        Ok(_) | Err(Fault::NoNode) => Ok(()),
        Err(fault) => Err(failed("write a notice", fault)),
    }
}

/// The claims that stand in notices; whatever else does is left out.
fn named(data: &[u8]) -> Vec<ClaimId> {
    let lines = data.split(|byte| *byte == b'\n');
    lines.filter_map(|line| ClaimId::parse(std::str::from_utf8(line).ok()?)).collect()
}

/// The notices with one claim more.
fn with(data: &[u8], claim: ClaimId) -> Vec<u8> {
    let named = named(data);
    let kept = named.get((named.len() + 1).saturating_sub(MOST)..).unwrap_or_default();
    kept.iter().chain([&claim]).flat_map(|claim| format!("{claim}\n").into_bytes()).collect()
}

/// Those of the claims that were named since version `seen` was read; `None` if there may be more.
fn news(named: &[ClaimId], seen: Option<i32>, version: i32) -> Option<&[ClaimId]> {
    let writings = usize::try_from(version.wrapping_sub(seen?)).ok()?;
    named.get(named.len().checked_sub(writings)?..)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_claim_is_named_last_and_the_oldest_make_room() {
        let claims: Vec<_> = std::iter::repeat_with(ClaimId::random).take(MOST + 3).collect();
        let mut data = b"planted\n\xff\n".to_vec();
        for (count, claim) in (1..).zip(&claims) {
            data = with(&data, *claim);
            assert_eq!(named(&data), claims[count - count.min(MOST)..count]);
        }
    }

    #[test]
    fn what_was_named_since_is_told_and_everything_where_there_may_be_more() {
        let named: [ClaimId; 3] = std::array::from_fn(|_| ClaimId::random());
        assert_eq!(news(&named, Some(7), 7), Some(&[][..]));
        assert_eq!(news(&named, Some(7), 9), Some(&named[1..]));
        assert_eq!(
            news(&named, Some(i32::MAX), i32::MIN),
            Some(&named[2..]),
            "the server goes on below zero"
        );
        for (seen, version) in [(None, 1), (Some(7), 11), (Some(7), 6)] {
            assert_eq!(news(&named, seen, version), None, "{seen:?} {version}");
        }
    }

    proptest! {
        #[test]
        fn whatever_stands_in_notices_is_read_and_written_on(data in prop::collection::vec(any::<u8>(), 0..256)) {
            let claim = ClaimId::random();
            let written = with(&data, claim);
            let names = named(&written);
            prop_assert_eq!(names.last(), Some(&claim));
            prop_assert!(written.len() <= MOST * 33);
        }
    }
}
