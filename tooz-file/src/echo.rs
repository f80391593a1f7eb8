//! Looking again after news.
//!
//! When a process is killed, the kernel announces that a file is closed an instant *before* it lets go of the file's
//! lock. Whoever is woken in that instant, or begins to wait in it, finds it still locked, and hears nothing more: so it
//! looks again, a few times, and sleeps without a timer after that.

use std::time::Duration;

use crate::short::Patience;
use crate::watch::Watch;

/// Before the looks that follow news. The last is for an end that is held up in between, for want of processor time.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(5),
    Duration::from_millis(50),
    Duration::from_millis(500),
    Duration::from_millis(5000),
];

/// Those of them that a claim's wait begins with.
const FIRST: &[Duration] = PAUSES.split_at(3).0;

/// The looks that are left after the last news.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Echo(&'static [Duration]);

impl Echo {
    /// How long to wait for news before the next look; `None`: without an end.
    pub(crate) fn pause(&mut self) -> Option<Duration> {
        let (pause, left) = self.0.split_first()?;
        self.0 = left;
        Some(*pause)
    }
}

impl Patience {
    /// What follows news.
    pub(crate) fn echo(&self) -> Echo {
        // Whoever polls looks again and again.
        if self.ear.is_told() { Echo(&PAUSES) } else { Echo::default() }
    }

    /// What a claim's wait begins with.
    pub(crate) fn first_looks(&self) -> Echo {
        if self.ear.is_told() { Echo(FIRST) } else { Echo::default() }
    }

    /// Waits for news, or until it is time for another look.
    pub(crate) async fn news(&self, watch: &Watch, echo: &mut Echo) {
        let Some(pause) = echo.pause() else {
            watch.rung().await;
            *echo = self.echo();
            return;
        };
        let alarm = self.ear.alarm(pause);
        tokio::select! {
            () = watch.rung() => *echo = self.echo(),
            () = alarm.rung() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_looks_after_news_come_to_an_end() {
        let mut echo = Echo(&PAUSES);
        let pauses: Vec<Duration> = std::iter::from_fn(|| echo.pause()).collect();
        assert_eq!(pauses, PAUSES);
        assert_eq!(echo.pause(), None);
        assert_eq!(Echo::default().pause(), None);
    }
}
