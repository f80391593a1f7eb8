//! Where messages go: channels, each a log of its own.

use std::fmt;

use crate::name::Name;

/// One log of messages. A group's channels are the same kind of log as a topic, behind other doors.
///
/// Two different channels never see each other's messages, whatever their names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// The topic of this name.
    Topic(Name),
    /// What is said to everybody in this group.
    Group(Name),
    /// What is sent to one member of a group.
    Inbox {
        /// The group.
        group: Name,
        /// The member it is sent to.
        member: Name,
    },
    /// What members of a group answer to the requests of one member.
    Replies {
        /// The group.
        group: Name,
        /// The member that asked.
        member: Name,
    },
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic(name) => write!(f, "topic \"{name}\""),
            Self::Group(name) => write!(f, "messages of group \"{name}\""),
            Self::Inbox { group, member } => write!(f, "inbox of \"{member}\" in group \"{group}\""),
            Self::Replies { group, member } => write!(f, "replies to \"{member}\" in group \"{group}\""),
        }
    }
}
