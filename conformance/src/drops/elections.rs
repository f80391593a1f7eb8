//! The futures of an election and a leadership.

use std::time::Duration;

use futures_util::FutureExt;
use tooz_core::{Leadership, Result};

use super::calls::Call;
use super::site::{Became, Site, Touches::Leadership as Term, Touches::Nothing, left};

pub(super) const CALLS: &[Call] = &[
    Call { name: "campaign", touches: Term, play: |site, polls| campaign(site, polls).boxed_local() },
    Call { name: "campaign, led", touches: Term, play: |site, polls| waiting(site, polls).boxed_local() },
    Call { name: "try to lead", touches: Term, play: |site, polls| tried(site, polls).boxed_local() },
    Call {
        name: "campaign with a limit",
        touches: Term,
        play: |site, polls| limited(site, polls).boxed_local(),
    },
    Call {
        name: "campaign with a limit, led",
        touches: Term,
        play: |site, polls| limited_led(site, polls).boxed_local(),
    },
    Call { name: "proclaim", touches: Term, play: |site, polls| proclaim(site, polls).boxed_local() },
    Call { name: "resign", touches: Term, play: |site, polls| resign(site, polls).boxed_local() },
    Call { name: "leadership lost", touches: Term, play: |site, polls| lost(site, polls).boxed_local() },
    Call { name: "leader", touches: Nothing, play: |site, polls| leader(site, polls).boxed_local() },
    Call { name: "candidates", touches: Nothing, play: |site, polls| queue(site, polls).boxed_local() },
    Call { name: "watch candidates", touches: Nothing, play: |site, polls| watch(site, polls).boxed_local() },
    Call { name: "observe", touches: Nothing, play: |site, polls| observe(site, polls).boxed_local() },
    Call { name: "next leader", touches: Nothing, play: |site, polls| next(site, polls).boxed_local() },
];

async fn campaign(site: &Site, polls: usize) -> Result<Became> {
    site.cut(polls, site.election().campaign("a")).await
}

async fn led(site: &Site) -> Result<Leadership> {
    site.others_group().election().campaign("b").await
}

async fn still(term: Leadership, became: Result<Became>) -> Result<Became> {
    let became = became?;
    if !term.is_held() {
        return Err(left("a leader was disturbed"));
    }
    term.resign().await?;
    Ok(became)
}

async fn waiting(site: &Site, polls: usize) -> Result<Became> {
    let term = led(site).await?;
    let became = site.cut_wait(polls, site.election().campaign("a")).await;
    still(term, became).await
}

async fn tried(site: &Site, polls: usize) -> Result<Became> {
    site.cut(polls, site.election().try_campaign("a")).await
}

async fn limited(site: &Site, polls: usize) -> Result<Became> {
    site.cut(polls, site.election().campaign_timeout("a", Duration::from_secs(5))).await
}

async fn limited_led(site: &Site, polls: usize) -> Result<Became> {
    let term = led(site).await?;
    let became = site.cut(polls, site.election().campaign_timeout("a", Duration::from_millis(5))).await;
    still(term, became).await
}

async fn mine(site: &Site) -> Result<Leadership> {
    let election = site.election();
    site.surely(|| election.campaign("a")).await
}

async fn proclaim(site: &Site, polls: usize) -> Result<Became> {
    let term = mine(site).await?;
    site.cut(polls, term.proclaim("b")).await
}

async fn resign(site: &Site, polls: usize) -> Result<Became> {
    let term = mine(site).await?;
    site.cut(polls, term.resign()).await
}

async fn lost(site: &Site, polls: usize) -> Result<Became> {
    let term = mine(site).await?;
    let became = site.cut_wait(polls, term.lost().map(Ok)).await?;
    if became == Became::Ended {
        return Err(left("a leadership was lost"));
    }
    Ok(became)
}

async fn leader(site: &Site, polls: usize) -> Result<Became> {
    site.cut(polls, site.election().leader()).await
}

async fn queue(site: &Site, polls: usize) -> Result<Became> {
    site.cut(polls, site.election().queue()).await
}

async fn watch(site: &Site, polls: usize) -> Result<Became> {
    site.cut(polls, site.election().watch()).await
}

async fn observe(site: &Site, polls: usize) -> Result<Became> {
    site.cut(polls, site.election().observe()).await
}

async fn next(site: &Site, polls: usize) -> Result<Became> {
    let election = site.election();
    let mut observer = site.surely(|| election.observe()).await?;
    observer.next().await; // who leads now
    site.cut_wait(polls, observer.next().map(Ok)).await
}
