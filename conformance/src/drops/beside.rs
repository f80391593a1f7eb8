//! What a session goes on doing while one of its calls has begun and nobody polls it: a caller may do something else in
//! another branch of its `select!`.

use std::time::Duration;

use tokio::time::timeout;
use tooz_core::{Coordinator, Error, From, Result};

use super::site::left;

/// What is used besides what the calls use.
const NAME: &str = "beside";

/// Makes what stays.
pub(super) async fn prepare(coord: &Coordinator) -> Result<()> {
    coord.group(NAME).create_if_missing().await?;
    calls(coord, "", "", Duration::from_secs(20)).await
}

/// Calls that change other things than `lock` and `group`, and calls that look at these: each has to end in time.
pub(super) async fn calls(coord: &Coordinator, lock: &str, group: &str, soon: Duration) -> Result<()> {
    let beside = coord.group(NAME);
    in_time("lock", soon, async { coord.lock(NAME).acquire().await?.release().await }).await?;
    in_time("join", soon, async { beside.join(&()).await?.leave().await }).await?;
    in_time("members", soon, beside.members()).await?;
    in_time("lead", soon, async { beside.election().campaign("").await?.resign().await }).await?;
    let mut news = in_time("subscribe", soon, coord.topic(NAME).subscribe(From::Now)).await?;
    in_time("publish", soon, coord.topic(NAME).publish("news")).await?;
    in_time("news", soon, news.next()).await?;
    if !lock.is_empty() {
        in_time("look at the same lock", soon, coord.lock(lock).queue()).await?;
        in_time("watch the same lock", soon, coord.lock(lock).watch()).await?;
    }
    if !group.is_empty() {
        in_time("look at the same group", soon, coord.group(group).members()).await?;
        in_time("watch the same group", soon, coord.group(group).watch()).await?;
    }
    Ok(())
}

async fn in_time<T>(what: &str, soon: Duration, call: impl Future<Output = Result<T>>) -> Result<T> {
    let kept = |_| left(&format!("a call that nobody polls keeps another waiting: \"{what}\" took {soon:?}"));
    timeout(soon, call)
        .await
        .map_err(kept)?
        .map_err(|e: Error| e.while_doing(format_args!("{what} beside it")))
}
