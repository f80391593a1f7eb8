//! The futures of what members of a group say to each other.

use std::pin::pin;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{Either, select};
use tooz_core::{From, Mail, Result};

use super::calls::Call;
use super::site::{Became, Site, Touches::Nothing};

/// How long a request waits for an answer that does not come.
const LIMIT: Duration = Duration::from_millis(20);
/// How long it waits for one that does.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) const CALLS: &[Call] = &[
    Call { name: "broadcast", touches: Nothing, play: |site, polls| broadcast(site, polls).boxed_local() },
    Call {
        name: "hear the group",
        touches: Nothing,
        play: |site, polls| messages(site, polls).boxed_local(),
    },
    Call { name: "send", touches: Nothing, play: |site, polls| send(site, polls).boxed_local() },
    Call { name: "inbox", touches: Nothing, play: |site, polls| inbox(site, polls).boxed_local() },
    Call { name: "next letter", touches: Nothing, play: |site, polls| next(site, polls).boxed_local() },
    Call { name: "request", touches: Nothing, play: |site, polls| request(site, polls).boxed_local() },
    Call { name: "reply", touches: Nothing, play: |site, polls| reply(site, polls).boxed_local() },
];

async fn broadcast(site: &Site, polls: usize) -> Result<Became> {
    site.cut(polls, site.group().broadcast("to all")).await
}

async fn messages(site: &Site, polls: usize) -> Result<Became> {
    site.cut(polls, site.group().messages(From::Now)).await
}

async fn send(site: &Site, polls: usize) -> Result<Became> {
    site.cut(polls, site.group().send("b", "to you")).await
}

async fn inbox(site: &Site, polls: usize) -> Result<Became> {
    site.cut(polls, site.group().inbox()).await
}

async fn next(site: &Site, polls: usize) -> Result<Became> {
    let group = site.group();
    let mut inbox = site.surely(|| group.inbox()).await?;
    site.cut_wait(polls, inbox.next()).await
}

/// Nobody answers.
async fn request(site: &Site, polls: usize) -> Result<Became> {
    site.cut(polls, site.group().request("b", "?", LIMIT)).await
}

async fn reply(site: &Site, polls: usize) -> Result<Became> {
    let group = site.group();
    let mut inbox = site.surely(|| group.inbox()).await?;
    let others = site.others_group();
    let asking = others.request("a", "?", PATIENCE);
    let answering = async {
        loop {
            if let Mail::Letter(letter) = inbox.next().await?
                && letter.wants_reply()
            {
                return site.cut(polls, letter.reply("!")).await;
            }
        }
    };
    match select(pin!(answering), pin!(asking)).await {
        Either::Left((became, _)) => became,
        // The answer may come before the call that sent it is dropped.
        Either::Right((answer, answering)) => {
            answer?;
            answering.await
        }
    }
}
