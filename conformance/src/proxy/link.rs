//! One connection through a proxy: each way is read by one loop and written by another, with time between.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{Instant, sleep, sleep_until};

use super::Protocol;
use super::control::{Control, Loss, Way};
use super::framing::{Frame, Splitter};

/// Pieces under way each way: a network holds some too.
const UNDER_WAY: usize = 1024;
/// The most that is read at once.
const PIECE: usize = 64 * 1024;
/// How long after its first bytes the rest of an unframed answer is waited for before all is lost.
const GRACE: Duration = Duration::from_millis(50);

/// How a connection ends.
#[derive(Debug)]
enum End {
    /// One side closed it, or failed.
    Closed,
    /// It was reset on demand.
    Reset,
    /// A request or an answer was lost on demand.
    Lost,
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> Self {
        Self::Closed
    }
}

/// A piece, and when it arrives.
type Piece = (Instant, Vec<Frame>);

/// Connects to the server and carries until one side ends, a reset, or a loss.
pub(super) async fn carry(mut client: TcpStream, control: &Control) {
    let reset = control.until_reset();
    tokio::pin!(reset);
    let server = tokio::select! {
        biased;
        () = &mut reset => Err(End::Reset),
        server = connect(control) => server.map_err(|_| End::Reset), // what a server that is gone looks like
    };
    let Ok(mut server) = server else {
        let _ = client.set_zero_linger(); // then it is an orderly end, which tells the client as much
        return;
    };
    let ways = Ways {
        control,
        answered: AtomicBool::new(true),
        asked: AtomicU64::new(0),
        losing: AtomicU64::new(0),
    };
    let end = tokio::select! {
        biased;
        () = reset => End::Reset,
        end = ways.both(&mut client, &mut server) => end,
    };
    if !matches!(end, End::Closed) {
        let _ = client.set_zero_linger(); // the same
    }
    match end {
        End::Closed => {}
        End::Reset => {
            let _ = server.set_zero_linger(); // the same
        }
        End::Lost => {
            drop(client);
            // A server that is reset forgets what it has not read yet: let it read, then leave in order.
            let _ = server.shutdown().await;
            let mut rest = vec![0; PIECE];
            while server.read(&mut rest).await.is_ok_and(|read| read > 0) {}
        }
    }
}

async fn connect(control: &Control) -> io::Result<TcpStream> {
    let mut rules = control.rules();
    // A handshake needs both ways.
    let rules = rules.wait_for(|rules| !rules.is_cut(Way::Both)).await;
    let server = rules.map_err(io::Error::other)?.server;
    let stream = TcpStream::connect(server).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Both ways of one connection.
struct Ways<'control> {
    control: &'control Control,
    /// Whether the client was given an answer since it last began a trip.
    answered: AtomicBool,
    /// Requests sent up to which an answer belongs.
    asked: AtomicU64,
    /// The number of the request whose answer is to be lost; 0: none.
    losing: AtomicU64,
}

impl Ways<'_> {
    async fn both(&self, client: &mut TcpStream, server: &mut TcpStream) -> End {
        let _ = client.set_nodelay(true); // slower without
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let (up, going_up) = channel(UNDER_WAY);
        let (down, going_down) = channel(UNDER_WAY);
        let up = async {
            tokio::try_join!(self.read(Way::Up, from_client, up), self.write_up(going_up, to_server))?;
            // The client has ended. What the server still says may tell us of its own end only.
            std::future::pending::<Result<(), End>>().await
        };
        let down = async {
            tokio::try_join!(
                self.read(Way::Down, from_server, down),
                self.write_down(going_down, to_client)
            )?;
            Err::<(), End>(End::Closed)
        };
        match tokio::try_join!(up, down) {
            Ok(_) => End::Closed,
            Err(end) => end,
        }
    }

    async fn read(&self, way: Way, mut from: ReadHalf<'_>, under_way: Sender<Piece>) -> Result<(), End> {
        let mut splitter = Splitter::new(self.control.protocol);
        let mut buffer = vec![0; PIECE];
        loop {
            let read = from.read(&mut buffer).await.unwrap_or(0); // a reset ends it as well
            let frames = splitter.split(buffer.get(..read).unwrap_or_default());
            if read == 0 {
                return Ok(());
            }
            if way == Way::Up {
                self.count_requests(read, &frames);
            }
            let arrives = Instant::now() + self.control.rules().borrow().delay;
            if under_way.send((arrives, frames)).await.is_err() {
                return Ok(()); // the other side has ended
            }
        }
    }

    fn count_requests(&self, bytes: usize, frames: &[Frame]) {
        let begins = !frames.is_empty() && self.answered.swap(false, Ordering::Relaxed);
        self.control.count(|counts| {
            counts.bytes_up += bytes as u64;
            counts.requests += frames.len() as u64;
            counts.trips += u64::from(begins);
            for command in frames.iter().filter_map(|frame| frame.command.as_ref()) {
                *counts.commands.entry(command.clone()).or_default() += 1;
            }
        });
    }

    async fn write_up(&self, mut under_way: Receiver<Piece>, mut to: WriteHalf<'_>) -> Result<(), End> {
        while let Some((arrives, frames)) = under_way.recv().await {
            self.arrived(Way::Up, arrives).await;
            let mut bytes = Vec::new();
            for frame in frames {
                let loss = self.control.loss_of(&frame.bytes);
                if loss == Some(Loss::Request) {
                    self.control.count(|counts| counts.lost += 1);
                    self.send(&mut to, &bytes).await?;
                    return Err(End::Lost);
                }
                let asked = self.asked.fetch_add(u64::from(frame.answered), Ordering::Relaxed);
                if loss.is_some() {
                    self.losing.store(asked + 1, Ordering::Relaxed);
                }
                bytes.extend(frame.bytes);
            }
            self.send(&mut to, &bytes).await?;
        }
        Ok(to.shutdown().await?)
    }

    async fn write_down(&self, mut under_way: Receiver<Piece>, mut to: WriteHalf<'_>) -> Result<(), End> {
        let mut replies = 0;
        while let Some((arrives, frames)) = under_way.recv().await {
            self.arrived(Way::Down, arrives).await;
            let before = replies;
            let mut given: Vec<Frame> = Vec::new();
            let mut lost = false;
            for frame in frames {
                replies += u64::from(frame.answered);
                let losing = self.losing.load(Ordering::Relaxed);
                lost = losing > 0 && (replies >= losing || self.control.protocol == Protocol::Bytes);
                if lost {
                    replies -= u64::from(frame.answered);
                    break;
                }
                given.push(frame);
            }
            let bytes: Vec<u8> = given.iter().flat_map(|frame| &frame.bytes).copied().collect();
            // Before they are sent, so that whoever has its answer finds it counted.
            self.control.count(|counts| {
                counts.bytes_down += bytes.len() as u64;
                counts.replies += replies - before;
                counts.pushes += given.len() as u64 - (replies - before);
                counts.lost += u64::from(lost);
            });
            if replies > before {
                self.answered.store(true, Ordering::Relaxed);
            }
            self.send(&mut to, &bytes).await?;
            if lost {
                if self.control.protocol == Protocol::Bytes {
                    sleep(GRACE).await;
                }
                return Err(End::Lost);
            }
        }
        Ok(())
    }

    /// Waits until a piece arrives: its time has come, and nothing cuts its way.
    async fn arrived(&self, way: Way, arrives: Instant) {
        if arrives > Instant::now() {
            sleep_until(arrives).await;
        }
        let _ = self.control.rules().wait_for(|rules| !rules.is_cut(way)).await; // the sender lives as long as we
    }

    async fn send(&self, to: &mut WriteHalf<'_>, bytes: &[u8]) -> Result<(), End> {
        let Some(rate) = self.control.rules().borrow().rate else { return Ok(to.write_all(bytes).await?) };
        // A hundred pieces a second; in each the rate's share.
        let share = usize::try_from(rate / 100).unwrap_or(usize::MAX).max(1);
        for piece in bytes.chunks(share) {
            to.write_all(piece).await?;
            sleep(Duration::from_secs_f64(piece.len() as f64 / f64::from(rate.max(1)))).await;
        }
        Ok(())
    }
}
