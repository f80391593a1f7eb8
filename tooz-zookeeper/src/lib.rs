//! Coordination over ZooKeeper: locks, groups and elections shared with kazoo and Python tooz, and topics.
//!
//! The URL is `zookeeper://host[:2181][,host…]` (or `kazoo://…`). One session and one connection serve everything a
//! coordinator has; a lock is one round trip when it is free (with `nodelay=true`, see below) and one more to let go,
//! and a waiter is woken by the one before it alone.
//!
//! ```no_run
//! use tooz_core::backend::Driver;
//! use tooz_zookeeper::ZookeeperDriver;
//!
//! assert_eq!(ZookeeperDriver::new().schemes(), ["zookeeper", "kazoo"]);
//! ```
//!
//! # What lies where
//! | path | what | kind |
//! |---|---|---|
//! | `/tooz/<group>` | a group | persistent |
//! | `/tooz/<group>/<member>` | a member; data: its capabilities | ephemeral |
//! | `/tooz/locks/<name>` | a lock's contenders; data: the last one that held after waiting | persistent |
//! | `/tooz/locks/<name>/<claim>__lock__<number>` | a claim; data: the member's id | ephemeral, sequential |
//! | `/tooz/locks/<name>/<claim>_shared__lock__<number>` | a shared claim, for which Python waits too | ephemeral, sequential |
//! | `/tooz-rs/tooz` | everything of our own; data: its version | persistent |
//! | … `/leaders/<group>/<claim>__lock__<number>` | a candidate; the first one leads | ephemeral, sequential |
//! | … `/sessions/<ZooKeeper's number>` | whose session it is; rewritten by each beat | ephemeral |
//! | … `/values/<claim>` | an election's value | ephemeral |
//! | … `/voids/<claim>` | a claim that must not come about any more | ephemeral |
//! | … `/topics/<topic>`, `/talks/<group>` | a topic, what is said in a group; below it messages, ids, where it begins and ends | persistent |
//! | … `/inboxes/<group>/<member>`, `/replies/…` | letters to a member, answers to one | persistent |
//!
//! The full format is in `docs/wire/zookeeper.md`.
//!
//! # Options
//! * `chroot=/apps/blue`: everything lies below that node, which is made where missing.
//! * `namespace=tooz`: the first node of what is shared with Python.
//! * `python_elections=true` campaigns below the group, where Python tooz does. Python then lists `leader` as a member
//!   of the group, as it does with its own elections.
//! * `nodelay=true` (Linux only) switches Nagle's algorithm off, which the client library leaves on: it finds the
//!   connection among the process's descriptors with `pidfd_getfd`. Other connections of the process to the same servers
//!   are told too. A filter of system calls that does not know `pidfd_getfd`, such as systemd's
//!   `SystemCallFilter=@system-service`, may kill the process for it.
//! * `user:password@` in the URL are digest credentials: all that is made is then its maker's alone.
//! * `use_ssl=true`, `ca`, `certfile`, `keyfile`: TLS, as Python tooz spells it, with a certificate of the client's own
//!   if the server wants one. Verification cannot be switched off.
//!
//! # Topics
//! For control traffic, not for bulk: every server of the ensemble holds all that is retained in its memory, and every
//! publish is a write that a majority of them puts on its disk. Keep as much as late subscribers need
//! ([`retain`](tooz_core::Topic::retain)) and no more.
//!
//! A publish is one transaction however many others publish, a subscriber that waits costs nothing, and all subscribers
//! of a coordinator share one watch per topic. Bodies of more than 2 KiB stand in nodes of their own, of at most
//! 528 KiB: `jute.maxbuffer` (1 MiB unless configured otherwise) limits one node with its request, and servers that
//! were given less refuse large messages by closing the connection.
//!
//! Age is the server's: both ends of it are times of its own transactions. A topic stays until its nodes are
//! removed (`deleteall` of its node), also when all its messages are let go of: of each there are then up to some hundred
//! small ones left, which nobody is shown any more.
//!
//! # Limits
//! * ZooKeeper 3.6 or later.
//! * Locks and memberships live as long as the session: `lock_timeout` and `membership_timeout` must be the same.
//! * Without `nodelay=true` the two requests of a claim may travel as two round trips instead of one.
//! * Servers grant sessions from 2 to 20 ticks. The proof of life needs 4 ticks, so an opening also asks for a session
//!   half as long, closed again at once: where that one is raised, the time to live becomes twice what it was raised to,
//!   with a warning. A server whose `minSessionTimeout` was configured below 2 ticks is not noticed.
//! * All servers must allow the same session times (`tickTime`, `minSessionTimeout`, `maxSessionTimeout`): the proof of life
//!   counts what the first connection was granted, and a reconnect elsewhere may be granted less without being told.
//! * A session has at most 96 KiB of paths under watch, some thousand paths: with more than 128 KiB its client library would
//!   not survive a reconnect. Waits behind claims of other sessions, and followed groups, that find no room look again now and
//!   then, all of them together about a hundred times in a second, each after a second at the earliest and a time to live at the
//!   latest. Holds that find none share one watch, on what others tell the session; that one was removed by other programs
//!   than this library, a heartbeat tells.
//! * A group with more than 10,000 members is refused.
//! * How long a holder has held is told as at most: it takes over without writing anything, so that the time counts from
//!   when it entered the queue, or from when the one before it let go where that left word.
//! * The profile names the server where `srvr` may be asked on a plain port, as servers allow unless told otherwise.
//! * Curator's `InterProcessMutex` (5.4 was tried) names its nodes in another way: on one path with ours or kazoo's, neither
//!   waits for the other.
//! * Credentials are digest or certificates; SASL is not supported.
//! * `use_ssl=true` needs `ca`: the client library has no usual authorities.
//! * Fencing tokens are transaction ids: they grow as long as the ensemble keeps its data.
//!
//! # Guarded writes
//! Who keeps data in the same ZooKeeper need not pass tokens: a transaction that checks the claim's node is carried out
//! only while the lock is held, whatever its writer believes. [`lock_directory`] tells where that node is.

mod about;
mod bell;
mod channel;
mod config;
mod connect;
mod contend;
mod driver;
mod entry;
mod error;
mod fetch;
mod find;
mod furniture;
mod groups;
mod guarded;
mod guess;
#[cfg(feature = "hostile")]
#[doc(hidden)]
pub mod hostile;
mod keys;
mod locks;
mod log;
mod look;
mod nodelay;
mod notices;
mod proof;
mod publish;
mod remove;
mod renewal;
mod roll;
mod roster;
mod sequence;
mod session;
mod standing;
mod streak;
#[cfg(feature = "testing")]
mod testing;
mod ticket;
mod topics;
mod traces;
mod trim;
mod turn;
mod watches;

pub use driver::ZookeeperDriver;
pub use guarded::lock_directory;
