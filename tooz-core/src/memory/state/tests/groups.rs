//! Groups.

use super::*;

/// Interleaving 22: only the entry of the session before gives way, a namesake never does.
#[test]
fn joining_replaces_the_session_before_and_nobody_else() {
    let mut state = State::new();
    let (old, new, namesake) =
        (open(&mut state, at(0), "a"), open(&mut state, at(0), "a"), open(&mut state, at(0), "a"));
    assert_eq!(state.join(at(0), old, &enrolment(old, "a", None)), Ok(Joined::NoGroup));
    state.create(at(0), &name("blue"));
    assert_eq!(state.join(at(0), old, &enrolment(old, "a", None)), Ok(Joined::Done));

    assert_eq!(state.join(at(0), new, &enrolment(new, "a", None)), Ok(Joined::Taken));
    assert_eq!(state.join(at(0), new, &enrolment(new, "a", Some(namesake))), Ok(Joined::Taken));
    assert_eq!(state.join(at(0), new, &enrolment(new, "a", Some(old))), Ok(Joined::Done));
    assert!(state.news().any(|news| *news == Subject::Membership(old, name("blue"))));

    // The old session speaks no more for the entry, nor does its end remove it.
    assert_eq!(state.leave(at(0), old, &enrolment(old, "a", None)), Left::Absent);
    assert_eq!(state.update(at(0), old, &enrolment(old, "a", None)), Ok(Updated::Absent));
    state.close(at(0), old);
    let roster = state.members(at(0), &name("blue")).unwrap();
    assert_eq!(roster.members[0].session, Some(new));
}

#[test]
fn a_repeated_join_does_not_undo_an_update() {
    let mut state = State::new();
    let a = open(&mut state, at(0), "a");
    state.create(at(0), &name("blue"));
    let first = enrolment(a, "a", None);
    let newer = Enrolment { capabilities: Bytes::from_static(b"\x80"), ..first.clone() };
    state.join(at(0), a, &first).unwrap();
    assert_eq!(state.update(at(0), a, &newer), Ok(Updated::Done));
    assert_eq!(state.join(at(0), a, &first), Ok(Joined::Done));
    assert_eq!(state.members(at(0), &name("blue")).unwrap().members[0].capabilities, newer.capabilities);
}

#[test]
fn a_group_goes_only_when_empty_and_looks_new_when_made_again() {
    let mut state = State::new();
    let (a, blue) = (open(&mut state, at(0), "a"), name("blue"));
    assert_eq!(state.delete(at(0), &blue), Deleted::Missing);
    state.create(at(0), &blue);
    state.join(at(0), a, &enrolment(a, "a", None)).unwrap();
    assert_eq!(state.delete(at(0), &blue), Deleted::NotEmpty);

    let before = state.group_mark(&blue);
    assert_eq!(state.delete(at(10), &blue), Deleted::Gone);
    assert_eq!(state.group_mark(&blue), None);
    state.create(at(10), &blue);
    assert!(state.group_mark(&blue) > before);
}
