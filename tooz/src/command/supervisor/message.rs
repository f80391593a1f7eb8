//! What the command and its supervisor say to each other: JSON, one message a line.

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tooz::Moment;

use super::schedule::Reason;

/// From the command to the supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Order {
    /// Start the child.
    Begin {
        /// The claim's deadline in nanoseconds of the boot clock, which all processes share. An absolute
        /// moment: a command that is stopped between looking and sending must not lend time.
        deadline: Option<u64>,
        /// How long before the deadline the child is told to end.
        lead_ms: u64,
        /// The command's own process group, to which the terminal returns.
        group: i32,
    },
    /// The claim was renewed until then.
    Deadline(u64),
    /// Pass this signal to the child's group.
    Signal(i32),
    /// The command was stopped and goes on.
    Continue,
    /// The lock is lost: end the child now.
    Lost,
}

/// From the supervisor to the command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Report {
    /// The child runs and leads this process group.
    Started { group: i32 },
    /// The child could not be started.
    NotStarted { missing: bool, message: String },
    /// The child was stopped by job control: the command should stop too.
    Stopped,
    /// The child has ended, but processes of another user in its group go on: they are waited for.
    Lingering,
    /// The child and its group are gone.
    Ended {
        /// The child's own exit code, if it exited.
        code: Option<i32>,
        /// The signal that ended it, if one did.
        signal: Option<i32>,
        /// Why its group was ended.
        reason: Option<Reason>,
        /// Whether the child had the terminal to itself.
        foreground: bool,
    },
}

pub(super) fn moment(nanos: Option<u64>) -> Option<Moment> {
    nanos.map(Moment::from_nanos)
}

pub(super) fn nanos(moment: Option<Moment>) -> Option<u64> {
    moment.map(Moment::as_nanos)
}

/// Both directions of the socket between command and supervisor.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) inbox: Inbox,
    pub(super) outbox: Outbox,
}

impl Channel {
    /// Needs a tokio runtime around it.
    pub(super) fn new(socket: std::os::unix::net::UnixStream) -> std::io::Result<Self> {
        socket.set_nonblocking(true)?;
        let (read, write) = UnixStream::from_std(socket)?.into_split();
        Ok(Self { inbox: Inbox(BufReader::new(read).lines()), outbox: Outbox(write) })
    }
}

/// Where messages arrive.
#[derive(Debug)]
pub(super) struct Inbox(Lines<BufReader<OwnedReadHalf>>);

impl Inbox {
    /// The next message; `None` when the other side is gone. May be dropped and asked again.
    pub(super) async fn next<T: for<'a> Deserialize<'a>>(&mut self) -> Option<T> {
        let line = self.0.next_line().await.ok().flatten()?;
        serde_json::from_str(&line).ok()
    }
}

/// Where messages leave.
#[derive(Debug)]
pub(super) struct Outbox(OwnedWriteHalf);

impl Outbox {
    /// Sends a message. That the other side is gone shows where it is read from.
    pub(super) async fn send<T: Serialize>(&mut self, message: &T) {
        if let Ok(mut line) = serde_json::to_vec(message) {
            line.push(b'\n');
            let _ = self.0.write_all(&line).await;
        }
    }
}
