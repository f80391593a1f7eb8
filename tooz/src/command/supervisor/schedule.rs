//! When the child's group is told to end, and when it is made to: pure.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tooz::Moment;

/// Between TERM and KILL once the lock is gone or its holder died: the next holder must not wait long.
pub(super) const SHORT_GRACE: Duration = Duration::from_millis(50);

/// Between TERM and KILL for what a child that ended by itself leaves running in its group.
const LONG_GRACE: Duration = Duration::from_secs(2);

/// How long before the deadline KILL is sent, so that the group is gone *at* it.
const KILL_LEAD: Duration = Duration::from_millis(10);

/// Why the child's group has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Reason {
    /// The child itself has ended; its group is swept.
    ChildEnded,
    /// The claim's deadline came near without a renewal.
    Deadline,
    /// The command said that the lock is lost.
    Lost,
    /// The command died.
    Abandoned,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Terminate,
    Kill,
}

/// What the supervisor knows of its time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    deadline: Option<Moment>,
    /// How long before the deadline TERM is sent.
    lead: Duration,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    Ending { reason: Reason, kill_at: Moment, told: bool, killed: bool },
}

impl Schedule {
    /// A deadline of `None` never comes.
    pub(super) fn new(deadline: Option<Moment>, lead: Duration) -> Self {
        Self { deadline, lead, phase: Phase::Running }
    }

    /// The claim was renewed. What is ending already goes on ending.
    pub(super) fn renewed(&mut self, deadline: Moment) {
        self.deadline = Some(deadline);
    }

    /// The group has to end. The first reason stays, the earlier KILL wins.
    pub(super) fn end(&mut self, reason: Reason, now: Moment) {
        let grace = if reason == Reason::ChildEnded { LONG_GRACE } else { SHORT_GRACE };
        let wanted = now + grace;
        let wanted = self.last_moment().map_or(wanted, |last| last.min(wanted));
        match &mut self.phase {
            Phase::Running => {
                self.phase = Phase::Ending { reason, kill_at: wanted, told: false, killed: false };
            }
            Phase::Ending { kill_at, .. } => *kill_at = wanted.min(*kill_at),
        }
    }

    /// What is due at `now`; each act is reported once.
    pub(super) fn due(&mut self, now: Moment) -> Option<Due> {
        if self.phase == Phase::Running {
            let last = self.last_moment()?;
            if now < last - self.lead {
                return None;
            }
            self.phase =
                Phase::Ending { reason: Reason::Deadline, kill_at: last, told: false, killed: false };
        }
        let Phase::Ending { kill_at, told, killed, .. } = &mut self.phase else { return None };
        if !*told {
            *told = true;
            return Some(Due::Terminate);
        }
        if !*killed && now >= *kill_at {
            *killed = true;
            return Some(Due::Kill);
        }
        None
    }

    /// When to ask again at the latest; `None`: only events matter.
    pub(super) fn next(&self) -> Option<Moment> {
        match self.phase {
            Phase::Running => self.last_moment().map(|last| last - self.lead),
            Phase::Ending { kill_at, killed: false, .. } => Some(kill_at),
            Phase::Ending { .. } => None,
        }
    }

    /// Why the group is ending, if it is.
    pub(super) fn reason(&self) -> Option<Reason> {
        match self.phase {
            Phase::Running => None,
            Phase::Ending { reason, .. } => Some(reason),
        }
    }

    fn last_moment(&self) -> Option<Moment> {
        self.deadline.map(|deadline| deadline - KILL_LEAD)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::from_nanos(ms * 1_000_000)
    }

    fn until(ms: u64) -> Schedule {
        Schedule::new(Some(at(ms)), Duration::from_millis(500))
    }

    #[test]
    fn terminates_before_the_deadline_and_kills_at_it() {
        let mut schedule = until(3000);
        assert_eq!(schedule.due(at(2400)), None);
        assert_eq!(schedule.next(), Some(at(2490)));
        assert_eq!(schedule.due(at(2490)), Some(Due::Terminate));
        assert_eq!(schedule.due(at(2900)), None);
        assert_eq!(schedule.next(), Some(at(2990)));
        assert_eq!(schedule.due(at(2990)), Some(Due::Kill));
        assert_eq!(schedule.due(at(9000)), None);
        assert_eq!(schedule.reason(), Some(Reason::Deadline));
    }

    #[test]
    fn a_renewal_moves_the_deadline_until_the_end_has_begun() {
        let mut schedule = until(3000);
        schedule.renewed(at(5000));
        assert_eq!(schedule.due(at(3000)), None);
        assert_eq!(schedule.due(at(4600)), Some(Due::Terminate));
        schedule.renewed(at(9000));
        assert_eq!(schedule.due(at(4990)), Some(Due::Kill));
    }

    #[test]
    fn without_a_deadline_nothing_is_ever_due() {
        let mut schedule = Schedule::new(None, Duration::from_secs(5));
        assert_eq!(schedule.due(Moment::from_nanos(u64::MAX)), None);
        assert_eq!(schedule.next(), None);
    }

    #[test]
    fn a_dead_command_leaves_the_group_fifty_milliseconds() {
        let mut schedule = Schedule::new(None, Duration::from_secs(5));
        schedule.end(Reason::Abandoned, at(1000));
        assert_eq!(schedule.due(at(1000)), Some(Due::Terminate));
        assert_eq!(schedule.due(at(1049)), None);
        assert_eq!(schedule.due(at(1050)), Some(Due::Kill));
    }

    #[test]
    fn a_death_during_a_long_grace_shortens_it_and_the_first_reason_stays() {
        let mut schedule = until(60_000);
        schedule.end(Reason::ChildEnded, at(1000));
        assert_eq!(schedule.due(at(1000)), Some(Due::Terminate));
        schedule.end(Reason::Abandoned, at(1100));
        assert_eq!(schedule.due(at(1150)), Some(Due::Kill));
        assert_eq!(schedule.reason(), Some(Reason::ChildEnded));
    }

    #[test]
    fn no_grace_reaches_beyond_the_deadline() {
        let mut schedule = until(3000);
        schedule.end(Reason::ChildEnded, at(2000));
        assert_eq!(schedule.due(at(2000)), Some(Due::Terminate));
        assert_eq!(schedule.due(at(2990)), Some(Due::Kill));
    }

    #[test]
    fn a_deadline_long_past_kills_at_once() {
        let mut schedule = until(3000);
        assert_eq!(schedule.due(at(99_000)), Some(Due::Terminate));
        assert_eq!(schedule.due(at(99_000)), Some(Due::Kill));
    }
}
