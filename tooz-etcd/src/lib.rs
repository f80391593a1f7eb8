//! tooz over etcd: locks, groups and elections shared with Python clients.
//!
//! **The build needs `protoc` and Google's includes** (Debian: `apt-get install protobuf-compiler
//! libprotobuf-dev`, or `PROTOC=/path/to/protoc`), because the client crate generates its code.
//!
//! # Options
//! The URL is `etcd://host:2379,other:2379`; without a host it is localhost:2379, and `etcd3://` means the same.
//! `etcds://` and `etcd3+https://` speak TLS.
//! * `ca_cert=FILE`: the authorities to trust; there are no others. `cert_cert=FILE` with `cert_key=FILE`: our own certificate and its
//!   key. All PEM.
//! * `user:password@` before the hosts; without TLS to another machine only with `allow_plaintext_auth=true`.
//! * `api_version` is accepted for Python's sake and means nothing.
//!
//! # What stands in the store
//! | key | value | lease |
//! |---|---|---|
//! | `/tooz/locks<name>` | 16 bytes: the holder's claim id (Python: its own) | the holder's session |
//! | `tooz/groups/<group>/` | the key itself | none |
//! | `tooz/groups/<group>/<member>` | capabilities | the member's session |
//! | `/tooz-rs/v1/lock/<name>/…`, `/tooz-rs/v1/leader/<group>/…` | queue, holders, notices | the claim's session |
//! | `/tooz-rs/v1/groups/…`, `/tooz-rs/v1/incarnations/…` | what the keys above have no room for | as there |
//! | `/tooz-rs/v1/{topic,talk,inbox,replies}/…` | messages | none |
//!
//! The first three are Python tooz's; the rest is ours, named in `keys`.
//!
//! # Limits
//! Readers of one lock hold together only if none has a longer `lock_timeout` than the first of them: one that
//! has waits until they have let go. Use the same `lock_timeout` for all.
//!
//! What stands under a session's lease is told in one answer of at most 4 MiB: the names of some 30,000 locks. With
//! more, every beat asks for each claim, 32 with one transaction, and what nobody speaks of any more stands until the
//! session ends. What its readers share then outlives it by up to a `lock_timeout`.
//!
//! Messages stand in etcd's history after they were let go of, until it is compacted: run servers with
//! `--auto-compaction-retention`.
//!
//! # Rooms
//! `guarded` (feature `compare`) writes under a lock ·
//! `config` the URL · `line` endpoints and calls · `session` the lease and its proofs · `keys` names ·
//! `record` what a claim leaves · `place` what stands in a queue · `look` one seat at one revision · `locks` with `claim`, `share`, `release`, `readers`
//! and `evict` · `groups` with `roster` (more than one answer holds) · `topics` with `publish`, `fetch` and `trim`, over `channel` (names and buckets), `entry` (what is
//! written), `standing` (what was found) and `sweep` (much that is none) · `beat`, `under` and `stray` what a beat finds out · `watch` the ear and what it saw · `errand` what
//! several wait for · `error`
//! the client's errors.

mod beat;
mod channel;
mod claim;
mod config;
mod driver;
mod entry;
mod errand;
mod error;
mod evict;
mod fetch;
mod groups;
#[cfg(feature = "compare")]
mod guarded;
#[cfg(feature = "hostile")]
#[doc(hidden)]
pub mod hostile;
mod keys;
mod line;
mod locks;
mod look;
mod msgpack;
mod place;
mod publish;
mod readers;
mod record;
mod release;
mod roster;
mod scene;
mod session;
mod share;
mod standing;
mod stray;
mod sweep;
mod topics;
mod trim;
mod txn;
mod under;
mod watch;

pub use driver::EtcdDriver;
#[cfg(feature = "compare")]
pub use guarded::still_held;
