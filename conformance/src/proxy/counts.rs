//! What has passed through a proxy.

use std::collections::BTreeMap;

/// Sums over all connections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that clients made.
    pub connections: u64,
    /// Requests on their way to the server: commands where the protocol is known, else pieces.
    pub requests: u64,
    /// Requests by the command's upper-case name, where the protocol is known.
    pub commands: BTreeMap<String, u64>,
    /// Answers that clients were given: replies where the protocol is known, else pieces.
    pub replies: u64,
    /// What the server sent unasked, where the protocol is known.
    pub pushes: u64,
    /// Round trips.
    pub trips: u64,
    /// Bytes on their way to the server.
    pub bytes_up: u64,
    /// Bytes that clients were given.
    pub bytes_down: u64,
    /// Requests and answers lost on demand.
    pub lost: u64,
}

impl Counts {
    /// What has passed since an earlier look.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let command = |name: &String| earlier.commands.get(name).copied().unwrap_or(0);
        let grown = self.commands.iter().map(|(name, count)| (name.clone(), count - command(name)));
        Self {
            connections: self.connections - earlier.connections,
            requests: self.requests - earlier.requests,
            commands: grown.filter(|(_, count)| *count > 0).collect(),
            replies: self.replies - earlier.replies,
            pushes: self.pushes - earlier.pushes,
            trips: self.trips - earlier.trips,
            bytes_up: self.bytes_up - earlier.bytes_up,
            bytes_down: self.bytes_down - earlier.bytes_down,
            lost: self.lost - earlier.lost,
        }
    }

    /// How often a command was sent.
    pub fn command(&self, name: &str) -> u64 {
        self.commands.get(name).copied().unwrap_or(0)
    }
}
