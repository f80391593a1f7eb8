//! Connecting to a cluster.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use redis::aio::MultiplexedConnection;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{RoutingInfo, SingleNodeRoutingInfo};
use redis::{Cmd, Pipeline, PushInfo, RedisResult, Value, cmd};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tooz_core::Result;

use super::reach::Reach;
use crate::config::Place;
use crate::error::{all_failed, unanswered, unconnected, unreached};

/// So many calls are under way to the nodes of a cluster at a time.
const ROOM: usize = 12;

/// Connections to all nodes of a cluster, with room for a few calls at a time (decision 32).
///
/// One task of the client crate makes the steps of all calls: at most eight at a time for each, from sending to a redirection.
/// Out of 128 tokio lets no task make more before it has yielded, and in between a call may have taken the lock of the map
/// of slots. Whoever refreshes that map waits for the lock and keeps the calls from going on: that would never end.
#[derive(Clone)]
pub(super) struct Nodes {
    connection: ClusterConnection,
    room: Arc<Semaphore>,
}

impl Nodes {
    /// One command, to one node.
    pub(super) async fn command(&self, command: Cmd, to: SingleNodeRoutingInfo) -> RedisResult<Value> {
        let (mut connection, room) = (self.connection.clone(), Arc::clone(&self.room));
        in_a_task(async move {
            let _room = room.acquire().await;
            connection.route_command(command, RoutingInfo::SingleNode(to)).await
        })
        .await
    }

    /// Commands that go together, to one node.
    pub(super) async fn pipeline(
        &self,
        pipeline: Pipeline,
        count: usize,
        to: SingleNodeRoutingInfo,
    ) -> RedisResult<Vec<Value>> {
        let (mut connection, room) = (self.connection.clone(), Arc::clone(&self.room));
        in_a_task(async move {
            let _room = room.acquire().await;
            connection.route_pipeline(pipeline, 0, count, to).await
        })
        .await
    }
}

/// Does it in a task that ends with its caller. A caller may poll a call once and then something else: nobody else may
/// have to wait for the room that it takes.
async fn in_a_task<T: Send + 'static>(
    work: impl Future<Output = RedisResult<T>> + Send + 'static,
) -> RedisResult<T> {
    let mut task = JoinSet::new();
    task.spawn(work);
    match task.join_next().await {
        Some(Ok(answer)) => answer,
        _ => Err((redis::ErrorKind::Io, "the runtime is ending").into()),
    }
}

/// Connects to any node, whichever answers: what is published anywhere is heard everywhere. Learns the
/// other nodes on the way.
pub(super) async fn connect(
    reach: &Reach,
    news: mpsc::UnboundedSender<PushInfo>,
) -> Result<MultiplexedConnection> {
    let nodes = shuffled(reach.nodes());
    // A node that does not answer must leave time for the others.
    let share = reach.patience() / u32::try_from(nodes.len().clamp(1, 4)).unwrap_or(1);
    let mut complaints = Vec::new();
    for node in &nodes {
        let attempt = async {
            let mut connection = reach.connect_to(node, news.clone()).await?;
            let told = nodes_known_to(&mut connection, node).await?;
            // A password goes to every node.
            told.iter().try_for_each(|place| reach.config().check_login(place))?;
            reach.learn(told);
            Ok(connection)
        };
        match timeout(share, attempt).await {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(error)) => complaints.push(error),
            Err(_) => complaints.push(unconnected(node, share)),
        }
    }
    Err(all_failed(&complaints))
}

/// Connects to all nodes; whenever a connection breaks, it is counted.
pub(super) async fn connect_to_all(reach: &Reach, breaks: Arc<AtomicU64>) -> Result<Nodes> {
    let patience = reach.patience();
    let attempt = async {
        // Checks that the password may go to all of them before the client crate sends it.
        drop(connect(reach, mpsc::unbounded_channel().0).await?);
        let client = reach.cluster_client(breaks).map_err(|e| unreached(reach, e))?;
        let connection = client.get_async_connection().await.map_err(|e| unreached(reach, e))?;
        Ok(Nodes { connection, room: Arc::new(Semaphore::new(ROOM)) })
    };
    timeout(patience, attempt).await.unwrap_or_else(|_| Err(unconnected(reach, patience)))
}

/// The nodes that serve slots, replicas included, as one of them tells.
async fn nodes_known_to(connection: &mut MultiplexedConnection, asked: &Place) -> Result<Vec<Place>> {
    let answer: Value = cmd("CLUSTER")
        .arg("SLOTS")
        .query_async(connection)
        .await
        .map_err(|e| unanswered(e).while_doing(format_args!("ask {asked} for the cluster's nodes")))?;
    Ok(places(&answer, asked))
}

/// The places in an answer to `CLUSTER SLOTS`: ranges of `[first, last, [host, port, …], …]`. A node that
/// does not know its own address names none: it is where it was asked.
fn places(answer: &Value, asked: &Place) -> Vec<Place> {
    let Value::Array(ranges) = answer else { return Vec::new() };
    let nodes = ranges.iter().flat_map(|range| match range {
        Value::Array(parts) => parts.get(2..).unwrap_or_default(),
        _ => &[],
    });
    let mut places = Vec::new();
    for node in nodes {
        let Value::Array(facts) = node else { continue };
        let Some(Value::Int(port)) = facts.get(1) else { continue };
        let Ok(port) = u16::try_from(*port) else { continue };
        let host = match (facts.first(), asked) {
            (Some(Value::BulkString(host)), _) if !host.is_empty() && host != b"?" => {
                String::from_utf8_lossy(host).into_owned()
            }
            (_, Place::Tcp { host, .. }) => host.clone(),
            (_, Place::Unix(_)) => continue,
        };
        let place = Place::Tcp { host, port };
        if !places.contains(&place) {
            places.push(place);
        }
    }
    places
}

fn shuffled(mut nodes: Vec<Place>) -> Vec<Place> {
    let chance = RandomState::new();
    nodes.sort_by_cached_key(|node| chance.hash_one(node));
    nodes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_about_slots_names_every_node_once() {
        let node =
            |host: Value, port| Value::Array(vec![host, Value::Int(port), Value::BulkString(b"id".into())]);
        let host = |name: &str| Value::BulkString(name.into());
        let range = |nodes: Vec<Value>| {
            Value::Array([Value::Int(0), Value::Int(9)].into_iter().chain(nodes).collect())
        };
        let answer = Value::Array(vec![
            range(vec![node(host("10.0.0.1"), 1), node(Value::Nil, 2)]),
            range(vec![node(host("10.0.0.1"), 1), node(host(""), 3), node(host("?"), 99_999), Value::Nil]),
            Value::Nil,
        ]);
        let tcp = |host: &str, port| Place::Tcp { host: host.to_owned(), port };

        let places = places(&answer, &tcp("asked", 7));

        assert_eq!(places, [tcp("10.0.0.1", 1), tcp("asked", 2), tcp("asked", 3)]);
    }
}
