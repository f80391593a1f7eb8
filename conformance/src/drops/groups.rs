//! The futures of groups, memberships, views and partitions.

use futures_util::FutureExt;
use tokio::join;
use tooz_core::{ErrorKind, Group, Membership, Partitioned, Result};

use super::calls::Call;
use super::site::{Became, Site, Touches::Members, Touches::Nothing};

/// What says that a group is, or is not, there already: a call before may be under way still.
const THERE_OR_NOT: &[ErrorKind] = &[ErrorKind::GroupExists, ErrorKind::NoSuchGroup];
/// What says that an earlier leave is under way still.
const LEAVING: &[ErrorKind] = &[ErrorKind::AlreadyMember];

pub(super) const CALLS: &[Call] = &[
    Call { name: "create", touches: Nothing, play: |site, polls| create(site, polls).boxed_local() },
    Call {
        name: "create if missing",
        touches: Nothing,
        play: |site, polls| create_if_missing(site, polls).boxed_local(),
    },
    Call { name: "delete", touches: Nothing, play: |site, polls| delete(site, polls).boxed_local() },
    Call { name: "exists", touches: Nothing, play: |site, polls| exists(site, polls).boxed_local() },
    Call { name: "list groups", touches: Nothing, play: |site, polls| list(site, polls).boxed_local() },
    Call { name: "members", touches: Nothing, play: |site, polls| members(site, polls).boxed_local() },
    Call { name: "join", touches: Members, play: |site, polls| join(site, polls).boxed_local() },
    Call { name: "update", touches: Members, play: |site, polls| update(site, polls).boxed_local() },
    Call { name: "leave", touches: Members, play: |site, polls| leave(site, polls).boxed_local() },
    Call { name: "watch members", touches: Nothing, play: |site, polls| watch(site, polls).boxed_local() },
    Call {
        name: "members changed",
        touches: Nothing,
        play: |site, polls| changed(site, polls).boxed_local(),
    },
    Call { name: "next event", touches: Nothing, play: |site, polls| event(site, polls).boxed_local() },
    Call { name: "next event, news", touches: Members, play: |site, polls| news(site, polls).boxed_local() },
    Call { name: "join partitioned", touches: Members, play: |site, polls| part(site, polls).boxed_local() },
    Call { name: "set weight", touches: Members, play: |site, polls| weigh(site, polls).boxed_local() },
    Call {
        name: "leave partitions",
        touches: Members,
        play: |site, polls| unpart(site, polls).boxed_local(),
    },
    Call {
        name: "partitioner",
        touches: Nothing,
        play: |site, polls| partitioner(site, polls).boxed_local(),
    },
    Call { name: "next moves", touches: Nothing, play: |site, polls| moves(site, polls).boxed_local() },
];

/// A group that comes and goes.
fn fleeting(site: &Site) -> Group {
    site.a.group("fleeting")
}

async fn create(site: &Site, polls: usize) -> Result<Became> {
    // It may not be there.
    let _ = site.b.group("fleeting").delete().await;
    site.cut_perhaps(polls, fleeting(site).create(), THERE_OR_NOT).await
}

async fn create_if_missing(site: &Site, polls: usize) -> Result<Became> {
    // It may not be there.
    let _ = site.b.group("fleeting").delete().await;
    site.cut(polls, fleeting(site).create_if_missing()).await
}

async fn delete(site: &Site, polls: usize) -> Result<Became> {
    site.b.group("fleeting").create_if_missing().await?;
    site.cut_perhaps(polls, fleeting(site).delete(), THERE_OR_NOT).await
}

async fn exists(site: &Site, polls: usize) -> Result<Became> {
    site.cut(polls, site.group().exists()).await
}

async fn list(site: &Site, polls: usize) -> Result<Became> {
    site.cut(polls, site.a.groups()).await
}

async fn members(site: &Site, polls: usize) -> Result<Became> {
    site.cut(polls, site.group().members()).await
}

async fn join(site: &Site, polls: usize) -> Result<Became> {
    site.cut_perhaps(polls, site.group().join(&1), LEAVING).await
}

async fn mine(site: &Site) -> Result<Membership> {
    let group = site.group();
    site.surely(|| group.join(&1)).await
}

async fn update(site: &Site, polls: usize) -> Result<Became> {
    let me = mine(site).await?;
    site.cut(polls, me.update(&2)).await
}

async fn leave(site: &Site, polls: usize) -> Result<Became> {
    let me = mine(site).await?;
    site.cut(polls, me.leave()).await
}

async fn watch(site: &Site, polls: usize) -> Result<Became> {
    site.cut(polls, site.group().watch()).await
}

async fn changed(site: &Site, polls: usize) -> Result<Became> {
    let group = site.group();
    let mut view = site.surely(|| group.watch()).await?;
    site.cut_wait(polls, view.changed()).await
}

async fn event(site: &Site, polls: usize) -> Result<Became> {
    let group = site.group();
    let mut view = site.surely(|| group.watch()).await?;
    site.cut_wait(polls, view.next_event()).await
}

async fn news(site: &Site, polls: usize) -> Result<Became> {
    let (group, others) = (site.group(), site.others_group());
    let mut view = site.surely(|| group.watch()).await?;
    let (became, other) = join!(site.cut(polls, view.next_event()), site.surely(|| others.join(&())));
    other?.leave().await?;
    became
}

async fn part(site: &Site, polls: usize) -> Result<Became> {
    site.cut_perhaps(polls, site.group().join_partitioned(1), LEAVING).await
}

async fn my_part(site: &Site) -> Result<Partitioned> {
    let group = site.group();
    site.surely(|| group.join_partitioned(1)).await
}

async fn weigh(site: &Site, polls: usize) -> Result<Became> {
    let me = my_part(site).await?;
    site.cut(polls, me.set_weight(2)).await
}

async fn unpart(site: &Site, polls: usize) -> Result<Became> {
    let me = my_part(site).await?;
    site.cut(polls, me.leave()).await
}

async fn partitioner(site: &Site, polls: usize) -> Result<Became> {
    site.cut(polls, site.group().partitioner()).await
}

async fn moves(site: &Site, polls: usize) -> Result<Became> {
    let group = site.group();
    let mut changes = site.surely(|| group.partitioner()).await?.changes();
    site.cut_wait(polls, changes.next()).await
}
