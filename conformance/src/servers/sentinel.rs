//! A Redis primary, two replicas, and three sentinels that watch them.

use super::{Redis, until};

/// The name under which the sentinels watch the primary.
pub const SERVICE: &str = "tooz";
/// After how long without an answer a sentinel believes that a server is down.
pub const DOWN_AFTER_MS: u64 = 500;

/// Three servers, one of them the primary, and three sentinels.
#[derive(Debug)]
pub struct Sentinels {
    servers: Vec<Redis>,
    sentinels: Vec<Redis>,
}

impl Sentinels {
    /// Starts all and waits until every sentinel knows every server and every other sentinel.
    pub fn start() -> Self {
        let primary = Redis::start();
        let replicas = [(); 2].map(|()| Redis::plan().replica_of(&primary).start());
        primary.replicated(replicas.len());
        let sentinels = [(); 3].map(|()| {
            let watch = format!("monitor {SERVICE} 127.0.0.1 {} 2", primary.port());
            Redis::plan()
                .sentinel()
                .option("sentinel", &watch)
                .option("sentinel", &format!("down-after-milliseconds {SERVICE} {DOWN_AFTER_MS}"))
                .option("sentinel", &format!("failover-timeout {SERVICE} 3000"))
                .start()
        });
        let servers = std::iter::once(primary).chain(replicas).collect();
        let started = Self { servers, sentinels: sentinels.into() };
        until("the sentinels know each other", || started.sentinels.iter().all(knows_all));
        started
    }

    /// All three servers, in the order they were started: the first was the first primary.
    pub fn servers(&self) -> &[Redis] {
        &self.servers
    }

    /// The three sentinels.
    pub fn sentinels(&self) -> &[Redis] {
        &self.sentinels
    }

    /// Their addresses, separated by commas.
    pub fn addresses(&self) -> String {
        self.sentinels.iter().map(Redis::address).collect::<Vec<_>>().join(",")
    }

    /// The server that most sentinels name as the primary.
    pub fn primary(&self) -> &Redis {
        let named = |server: &&Redis| {
            let port = Some(i64::from(server.port()));
            self.sentinels.iter().filter(|sentinel| primary_port(sentinel) == port).count() * 2
                > self.sentinels.len()
        };
        let mut found = None;
        until("most sentinels name the same primary", || {
            found = self.servers.iter().find(named);
            found.is_some()
        });
        found.unwrap_or_else(|| panic!("no primary"))
    }

    /// Waits until every sentinel names another primary than `old`, which is one in its own view too.
    pub fn failed_over(&self, old: u16) -> &Redis {
        until("the sentinels have made another server the primary", || {
            self.sentinels.iter().all(|sentinel| primary_port(sentinel) != Some(i64::from(old)))
                && self.primary().try_command(&["ROLE"]).is_ok_and(|role| role.text().starts_with("master"))
        });
        self.primary()
    }

    /// Has another server made the primary while the old one lives on.
    pub fn fail_over(&self) -> &Redis {
        let old = self.primary().port();
        if let Some(sentinel) = self.sentinels.first() {
            until("a sentinel begins a failover", || {
                sentinel.command(&["SENTINEL", "FAILOVER", SERVICE]).text() == "OK"
            });
        }
        self.failed_over(old)
    }
}

fn primary_port(sentinel: &Redis) -> Option<i64> {
    let answer = sentinel.command(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE]);
    answer.list().get(1)?.number()
}

fn knows_all(sentinel: &Redis) -> bool {
    let answer = sentinel.command(&["SENTINEL", "MASTER", SERVICE]);
    let field = |name: &str| {
        let mut words = answer.list().iter();
        words.find(|word| word.text() == name)?;
        words.next()?.number()
    };
    field("num-slaves") == Some(2) && field("num-other-sentinels") == Some(2)
}
