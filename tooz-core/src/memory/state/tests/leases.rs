//! Leases, proofs and the end of sessions.

use super::*;

#[test]
fn a_lease_ends_at_its_moment_and_not_a_nanosecond_before() {
    let mut state = State::new();
    let a = open(&mut state, at(5), "a");
    assert_eq!(state.next_expiry(), Some(at(15)));

    state.settle(at(15) - NANO);
    assert!(state.is_open(a));
    state.settle(at(15));
    assert!(!state.is_open(a));
    assert_eq!(state.apply(at(15), a, &Step::Claim(exclusive("a"))), Err(Refusal::SessionEnded));
}

#[test]
fn expiries_happen_in_their_order_however_late_they_are_noticed() {
    let mut state = State::new();
    let (a, b, c) =
        (open(&mut state, at(0), "a"), open(&mut state, at(1), "b"), open(&mut state, at(2), "c"));
    let (of_a, of_b, of_c) = (exclusive("a"), exclusive("b"), exclusive("c"));
    let first = held(state.claim(at(2), a, &of_a));
    state.claim(at(2), b, &of_b).unwrap();
    state.claim(at(2), c, &of_c).unwrap();

    // Nobody looks between 10 s and 11 s, but `b` held then, and drew a token.
    state.renew(at(2), at(2), c, &[], &[]).unwrap();
    let queue = state.queue(at(11), &of_a.seat);
    assert_eq!((queue.holders[0].claim, queue.holders[0].age), (Some(of_c.id), Some(Duration::ZERO)));
    assert_eq!(queue.holders[0].token.unwrap().get(), first.token.get() + 2);
}

#[test]
fn a_seat_never_passes_to_a_session_that_ends_at_the_same_moment() {
    let ids = [1, 2].map(|i: u8| SessionId::parse(&format!("{i:032x}")).unwrap());
    // Whichever of the two comes first by its id.
    for (a, b) in [(ids[0], ids[1]), (ids[1], ids[0])] {
        let mut state = State::new();
        state.open(at(0), a, &name("a"), TTL);
        state.open(at(0), b, &name("b"), TTL);
        held(state.claim(at(0), a, &exclusive("a")));
        state.claim(at(0), b, &exclusive("b")).unwrap();

        state.settle(at(10));
        assert_eq!(state.last_token(), 1);
        assert_eq!(state.snapshot().leftovers(), Vec::<String>::new());
    }
}

/// Interleaving 1: a claim's own answer proves nothing about the session's lease.
#[test]
fn a_grant_carries_the_last_proof_of_its_session() {
    let mut state = State::new();
    let a = open(&mut state, at(1), "a");
    let proof = |sent| Proof::Lease { sent: at(sent), ttl: TTL };
    assert_eq!(held(state.claim(at(9), a, &exclusive("a"))).proof, proof(1));

    // A beat sent at 3 that arrives at 9 proves what was true at 3, and an older one nothing more.
    assert_eq!(state.renew(at(9), at(3), a, &[], &[]).unwrap().proof, proof(3));
    assert_eq!(state.renew(at(9), at(2), a, &[], &[]).unwrap().proof, proof(3));
    let of_a = Claim { seat: Seat::Leader(name("x")), ..exclusive("a") };
    assert_eq!(held(state.claim(at(9), a, &of_a)).proof, proof(3));
    assert_eq!(state.turn(a, &of_a), Some(Turn::Granted(held(state.claim(at(9), a, &of_a)))));
}

/// Interleavings 2 and 9: a renewal speaks of what was passed in, and shows what nobody asked about.
#[test]
fn a_renewal_tells_what_is_gone_and_what_is_unknown() {
    let mut state = State::new();
    let (a, b) = (open(&mut state, at(0), "a"), open(&mut state, at(0), "b"));
    let (known, stray, gone) = (exclusive("a"), exclusive("a"), exclusive("a"));
    let of_b = exclusive("b");
    held(state.claim(at(0), a, &known));
    state.claim(at(0), b, &of_b).unwrap();
    state.claim(at(0), a, &stray).unwrap();

    let enrolment = enrolment(a, "a", None);
    let Renewal { ousted, stray: strays, expelled, .. } =
        state.renew(at(1), at(1), a, &[known.clone(), gone.clone()], &[enrolment]).unwrap();
    assert_eq!((ousted, strays, expelled), (vec![gone.id], vec![stray], vec![name("blue")]));

    // Another session's claim is neither renewed nor confirmed.
    let renewal = state.renew(at(1), at(1), a, std::slice::from_ref(&of_b), &[]).unwrap();
    assert_eq!(renewal.ousted, [of_b.id]);
}

/// Interleaving 13: a grantee lives as long as its own lease, not as the releaser's.
#[test]
fn a_hand_over_gives_the_grantee_its_own_remaining_time() {
    let mut state = State::new();
    let (a, b) = (SessionId::random(), open(&mut state, at(0), "b"));
    state.open(at(0), a, &name("a"), TTL * 10);
    let (of_a, of_b) = (exclusive("a"), exclusive("b"));
    held(state.claim(at(0), a, &of_a));
    state.claim(at(0), b, &of_b).unwrap();
    state.withdraw(at(9), a, &of_a, Doubt::None);
    assert_eq!(held(state.claim(at(9), b, &of_b)).proof, Proof::Lease { sent: at(0), ttl: TTL });

    assert_eq!(state.queue(at(10), &of_a.seat).holders, []);
}

#[test]
fn losing_all_data_ends_everything_but_the_growth_of_tokens() {
    let mut state = State::new();
    let a = open(&mut state, at(0), "a");
    let of_a = exclusive("a");
    let grant = held(state.claim(at(0), a, &of_a));
    let mark = state.seat_mark(&of_a.seat);
    state.create(at(0), &name("blue"));
    state.wipe(at(1));

    assert_eq!(state.snapshot(), Default::default());
    assert!(state.seat_mark(&of_a.seat) > mark);
    assert!([Subject::Session(a), Subject::Claim(a, of_a.id)].iter().all(|s| state.news().any(|n| n == s)));
    let b = open(&mut state, at(1), "b");
    assert!(held(state.claim(at(1), b, &exclusive("b"))).token > grant.token);
}

#[test]
fn a_restart_with_data_gives_every_lease_its_full_time_again() {
    let mut state = State::new();
    let a = open(&mut state, at(0), "a");
    let of_a = exclusive("a");
    let grant = held(state.claim(at(0), a, &of_a));
    state.rearm(at(9));
    // The proof stays as it was: what a client may rely on did not grow.
    assert_eq!(held(state.claim(at(19) - NANO, a, &of_a)), grant);
    assert_eq!(state.claim(at(19), a, &of_a), Err(Refusal::SessionEnded));
}

#[test]
fn time_that_seems_to_go_back_stands_still() {
    let mut state = State::new();
    open(&mut state, at(5), "a");
    state.settle(at(1));
    assert_eq!((state.now(), state.next_expiry()), (at(5), Some(at(15))));
}

#[test]
fn ended_sessions_may_clean_up_but_not_begin() {
    let mut state = State::new();
    let a = open(&mut state, at(0), "a");
    let of_a = exclusive("a");
    state.close(at(0), a);
    for step in [
        Step::Claim(of_a.clone()),
        Step::TryClaim(of_a.clone()),
        Step::Amend(of_a.clone()),
        Step::Join(enrolment(a, "a", None)),
        Step::Update(enrolment(a, "a", None)),
        Step::Renew { claims: vec![], memberships: vec![] },
    ] {
        assert_eq!(state.apply(at(0), a, &step), Err(Refusal::SessionEnded), "{step:?}");
    }
    let withdraw = Step::Withdraw(of_a, Doubt::MayLand);
    assert_eq!(state.apply(at(0), a, &withdraw), Ok(Fact::Withdrawn(Withdrawn::Absent)));
    assert_eq!(state.apply(at(0), a, &Step::Leave(enrolment(a, "a", None))), Ok(Fact::Left(Left::Absent)));
    assert_eq!(state.snapshot().voids, 0);
}
