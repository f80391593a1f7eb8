//! Groups: Python's keys, and beside them whose session each member is.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use redis::Value;
use tooz_core::backend::{
    Created, Deleted, Enrolment, GroupSteps, Joined, Left, Mark, RosterEntry, RosterFact, Updated,
};
use tooz_core::{Error, ErrorKind, MAX_CAPABILITIES_BYTES, Name, Result, SessionId};

use crate::keys::{GroupKeys, field, member_of};
use crate::line::Call;
use crate::reply::{self, bytes, count, list, word};
use crate::scripts::GROUP;
use crate::session::{Session, is_namesake, millis};

/// How many members of a group and how many groups are looked at at most.
pub(crate) const MOST: usize = 10_000;

/// The groups of one session.
pub(crate) struct Groups {
    pub(crate) session: Arc<Session>,
}

/// One member as it stands in the store, alive or not.
pub(crate) struct Seen {
    pub(crate) field: Vec<u8>,
    member: Name,
    capabilities: Bytes,
    session: Option<SessionId>,
    pub(crate) expiry: u64,
    joined: u64,
}

impl Groups {
    pub(crate) fn new(session: Arc<Session>) -> Self {
        Self { session }
    }

    pub(crate) async fn act(&self, act: &str, keys: &GroupKeys, args: Vec<Vec<u8>>) -> Result<Value> {
        self.session.line.run(self.call(act, keys, args)).await
    }

    pub(crate) fn call(&self, act: &str, keys: &GroupKeys, args: Vec<Vec<u8>>) -> Call {
        let mut all = vec![act.as_bytes().to_vec(), self.session.keys.group_channel(keys)];
        all.extend(args);
        let mut names = vec![keys.group.clone(), keys.sessions.clone()];
        match act {
            "join" => names.extend(self.session.own_key()),
            "create" | "delete" if !self.session.is_clustered() => names.push(self.session.keys.groups()),
            _ => {}
        }
        Call { script: &GROUP, keys: names, args: all }
    }

    /// Adds to the set of groups or takes away from it, where no script sees it together with the group.
    async fn list_apart(&self, verb: &str, group: &Name) -> Result<()> {
        if self.session.is_clustered() {
            let groups = self.session.keys.groups();
            let mut listing = redis::cmd(verb);
            listing.arg(&groups).arg(group.as_str());
            self.session.line.command(listing, Some(&groups)).await?;
        }
        Ok(())
    }

    fn me(&self) -> Vec<u8> {
        self.session.id.to_string().into_bytes()
    }
}

#[async_trait]
impl GroupSteps for Groups {
    async fn create(&self, group: &Name) -> Result<Created> {
        let keys = self.session.keys.group(group);
        // Listed first: what is listed but not there is skipped by those who look.
        self.list_apart("SADD", group).await?;
        let args = vec![group.as_str().as_bytes().to_vec()];
        match self.act("create", &keys, args).await.map_err(|e| doing("create", group, e))? {
            Value::Int(1) => Ok(Created::New),
            Value::Int(0) => Ok(Created::Existed),
            odd => Err(reply::odd("create", &odd)),
        }
    }

    async fn delete(&self, group: &Name) -> Result<Deleted> {
        let keys = self.session.keys.group(group);
        let named = vec![group.as_str().as_bytes().to_vec()];
        let mut answer =
            self.act("delete", &keys, named.clone()).await.map_err(|e| doing("delete", group, e))?;
        if let Some(unsure) = list(&answer) {
            // Members without a session of ours: alive if Python keeps them so. The dead are named, so
            // that nobody who comes meanwhile is deleted with them.
            let fields: Vec<_> = unsure.iter().filter_map(|field| Some(bytes(field)?.to_vec())).collect();
            if self.beats(&fields).await?.iter().any(|(_, beat)| is_namesake(beat)) {
                return Ok(Deleted::NotEmpty);
            }
            answer = self.act("delete", &keys, named.into_iter().chain(fields).collect()).await?;
        }
        let deleted = match answer {
            Value::Int(1) => Deleted::Gone,
            Value::Int(0) => Deleted::Missing,
            _ => return Ok(Deleted::NotEmpty),
        };
        if self.session.is_clustered() {
            self.list_apart("SREM", group).await?;
            // Made again meanwhile, it has to be listed again.
            if self.look(&keys).await?.is_some() {
                self.list_apart("SADD", group).await?;
            }
        }
        Ok(deleted)
    }

    async fn list(&self) -> Result<Vec<Name>> {
        let mut members = redis::cmd("SMEMBERS");
        let groups = self.session.keys.groups();
        members.arg(&groups);
        let answer = self.session.line.command(members, Some(&groups)).await?;
        let items: &[Value] = match &answer {
            Value::Array(items) | Value::Set(items) => items,
            odd => return Err(reply::odd("list groups", odd)),
        };
        let name = |item: &Value| Name::new(std::str::from_utf8(bytes(item)?).ok()?).ok();
        Ok(items.iter().filter_map(name).take(MOST).collect())
    }

    async fn join(&self, enrolment: &Enrolment) -> Result<Joined> {
        let session = &self.session;
        session.check()?;
        if enrolment.session != session.id {
            let text = format!("session {} is not the one that joins", enrolment.session);
            return Err(Error::new(ErrorKind::SessionLost, text));
        }
        if enrolment.capabilities.len() > MAX_CAPABILITIES_BYTES {
            return Err(Error::new(ErrorKind::InvalidValue, "capabilities are larger than allowed"));
        }
        session.note_group(&enrolment.group);
        let shown = session.show_life().await?;
        let keys = session.keys.group(&enrolment.group);
        let args = vec![
            field(&enrolment.member),
            self.me(),
            enrolment.replaces.map(|session| session.to_string()).unwrap_or_default().into_bytes(),
            millis(session.membership_ttl),
            enrolment.capabilities.to_vec(),
            if is_namesake(&shown) { b"1".to_vec() } else { b"0".to_vec() },
        ];
        let answer = self.act("join", &keys, args).await.map_err(|e| doing("join", &enrolment.group, e))?;
        match (&answer, word(&answer)) {
            (Value::Int(1), _) => {
                session.stand_on(&shown).await;
                Ok(Joined::Done)
            }
            (_, Some("none")) => Ok(Joined::NoGroup),
            (_, Some("taken")) => Ok(Joined::Taken),
            (_, Some("ended")) => Err(session.lost()),
            _ => Err(reply::odd("join", &answer)),
        }
    }

    async fn leave(&self, enrolment: &Enrolment) -> Result<Left> {
        let keys = self.session.keys.group(&enrolment.group);
        let args = vec![field(&enrolment.member), enrolment.session.to_string().into_bytes()];
        let answer = self.act("leave", &keys, args).await.map_err(|e| doing("leave", &enrolment.group, e))?;
        self.session.strike_group(&enrolment.group);
        match answer {
            Value::Int(1) => Ok(Left::Done),
            Value::Int(0) => Ok(Left::Absent),
            odd => Err(reply::odd("leave", &odd)),
        }
    }

    async fn update(&self, enrolment: &Enrolment) -> Result<Updated> {
        self.session.check()?;
        let keys = self.session.keys.group(&enrolment.group);
        let session = enrolment.session.to_string().into_bytes();
        let args = vec![field(&enrolment.member), session, enrolment.capabilities.to_vec()];
        let answer =
            self.act("update", &keys, args).await.map_err(|e| doing("update", &enrolment.group, e))?;
        match answer {
            Value::Int(1) => Ok(Updated::Done),
            Value::Int(0) => Ok(Updated::Absent),
            odd => Err(reply::odd("update", &odd)),
        }
    }

    async fn members(&self, group: &Name) -> Result<Option<RosterFact>> {
        let session = &self.session;
        let keys = session.keys.group(group);
        let channel = session.keys.group_channel(&keys);
        let mark = session.ear.follow(&channel).await?;
        let Some((now, seen, newer)) = self.look(&keys).await.map_err(|e| doing("look at", group, e))? else {
            session.ear.saw_absent(&channel, mark);
            return Ok(None);
        };
        if newer > 0 {
            tracing::warn!(%group, newer, "members of a newer version are not shown: upgrade this one");
        }
        let is_ours = |seen: &Seen| seen.session.is_some() && seen.expiry > now;
        let unsure: Vec<_> =
            seen.iter().filter(|seen| !is_ours(seen)).map(|seen| seen.field.clone()).collect();
        let beats = self.beats(&unsure).await?;
        self.bury_found(&keys, now, &seen, &beats).await;
        // Those that Python keeps alive.
        let living: BTreeSet<_> =
            beats.into_iter().filter(|(_, beat)| is_namesake(beat)).map(|(field, _)| field).collect();
        let soonest = seen.iter().filter(|seen| is_ours(seen)).map(|seen| seen.expiry - now + 5).min();
        let revisit = soonest.map(Duration::from_millis).into_iter().chain(session.patience()).min();
        let members = seen.into_iter().filter_map(|seen| {
            let ours = is_ours(&seen);
            (ours || living.contains(&seen.field)).then(|| RosterEntry {
                session: seen.session.filter(|_| ours),
                joined_at: (ours && seen.joined > 0)
                    .then(|| SystemTime::UNIX_EPOCH + Duration::from_millis(seen.joined)),
                member: seen.member,
                capabilities: seen.capabilities,
            })
        });
        Ok(Some(RosterFact { mark, members: members.collect(), revisit }))
    }

    async fn stirred(&self, group: &Name, mark: Option<Mark>) {
        let keys = self.session.keys.group(group);
        self.session.ear.stirred(&self.session.keys.group_channel(&keys), mark).await;
    }

    /// Only beats tell.
    async fn expelled(&self, _enrolment: &Enrolment) {
        std::future::pending().await
    }
}

/// Reads a look: the server's time, who stands in the group, and how many of a newer version do, who are left out. So are
/// members that cannot be named, or whose capabilities are larger than allowed.
pub(crate) fn read(answer: &Value) -> Option<(u64, Vec<Seen>, u64)> {
    let [now, members, newer] = list(answer)? else { return None };
    let one = |item: &Value| {
        let [field, capabilities, session, expiry, joined] = list(item)? else { return None };
        let capabilities = bytes(capabilities)?;
        (capabilities.len() <= MAX_CAPABILITIES_BYTES).then_some(())?;
        Some(Seen {
            member: member_of(bytes(field)?)?,
            field: bytes(field)?.to_vec(),
            capabilities: Bytes::copy_from_slice(capabilities),
            session: word(session).and_then(SessionId::parse),
            expiry: count(expiry)?,
            joined: count(joined)?,
        })
    };
    Some((count(now)?, list(members)?.iter().filter_map(one).collect(), count(newer)?))
}

fn doing(deed: &str, group: &Name, error: Error) -> Error {
    error.while_doing(format!("{deed} group \"{group}\""))
}
