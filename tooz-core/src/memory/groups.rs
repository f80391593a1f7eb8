//! Steps and waits of groups.

use async_trait::async_trait;

use super::backend::MemoryBackend;
use super::state::Subject;
use crate::backend::{Created, Deleted, Enrolment, GroupSteps, Joined, Left, Mark, RosterFact, Updated};
use crate::error::Result;
use crate::name::Name;

#[async_trait]
impl GroupSteps for MemoryBackend {
    async fn create(&self, group: &Name) -> Result<Created> {
        self.tell(|state, now| state.create(now, group))
    }

    async fn delete(&self, group: &Name) -> Result<Deleted> {
        self.tell(|state, now| state.delete(now, group))
    }

    async fn list(&self) -> Result<Vec<Name>> {
        self.tell(|state, now| state.list(now))
    }

    async fn join(&self, enrolment: &Enrolment) -> Result<Joined> {
        self.ask(|state, now| state.join(now, self.session, enrolment))
    }

    async fn leave(&self, enrolment: &Enrolment) -> Result<Left> {
        self.tell(|state, now| state.leave(now, self.session, enrolment))
    }

    async fn update(&self, enrolment: &Enrolment) -> Result<Updated> {
        self.ask(|state, now| state.update(now, self.session, enrolment))
    }

    async fn members(&self, group: &Name) -> Result<Option<RosterFact>> {
        self.tell(|state, now| state.members(now, group))
    }

    async fn stirred(&self, group: &Name, mark: Option<Mark>) {
        let subject = Subject::Group(group.clone());
        self.until(subject, |state| (state.group_mark(group) != mark).then_some(())).await;
    }

    async fn expelled(&self, enrolment: &Enrolment) {
        let subject = Subject::Membership(self.session, enrolment.group.clone());
        self.until(subject, |state| (!state.is_enrolled(self.session, enrolment)).then_some(())).await;
    }
}
