//! Work that several wait for and a task of its own does.
//!
//! A caller may be polled once and then not for long: what it did itself, others would wait for in vain. The work has
//! deadlines of its own and is ended by nobody.

use std::sync::{Mutex, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::watch;
use tooz_core::Result;

/// Work that is under way once at a time.
#[derive(Debug)]
pub(crate) struct Errand<T>(Mutex<Option<Outcome<T>>>);

/// What it came to, or will. Closed without anything where the task was ended with its runtime.
type Outcome<T> = watch::Receiver<Option<Result<T>>>;

/// A place among those who wait.
pub(crate) struct Joined<T> {
    outcome: Outcome<T>,
    /// Whether the work was begun for this one, and not before.
    pub(crate) is_own: bool,
}

impl<T> Default for Errand<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone + Send + Sync + 'static> Errand<T> {
    /// What it succeeded with last, unless it was begun again.
    pub(crate) fn kept(&self) -> Option<T> {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().and_then(|outcome| outcome.borrow().as_ref()?.as_ref().ok().cloned())
    }

    /// Joins those who wait for work under way, or done if that `serves`; begins it on the runtime if there is none.
    pub(crate) fn join<F>(
        &self,
        runtime: &Handle,
        serves: impl FnOnce(&Result<T>) -> bool,
        work: impl FnOnce() -> F,
    ) -> Joined<T>
    where
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let joinable = last.as_ref().filter(|outcome| {
            let is_open = outcome.has_changed().is_ok();
            outcome.borrow().as_ref().map_or(is_open, serves)
        });
        if let Some(outcome) = joinable {
            return Joined { outcome: outcome.clone(), is_own: false };
        }
        let (told, outcome) = watch::channel(None);
        *last = Some(outcome.clone());
        drop(last);
        let work = work();
        // Not under the lock: a runtime that has been shut down drops the task at once.
        runtime.spawn(async move { told.send_replace(Some(work.await)) });
        Joined { outcome, is_own: true }
    }
}

impl<T: Clone> Joined<T> {
    /// What the work came to; nothing where its runtime ended first.
    pub(crate) async fn outcome(mut self) -> Option<Result<T>> {
        self.outcome.wait_for(Option::is_some).await.ok()?.clone()
    }
}

#[cfg(test)]
mod tests {
    use tooz_core::{Error, ErrorKind};

    use super::*;

    async fn fails() -> Result<u8> {
        Err(Error::new(ErrorKind::Unavailable, "nobody is there"))
    }

    #[tokio::test]
    async fn several_wait_for_one_and_a_failure_is_not_kept() {
        let (errand, here) = (Errand::default(), Handle::current());
        let first = errand.join(&here, Result::is_ok, fails);
        let second = errand.join(&here, Result::is_ok, async || Ok(2));
        assert_eq!((first.is_own, second.is_own), (true, false));
        assert!(first.outcome().await.unwrap().is_err());
        assert!(second.outcome().await.unwrap().is_err());
        assert_eq!(errand.kept(), None);

        let third = errand.join(&here, Result::is_ok, async || Ok(3));
        assert!(third.is_own);
        assert_eq!(third.outcome().await.unwrap().unwrap(), 3);
        assert_eq!(errand.kept(), Some(3));
        assert!(!errand.join(&here, Result::is_ok, fails).is_own, "what serves was done again");
        assert!(errand.join(&here, |_| false, fails).is_own, "what does not serve was kept");
    }

    #[tokio::test]
    async fn work_whose_runtime_has_ended_is_told_of_and_begun_again() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (errand, over) = (Errand::default(), runtime.handle().clone());
        let waits = errand.join(&over, Result::is_ok, std::future::pending::<Result<u8>>);
        runtime.shutdown_background();
        assert!(waits.outcome().await.is_none());
        let next = errand.join(&over, Result::is_ok, async || Ok(1));
        assert!(next.outcome().await.is_none());
        let here = errand.join(&Handle::current(), Result::is_ok, async || Ok(1));
        assert_eq!(here.outcome().await.unwrap().unwrap(), 1);
    }
}
