//! One session: its key, its beats, its end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::Value;
use tooz_core::backend::{Enrolment, Opening, Proof, Renewal};
use tooz_core::{Cause, Claim, ClaimId, Clock, Error, ErrorKind, Moment, Name, Result, SessionId};

use crate::ear::Ear;
use crate::keys::{Keys, SeatKeys, field, slot_of};
use crate::line::{Call, Line};
use crate::news::News;
use crate::reply;
use crate::scripts::{BEAT, GROUP, RENEW, SESSION, WITHDRAW};
use crate::server::Mode;

/// How many claims one script renews at most: four keys each and the session's, below 500.
const CLAIMS_PER_CALL: usize = 100;

/// How many void marks of its own a session remembers, to take them away when it closes.
const MOST_VOIDS: usize = 4096;

/// On a cluster nodes pass news on to each other, and none says when it failed to: whoever looks looks again after this.
const GLANCE: Duration = Duration::from_secs(15);

/// An open session.
pub(crate) struct Session {
    pub(crate) id: SessionId,
    member: Name,
    pub(crate) ttl: Duration,
    pub(crate) membership_ttl: Duration,
    pub(crate) timeout: Duration,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) line: Line,
    pub(crate) ear: Arc<Ear>,
    pub(crate) keys: Keys,
    /// Whether keys of different names stand in different slots, so that no script sees them together.
    clustered: bool,
    /// When the newest beat that was answered was sent, in nanoseconds.
    proved: AtomicU64,
    /// Asked for only to be freed when the session closes.
    joined: Mutex<BTreeSet<Name>>,
    voids: Mutex<BTreeSet<Vec<u8>>>,
}

impl Session {
    /// Opens one; the moment is that before the store was told.
    pub(crate) async fn open(line: Line, opening: &Opening) -> Result<(Arc<Self>, Moment)> {
        let keys = Keys::new(&line.config().namespace);
        let (subscriber, hearing) = line.listen().await?;
        let ear = Ear::open(subscriber, hearing, keys.session(opening.session)).await?;
        let sent = opening.clock.now();
        let session = Arc::new(Self {
            id: opening.session,
            member: opening.member.clone(),
            ttl: opening.ttl,
            membership_ttl: opening.membership_ttl,
            timeout: opening.timeout,
            clock: Arc::clone(&opening.clock),
            clustered: line.server().mode == Mode::Cluster,
            line,
            ear,
            keys,
            proved: AtomicU64::new(sent.as_nanos()),
            joined: Mutex::default(),
            voids: Mutex::default(),
        });
        session.line.run(session.act("open")).await?;
        Ok((session, sent))
    }

    /// The time to live of the session, and so the least of what stands under it.
    pub(crate) fn lease(&self) -> Duration {
        self.ttl.min(self.membership_ttl)
    }

    /// Whether clients that poll and leave no trace may take these locks too.
    pub(crate) fn foreign(&self) -> bool {
        self.line.config().foreign
    }

    /// After how long a change of which no news came is looked for, where there may be one.
    pub(crate) fn patience(&self) -> Option<Duration> {
        patience(self.foreign(), self.clustered, self.lease())
    }

    /// The same for what only members of ours change.
    pub(crate) fn glance(&self) -> Option<Duration> {
        patience(false, self.clustered, self.lease())
    }

    /// Refuses a step after the end.
    pub(crate) fn check(&self) -> Result<()> {
        match self.ear.ended() {
            Some(Cause::Closed) => return Err(Error::new(ErrorKind::Closed, "the session is closed")),
            Some(_) => return Err(self.over()),
            None => {}
        }
        // On a cluster no script of a seat sees the session's key; its time is up for sure, though.
        let proved = Moment::from_nanos(self.proved.load(Ordering::Acquire));
        if self.clustered && self.clock.now().since(proved) > self.lease() {
            return Err(self.lost());
        }
        Ok(())
    }

    /// The store says that the session has ended.
    pub(crate) fn lost(&self) -> Error {
        self.ear.end(Cause::SessionEnded);
        self.over()
    }

    fn over(&self) -> Error {
        let text = format!("the session of \"{}\" has ended on redis", self.member);
        Error::new(ErrorKind::SessionLost, text)
    }

    /// Whether no script sees keys of different names together.
    pub(crate) fn is_clustered(&self) -> bool {
        self.clustered
    }

    /// The session's key for scripts that are to look at it, where they can.
    pub(crate) fn own_key(&self) -> Option<Vec<u8>> {
        (!self.clustered).then(|| self.keys.session(self.id))
    }

    /// What a flag is called in scripts.
    pub(crate) fn foreign_word(&self) -> Vec<u8> {
        if self.foreign() { b"1".to_vec() } else { b"0".to_vec() }
    }

    /// Remembers a mark to take away when the session closes; left to its own end where there are too many.
    pub(crate) fn note_void(&self, key: Vec<u8>) {
        let mut voids = lock(&self.voids);
        if voids.len() < MOST_VOIDS {
            voids.insert(key);
        }
    }

    /// Remembers a group that was asked for.
    pub(crate) fn note_group(&self, group: &Name) {
        lock(&self.joined).insert(group.clone());
    }

    /// Forgets a group.
    pub(crate) fn strike_group(&self, group: &Name) {
        lock(&self.joined).remove(group);
    }

    /// Shows Python that the member is about to live, unless somebody shows that already, and says what did.
    pub(crate) async fn show_life(&self) -> Result<Value> {
        self.line.run(self.life("begin")).await
    }

    /// A membership begins under this sign of life: what somebody else showed must not end before the next beat.
    pub(crate) async fn stand_on(&self, shown: &Value) {
        let own = self.id.to_string();
        if reply::bytes(shown).is_some_and(|shown| !shown.is_empty() && shown != own.as_bytes())
            && let Err(error) = self.line.run(self.life("renew")).await
        {
            // The next beat does it too, and finds out if that was too late.
            tracing::debug!(%error, "the sign of life may end early");
        }
    }

    /// Renews everything in one flush.
    pub(crate) async fn renew(&self, claims: &[Claim], memberships: &[Enrolment]) -> Result<Renewal> {
        self.check()?;
        let sent = self.clock.now();
        let chunks = self.chunks(claims);
        let mut calls = vec![self.act("renew")];
        calls.extend(chunks.iter().map(|chunk| self.renewal_of(chunk)));
        calls.extend(memberships.iter().map(|enrolment| self.membership(enrolment)));
        if !memberships.is_empty() {
            calls.push(self.life("renew"));
        }
        let mut answers = self.line.run_all(calls).await?.into_iter();
        let mut next = || answers.next().unwrap_or_else(|| Err(missing()));

        if reply::word(&next()?) == Some("ended") {
            return Err(self.lost());
        }
        let mut ousted = Vec::new();
        for chunk in &chunks {
            let answer = next()?;
            if reply::word(&answer) == Some("ended") {
                return Err(self.lost());
            }
            let states = reply::list(&answer).ok_or_else(|| reply::odd("renew", &answer))?;
            for (claim, state) in chunk.iter().zip(states) {
                self.found(claim.id, reply::number(state).unwrap_or_default(), &mut ousted);
            }
        }
        let mut expelled = Vec::new();
        for enrolment in memberships {
            // A group that cannot be read is one that this member is no longer seen in.
            match next() {
                Ok(Value::Int(1)) => {}
                Ok(_) => expelled.push(enrolment.group.clone()),
                Err(error) if error.kind() == ErrorKind::Corrupt => expelled.push(enrolment.group.clone()),
                Err(error) => return Err(error),
            }
        }
        self.proved.fetch_max(sent.as_nanos(), Ordering::AcqRel);
        self.ear.beat();
        let proof = Proof::Lease { sent, ttl: self.lease() };
        Ok(Renewal { proof, ousted, stray: Vec::new(), expelled })
    }

    /// What a beat found of one claim: 0 gone, 1 waits, the token it holds, minus the token if it is to let go.
    fn found(&self, claim: ClaimId, state: i64, ousted: &mut Vec<ClaimId>) {
        match state {
            0 => {
                ousted.push(claim);
                self.ear.tell(claim, News::LetGo);
            }
            1 => {}
            holds if holds < 0 => self.ear.tell(claim, News::LetGo),
            _ => self.ear.found_holding(claim),
        }
    }

    /// Claims that one script can renew together.
    fn chunks<'a>(&self, claims: &'a [Claim]) -> Vec<Vec<&'a Claim>> {
        let mut by_slot: BTreeMap<u16, Vec<&Claim>> = BTreeMap::new();
        for claim in claims {
            let slot = if self.clustered { slot_of(&self.keys.seat(&claim.seat).main) } else { 0 };
            by_slot.entry(slot).or_default().push(claim);
        }
        by_slot.values().flat_map(|claims| claims.chunks(CLAIMS_PER_CALL).map(<[_]>::to_vec)).collect()
    }

    fn renewal_of(&self, claims: &[&Claim]) -> Call {
        let own = self.own_key();
        let has_own = if own.is_some() { b"1" } else { b"0" };
        let mut keys: Vec<_> = own.into_iter().collect();
        let mut args = vec![has_own.to_vec(), self.keys.sessions(), self.foreign_word()];
        for claim in claims {
            let seat = self.keys.seat(&claim.seat);
            args.extend([claim.id.to_string().into_bytes(), millis(self.ttl), self.keys.seat_channel(&seat)]);
            keys.extend(seat.all());
        }
        Call { script: &RENEW, keys, args }
    }

    fn membership(&self, enrolment: &Enrolment) -> Call {
        let group = self.keys.group(&enrolment.group);
        let args = vec![
            b"renew".to_vec(),
            self.keys.group_channel(&group),
            field(&enrolment.member),
            enrolment.session.to_string().into_bytes(),
            millis(self.membership_ttl),
        ];
        Call { script: &GROUP, keys: vec![group.group, group.sessions], args }
    }

    fn act(&self, act: &str) -> Call {
        let record = format!("1 {}", self.member.as_str());
        let args = vec![act.as_bytes().to_vec(), millis(self.lease()), record.into_bytes()];
        Call { script: &SESSION, keys: vec![self.keys.session(self.id)], args }
    }

    fn life(&self, act: &str) -> Call {
        let args =
            vec![act.as_bytes().to_vec(), self.id.to_string().into_bytes(), millis(self.membership_ttl)];
        Call { script: &BEAT, keys: vec![self.keys.beat(&self.member)], args }
    }

    /// The step that takes one claim out.
    pub(crate) fn withdrawal(&self, claim: ClaimId, seat: &SeatKeys, void: Option<Duration>) -> Call {
        let mut keys = seat.all();
        keys.push(seat.void(claim));
        keys.extend(self.own_key());
        let args = vec![
            claim.to_string().into_bytes(),
            void.map(millis).unwrap_or_default(),
            self.keys.seat_channel(seat),
            self.keys.sessions(),
            self.foreign_word(),
        ];
        Call { script: &WITHDRAW, keys, args }
    }

    /// Ends the session and frees what is under it, in one flush. The sign of life ends by itself: other sessions of the
    /// member may stand on it.
    pub(crate) async fn close(&self) -> Result<()> {
        self.ear.end(Cause::Closed);
        let mut calls = vec![self.act("end")];
        let places = self.ear.places();
        calls.extend(places.iter().map(|(claim, seat)| {
            // Where no script sees that the session has ended, only a mark keeps a late claim out.
            let void = self.clustered.then_some(self.ttl);
            self.withdrawal(*claim, seat, void)
        }));
        let groups: Vec<Name> = lock(&self.joined).iter().cloned().collect();
        for name in &groups {
            let group = self.keys.group(name);
            let me = self.id.to_string().into_bytes();
            let args = vec![b"leave".to_vec(), self.keys.group_channel(&group), field(&self.member), me];
            calls.push(Call { script: &GROUP, keys: vec![group.group, group.sessions], args });
        }
        if !self.clustered {
            let marks = lock(&self.voids).iter().cloned().collect::<Vec<_>>();
            let end = |key| Call { script: &SESSION, keys: vec![key], args: vec![b"end".to_vec()] };
            calls.extend(marks.into_iter().map(end));
        }
        let mut failure = None;
        for answer in self.line.run_all(calls).await? {
            failure = failure.or(answer.err());
        }
        if let Some(failure) = failure {
            return Err(failure);
        }
        for (claim, _) in places {
            self.ear.forget(claim);
        }
        groups.iter().for_each(|group| self.strike_group(group));
        lock(&self.voids).clear();
        Ok(())
    }
}

/// Clients of another kind tell nobody what they do, and a cluster may lose what it is told.
fn patience(foreign: bool, clustered: bool, lease: Duration) -> Option<Duration> {
    let silent = foreign.then(|| lease / 3);
    silent.into_iter().chain(clustered.then_some(GLANCE)).min()
}

/// Whether a sign of life is that of a Python client: ours are the session's id.
pub(crate) fn is_namesake(beat: &Value) -> bool {
    match reply::bytes(beat) {
        None | Some(b"") => false,
        Some(bytes) => std::str::from_utf8(bytes).ok().and_then(SessionId::parse).is_none(),
    }
}

/// A span as scripts want it.
pub(crate) fn millis(span: Duration) -> Vec<u8> {
    span.as_millis().max(1).to_string().into_bytes()
}

fn missing() -> Error {
    Error::new(ErrorKind::Corrupt, "the server answered fewer scripts than it was sent").effect_unknown()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An observer of a free seat or of an empty group has nobody's time to live to wait for.
    #[test]
    fn an_observer_looks_again_wherever_news_may_be_lost() {
        let (short, long) = (Duration::from_secs(30), Duration::from_secs(600));
        assert_eq!(patience(false, false, long), None);
        assert_eq!(patience(true, false, long), Some(long / 3));
        assert_eq!(patience(false, true, long), Some(GLANCE));
        assert_eq!(
            (patience(true, true, long), patience(true, true, short)),
            (Some(GLANCE), Some(short / 3))
        );
    }
}
