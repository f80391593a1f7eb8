//! `tooz topic`, `tooz send` and `tooz inbox`: messages out and in.

mod inbox;
mod intake;
mod publish;
mod reading;
mod send;
mod subscribe;

pub(crate) use reading::start;

use super::args::{Data, Reading, TopicVerb};
use super::context::Context;
use super::exit::Exit;
use super::failure::Failure;

pub(crate) async fn run(context: &Context, verb: &TopicVerb) -> Result<Exit, Failure> {
    match verb {
        TopicVerb::Publish { topic, data, keep, keep_for } => {
            publish::run(context, topic, data, (*keep, *keep_for)).await
        }
        TopicVerb::Subscribe { topic, reading } => subscribe::run(context, topic, reading).await,
    }
}

pub(crate) async fn send(context: &Context, member: &str, group: &str, data: &Data) -> Result<Exit, Failure> {
    send::run(context, member, group, data).await
}

pub(crate) async fn inbox(context: &Context, group: &str, reading: &Reading) -> Result<Exit, Failure> {
    inbox::run(context, group, reading).await
}
