//! The command line.

use std::ffi::OsString;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand};

use super::exit;
use super::{span, topic};

/// Distributed locks, groups, elections, messages and partitioning for shells and scripts.
#[derive(Debug, Parser)]
#[command(name = "tooz", version, after_help = exit::TABLE, disable_help_subcommand = true)]
pub(crate) struct Line {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Options that stand before or after the subcommand.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Common {
    /// The store, like redis://host or file:///var/lib/tooz [default: file:// in ~/.local/state/tooz]
    #[arg(long, global = true, env = "TOOZ_BACKEND", hide_env_values = true, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// Who we are; for ring: NAME[=WEIGHT] of who shares the keys [env: TOOZ_MEMBER] [default: host, process and a random number]
    #[arg(long = "member", global = true, value_name = "ID")]
    pub(crate) members: Vec<String>,
    /// Write JSON: one document, or one object a line where news arrive one by one
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Longest wait for the store, like 5s or 500ms: to connect, and for the answer to each request; watchers and
    /// readers go on for as long as they like. lock, elect: also for the turn [default: for ever], 0: not at all
    #[arg(long, global = true, value_name = "TIME", value_parser = span::parse)]
    pub(crate) timeout: Option<Duration>,
    /// Time to live of what we hold in stores that lease, like 30s; the URL's lock_timeout and membership_timeout win
    #[arg(long, global = true, value_name = "TIME", value_parser = span::parse_positive)]
    pub(crate) ttl: Option<Duration>,
    /// Tell more on standard error (-vv, -vvv: even more)
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run a command while holding a lock
    ///
    /// The child gets TOOZ_LOCK, TOOZ_FENCING_TOKEN and TOOZ_MEMBER. It runs in a process group of its own:
    /// INT, TERM, HUP, QUIT, USR1 and USR2 are passed on to it, and the whole group gets TERM before the
    /// lock's deadline and KILL at it (50 ms apart if the lock is lost already). What the child leaves running in its group is ended before the lock
    /// is released. Processes that leave the group (setsid) escape all that. Those of another user (sudo) hear no
    /// signal either: they are waited for, and a lock that is lost meanwhile passes on while they run.
    Lock {
        /// The lock's name
        name: String,
        /// Share the lock with other shared holders
        #[arg(long)]
        shared: bool,
        /// The command and its arguments, after `--`; never seen by a shell
        #[arg(last = true, value_name = "CMD")]
        command: Vec<OsString>,
    },
    /// Run a command while leading a group
    ///
    /// As `lock`; the group need not exist. The child gets TOOZ_GROUP, TOOZ_FENCING_TOKEN (the term) and TOOZ_MEMBER.
    Elect {
        /// The group's name
        group: String,
        /// What the leader says about itself, like an address
        #[arg(long, default_value = "")]
        value: String,
        /// The command and its arguments, after `--`; never seen by a shell
        #[arg(last = true, value_name = "CMD")]
        command: Vec<OsString>,
    },
    /// Create, list, join and watch groups
    #[command(subcommand, disable_help_subcommand = true)]
    Group(GroupVerb),
    /// Publish to topics and read them
    #[command(subcommand, disable_help_subcommand = true)]
    Topic(TopicVerb),
    /// Send letters to one member, and print their offsets
    Send {
        /// The member's id
        #[arg(value_name = "MEMBER")]
        to: String,
        /// In which group; it need not exist
        #[arg(long, default_value = MAIL_GROUP)]
        group: String,
        #[command(flatten)]
        data: Data,
    },
    /// Print the letters to this member (--member), what waits and what comes, until INT or TERM
    ///
    /// One line each: the sender, a tab, the letter.
    Inbox {
        /// In which group; it need not exist
        #[arg(long, default_value = MAIL_GROUP)]
        group: String,
        #[command(flatten)]
        reading: Reading,
    },
    /// Show who leads a group
    Leader {
        /// The group's name
        group: String,
        /// Go on: print every change until INT or TERM
        #[arg(long)]
        watch: bool,
    },
    /// Show who holds a lock and who waits for it
    Who {
        /// The lock's name
        name: String,
    },
    /// Take a lock away from its holders
    ///
    /// Tells the holders to let go, waits until they have (as long as the store needs to tell them, and a quarter of a
    /// second), then removes what is left. A child of `tooz lock` is terminated before the lock passes on. Other
    /// holders, those that are stopped, and all with --now may still be at work then: that is what fencing tokens are for.
    Break {
        /// The lock's name
        name: String,
        /// Do not wait: remove the holders at once
        #[arg(long)]
        now: bool,
    },
    /// Show which members are responsible for keys
    ///
    /// Prints a line for each key: the key, a tab, and its owners, sorted and joined by commas; with --json,
    /// one array of {"key", "owners"}. The members are those of the group, with the weights that they ask for.
    /// With --member no store is asked: the members are those given, each with a weight of 1 unless
    /// NAME=WEIGHT says otherwise. The same members give the same owners everywhere, in Python's tooz too.
    #[command(
        override_usage = "tooz ring [OPTIONS] GROUP KEY...\n       tooz ring [OPTIONS] --member NAME[=WEIGHT]... KEY..."
    )]
    Ring {
        /// The group's name, unless members are given, then keys
        #[arg(required = true, value_name = "GROUP KEY")]
        words: Vec<String>,
        /// Points on the ring for each weight of 1; the same for all who share a ring
        #[arg(long, value_name = "N", default_value_t = tooz::DEFAULT_PARTITIONS, value_parser = clap::value_parser!(u32).range(1..=65_536))]
        partitions: u32,
        /// How many owners each key has
        #[arg(long, value_name = "R", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
        replicas: u32,
        /// As if this member were not there; may be repeated
        #[arg(long, value_name = "NAME")]
        ignore: Vec<String>,
    },
    /// Connect and show what the store offers, how fast it answers, and what to worry about
    Doctor,
}

/// The group of letters where none is named.
const MAIL_GROUP: &str = "tooz";

/// What to send.
#[derive(Debug, Args)]
pub(crate) struct Data {
    /// The message, at most 1 MiB [default: one message for each line of standard input]
    #[arg(long, value_name = "TEXT")]
    pub(crate) data: Option<OsString>,
}

/// What to read.
#[derive(Debug, Args)]
pub(crate) struct Reading {
    /// Begin `now`, at the `beginning`, or after an offset [default: now; inbox: beginning]
    #[arg(long, value_name = "WHERE", value_parser = topic::start)]
    pub(crate) from: Option<tooz::From>,
    /// Stop after so many messages
    #[arg(long, value_name = "N")]
    pub(crate) count: Option<u64>,
}

/// What to do with topics.
#[derive(Debug, Subcommand)]
pub(crate) enum TopicVerb {
    /// Publish messages and print their offsets
    Publish {
        /// The topic's name
        topic: String,
        #[command(flatten)]
        data: Data,
        /// Let go of all but the newest so many messages [default: 10000]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        keep: Option<u64>,
        /// Let go of messages older than this [default: 1h]
        #[arg(long, value_name = "TIME", value_parser = span::parse_positive)]
        keep_for: Option<Duration>,
    },
    /// Print messages as they come, one a line, until INT or TERM
    ///
    /// What was missed because it is no longer retained is told on standard error, with --json as an event.
    Subscribe {
        /// The topic's name
        topic: String,
        #[command(flatten)]
        reading: Reading,
    },
}

/// What to do with groups.
#[derive(Debug, Subcommand)]
pub(crate) enum GroupVerb {
    /// Create a group
    Create {
        /// The group's name
        group: String,
        /// Succeed if it exists already
        #[arg(long)]
        if_missing: bool,
    },
    /// List all groups
    List,
    /// List a group's members
    Members {
        /// The group's name
        group: String,
    },
    /// Be a member until INT or TERM, then leave
    Join {
        /// The group's name
        group: String,
        /// What this member says about itself, as JSON, stored as msgpack
        ///
        /// With `-`, the first line of standard input, and every further line replaces it.
        #[arg(long, value_name = "JSON", default_value = "null", hide_default_value = true)]
        capabilities: String,
        /// Create the group if it is missing
        #[arg(long)]
        create: bool,
    },
    /// Print members as they join, update and leave, until INT or TERM
    Watch {
        /// The group's name
        group: String,
    },
    /// Delete an empty group
    Delete {
        /// The group's name
        group: String,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &[&str]) -> Line {
        Line::try_parse_from(line).unwrap()
    }

    #[test]
    fn the_command_line_is_consistent() {
        Line::command().debug_assert();
    }

    #[test]
    fn common_options_stand_before_or_after_the_subcommand() {
        let five = Some(Duration::from_secs(5));
        for line in [
            ["tooz", "--timeout", "5s", "lock", "a", "--", "true"],
            ["tooz", "lock", "--timeout", "5s", "a", "--", "true"],
            ["tooz", "lock", "a", "--timeout", "5s", "--", "true"],
        ] {
            assert_eq!(parse(&line).common.timeout, five, "{line:?}");
        }
        assert!(parse(&["tooz", "group", "members", "g", "--json"]).common.json);
        assert!(parse(&["tooz", "group", "--json", "members", "g"]).common.json);
        assert!(parse(&["tooz", "--json", "group", "members", "g"]).common.json);
    }

    #[test]
    fn members_may_be_named_many_times() {
        for line in [
            ["tooz", "--member", "a", "--member", "b", "ring", "k"],
            ["tooz", "ring", "--member", "a", "--member", "b", "k"],
        ] {
            assert_eq!(parse(&line).common.members, ["a", "b"], "{line:?}");
        }
    }

    #[test]
    fn nothing_after_the_dashes_is_interpreted() {
        let line = parse(&["tooz", "lock", "a", "--", "prog", "--timeout", "x", "--json", "--", "-v"]);
        assert!(!line.common.json);
        let Verb::Lock { command, .. } = line.verb else { panic!("{:?}", line.verb) };
        assert_eq!(command, ["prog", "--timeout", "x", "--json", "--", "-v"]);
    }
}
