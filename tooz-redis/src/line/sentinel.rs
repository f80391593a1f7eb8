//! Asking the sentinels who is primary.

use redis::aio::MultiplexedConnection;
use redis::{PushInfo, Value, cmd};
use tokio::sync::mpsc;
use tooz_core::{Error, ErrorKind, Result};

use super::reach::Reach;
use crate::config::{Login, Place, Topology};
use crate::error::unanswered;

/// Connects to the primary: the sentinels' word is checked with the server itself, because a sentinel may
/// not have heard of a failover yet.
pub(super) async fn connect(
    reach: &Reach,
    name: &str,
    news: mpsc::UnboundedSender<PushInfo>,
) -> Result<MultiplexedConnection> {
    let Topology::Sentinel { login, .. } = &reach.config().topology else {
        return Err(Error::new(ErrorKind::Internal, "no sentinels to ask"));
    };
    let sentinels = reach.sentinels();
    // A sentinel that does not answer must leave time for the others.
    let share = reach.patience() / u32::try_from(sentinels.len() + 1).unwrap_or(u32::MAX);
    let mut complaints = Vec::new();
    for sentinel in &sentinels {
        let attempt = async {
            let place = primary(reach, sentinel, login, name).await?;
            let mut connection = reach.connect_to(&place, news.clone()).await?;
            match is_primary(&mut connection).await? {
                true => Ok(connection),
                false => Err(Error::new(
                    ErrorKind::Unavailable,
                    format!("{place} is no primary (yet, or any more)"),
                )),
            }
        };
        match tokio::time::timeout(share, attempt).await {
            Ok(Ok(connection)) => {
                reach.prefer(sentinel);
                return Ok(connection);
            }
            Ok(Err(error)) => complaints.push((error.kind(), format!("sentinel {sentinel}: {error}"))),
            Err(_) => {
                complaints
                    .push((ErrorKind::Unavailable, format!("sentinel {sentinel}: no answer in {share:?}")));
            }
        }
    }
    let denied = complaints.iter().all(|(kind, _)| *kind == ErrorKind::Denied);
    let kind = if denied { ErrorKind::Denied } else { ErrorKind::Unavailable };
    let said: Vec<_> = complaints.into_iter().map(|(_, said)| said).collect();
    Err(Error::new(kind, format!("find the primary of {name:?}: {}", said.join("; "))))
}

/// What one sentinel says.
async fn primary(reach: &Reach, sentinel: &Place, login: &Login, name: &str) -> Result<Place> {
    let mut connection = reach.connect_to_sentinel(sentinel, login, None).await?;
    let mut ask = cmd("SENTINEL");
    ask.arg("GET-MASTER-ADDR-BY-NAME").arg(name);
    let answer: Option<(String, u16)> = ask.query_async(&mut connection).await.map_err(unanswered)?;
    match answer {
        Some((host, port)) => Ok(Place::Tcp { host, port }),
        None => Err(Error::new(ErrorKind::Unavailable, format!("it knows no primary called {name:?}"))),
    }
}

/// Whether the server says that it is a primary. Where it may not be asked, the sentinels' word stands: a
/// replica refuses writes anyway.
async fn is_primary(connection: &mut MultiplexedConnection) -> Result<bool> {
    match cmd("ROLE").query_async::<Value>(connection).await {
        Ok(Value::Array(role)) => {
            Ok(matches!(role.first(), Some(Value::BulkString(word)) if word == b"master"))
        }
        Ok(_) => Ok(false),
        Err(error) if error.code() == Some("NOPERM") => Ok(true),
        Err(error) => Err(unanswered(error)),
    }
}
