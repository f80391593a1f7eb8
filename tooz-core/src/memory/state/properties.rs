//! What holds after any steps of any sessions at any moments.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::{Fact, Refusal, Snapshot, State, Step, Subject};
use crate::backend::{
    Batch, Doubt, Enrolment, Eviction, Limit, Mark, Publication, Queue, Retention, RosterFact,
};
use crate::channel::Channel;
use crate::claim::{Claim, FencingToken, Mode, Seat};
use crate::clock::Moment;
use crate::id::{ClaimId, MessageId, SessionId};
use crate::name::Name;
use crate::offset::Offset;

const SESSIONS: u8 = 4;
const CLAIMS: u8 = 6;

/// What happens next: time passes, then a session takes a step (or opens, where there is none).
#[derive(Clone, Debug)]
struct Event {
    after: Duration,
    session: u8,
    step: Option<Step>,
}

fn session(i: u8) -> SessionId {
    SessionId::parse(&format!("{:032x}", u32::from(i) + 1)).unwrap()
}

fn ttl(i: u8) -> Duration {
    Duration::from_secs([3, 5, 8, 13][usize::from(i)])
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn member(i: u8) -> Name {
    // Two sessions share a member id.
    name(["a", "b", "c", "c"][usize::from(i)])
}

fn seats() -> [Seat; 2] {
    [Seat::Lock(name("x")), Seat::Leader(name("x"))]
}

/// Every session has two exclusive and four shared claims, spread over both seats.
fn claim(i: u8, k: u8, value: u8) -> Claim {
    let [lock, leader] = seats();
    Claim {
        id: ClaimId::from_bytes([i * 16 + k + 1; 16]),
        seat: if k.is_multiple_of(2) { lock } else { leader },
        mode: if k < 2 { Mode::Exclusive } else { Mode::Shared },
        member: member(i),
        value: Bytes::copy_from_slice(&[value]),
    }
}

fn enrolment(i: u8, replaces: Option<u8>, value: u8) -> Enrolment {
    Enrolment {
        group: name("g"),
        member: member(i),
        session: session(i),
        replaces: replaces.map(session),
        capabilities: Bytes::copy_from_slice(&[value]),
    }
}

fn channel(v: u8) -> Channel {
    let name = name("x");
    if v == 0 { Channel::Topic(name) } else { Channel::Group(name) }
}

/// Few ids, so that most are sent again; what is sent under one id is always the same.
fn publication(i: u8, k: u8, v: u8) -> Publication {
    let id = MessageId::from_bytes([i * 16 + k + 1; 16]);
    Publication { id, channel: channel(v), sender: member(i), body: Bytes::copy_from_slice(&[i, k]) }
}

fn retention(k: u8) -> Retention {
    Retention { count: u64::from(k), age: Duration::from_secs(4 * u64::from(k)) }
}

const ALL: Limit = Limit { messages: usize::MAX, bytes: usize::MAX };

fn event() -> impl Strategy<Value = Event> {
    let doubt = prop_oneof![Just(Doubt::None), Just(Doubt::MayLand)];
    let how = prop_oneof![Just(Eviction::Notice), Just(Eviction::Force)];
    (0..SESSIONS, 0..CLAIMS, 0..3u8, doubt, how, 0..SESSIONS).prop_flat_map(|(i, k, v, doubt, how, other)| {
        let claim = || claim(i, k, v);
        let only = vec![self::claim(other, k, 0).id];
        let replaces = (v == 0).then_some(other);
        let step = prop_oneof![
            6 => Just(None),
            4 => Just(Some(Step::Renew { claims: vec![claim()], memberships: vec![enrolment(i, None, v)] })),
            1 => Just(Some(Step::Close)),
            12 => Just(Some(Step::Claim(claim()))),
            3 => Just(Some(Step::TryClaim(claim()))),
            2 => Just(Some(Step::Amend(claim()))),
            8 => Just(Some(Step::Withdraw(claim(), doubt))),
            2 => Just(Some(Step::Evict { seat: claim().seat, how, only })),
            1 => Just(Some(Step::Queue(claim().seat))),
            2 => Just(Some(Step::Create(name("g")))),
            1 => Just(Some(Step::Delete(name("g")))),
            1 => Just(Some(Step::List)),
            4 => Just(Some(Step::Join(enrolment(i, replaces, v)))),
            1 => Just(Some(Step::Leave(enrolment(i, None, v)))),
            2 => Just(Some(Step::Update(enrolment(i, None, v)))),
            1 => Just(Some(Step::Members(name("g")))),
            6 => Just(Some(Step::Publish(publication(i, k, v)))),
            1 => Just(Some(Step::Fetch { channel: channel(v), after: None, limit: ALL })),
            2 => Just(Some(Step::Trim { channel: channel(v), retention: retention(k) })),
        ];
        (0..1500u64, step).prop_map(move |(ms, step)| Event {
            after: Duration::from_millis(ms),
            session: i,
            step,
        })
    })
}

fn history() -> impl Strategy<Value = Vec<Event>> {
    prop::collection::vec(event(), 1..120)
}

/// A state and what a bystander knows of it.
struct Run {
    state: State,
    now: Moment,
    /// Until when each session was promised to live.
    leases: BTreeMap<SessionId, Moment>,
    largest: BTreeMap<Seat, FencingToken>,
}

impl Run {
    fn new() -> Self {
        Self { state: State::new(), now: Moment::ORIGIN, leases: BTreeMap::new(), largest: BTreeMap::new() }
    }

    /// Takes the event; `None` where it opened a session.
    fn take(&mut self, event: &Event) -> Option<Result<Fact, Refusal>> {
        self.now = self.now + event.after;
        let (now, id) = (self.now, session(event.session));
        self.leases.retain(|_, until| now < *until);
        let renewed = now + ttl(event.session);
        let Some(step) = &event.step else {
            self.state.open(now, id, &member(event.session), ttl(event.session));
            self.leases.insert(id, renewed);
            return None;
        };
        match (step, self.leases.get_mut(&id)) {
            (Step::Renew { .. }, Some(until)) => *until = renewed,
            (Step::Close, _) => drop(self.leases.remove(&id)),
            _ => {}
        }
        Some(self.state.apply(now, id, step))
    }

    fn view(&self, seat: &Seat) -> (Mark, Queue) {
        let mut queue = self.state.clone().queue(self.now, seat);
        queue.holders.iter_mut().for_each(|holder| holder.age = None);
        (std::mem::take(&mut queue.mark), queue)
    }

    fn read(&self, v: u8, after: Option<Offset>) -> Batch {
        self.state.clone().fetch(self.now, &channel(v), after, ALL)
    }

    fn roster(&self) -> (Option<Mark>, Option<RosterFact>) {
        let mut roster = self.state.clone().members(self.now, &name("g"));
        let mark = roster.as_mut().map(|roster| std::mem::take(&mut roster.mark));
        (mark, roster)
    }
}

fn held_on<'a>(snapshot: &'a Snapshot, seat: &'a Seat) -> Vec<(Mode, ClaimId, FencingToken)> {
    let held = snapshot.held.iter().filter(move |(place, _)| place.seat == *seat);
    held.map(|(place, token)| (place.mode, place.claim, *token)).collect()
}

fn queued_on(snapshot: &Snapshot, seat: &Seat) -> Vec<(Mode, ClaimId)> {
    let queued = snapshot.queued.iter().filter(|place| place.seat == *seat);
    queued.map(|place| (place.mode, place.claim)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn one_exclusive_holder_or_only_shared_ones(events in history()) {
        let mut run = Run::new();
        for event in &events {
            run.take(event);
            for seat in seats() {
                let held = held_on(&run.state.snapshot(), &seat);
                let alone = held.len() <= 1;
                prop_assert!(alone || held.iter().all(|(mode, ..)| *mode == Mode::Shared), "{held:?}");
            }
        }
    }

    #[test]
    fn every_new_grant_has_a_larger_token_than_all_before(events in history()) {
        let mut run = Run::new();
        for event in &events {
            let before = run.state.snapshot();
            run.take(event);
            let after = run.state.snapshot();
            for (place, token) in after.held.iter().filter(|held| !before.held.contains(held)) {
                let largest = run.largest.entry(place.seat.clone()).or_insert(FencingToken::new(0));
                prop_assert!(token > largest, "{token} after {largest}");
                *largest = *token;
            }
        }
    }

    #[test]
    fn live_claims_are_served_in_the_order_they_came(events in history()) {
        let mut run = Run::new();
        for event in &events {
            let before = run.state.snapshot();
            run.take(event);
            let after = run.state.snapshot();
            for seat in seats() {
                let (old, new) = (queued_on(&before, &seat), queued_on(&after, &seat));
                let held = held_on(&after, &seat);

                // Nobody changes places: the old ones that still wait, then at most one new one.
                let mut order: Vec<_> = old.iter().filter(|entry| new.contains(entry)).copied().collect();
                let newcomers: Vec<_> = new.iter().filter(|entry| !old.contains(entry)).copied().collect();
                order.extend(&newcomers);
                prop_assert!(newcomers.len() <= 1 && new == order, "{old:?} then {new:?}");

                // Nobody is overtaken: whoever was granted now had nobody before it who still waits.
                let held_before = held_on(&before, &seat);
                for (_, granted, _) in held.iter().filter(|held| !held_before.contains(held)) {
                    let place = old.iter().position(|(_, id)| id == granted).unwrap_or(old.len());
                    let overtaken = old.iter().take(place).find(|entry| new.contains(entry));
                    prop_assert!(overtaken.is_none(), "{granted} overtook {overtaken:?}");
                }

                // Nobody waits for nothing.
                if let Some((mode, _)) = new.first() {
                    let shares = *mode == Mode::Shared && held.iter().all(|(mode, ..)| *mode == Mode::Shared);
                    prop_assert!(!held.is_empty() && !shares, "{new:?} waits behind {held:?}");
                }
            }
        }
    }

    #[test]
    fn sessions_live_exactly_as_long_as_promised(events in history()) {
        let mut run = Run::new();
        for event in &events {
            run.take(event);
            let snapshot = run.state.snapshot();
            let live: Vec<SessionId> = snapshot.sessions.iter().map(|(id, _)| *id).collect();
            prop_assert_eq!(&live, &run.leases.keys().copied().collect::<Vec<_>>());
            prop_assert_eq!(run.state.next_expiry(), run.leases.values().min().copied());
            let all = snapshot.held.iter().map(|(place, _)| place).chain(&snapshot.queued);
            let mut owners = all.map(|place| place.session).chain(snapshot.joined.iter().map(|(.., id)| *id));
            prop_assert!(owners.all(|id| live.contains(&id)), "{snapshot:?}");
        }
    }

    #[test]
    fn nothing_is_left_once_all_sessions_ended(events in history()) {
        let mut run = Run::new();
        events.iter().for_each(|event| drop(run.take(event)));
        run.state.settle(run.now + Duration::from_secs(14));

        let snapshot = run.state.snapshot();
        prop_assert_eq!(snapshot.leftovers(), Vec::<String>::new());
        prop_assert_eq!(snapshot.voids, 0);
        prop_assert!(run.state.seats.is_empty() && run.state.expiries.is_empty());
        prop_assert_eq!(run.state.voids, super::Voids::default());
    }

    #[test]
    fn a_step_taken_twice_is_the_step_taken_once(events in history()) {
        let mut run = Run::new();
        for event in &events {
            let first = run.take(event);
            run.state.settle(run.now);
            let once = run.state.clone();
            let again = run.take(&Event { after: Duration::ZERO, ..event.clone() });
            run.state.settle(run.now);
            prop_assert_eq!(&run.state, &once);

            // Steps that report how things stand say the same; the others report that it was done before.
            let reports = !matches!(
                event.step,
                Some(
                    Step::Withdraw(..)
                        | Step::Create(_)
                        | Step::Delete(_)
                        | Step::Leave(_)
                        | Step::Evict { .. }
                        | Step::Trim { .. }
                )
            );
            if reports {
                prop_assert_eq!(first, again);
            }
        }
    }

    #[test]
    fn marks_and_news_move_exactly_with_their_subject(events in history()) {
        let mut run = Run::new();
        for event in &events {
            let seats_before = seats().map(|seat| run.view(&seat));
            let roster_before = run.roster();
            run.take(event);
            for (seat, (mark, view)) in seats().into_iter().zip(seats_before) {
                let (new_mark, new_view) = run.view(&seat);
                let told = run.state.news().any(|news| *news == Subject::Seat(seat.clone()));
                prop_assert_eq!(new_mark != mark, new_view != view, "{:?}", new_view);
                prop_assert_eq!(told, new_view != view);
            }
            let (mark, roster) = roster_before;
            let (new_mark, new_roster) = run.roster();
            let told = run.state.news().any(|news| *news == Subject::Group(name("g")));
            prop_assert_eq!(new_mark != mark, new_roster != roster);
            prop_assert_eq!(told, new_roster != roster);
        }
    }

    #[test]
    fn a_channel_only_grows_at_its_end_and_shrinks_at_its_beginning(events in history()) {
        let mut run = Run::new();
        let mut everything: [Vec<(u64, MessageId)>; 2] = Default::default();
        for event in &events {
            let before = [0, 1].map(|v| run.read(v, None));
            run.take(event);
            for (v, (before, ever)) in before.into_iter().zip(&mut everything).enumerate() {
                let now = run.read(v as u8, None);
                let news: Vec<_> = now
                    .messages
                    .iter()
                    .filter(|message| !before.messages.contains(message))
                    .map(|message| (message.offset.number(), message.id))
                    .collect();
                prop_assert!(news.len() <= 1);
                for (number, id) in news {
                    prop_assert_eq!(number, ever.len() as u64 + 1);
                    prop_assert!(ever.iter().all(|(_, known)| *known != id), "{} came twice", id);
                    ever.push((number, id));
                }
                prop_assert_eq!(now.last.map_or(0, Offset::number), ever.len() as u64);
                let first = ever.len() - now.messages.len();
                let numbers = now.messages.iter().map(|message| message.offset.number());
                prop_assert!(numbers.eq(first as u64 + 1..=ever.len() as u64));

                // Marks and news move exactly with what is published.
                let told = run.state.news().any(|news| *news == Subject::Channel(channel(v as u8)));
                prop_assert_eq!(now.mark != before.mark, now.last != before.last);
                prop_assert_eq!(told, now.last != before.last);
            }
        }
    }

    #[test]
    fn reading_on_after_any_offset_is_the_rest(events in history()) {
        let mut run = Run::new();
        events.iter().for_each(|event| drop(run.take(event)));
        for v in [0, 1] {
            let all = run.read(v, None);
            for (i, message) in all.messages.iter().enumerate() {
                prop_assert_eq!(&run.read(v, Some(message.offset)).messages, &all.messages[i + 1..]);
            }
        }
    }

    #[test]
    fn a_hand_over_tells_the_grantee_and_nobody_else_in_the_queue(events in history()) {
        let mut run = Run::new();
        for event in &events {
            let before = run.state.snapshot();
            run.take(event);
            let after = run.state.snapshot();
            for place in &before.queued {
                let told = run.state.news().any(|n| *n == Subject::Claim(place.session, place.claim));
                prop_assert_eq!(told, !after.queued.contains(place), "{}", place);
            }
            for (place, token) in &before.held {
                let gone = !after.held.contains(&(place.clone(), *token));
                let told = run.state.news().any(|n| *n == Subject::Claim(place.session, place.claim));
                prop_assert!(told || !gone, "{place}");
            }
        }
    }

    #[test]
    fn a_claim_withdrawn_in_doubt_never_lands_while_its_mark_lasts(events in history(), ms in 0..60_000u64) {
        let mut run = Run::new();
        events.iter().for_each(|event| drop(run.take(event)));
        let (id, claim) = (session(SESSIONS), claim(0, 0, 0));
        run.state.open(run.now, id, &member(0), Duration::from_secs(60));
        run.state.apply(run.now, id, &Step::Withdraw(claim.clone(), Doubt::MayLand)).ok();

        let late = run.now + Duration::from_millis(ms);
        let landed = run.state.apply(late, id, &Step::Claim(claim));
        prop_assert_eq!(landed, Err(Refusal::Void));
    }
}
