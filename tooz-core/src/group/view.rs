//! Following the members of a group.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::diff::diff;
use super::{Event, Roster, members_step, no_such_group};
use crate::backend::{Mark, RosterFact};
use crate::engine::Lane;
use crate::error::Result;
use crate::name::Name;
use crate::session::{Session, groups};
use crate::shared::Core;
use crate::watcher::{Look, Subject, Watcher};

/// A live view of a group's members. Resumes by itself after a lost session.
///
/// The view is level-triggered: what it shows is what the store showed last. Events are the differences
/// between rosters that were seen, so their number is bounded, the last state is never missed, and changes
/// that cancel out between two looks may not be told. Every clone has its own place in the events.
///
/// While the store is out of reach or refuses to be looked at (rights were taken away, there are more members than it
/// reads), the view stands still and is silent: the look that was answered last counts until another is. Lasting refusals
/// are logged as a warning.
#[derive(Clone)]
pub struct View {
    watcher: Watcher<Attendance>,
    told: Arc<Attendance>,
    pending: VecDeque<Event>,
}

impl View {
    pub(crate) async fn open(core: &Arc<Core>, group: Name) -> Result<Self> {
        let watcher = Watcher::open(core, Followed(group)).await?;
        let told = watcher.latest();
        if !told.roster.exists() {
            return Err(no_such_group());
        }
        Ok(Self { watcher, told, pending: VecDeque::new() })
    }

    /// The members as of the last look that was answered.
    pub fn borrow(&self) -> Arc<Roster> {
        Arc::clone(&self.watcher.latest().roster)
    }

    /// Ends when there is a roster that this view has not reported yet.
    ///
    /// # Errors
    /// `Closed` when the coordinator has ended.
    ///
    /// # Cancel safety
    /// May be dropped and called again; a change is never missed.
    pub async fn changed(&mut self) -> Result<()> {
        self.watcher.changed().await
    }

    /// The next change: who left, joined or changed since the roster this view was opened with, or since
    /// the last event.
    ///
    /// # Errors
    /// `Closed` when the coordinator has ended.
    ///
    /// # Cancel safety
    /// May be dropped and called again; no event is lost.
    pub async fn next_event(&mut self) -> Result<Event> {
        loop {
            let now = self.watcher.latest();
            if !Arc::ptr_eq(&now, &self.told) {
                self.pending.extend(diff(&self.told.roster, &now.roster));
                self.told = now;
            }
            if let Some(event) = self.pending.pop_front() {
                return Ok(event);
            }
            self.watcher.changed().await?;
        }
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "View({:?})", self.borrow())
    }
}

/// One look at a group.
struct Attendance {
    /// `None` if there was no such group.
    mark: Option<Mark>,
    roster: Arc<Roster>,
    revisit: Option<Duration>,
}

impl Look for Attendance {
    fn is_news_after(&self, earlier: &Self) -> bool {
        self.roster != earlier.roster
    }

    fn revisit(&self) -> Option<Duration> {
        self.revisit
    }
}

/// A group as a subject to watch.
struct Followed(Name);

impl Subject for Followed {
    type Look = Attendance;

    fn name(&self) -> String {
        format!("group \"{}\"", self.0)
    }

    async fn look(&self, core: &Core, session: &Arc<Session>) -> Result<Attendance> {
        let step = members_step(Arc::clone(session), self.0.clone());
        let fact: Option<RosterFact> = core.attempt(Lane::Engine, "members", step).await?;
        let mark = fact.as_ref().map(|fact| fact.mark);
        let revisit = fact.as_ref().and_then(|fact| fact.revisit);
        Ok(Attendance { mark, roster: Arc::new(Roster::from_fact(fact)), revisit })
    }

    async fn stirred(&self, session: &Session, look: &Attendance) {
        match groups(&*session.backend) {
            Ok(groups) => groups.stirred(&self.0, look.mark).await,
            Err(_) => std::future::pending().await,
        }
    }
}
