//! One story per promise; boundaries to the nanosecond.

mod groups;
mod leases;
mod seats;
mod topics;

use std::time::Duration;

use bytes::Bytes;

use super::{Fact, Refusal, State, Step, Subject};
use crate::backend::{
    Amended, Deleted, Doubt, Enrolment, Eviction, Grant, Joined, Left, Mark, Proof, Renewal, Standing, Turn,
    Updated, Withdrawn,
};
use crate::claim::{Claim, Mode, Seat};
use crate::clock::Moment;
use crate::id::{ClaimId, SessionId};
use crate::name::Name;

const TTL: Duration = Duration::from_secs(10);
const NANO: Duration = Duration::from_nanos(1);

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn at(seconds: u64) -> Moment {
    Moment::ORIGIN + Duration::from_secs(seconds)
}

fn claim(member: &str, mode: Mode) -> Claim {
    let seat = Seat::Lock(name("nightly"));
    Claim { id: ClaimId::random(), seat, mode, member: name(member), value: Bytes::new() }
}

fn exclusive(member: &str) -> Claim {
    claim(member, Mode::Exclusive)
}

fn open(state: &mut State, now: Moment, member: &str) -> SessionId {
    let session = SessionId::random();
    state.open(now, session, &name(member), TTL);
    session
}

fn held(standing: Result<Standing, Refusal>) -> Grant {
    match standing {
        Ok(Standing::Held(grant)) => grant,
        other => panic!("{other:?}"),
    }
}

fn ahead(standing: Result<Standing, Refusal>) -> u64 {
    match standing {
        Ok(Standing::Waiting(position)) => position.ahead.unwrap(),
        other => panic!("{other:?}"),
    }
}

fn enrolment(session: SessionId, member: &str, replaces: Option<SessionId>) -> Enrolment {
    let capabilities = Bytes::from_static(b"\xc0");
    Enrolment { group: name("blue"), member: name(member), session, replaces, capabilities }
}
