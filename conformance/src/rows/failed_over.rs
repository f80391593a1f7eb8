//! Of several servers, the one that leads is killed or frozen, or another is put in its place, while processes visit
//! locks. Ensembles with a quorum lose nothing; what a replica did not have yet may be lost, as documented, and tokens
//! stay in order.

use std::time::Duration;

use tooz_core::ErrorKind;

use super::faults::REVOKED;
use super::parts::connect;
use super::scene::{Scene, judge, pause};
use super::store::Server;
use super::{Line, Order, Outcome, Run};
use crate::faulty::Dice;
use crate::history::now;
use crate::servers::{Etcd, Process, Sentinels, Zookeeper, until};

const VISITORS: usize = 4;
const LOCKS: u64 = 6;

/// What is done to whoever leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Killed,
    Frozen,
    Replaced,
}

pub(super) fn run(order: &Order) -> Outcome<Line> {
    let run = Run::start("failed-over", order)?;
    let urls = vec![run.store.url(); VISITORS];
    let scene = Scene::start(&run, order, "visited", LOCKS, &urls)?;
    let mut dice = Dice::new(order.seed);
    let (mut done, mut late) = (0, Vec::new());
    let faults = match run.store.server() {
        Server::Sentinels(_) => [Fault::Killed, Fault::Replaced, Fault::Frozen],
        _ => [Fault::Killed, Fault::Frozen, Fault::Killed],
    };
    for fault in faults.into_iter().cycle() {
        if done >= order.volume || !run.has_time() {
            break;
        }
        late.extend(scene.recovered(&run, order, now())?);
        pause(Duration::from_millis(dice.roll() % 500));
        let apart = order.ttl() * u32::try_from(dice.below(16))? / 10;
        let revoked = run.log.during(&format!("leader {fault:?}").to_lowercase(), None, || {
            match run.store.server() {
                Server::Etcd(etcd) => return on_etcd(etcd, fault, apart),
                Server::Zookeeper(zookeeper) => on_zookeeper(zookeeper, fault, apart),
                Server::Sentinels(sentinels) => on_sentinels(sentinels, fault, apart),
                _ => {}
            }
            None
        })?;
        if let Some(since) = revoked {
            run.log.note(REVOKED, None, since)?;
        }
        done += 1;
    }
    late.extend(scene.recovered(&run, order, now())?);
    scene.end()?;
    let mut line = judge(&run, order, "failed-over", done)?;
    line.violate(late);
    if let Server::Sentinels(sentinels) = run.store.server() {
        line.violate(refuses(sentinels, &run.store.url(), order)?);
    }
    Ok(run.end(line))
}

/// Since when a frozen leader may have revoked leases, if it did so after it had been deposed.
fn on_etcd(etcd: &Etcd, fault: Fault, apart: Duration) -> Option<u64> {
    let leader = etcd.leader();
    let expired = || leader.metric("etcd_debugging_server_lease_expired_total", "");
    let before = expired();
    let thawed = strike(leader.process(), fault, apart, || {
        etcd.nodes().iter().any(|node| node.address() != leader.address() && node.is_leader())
    });
    etcd.healthy();
    (fault == Fault::Frozen && expired() > before).then_some(thawed)
}

fn on_zookeeper(zookeeper: &Zookeeper, fault: Fault, apart: Duration) {
    let leader = zookeeper.leader();
    strike(leader.process(), fault, apart, || {
        let mut others = zookeeper.nodes().iter().filter(|node| node.port() != leader.port());
        others.any(|node| node.mode().is_some_and(|mode| mode == "leader"))
    });
    zookeeper.serving();
}

/// Kills or freezes whoever leads until another does, and a while longer. Tells when that was over.
fn strike(leader: &Process, fault: Fault, apart: Duration, is_replaced: impl Fn() -> bool) -> u64 {
    if fault == Fault::Frozen {
        leader.freeze();
    } else {
        leader.kill();
    }
    until("another one leads", is_replaced);
    let over = pause(apart);
    if fault == Fault::Frozen {
        leader.thaw();
    } else {
        leader.restart();
    }
    over
}

fn on_sentinels(sentinels: &Sentinels, fault: Fault, apart: Duration) {
    let old = sentinels.primary();
    if fault == Fault::Replaced {
        sentinels.fail_over();
    } else {
        strike(old.process(), fault, apart, || {
            sentinels.failed_over(old.port());
            true
        });
    }
    until("the old primary follows the new one", || {
        old.try_command(&["ROLE"]).is_ok_and(|role| role.text().starts_with("slave"))
    });
    until("a replica has what its primary has", || {
        let told = sentinels.primary().try_command(&["INFO", "replication"]);
        told.is_ok_and(|told| told.text().contains("state=online"))
    });
}

/// With `wait_replicas=1` nothing is granted that no replica has.
fn refuses(sentinels: &Sentinels, url: &str, order: &Order) -> Outcome<Option<String>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let coord = connect(&format!("{url}&wait_replicas=1&timeout=3"), "careful", order.ttl() * 5).await?;
        coord.lock("careful").acquire().await?.release().await?;
        let primary = sentinels.primary().port();
        let replicas: Vec<_> = sentinels.servers().iter().filter(|server| server.port() != primary).collect();
        replicas.iter().for_each(|replica| replica.process().freeze());
        let granted = coord.lock("careful").try_acquire().await;
        replicas.iter().for_each(|replica| replica.process().thaw());
        coord.close().await?;
        Ok(match granted {
            Err(error) if error.kind() == ErrorKind::Unavailable => None,
            other => Some(format!("granted although no replica has it: {other:?}")),
        })
    })
}
