//! Every future that a coordinator offers.

use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use tokio::time::timeout;
use tooz_core::Result;

use super::site::{Became, Site, Touches, left};
use super::{elections, groups, locks, mail, sessions, topics};

/// More awaits than that are a defect of their own.
const MOST: usize = 1000;

/// How long one run of a call may take, with what is done for it before and after.
const LONGEST: Duration = Duration::from_secs(60);

/// One run of a call, dropped after so many polls.
pub(super) type Play = for<'a> fn(&'a Site, usize) -> LocalBoxFuture<'a, Result<Became>>;

/// A public future, and how to drop it.
pub struct Call {
    /// What it does.
    pub name: &'static str,
    pub(super) touches: Touches,
    pub(super) play: Play,
}

/// What came of dropping one call at each of its awaits in turn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Dropped at an await.
    pub cut: usize,
    /// Dropped while it waited for something that did not come.
    pub parked: usize,
    /// The longest until nothing of it was there any more.
    pub longest: Duration,
}

/// All of them.
pub const CALLS: &[&[Call]] =
    &[locks::CALLS, elections::CALLS, groups::CALLS, topics::CALLS, mail::CALLS, sessions::CALLS];

/// Drops the call after one poll, after two, and so on until it ends by itself or waits for what does not come.
///
/// # Errors
/// If something stayed, or a call failed that had no reason to.
pub async fn sweep(site: &Site, call: &Call) -> Result<Swept> {
    let mut swept = Swept::default();
    for polls in 1..=MOST {
        let told = |error: tooz_core::Error| {
            error.while_doing(format_args!("drop \"{}\" after {polls} polls", call.name))
        };
        let played = timeout(LONGEST, (call.play)(site, polls)).await;
        let became = played.unwrap_or_else(|_| Err(left("something that others wait for"))).map_err(told)?;
        swept.longest = swept.longest.max(site.settled(call.touches).await.map_err(told)?);
        match became {
            Became::Dropped => swept.cut += 1,
            Became::Parked => {
                swept.parked += 1;
                return Ok(swept);
            }
            Became::Ended => return Ok(swept),
        }
    }
    Err(left(&format!("\"{}\" had not ended after {MOST} polls", call.name)))
}
