//! The futures of topics and subscriptions.

use futures_util::FutureExt;
use tokio::join;
use tooz_core::{From, Result, Topic};

use super::calls::Call;
use super::site::{Became, Site, Touches::Nothing};

pub(super) const CALLS: &[Call] = &[
    Call { name: "publish", touches: Nothing, play: |site, polls| publish(site, polls).boxed_local() },
    Call { name: "subscribe", touches: Nothing, play: |site, polls| subscribe(site, polls).boxed_local() },
    Call { name: "next", touches: Nothing, play: |site, polls| next(site, polls).boxed_local() },
    Call { name: "next, there", touches: Nothing, play: |site, polls| there(site, polls).boxed_local() },
    Call { name: "next, coming", touches: Nothing, play: |site, polls| coming(site, polls).boxed_local() },
    Call { name: "last", touches: Nothing, play: |site, polls| last(site, polls).boxed_local() },
    Call { name: "trim", touches: Nothing, play: |site, polls| trim(site, polls).boxed_local() },
];

fn topic(site: &Site) -> Topic {
    site.a.topic("dropped")
}

fn others(site: &Site) -> Topic {
    site.b.topic("dropped")
}

async fn publish(site: &Site, polls: usize) -> Result<Became> {
    site.cut(polls, topic(site).publish("news")).await
}

async fn subscribe(site: &Site, polls: usize) -> Result<Became> {
    site.cut(polls, topic(site).subscribe(From::Now)).await
}

async fn next(site: &Site, polls: usize) -> Result<Became> {
    let topic = topic(site);
    let mut subscription = site.surely(|| topic.subscribe(From::Now)).await?;
    site.cut_wait(polls, subscription.next()).await
}

async fn there(site: &Site, polls: usize) -> Result<Became> {
    let topic = topic(site);
    let mut subscription = site.surely(|| topic.subscribe(From::Now)).await?;
    others(site).publish("news").await?;
    site.cut(polls, subscription.next()).await
}

async fn coming(site: &Site, polls: usize) -> Result<Became> {
    let topic = topic(site);
    let mut subscription = site.surely(|| topic.subscribe(From::Now)).await?;
    let others = others(site);
    let (became, published) = join!(site.cut(polls, subscription.next()), others.publish("news"));
    published?;
    became
}

async fn last(site: &Site, polls: usize) -> Result<Became> {
    site.cut(polls, topic(site).last()).await
}

async fn trim(site: &Site, polls: usize) -> Result<Became> {
    site.cut(polls, topic(site).trim()).await
}
