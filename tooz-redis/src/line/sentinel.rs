//! Asking the sentinels who is primary, and hearing from them when another is.

use std::collections::{HashMap, HashSet};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use redis::aio::MultiplexedConnection;
use redis::{PushInfo, PushKind, Value, cmd};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tooz_core::{Error, ErrorKind, Result};

use super::reach::Reach;
use super::retreat::Retreat;
use crate::config::{Login, Place, Topology};
use crate::error::{all_failed, refused, unanswered, unconnected};

/// What a sentinel says when it has made another server the primary, and when it hears that others did.
const NEWS: [&str; 2] = ["+switch-master", "+promoted-slave"];

/// What one sentinel holds to be true.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Word {
    primary: Place,
    /// Goes up with every failover: of two different words the higher one is the newer.
    epoch: u64,
}

/// Connects to the primary. The sentinels' word is checked with the server itself, because a sentinel may
/// not have heard of a failover yet.
pub(super) async fn connect(
    reach: &Reach,
    name: &str,
    news: mpsc::UnboundedSender<PushInfo>,
) -> Result<MultiplexedConnection> {
    let deadline = Instant::now() + reach.patience() * 9 / 10;
    let mut complaints = Vec::new();
    for Word { primary, epoch } in newest_first(ask_all(reach, name, &mut complaints).await) {
        let attempt = async {
            let mut connection = reach.connect_to(&primary, news.clone()).await?;
            match is_primary(&mut connection).await? {
                true => Ok(connection),
                false => {
                    let text = format!("{primary} is no primary (yet, or any more)");
                    Err(Error::new(ErrorKind::Unavailable, text))
                }
            }
        };
        match timeout_at(deadline, attempt).await {
            Ok(Ok(connection)) => {
                reach.trust(epoch);
                return Ok(connection);
            }
            Ok(Err(error)) => complaints.push(error),
            Err(_) => complaints.push(unconnected(&primary, reach.patience())),
        }
    }
    Err(all_failed(&complaints).while_doing(format_args!("find the primary of {name:?}")))
}

/// Ends when a sentinel says that another server has become the primary of `name`.
pub(super) async fn switched(reach: &Reach) {
    let Topology::Sentinel { name, sentinels, login, .. } = &reach.config().topology else {
        return std::future::pending().await;
    };
    let mut listening: FuturesUnordered<_> =
        sentinels.iter().map(|sentinel| heed(reach, sentinel, login, name)).collect();
    listening.next().await;
}

/// Asks all sentinels at once; the majority is enough.
async fn ask_all(reach: &Reach, name: &str, complaints: &mut Vec<Error>) -> Vec<Word> {
    let Topology::Sentinel { sentinels, login, .. } = &reach.config().topology else { return Vec::new() };
    let share = reach.patience() / 3;
    let mut asked: FuturesUnordered<_> = sentinels
        .iter()
        .map(|sentinel| async move {
            let answer = timeout(share, ask(reach, sentinel, login, name)).await;
            let answer = answer.unwrap_or_else(|_| Err(unconnected(sentinel, share)));
            answer.map_err(|e| e.while_doing(format_args!("sentinel {sentinel}")))
        })
        .collect();
    let mut words = Vec::new();
    while let Some(answer) = asked.next().await {
        match answer {
            Ok(word) => words.push(word),
            Err(error) => complaints.push(error),
        }
        if words.len() * 2 > sentinels.len() {
            break;
        }
    }
    words
}

async fn ask(reach: &Reach, sentinel: &Place, login: &Login, name: &str) -> Result<Word> {
    let mut connection = reach.connect_to_sentinel(sentinel, login, None).await?;
    hear_word(&mut connection, name).await
}

async fn hear_word(connection: &mut MultiplexedConnection, name: &str) -> Result<Word> {
    let mut pipeline = redis::pipe();
    pipeline.cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(name);
    pipeline.cmd("SENTINEL").arg("MASTER").arg(name);
    let answers = connection.send_packed_commands(&pipeline, 0, 2).await.map_err(unanswered)?;
    let mut answers = answers.into_iter();
    let address = match answers.next() {
        Some(Value::ServerError(reply)) => return Err(refused(&reply)),
        Some(answer) => redis::from_redis_value::<Option<(String, u16)>>(answer).unwrap_or_default(),
        None => None,
    };
    let Some((host, port)) = address else {
        return Err(Error::new(ErrorKind::Unavailable, format!("it knows no primary called {name:?}")));
    };
    Ok(Word { primary: Place::Tcp { host, port }, epoch: answers.next().map_or(0, |answer| epoch(&answer)) })
}

/// The epoch in what a sentinel tells about a primary; 0 where it may not be asked.
fn epoch(answer: &Value) -> u64 {
    let facts: HashMap<String, String> = redis::from_redis_value(answer.clone()).unwrap_or_default();
    facts.get("config-epoch").and_then(|epoch| epoch.parse().ok()).unwrap_or(0)
}

fn newest_first(mut words: Vec<Word>) -> Vec<Word> {
    words.sort_by_key(|word| std::cmp::Reverse(word.epoch));
    let mut seen = HashSet::new();
    words.retain(|word| seen.insert(word.primary.clone()));
    words
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

/// Listens to one sentinel, over reconnects, until it says that there is another primary.
async fn heed(reach: &Reach, sentinel: &Place, login: &Login, name: &str) {
    let mut retreat = Retreat::new();
    loop {
        let (sender, mut pushes) = mpsc::unbounded_channel();
        let listening = async {
            let mut connection = reach.connect_to_sentinel(sentinel, login, Some(sender)).await?;
            connection.subscribe(&NEWS).await.map_err(unanswered)?;
            // What it said before it was listened to.
            let word = hear_word(&mut connection, name).await?;
            Ok::<_, Error>((connection, word))
        };
        match timeout(reach.patience(), listening).await {
            Ok(Ok((_, word))) if reach.is_newer(word.epoch) => return,
            Ok(Ok((_connection, _))) => {
                retreat = Retreat::new();
                while let Some(push) = pushes.recv().await {
                    match push.kind {
                        PushKind::Disconnection => break,
                        PushKind::Message if is_about(&push, name) => return,
                        _ => {}
                    }
                }
            }
            Ok(Err(error)) => tracing::debug!(%sentinel, %error, "a sentinel cannot be listened to"),
            Err(_) => tracing::debug!(%sentinel, "a sentinel does not answer"),
        }
        sleep(retreat.next()).await;
    }
}

/// Whether the news is about the primary called `name`: `<name> <old> <new>`, or `slave … @ <name> …`.
fn is_about(push: &PushInfo, name: &str) -> bool {
    let Some(Value::BulkString(text)) = push.data.get(1) else { return false };
    let text = String::from_utf8_lossy(text);
    let mut words = text.split(' ');
    match words.next() {
        Some("slave") => words.skip_while(|word| *word != "@").nth(1) == Some(name),
        first => first == Some(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(port: u16) -> Place {
        Place::Tcp { host: "h".to_owned(), port }
    }

    #[test]
    fn the_newest_word_comes_first_and_each_place_once() {
        let word = |port, epoch| Word { primary: place(port), epoch };
        let words = newest_first(vec![word(1, 3), word(2, 5), word(1, 4), word(3, 0)]);
        assert_eq!(words, [word(2, 5), word(1, 4), word(3, 0)]);
    }

    #[test]
    fn news_about_other_primaries_are_not_ours() {
        let push = |text: &str| PushInfo {
            kind: PushKind::Message,
            data: vec![Value::BulkString(b"+switch-master".to_vec()), Value::BulkString(text.into())],
        };
        assert!(is_about(&push("blue 127.0.0.1 1 127.0.0.1 2"), "blue"));
        assert!(is_about(&push("slave 127.0.0.1:2 127.0.0.1 2 @ blue 127.0.0.1 1"), "blue"));
        assert!(!is_about(&push("green 127.0.0.1 1 127.0.0.1 2"), "blue"));
        assert!(!is_about(&push("slave blue 127.0.0.1 2 @ green 127.0.0.1 1"), "blue"));
        assert!(!is_about(&push(""), "blue"));
    }
}
