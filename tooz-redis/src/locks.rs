//! Locks and elections.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redis::Value;
use tooz_core::backend::{
    Amended, Doubt, Eviction, Grant, LockSteps, Mark, Position, Proof, Queue, Standing, Turn, Withdrawn,
};
use tooz_core::{Claim, ClaimId, Effect, Error, ErrorKind, FencingToken, Moment, Result, Seat};

use crate::ear;
use crate::keys::SeatKeys;
use crate::line::Call;
use crate::look;
use crate::record::Record;
use crate::reply;
use crate::scripts::{AMEND, CLAIM, EVICT, LOOK};
use crate::session::{Session, millis};
use crate::ticket::Ticket;

/// How often the head of a queue looks again while a stranger holds, where keys cannot be watched.
const GLANCE: Duration = Duration::from_millis(75);

/// The seats of one session.
pub(crate) struct Locks {
    session: Arc<Session>,
}

/// What the script answered to a claim.
enum Answer {
    Held(FencingToken),
    Waits {
        ticket: u64,
        ahead: u64,
        revisit: Option<Duration>,
        foreign: bool,
    },
    Busy,
    /// Granted, but only so many replicas have it.
    Unconfirmed(u32),
}

impl Locks {
    pub(crate) fn new(session: Arc<Session>) -> Self {
        Self { session }
    }

    fn call(&self, claim: &Claim, keys: &SeatKeys, try_only: bool) -> Result<Call> {
        let session = &self.session;
        let mut all = keys.all();
        all.push(keys.void(claim.id));
        all.extend(session.own_key());
        let mode = match claim.mode {
            tooz_core::Mode::Exclusive => b"x",
            tooz_core::Mode::Shared => b"s",
        };
        let args = vec![
            claim.id.to_string().into_bytes(),
            mode.to_vec(),
            millis(session.ttl),
            Record::encode(claim, session.id, session.ttl)?,
            session.keys.seat_channel(keys),
            session.keys.sessions(),
            session.foreign_word(),
            if try_only { b"1".to_vec() } else { b"0".to_vec() },
            if session.ear.take_stranger(claim.id) { b"1".to_vec() } else { b"0".to_vec() },
        ];
        Ok(Call { script: &CLAIM, keys: all, args })
    }

    /// Sends a claim; on the way, news of it are kept from before it is sent.
    async fn ask(&self, claim: &Claim, try_only: bool) -> Result<(Answer, Moment)> {
        let session = &self.session;
        session.check()?;
        let keys = Arc::new(session.keys.seat(&claim.seat));
        let call = self.call(claim, &keys, try_only)?;
        let fresh = session.ear.expect(claim.id, &keys);
        let asked = session.clock.now();
        let answer = match self.send(call).await {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => {
                session.ear.forget(claim.id);
                let text = format!("claim {} of {} was withdrawn before", claim.id, claim.seat);
                return Err(Error::new(ErrorKind::Closed, text));
            }
            Err(error) => Err(error),
        };
        let nothing_there = match &answer {
            Ok(Answer::Busy) => true,
            Ok(_) => false,
            Err(error) => error.effect() == Effect::None,
        };
        if fresh && nothing_there {
            session.ear.forget(claim.id);
        }
        Ok((answer?, asked))
    }

    /// `None` where the claim is void.
    async fn send(&self, call: Call) -> Result<Option<Answer>> {
        let session = &self.session;
        let wanted = session.line.config().wait_replicas;
        if wanted == 0 {
            let answer = session.line.run(call).await?;
            return self.read(&answer);
        }
        let claim = call.clone();
        let answer = session.line.run(call).await?;
        let read = self.read(&answer)?;
        if !matches!(read, Some(Answer::Held(_))) {
            return Ok(read);
        }
        // A write of its own: replicas acknowledge those of one connection only.
        let confirmed = session.line.confirm(claim, wanted).await;
        // Whatever became of this, the claim was granted before.
        let (answer, acknowledged) = confirmed.map_err(Error::effect_unknown)?;
        match self.read(&answer)? {
            Some(Answer::Held(_)) if acknowledged < wanted => Ok(Some(Answer::Unconfirmed(acknowledged))),
            confirmed => Ok(confirmed),
        }
    }

    fn read(&self, answer: &Value) -> Result<Option<Answer>> {
        if let Some(token) = reply::token(answer) {
            return Ok(Some(Answer::Held(token)));
        }
        match reply::word(answer) {
            Some("void") => return Ok(None),
            Some("ended") => return Err(self.session.lost()),
            Some("busy") => return Ok(Some(Answer::Busy)),
            _ => {}
        }
        let place = reply::list(answer).and_then(|items| match items {
            [ticket, ahead, revisit, foreign] => Some(Answer::Waits {
                ticket: reply::count(ticket)?,
                ahead: reply::count(ahead)?,
                revisit: reply::count(revisit).map(Duration::from_millis),
                foreign: reply::count(foreign)? == 1,
            }),
            _ => None,
        });
        place.map(Some).ok_or_else(|| reply::odd("claim", answer))
    }

    /// A grant that too few replicas have is taken back; what cannot be taken back is in doubt.
    async fn take_back(&self, claim: &Claim, acknowledged: u32) -> Error {
        let wanted = self.session.line.config().wait_replicas;
        let text = format!(
            "claim {}: the grant reached {acknowledged} of the {wanted} replicas that must have it in time",
            claim.seat
        );
        let error = Error::new(ErrorKind::Unavailable, text);
        match self.withdraw(claim, Doubt::None).await {
            Ok(_) => error,
            Err(_) => error.effect_unknown(),
        }
    }

    fn grant(&self, token: FencingToken, sent: Moment) -> Grant {
        Grant { token, proof: Proof::Lease { sent, ttl: self.session.ttl } }
    }
}

#[async_trait]
impl LockSteps for Locks {
    async fn claim(&self, claim: &Claim) -> Result<Standing> {
        let (answer, asked) = self.ask(claim, false).await.map_err(|e| e.while_doing(claiming(claim)))?;
        match answer {
            Answer::Held(token) => Ok(Standing::Held(self.grant(token, asked))),
            Answer::Waits { ticket, ahead, revisit, foreign } => {
                let glance = (foreign && self.session.ear.is_deaf_to_keys()).then_some(GLANCE);
                let revisit = revisit.into_iter().chain(glance).min();
                let ticket = Ticket { ticket, asked, foreign: foreign && glance.is_none() }.encode();
                Ok(Standing::Waiting(Position { ahead: Some(ahead), ticket, revisit }))
            }
            Answer::Unconfirmed(acknowledged) => Err(self.take_back(claim, acknowledged).await),
            Answer::Busy => Err(reply::odd("claim", &Value::Nil)),
        }
    }

    async fn try_claim(&self, claim: &Claim) -> Result<Option<Grant>> {
        let (answer, asked) = self.ask(claim, true).await.map_err(|e| e.while_doing(claiming(claim)))?;
        match answer {
            Answer::Held(token) => Ok(Some(self.grant(token, asked))),
            Answer::Busy => Ok(None),
            Answer::Unconfirmed(acknowledged) => Err(self.take_back(claim, acknowledged).await),
            Answer::Waits { .. } => Err(reply::odd("try", &Value::Nil)),
        }
    }

    async fn turn(&self, claim: &Claim, position: &Position) -> Turn {
        let Some(place) = Ticket::decode(&position.ticket) else { return Turn::AskAgain };
        let ear = &self.session.ear;
        if place.foreign {
            let main = self.session.keys.seat(&claim.seat).main;
            if !ear.hears_key(&main, claim.id, place.asked) {
                // What changed before the key was watched is found by asking once more.
                ear.watch_key(&main, || self.session.clock.now()).await;
                return Turn::AskAgain;
            }
        }
        match ear.turn(claim.id, place.ticket).await {
            // Replicas confirm a grant that was asked for, not one that was handed over.
            ear::Call::Granted(_) if self.session.line.config().wait_replicas > 0 => Turn::AskAgain,
            ear::Call::Granted(token) => Turn::Granted(self.grant(token, place.asked)),
            ear::Call::AskAgain => Turn::AskAgain,
        }
    }

    async fn amend(&self, claim: &Claim) -> Result<Amended> {
        let session = &self.session;
        session.check()?;
        let seat = session.keys.seat(&claim.seat);
        let args = vec![
            claim.id.to_string().into_bytes(),
            Record::encode(claim, session.id, session.ttl)?,
            session.keys.seat_channel(&seat),
        ];
        let answer = session.line.run(Call { script: &AMEND, keys: seat.all(), args }).await?;
        match answer {
            Value::Int(1) => Ok(Amended::Done),
            Value::Int(0) => Ok(Amended::Absent),
            odd => Err(reply::odd("amend", &odd)),
        }
    }

    async fn withdraw(&self, claim: &Claim, doubt: Doubt) -> Result<Withdrawn> {
        let session = &self.session;
        let seat = session.keys.seat(&claim.seat);
        // Longer than any copy of the claim can be under way.
        let void = (doubt == Doubt::MayLand).then(|| session.ttl + session.timeout * 2);
        if void.is_some() {
            session.note_void(seat.void(claim.id));
        }
        let withdrawal = session.withdrawal(claim.id, &seat, void);
        let answer = session.line.run_once(withdrawal, |answer| *answer == Value::Int(0)).await;
        let answer = answer.map_err(|e| e.while_doing(format!("withdraw from {}", claim.seat)))?;
        session.ear.forget(claim.id);
        match answer {
            Value::Int(1) => Ok(Withdrawn::Removed),
            Value::Int(0) => Ok(Withdrawn::Absent),
            odd => Err(reply::odd("withdraw", &odd)),
        }
    }

    async fn evict(&self, seat: &Seat, how: Eviction, only: &[ClaimId]) -> Result<Vec<ClaimId>> {
        let session = &self.session;
        let keys = session.keys.seat(seat);
        let force = if how == Eviction::Force { b"1" } else { b"0" };
        let mut args = vec![
            session.keys.seat_channel(&keys),
            session.keys.sessions(),
            session.foreign_word(),
            force.to_vec(),
        ];
        args.extend(only.iter().map(|claim| claim.to_string().into_bytes()));
        let answer = session.line.run(Call { script: &EVICT, keys: keys.all(), args }).await;
        let answer = answer.map_err(|e| e.while_doing(format!("evict from {seat}")))?;
        let met = reply::list(&answer).ok_or_else(|| reply::odd("evict", &answer))?;
        Ok(met.iter().filter_map(|claim| reply::word(claim).and_then(ClaimId::parse)).collect())
    }

    async fn queue(&self, seat: &Seat) -> Result<Queue> {
        let session = &self.session;
        let keys = session.keys.seat(seat);
        let mark = session.ear.follow(&session.keys.seat_channel(&keys)).await?;
        let args = vec![look::MOST.to_string().into_bytes()];
        let answer = session.line.run(Call { script: &LOOK, keys: keys.all(), args }).await;
        let answer = answer.map_err(|e| e.while_doing(format!("look at {seat}")))?;
        look::read(&answer, mark, session.patience()).ok_or_else(|| reply::odd("look", &answer))
    }

    async fn stirred(&self, seat: &Seat, mark: Mark) {
        let keys = self.session.keys.seat(seat);
        self.session.ear.stirred(&self.session.keys.seat_channel(&keys), Some(mark)).await;
    }

    async fn ousted(&self, claim: &Claim) {
        self.session.ear.ousted(claim.id).await;
    }

    #[cfg(unix)]
    fn tether(&self, _claim: &Claim) -> Option<std::os::fd::OwnedFd> {
        None
    }
}

fn claiming(claim: &Claim) -> String {
    format!("claim {}", claim.seat)
}
