//! A driver against the pure reference, step by step.
//!
//! Steps are drawn, taken on the driver and on [`State`], and their facts compared but for what drivers may
//! rightly differ in ([`Fact::essence`]). A difference is made as small as proptest can before it is shown.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::strategy::{Union, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tooz_core::backend::{Doubt, Enrolment, Eviction, Limit, Profile, Publication, Retention, Standing};
use tooz_core::memory::{Fact, State, Step};
use tooz_core::{Channel, Claim, ClaimId, ErrorKind, MessageId, Mode, Moment, Name, Offset, Seat, SessionId};

use crate::world::{Session, name};

/// How many members, names and claims a drawn history has: few, so that they meet.
const MEMBERS: usize = 3;
const NAMES: usize = 2;
const CLAIMS: usize = 4;
const CHANNELS: usize = 3;
const MESSAGES: u8 = 8;

/// A difference is made smaller at most so many times.
const MOST_SHRINKS: usize = 300;

/// One drawn step, still without its names and ids.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)] // each is the step of the same name
pub enum Draw {
    Claim { by: usize, claim: usize },
    TryClaim { by: usize, claim: usize },
    Withdraw { by: usize, claim: usize, doubt: bool },
    Amend { by: usize, claim: usize, value: u8 },
    Evict { by: usize, seat: usize, named: Option<usize> },
    Queue { by: usize, seat: usize },
    Create { by: usize, group: usize },
    Delete { by: usize, group: usize },
    Join { by: usize, group: usize, caps: u8 },
    Leave { by: usize, group: usize },
    Update { by: usize, group: usize, caps: u8 },
    Members { by: usize, group: usize },
    Publish { by: usize, channel: usize, message: u8 },
    Fetch { by: usize, channel: usize, after: Option<u64>, messages: usize },
    Trim { by: usize, channel: usize, count: u64 },
}

/// Histories that a driver of this profile must be able to live through.
pub fn histories(profile: &Profile) -> impl Strategy<Value = Vec<Draw>> + use<> {
    let (by, claim, seat, group) = (0..MEMBERS, 0..CLAIMS, 0..NAMES, 0..NAMES);
    let locks = prop_oneof![
        6 => (by.clone(), claim.clone()).prop_map(|(by, claim)| Draw::Claim { by, claim }),
        2 => (by.clone(), claim.clone()).prop_map(|(by, claim)| Draw::TryClaim { by, claim }),
        5 => (by.clone(), claim.clone(), any::<bool>())
            .prop_map(|(by, claim, doubt)| Draw::Withdraw { by, claim, doubt }),
        1 => (by.clone(), claim.clone(), 0..3_u8)
            .prop_map(|(by, claim, value)| Draw::Amend { by, claim, value }),
        1 => (by.clone(), seat.clone(), proptest::option::of(claim))
            .prop_map(|(by, seat, named)| Draw::Evict { by, seat, named }),
        2 => (by.clone(), seat).prop_map(|(by, seat)| Draw::Queue { by, seat }),
    ];
    let groups = prop_oneof![
        2 => (by.clone(), group.clone()).prop_map(|(by, group)| Draw::Create { by, group }),
        1 => (by.clone(), group.clone()).prop_map(|(by, group)| Draw::Delete { by, group }),
        3 => (by.clone(), group.clone(), 0..3_u8)
            .prop_map(|(by, group, caps)| Draw::Join { by, group, caps }),
        2 => (by.clone(), group.clone()).prop_map(|(by, group)| Draw::Leave { by, group }),
        1 => (by.clone(), group.clone(), 0..3_u8)
            .prop_map(|(by, group, caps)| Draw::Update { by, group, caps }),
        2 => (by.clone(), group).prop_map(|(by, group)| Draw::Members { by, group }),
    ];
    let channel = 0..CHANNELS;
    let topics = prop_oneof![
        4 => (by.clone(), channel.clone(), 0..MESSAGES)
            .prop_map(|(by, channel, message)| Draw::Publish { by, channel, message }),
        2 => (by.clone(), channel.clone(), proptest::option::of(0..u64::from(MESSAGES)), 0..6_usize)
            .prop_map(|(by, channel, after, messages)| Draw::Fetch { by, channel, after, messages }),
        1 => (by, channel, 0..5_u64).prop_map(|(by, channel, count)| Draw::Trim { by, channel, count }),
    ];
    let facets = [
        (2, profile.locks.is_some(), locks.boxed()),
        (1, profile.groups.is_some(), groups.boxed()),
        (1, profile.topics.is_some(), topics.boxed()),
    ];
    let declared: Vec<_> = facets
        .into_iter()
        .filter_map(|(weight, is_there, draws)| is_there.then_some((weight, draws)))
        .collect();
    let step = match declared.is_empty() {
        true => Just(Draw::Queue { by: 0, seat: 0 }).boxed(),
        false => Union::new_weighted(declared).boxed(),
    };
    vec(step, 1..60)
}

/// One run: sessions of the driver beside the reference.
struct Run<'a> {
    sessions: &'a [Session],
    state: State,
    moment: Moment,
    stem: String,
    ids: [ClaimId; CLAIMS],
    shared: bool,
    /// The ids of this run's messages; one id in one channel is one message.
    messages: [MessageId; MESSAGES as usize],
    /// What publishing told, by channel and number: in the reference and in the store.
    offsets: BTreeMap<(usize, u64), (Offset, Offset)>,
}

impl Run<'_> {
    fn name(&self, kind: &str, index: usize) -> Name {
        name(&format!("{}-{kind}-{index}", self.stem))
    }

    /// A claim's seat and mode go with its number, so that one id is always one claim.
    fn claim(&self, session: &Session, index: usize, value: u8) -> Option<Claim> {
        let seat = self.name("seat", index % NAMES);
        Some(Claim {
            id: scatter(*self.ids.get(index)?, session.id),
            seat: if index.is_multiple_of(NAMES) { Seat::Lock(seat) } else { Seat::Leader(seat) },
            mode: if self.shared && index >= NAMES { Mode::Shared } else { Mode::Exclusive },
            member: session.member.clone(),
            value: Bytes::copy_from_slice(&[value]),
        })
    }

    fn enrolment(&self, session: &Session, group: usize, caps: u8) -> Enrolment {
        Enrolment {
            group: self.name("group", group),
            member: session.member.clone(),
            session: session.id,
            replaces: None,
            capabilities: Bytes::copy_from_slice(&[caps]),
        }
    }

    fn step(&self, session: &Session, draw: Draw) -> Option<Step> {
        Some(match draw {
            Draw::Claim { claim, .. } => Step::Claim(self.claim(session, claim, 0)?),
            Draw::TryClaim { claim, .. } => Step::TryClaim(self.claim(session, claim, 0)?),
            Draw::Withdraw { claim, doubt, .. } => {
                let doubt = if doubt { Doubt::MayLand } else { Doubt::None };
                Step::Withdraw(self.claim(session, claim, 0)?, doubt)
            }
            Draw::Amend { claim, value, .. } => Step::Amend(self.claim(session, claim, value)?),
            Draw::Evict { seat, named, .. } => {
                let seat_of = self.claim(session, seat, 0)?.seat;
                let named = named.and_then(|index| self.claim(session, index, 0)).map(|claim| claim.id);
                Step::Evict { seat: seat_of, how: Eviction::Force, only: named.into_iter().collect() }
            }
            Draw::Queue { seat, .. } => Step::Queue(self.claim(session, seat, 0)?.seat),
            Draw::Create { group, .. } => Step::Create(self.name("group", group)),
            Draw::Delete { group, .. } => Step::Delete(self.name("group", group)),
            Draw::Join { group, caps, .. } => Step::Join(self.enrolment(session, group, caps)),
            Draw::Leave { group, .. } => Step::Leave(self.enrolment(session, group, 0)),
            Draw::Update { group, caps, .. } => Step::Update(self.enrolment(session, group, caps)),
            Draw::Members { group, .. } => Step::Members(self.name("group", group)),
            Draw::Publish { channel, message, .. } => Step::Publish(Publication {
                id: *self.messages.get(usize::from(message))?,
                channel: self.channel(channel),
                sender: session.member.clone(),
                body: Bytes::from(vec![message; usize::from(message)]),
            }),
            Draw::Fetch { channel, after, messages, .. } => {
                let after = after.and_then(|number| self.offsets.get(&(channel, number)));
                let limit = Limit { messages, bytes: 12 };
                Step::Fetch { channel: self.channel(channel), after: after.map(|(model, _)| *model), limit }
            }
            Draw::Trim { channel, count, .. } => {
                let retention = Retention { count, age: Duration::from_secs(3600) };
                Step::Trim { channel: self.channel(channel), retention }
            }
        })
    }

    fn channel(&self, index: usize) -> Channel {
        let name = self.name("channel", index % NAMES);
        match index {
            0 => Channel::Topic(name),
            1 => Channel::Group(name),
            _ => Channel::Inbox { group: name.clone(), member: name },
        }
    }

    /// The same step with the store's offset in place of the reference's.
    fn translated(&self, draw: Draw, step: &Step) -> Step {
        match (step, draw) {
            (Step::Fetch { channel, after: Some(after), limit }, Draw::Fetch { channel: index, .. }) => {
                let known = self.offsets.get(&(index, after.number()));
                let after = known.map(|(_, of_store)| *of_store);
                Step::Fetch { channel: channel.clone(), after, limit: *limit }
            }
            _ => step.clone(),
        }
    }

    /// Takes one step on both sides; `Err` says how they differ.
    async fn compare(&mut self, draw: Draw) -> Result<(), String> {
        let Some(session) = self.sessions.get(draw.by()) else { return Ok(()) };
        let Some(step) = self.step(session, draw) else { return Ok(()) };
        let wanted = self.state.apply(self.moment, session.id, &step);
        let got = self.translated(draw, &step).send(&*session.backend).await;
        if let (Draw::Publish { channel, .. }, Ok(Fact::Published(model)), Ok(Fact::Published(of_store))) =
            (draw, &wanted, &got)
        {
            self.offsets.insert((channel, model.number()), (*model, *of_store));
        }
        let wanted: Result<Fact, ErrorKind> = wanted.map(Fact::essence).map_err(|refusal| refusal.kind());
        let got = got.map(Fact::essence).map_err(|error| error.kind());
        if got != wanted {
            return Err(format!(
                "{} took {step:?}: {got:?}, but the reference says {wanted:?}",
                session.member
            ));
        }
        self.wake().await
    }

    /// Lets every claim that the reference has granted ask again, as its waiter would when woken: drivers
    /// may hand a seat over in the releasing step or in the next step of the one whose turn it is.
    async fn wake(&self) -> Result<(), String> {
        let mut held = self.state.snapshot().held;
        held.sort_by_key(|(_, token)| *token);
        for (place, _) in held {
            let Some(session) = self.sessions.iter().find(|session| session.id == place.session) else {
                continue;
            };
            let claims = (0..CLAIMS).filter_map(|index| self.claim(session, index, 0));
            let Some(claim) = claims.into_iter().find(|claim| claim.id == place.claim) else { continue };
            let standing = Step::Claim(claim).send(&*session.backend).await;
            if !matches!(standing, Ok(Fact::Claimed(Standing::Held(_)))) {
                return Err(format!("the reference granted {place}, but the driver says {standing:?}"));
            }
        }
        Ok(())
    }

    /// Withdraws and leaves everything, so that runs do not see each other.
    async fn tidy(&self) {
        for session in self.sessions {
            for index in 0..CLAIMS {
                if let Some(claim) = self.claim(session, index, 0)
                    && session.backend.locks().is_some()
                {
                    // What is left is found by the audit at the end of the case.
                    let _ = Step::Withdraw(claim, Doubt::None).send(&*session.backend).await;
                }
            }
            for group in (0..NAMES).filter(|_| session.backend.groups().is_some()) {
                let _ = Step::Leave(self.enrolment(session, group, 0)).send(&*session.backend).await;
            }
        }
        let Some(first) = self.sessions.first().filter(|session| session.backend.groups().is_some()) else {
            return;
        };
        for group in 0..NAMES {
            let _ = Step::Delete(self.name("group", group)).send(&*first.backend).await;
        }
    }
}

impl Draw {
    fn by(self) -> usize {
        match self {
            Self::Claim { by, .. }
            | Self::TryClaim { by, .. }
            | Self::Withdraw { by, .. }
            | Self::Amend { by, .. }
            | Self::Evict { by, .. }
            | Self::Queue { by, .. }
            | Self::Create { by, .. }
            | Self::Delete { by, .. }
            | Self::Join { by, .. }
            | Self::Leave { by, .. }
            | Self::Update { by, .. }
            | Self::Members { by, .. }
            | Self::Publish { by, .. }
            | Self::Fetch { by, .. }
            | Self::Trim { by, .. } => by,
        }
    }
}

/// Lives through one drawn history on both sides.
async fn live(sessions: &[Session], profile: &Profile, draws: &[Draw]) -> Result<(), String> {
    let mut state = State::new();
    let moment = Moment::ORIGIN;
    for session in sessions {
        state.open(moment, session.id, &session.member, Duration::from_secs(3600));
    }
    let shared = profile.locks.as_ref().is_some_and(|locks| locks.shared);
    let ids = [(); CLAIMS].map(|()| ClaimId::random());
    let stem = crate::unique("model");
    let messages = [(); MESSAGES as usize].map(|()| MessageId::random());
    let mut run = Run { sessions, state, moment, stem, ids, shared, messages, offsets: BTreeMap::new() };
    let mut told = String::new();
    let mut outcome = Ok(());
    for (number, draw) in draws.iter().enumerate() {
        // Only written when something went wrong.
        let _ = write!(told, "\n  {number}: {draw:?}");
        if let Err(difference) = run.compare(*draw).await {
            outcome = Err(format!("{difference}\nafter{told}"));
            break;
        }
    }
    run.tidy().await;
    outcome
}

/// Draws `rounds` histories and lives through each on the driver and on the reference, in the same store
/// under new names. The same seed draws the same histories.
///
/// # Errors
/// The smallest history found in which they differ, and how.
pub async fn agree(sessions: &[Session], profile: &Profile, rounds: u32, seed: u64) -> Result<(), String> {
    let mut bytes = [0; 32];
    bytes.iter_mut().zip(seed.to_le_bytes()).for_each(|(byte, of_seed)| *byte = of_seed);
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let strategy = histories(profile);
    for _ in 0..rounds {
        let mut tree = strategy.new_tree(&mut runner).map_err(|reason| reason.to_string())?;
        let Err(mut difference) = live(sessions, profile, &tree.current()).await else { continue };
        let mut differs = true;
        for _ in 0..MOST_SHRINKS {
            if !(if differs { tree.simplify() } else { tree.complicate() }) {
                break;
            }
            let lived = live(sessions, profile, &tree.current()).await;
            differs = lived.is_err();
            if let Err(still) = lived {
                difference = still;
            }
        }
        return Err(difference);
    }
    Ok(())
}

/// An id of a claim that is this session's own.
fn scatter(id: ClaimId, session: SessionId) -> ClaimId {
    let mut bytes = *id.as_bytes();
    let text = session.to_string();
    for (byte, salt) in bytes.iter_mut().zip(text.bytes()) {
        *byte ^= salt;
    }
    ClaimId::from_bytes(bytes)
}
