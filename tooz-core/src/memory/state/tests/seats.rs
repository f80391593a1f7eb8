//! Seats: claims, queues, tokens, eviction.

use super::*;

/// Interleaving 7: an attempt that lands after its withdrawal is void until it cannot land any more.
#[test]
fn a_late_attempt_of_a_withdrawn_claim_is_void() {
    let mut state = State::new();
    let a = open(&mut state, at(0), "a");
    let doubted = exclusive("a");
    assert_eq!(state.withdraw(at(0), a, &doubted, Doubt::MayLand), Withdrawn::Absent);
    assert_eq!(state.claim(at(1), a, &doubted), Err(Refusal::Void));
    assert_eq!(state.try_claim(at(1), a, &doubted), Err(Refusal::Void));
    assert_eq!(state.snapshot().voids, 1);

    // Other claims are not touched, and the mark goes after a minute, or with its session.
    let other = exclusive("a");
    held(state.claim(at(1), a, &other));
    state.withdraw(at(1), a, &other, Doubt::None);
    for second in (2..60).step_by(5) {
        state.renew(at(second), at(second), a, &[], &[]).unwrap();
    }
    assert_eq!(state.claim(at(60) - NANO, a, &doubted), Err(Refusal::Void));
    held(state.claim(at(60), a, &doubted));
    state.withdraw(at(60), a, &doubted, Doubt::MayLand);
    state.close(at(60), a);
    assert_eq!(state.snapshot().voids, 0);
}

/// Interleaving 8: a claim repeated after it was handed the seat holds, and does not queue again.
#[test]
fn a_claim_repeated_after_a_hand_over_reports_its_grant() {
    let mut state = State::new();
    let (a, b, c) =
        (open(&mut state, at(0), "a"), open(&mut state, at(0), "b"), open(&mut state, at(0), "c"));
    let (of_a, of_b, of_c) = (exclusive("a"), exclusive("b"), exclusive("c"));
    held(state.claim(at(0), a, &of_a));
    assert_eq!(ahead(state.claim(at(0), b, &of_b)), 1);
    state.withdraw(at(1), a, &of_a, Doubt::None);

    let grant = held(state.claim(at(1), b, &of_b));
    assert_eq!(state.claim(at(1), b, &of_b), Ok(Standing::Held(grant)));
    assert_eq!(ahead(state.claim(at(1), c, &of_c)), 1);

    // Its release hands over to the next, not to an entry of its own.
    assert_eq!(state.withdraw(at(2), b, &of_b, Doubt::None), Withdrawn::Removed);
    assert_eq!(state.withdraw(at(2), b, &of_b, Doubt::None), Withdrawn::Absent);
    held(state.claim(at(2), c, &of_c));
}

#[test]
fn leading_readers_are_granted_together_and_never_overtake_a_writer() {
    let mut state = State::new();
    let a = open(&mut state, at(0), "a");
    let writer = exclusive("a");
    held(state.claim(at(0), a, &writer));
    let readers: Vec<Claim> = (0..3).map(|_| claim("a", Mode::Shared)).collect();
    let second_writer = exclusive("a");
    let late_reader = claim("a", Mode::Shared);
    for (i, claim) in readers.iter().chain([&second_writer, &late_reader]).enumerate() {
        assert_eq!(ahead(state.claim(at(0), a, claim)), i as u64 + 1);
    }

    state.withdraw(at(1), a, &writer, Doubt::None);
    let tokens: Vec<u64> =
        readers.iter().map(|reader| held(state.claim(at(1), a, reader)).token.get()).collect();
    assert_eq!(tokens, [2, 3, 4]);
    assert_eq!(ahead(state.claim(at(1), a, &second_writer)), 3);
    assert_eq!(ahead(state.claim(at(1), a, &late_reader)), 4);

    // The writer gives up: the reader behind it joins the others at once.
    state.withdraw(at(2), a, &second_writer, Doubt::None);
    assert_eq!(held(state.claim(at(2), a, &late_reader)).token.get(), 5);
}

#[test]
fn a_failed_try_changes_nothing_at_all() {
    let mut state = State::new();
    let (a, b) = (open(&mut state, at(0), "a"), open(&mut state, at(0), "b"));
    held(state.claim(at(0), a, &exclusive("a")));
    state.settle(at(1));
    let before = state.clone();
    assert_eq!(state.try_claim(at(1), b, &exclusive("b")), Ok(None));
    assert_eq!(state, before);

    // Free, but wanted: a try does not overtake.
    let reader = claim("a", Mode::Shared);
    let mut state = State::new();
    let a = open(&mut state, at(0), "a");
    held(state.claim(at(0), a, &reader));
    state.claim(at(0), a, &exclusive("a")).unwrap();
    assert_eq!(state.try_claim(at(0), a, &claim("a", Mode::Shared)), Ok(None));
}

#[test]
fn another_session_never_speaks_for_a_claim() {
    let mut state = State::new();
    let (a, b) = (open(&mut state, at(0), "a"), open(&mut state, at(0), "a"));
    let claim = Claim { value: Bytes::from_static(b"mine"), ..exclusive("a") };
    let grant = held(state.claim(at(0), a, &claim));

    assert_eq!(state.withdraw(at(0), b, &claim, Doubt::None), Withdrawn::Absent);
    assert_eq!(state.amend(at(0), b, &Claim { value: Bytes::new(), ..claim.clone() }), Ok(Amended::Absent));
    assert_eq!(state.try_claim(at(0), b, &claim), Ok(None));
    assert!(state.is_ousted(b, &claim) && !state.is_ousted(a, &claim));
    assert_eq!(held(state.claim(at(0), a, &claim)), grant);
    assert_eq!(state.queue(at(0), &claim.seat).holders[0].value, Some(Bytes::from_static(b"mine")));
}

#[test]
fn amending_changes_the_value_of_a_holder_only() {
    let mut state = State::new();
    let a = open(&mut state, at(0), "a");
    let (first, second) = (exclusive("a"), exclusive("a"));
    held(state.claim(at(0), a, &first));
    state.claim(at(0), a, &second).unwrap();
    let new = |claim: &Claim| Claim { value: Bytes::from_static(b"host:1"), ..claim.clone() };

    let mark = state.seat_mark(&first.seat);
    assert_eq!(state.amend(at(0), a, &new(&first)), Ok(Amended::Done));
    assert!(state.seat_mark(&first.seat) > mark);
    assert_eq!(state.amend(at(0), a, &new(&second)), Ok(Amended::Absent));
    assert_eq!(state.queue(at(0), &first.seat).holders[0].value, Some(Bytes::from_static(b"host:1")));
}

/// Interleaving 6: a holder that was told to let go hears of it, although its lease goes on.
#[test]
fn a_notice_tells_the_holders_and_takes_nothing() {
    let mut state = State::new();
    let a = open(&mut state, at(0), "a");
    let of_a = exclusive("a");
    held(state.claim(at(0), a, &of_a));
    let mark = state.seat_mark(&of_a.seat);

    assert_eq!(state.evict(at(0), &of_a.seat, Eviction::Notice, &[ClaimId::random()]), []);
    assert!(!state.is_ousted(a, &of_a));
    assert_eq!(state.evict(at(0), &of_a.seat, Eviction::Notice, &[]), [of_a.id]);
    assert!(state.news().any(|news| *news == Subject::Claim(a, of_a.id)));
    assert!(state.is_ousted(a, &of_a));
    assert_eq!(state.seat_mark(&of_a.seat), mark);
    assert_eq!(state.queue(at(0), &of_a.seat).holders.len(), 1);
}

#[test]
fn a_forced_eviction_hands_over_and_spares_a_later_holder() {
    let mut state = State::new();
    let (a, b) = (open(&mut state, at(0), "a"), open(&mut state, at(0), "b"));
    let (of_a, of_b) = (exclusive("a"), exclusive("b"));
    let first = held(state.claim(at(0), a, &of_a));
    state.claim(at(0), b, &of_b).unwrap();

    assert_eq!(state.evict(at(0), &of_a.seat, Eviction::Force, &[of_a.id]), [of_a.id]);
    assert!(held(state.claim(at(0), b, &of_b)).token > first.token);
    assert_eq!(state.evict(at(0), &of_a.seat, Eviction::Force, &[of_a.id]), []);
    assert_eq!(state.renew(at(0), at(0), a, std::slice::from_ref(&of_a), &[]).unwrap().ousted, [of_a.id]);
}

#[test]
fn forcing_out_several_readers_lets_no_reader_slip_in_between() {
    let mut state = State::new();
    let a = open(&mut state, at(0), "a");
    let readers = [claim("a", Mode::Shared), claim("a", Mode::Shared)];
    for reader in &readers {
        held(state.claim(at(0), a, reader));
    }
    let writer = exclusive("a");
    state.claim(at(0), a, &writer).unwrap();

    assert_eq!(state.evict(at(0), &writer.seat, Eviction::Force, &[]).len(), 2);
    assert_eq!(held(state.claim(at(0), a, &writer)).token.get(), 3);
}

#[test]
fn tokens_and_marks_go_on_after_a_seat_was_forgotten() {
    let mut state = State::new();
    let a = open(&mut state, at(0), "a");
    let seat = exclusive("a").seat;
    let (mut token, mut mark) = (0, Mark(0));
    for _ in 0..3 {
        let claim = exclusive("a");
        let grant = held(state.claim(at(0), a, &claim));
        state.withdraw(at(0), a, &claim, Doubt::None);
        assert!(state.seats.is_empty());
        assert!(grant.token.get() > token && state.seat_mark(&seat) > mark);
        (token, mark) = (grant.token.get(), state.seat_mark(&seat));
    }
}
