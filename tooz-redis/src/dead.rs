//! Members that died without leaving: whoever looks removes them.
//!
//! Python removes whoever has no sign of life at all, and so is done here; who has a record of ours only when that has
//! been over for a while too.

use std::collections::BTreeSet;
use std::time::Duration;

use redis::Value;
use tooz_core::{Error, ErrorKind, Name, Result};

use crate::groups::{Groups, MOST, Seen, read};
use crate::keys::{GroupKeys, member_of};
use crate::line::Call;
use crate::reply::{self, bytes, count, list, word};
use crate::scripts::BEAT;
use crate::session::millis;

/// How long a member's record has been over before it is removed, in its session's times to live.
const GRACE: u32 = 5;
/// How many are removed in one step at most.
const MOST_BURIED: usize = 1_000;
/// How often a look at a group that is full of the dead is begun again: each time, as many as that are removed.
const LOOKS: usize = 100;

/// A look: the server's time, who stands in the group, and how many of a newer version do.
type Look = (u64, Vec<Seen>, u64);

impl Groups {
    /// Who stands in a group, alive or not; `None` if there is no such group. Where there are more than can be told,
    /// the dead are removed first.
    pub(crate) async fn look(&self, keys: &GroupKeys) -> Result<Option<Look>> {
        for _ in 0..LOOKS {
            let args = vec![
                MOST.to_string().into_bytes(),
                millis(self.grace()),
                MOST_BURIED.to_string().into_bytes(),
            ];
            let answer = self.act("look", keys, args).await?;
            if word(&answer) == Some("none") {
                return Ok(None);
            }
            let Some(doubtful) = full(&answer) else {
                return read(&answer).ok_or_else(|| reply::odd("look", &answer)).map(Some);
            };
            let dead = self.beats(&doubtful).await?.into_iter().filter(|(_, beat)| is_none(beat));
            if self.bury(keys, dead.map(|(field, _)| field).collect()).await? == 0 {
                break;
            }
        }
        let text = format!("it has more members than are looked at ({MOST})");
        Err(Error::new(ErrorKind::Corrupt, text))
    }

    /// The signs of life of these members, without those that cannot be named.
    pub(crate) async fn beats(&self, fields: &[Vec<u8>]) -> Result<Vec<(Vec<u8>, Value)>> {
        let known: Vec<_> = fields.iter().filter_map(|field| Some((field, member_of(field)?))).collect();
        if known.is_empty() {
            return Ok(Vec::new());
        }
        let look = |member: &Name| Call {
            script: &BEAT,
            keys: vec![self.session.keys.beat(member)],
            args: vec![b"look".to_vec(), Vec::new(), Vec::new()],
        };
        let calls = known.iter().map(|(_, member)| look(member)).collect();
        let beats = self.session.line.run_all(calls).await?;
        known.into_iter().zip(beats).map(|((field, _), beat)| Ok((field.clone(), beat?))).collect()
    }

    /// Removes those of a look who show no life, but for the lately dead. That they are not removed, for want of the right
    /// to write perhaps, is no failure of the look.
    pub(crate) async fn bury_found(
        &self,
        keys: &GroupKeys,
        now: u64,
        seen: &[Seen],
        beats: &[(Vec<u8>, Value)],
    ) {
        let grace = u64::try_from(self.grace().as_millis()).unwrap_or(u64::MAX);
        let is_late = |seen: &&Seen| seen.expiry.saturating_add(grace) > now;
        let lately: BTreeSet<_> = seen.iter().filter(is_late).map(|seen| &seen.field).collect();
        let dead = beats.iter().filter(|(field, beat)| is_none(beat) && !lately.contains(field));
        let dead = dead.take(MOST_BURIED).map(|(field, _)| field.clone()).collect();
        if let Err(error) = self.bury(keys, dead).await {
            tracing::debug!(%error, "dead members stay in the group");
        }
    }

    async fn bury(&self, keys: &GroupKeys, fields: Vec<Vec<u8>>) -> Result<u64> {
        if fields.is_empty() {
            return Ok(0);
        }
        let mut call = self.call("bury", keys, vec![millis(self.grace())]);
        if !self.session.is_clustered() {
            let members = fields.iter().filter_map(|field| member_of(field));
            call.keys.extend(members.map(|member| self.session.keys.beat(&member)));
        }
        call.args.extend(fields);
        let answer = self.session.line.run(call).await?;
        count(&answer).ok_or_else(|| reply::odd("bury", &answer))
    }

    fn grace(&self) -> Duration {
        self.session.membership_ttl * GRACE
    }
}

/// The doubtful members of a group of which there are too many to be told.
fn full(answer: &Value) -> Option<Vec<Vec<u8>>> {
    let [first, fields @ ..] = list(answer)? else { return None };
    (word(first) == Some("full")).then(|| fields.iter().filter_map(|it| Some(bytes(it)?.to_vec())).collect())
}

fn is_none(beat: &Value) -> bool {
    bytes(beat) == Some(b"")
}
