//! Who is in a group, at one revision, however much its members wrote.

use std::collections::HashMap;

use etcd_client::{GetOptions, Txn, TxnOp};
use tooz_core::backend::{Mark, RosterEntry, RosterFact};
use tooz_core::{Error, ErrorKind, Name, Result, SessionId};

use crate::error::is_too_large;
use crate::keys::{GroupKeys, after_prefix};
use crate::session::Session;
use crate::txn::{self, Seen, count_below, oldest_below, revision};

/// Members that a group may have.
const MOST: usize = 10_000;
/// Keys of one request where all at once are too large, unless they are too large again …
const PAGE: i64 = 512;
/// … down to so many: a stranger's may be as large as etcd takes them.
const LEAST: i64 = 16;

/// The members, or `None` where there is no such group.
pub(crate) async fn read(session: &Session, group: &Name) -> Result<Option<RosterFact>> {
    let keys = GroupKeys::of(group);
    let below = [keys.group.as_str(), keys.odd.as_str(), keys.incarnations.as_str()];
    let (revision, [own, odd, incarnations]) = match at_once(session, below).await {
        Err(error) if is_too_large(&error) => in_pages(session, below).await?,
        read => read?,
    };
    if !own.iter().any(|seen| seen.key == keys.group) {
        return Ok(None);
    }
    if own.len() + odd.len() > MOST + 1 {
        let text = format!("the group \"{group}\" has more members than are looked at ({MOST})");
        return Err(Error::new(ErrorKind::Unsupported, text));
    }
    let sessions: HashMap<&[u8], &Seen> = incarnations.iter().map(|seen| (seen.key.as_ref(), seen)).collect();
    let entry = |seen: &Seen| {
        let member = keys.member_of(&seen.key)?;
        let incarnation = sessions.get(keys.incarnation(&member).as_bytes());
        let session = incarnation.filter(|known| known.lease == seen.lease).and_then(|seen| session_of(seen));
        Some(RosterEntry { member, session, capabilities: seen.value.clone(), joined_at: None })
    };
    let members = own.iter().chain(&odd).filter_map(entry).collect();
    Ok(Some(RosterFact { mark: Mark(u64::try_from(revision).unwrap_or(0)), members, revisit: None }))
}

/// Whose membership an incarnation says it is.
pub(crate) fn session_of(seen: &Seen) -> Option<SessionId> {
    SessionId::parse(std::str::from_utf8(&seen.value).ok()?)
}

/// What stands below each prefix, and the revision of all of it.
async fn at_once(session: &Session, below: [&str; 3]) -> Result<(i64, [Vec<Seen>; 3])> {
    // The group itself, all there may be, and one more, by which it shows that there is more.
    let most = i64::try_from(MOST + 2).unwrap_or(i64::MAX);
    let looks = below.map(|prefix| oldest_below(prefix, most));
    let answer = session.line.txn(Txn::new().and_then(looks)).await?;
    session.note(revision(&answer));
    let answers = answer.op_responses();
    Ok((revision(&answer), [0, 1, 2].map(|at| txn::all(answers.get(at)))))
}

/// The same in requests that are small enough each.
async fn in_pages(session: &Session, below: [&str; 3]) -> Result<(i64, [Vec<Seen>; 3])> {
    let answer = session.line.txn(Txn::new().and_then(below.map(count_below))).await?;
    let revision = revision(&answer);
    session.note(revision);
    let mut all = [Vec::new(), Vec::new(), Vec::new()];
    for (prefix, seen) in below.into_iter().zip(&mut all) {
        *seen = pages(session, prefix, revision).await?;
    }
    Ok((revision, all))
}

async fn pages(session: &Session, prefix: &str, at: i64) -> Result<Vec<Seen>> {
    let (mut from, end) = (prefix.as_bytes().to_vec(), after_prefix(prefix));
    let (mut all, mut page) = (Vec::new(), PAGE);
    while all.len() < MOST + 2 {
        let options = GetOptions::new().with_range(end.clone()).with_revision(at).with_limit(page);
        match session.line.txn(Txn::new().and_then([TxnOp::get(from.clone(), Some(options))])).await {
            Err(error) if is_too_large(&error) && page > LEAST => page /= 2,
            answer => {
                let found = txn::all(answer?.op_responses().first());
                let is_last = i64::try_from(found.len()).is_ok_and(|found| found < page);
                all.extend(found);
                match all.last() {
                    Some(last) if !is_last => from = [last.key.as_ref(), &[0]].concat(),
                    _ => break,
                }
            }
        }
    }
    Ok(all)
}
