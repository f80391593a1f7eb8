//! A relay in front of a server that holds what one connection sends, while others go on, and that can make answers
//! about a lease look as if whoever gave them had been deposed.
//!
//! The session's own connection is the first; a caller's on another runtime is the next.

#![allow(dead_code)] // each test binary uses its own
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a failed assumption here is a failed test

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

/// Ends with the process.
pub(crate) struct Relay {
    address: SocketAddr,
    links: Arc<Mutex<Vec<Arc<Mutex<Link>>>>>,
    deposed: Arc<Mutex<Deposed>>,
}

/// Which answers are of an older term.
#[derive(Default)]
struct Deposed {
    lease: Option<i64>,
    answers: usize,
}

/// One connection.
struct Link {
    client: TcpStream,
    server: TcpStream,
    is_held: bool,
    /// What the client sent since it is held.
    held: Vec<u8>,
}

impl Relay {
    /// In front of the server at this address.
    pub(crate) fn new(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let relay = Self { address, links: Arc::default(), deposed: Arc::default() };
        let (server, links, deposed) =
            (server.to_owned(), Arc::clone(&relay.links), Arc::clone(&relay.deposed));
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(&server) else { continue };
                for stream in [&client, &server] {
                    let _ = stream.set_nodelay(true); // slower without
                }
                let (from_client, from_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let to_client = client.try_clone().unwrap();
                let link = Arc::new(Mutex::new(Link { client, server, is_held: false, held: Vec::new() }));
                lock(&links).push(Arc::clone(&link));
                std::thread::spawn(move || up(from_client, &link));
                let deposed = Arc::clone(&deposed);
                std::thread::spawn(move || down(from_server, to_client, &deposed));
            }
        });
        relay
    }

    pub(crate) fn url(&self) -> String {
        format!("etcd://{}", self.address)
    }

    /// Holds what this connection sends from now on.
    pub(crate) fn hold(&self, number: usize) {
        lock(&self.link(number)).is_held = true;
    }

    /// Sends what was held, and holds no more.
    pub(crate) fn let_go(&self, number: usize) {
        lock(&self.link(number)).send(false);
    }

    /// Sends what was held, and holds what comes next.
    pub(crate) fn let_pass(&self, number: usize) {
        lock(&self.link(number)).send(true);
    }

    /// Whether these bytes are among what is held.
    pub(crate) fn has_held(&self, number: usize, bytes: &[u8]) -> bool {
        lock(&self.link(number)).held.windows(bytes.len()).any(|part| part == bytes)
    }

    /// Ends this connection, and what it held is lost.
    pub(crate) fn cut(&self, number: usize) {
        let link = self.link(number);
        let link = lock(&link);
        for stream in [&link.client, &link.server] {
            let _ = stream.shutdown(Shutdown::Both); // it may have ended by itself
        }
    }

    /// Lets answers about this lease name the term before, as those of a leader that does not know of its successor.
    pub(crate) fn depose(&self, lease: i64) {
        *lock(&self.deposed) = Deposed { lease: Some(lease), answers: 0 };
    }

    /// Ends it, and tells of how many answers that was.
    pub(crate) fn restore(&self) -> usize {
        std::mem::take(&mut *lock(&self.deposed)).answers
    }

    fn link(&self, number: usize) -> Arc<Mutex<Link>> {
        let links = lock(&self.links);
        Arc::clone(links.get(number).unwrap())
    }
}

impl Link {
    fn send(&mut self, is_held: bool) {
        self.is_held = is_held;
        let held = std::mem::take(&mut self.held);
        self.server.write_all(&held).unwrap();
    }
}

fn up(mut client: TcpStream, link: &Mutex<Link>) {
    let mut piece = vec![0; 65_536];
    while let Ok(read @ 1..) = client.read(&mut piece) {
        let (mut link, sent) = (lock(link), piece.get(..read).unwrap_or_default());
        if link.is_held {
            link.held.extend(sent);
        } else if link.server.write_all(sent).is_err() {
            break;
        }
    }
    let _ = lock(link).server.shutdown(Shutdown::Write); // it may have ended by itself
}

fn down(mut server: TcpStream, mut client: TcpStream, deposed: &Mutex<Deposed>) {
    let mut piece = vec![0; 65_536];
    while let Ok(read @ 1..) = server.read(&mut piece) {
        let Some(sent) = piece.get_mut(..read) else { break };
        lock(deposed).rewrite(sent);
        if client.write_all(sent).is_err() {
            break;
        }
    }
    let _ = client.shutdown(Shutdown::Write); // either side may end it
}

impl Deposed {
    /// The last field of an answer's header is the term, number 4; the next field of an answer about a lease its id, number 2.
    fn rewrite(&mut self, sent: &mut [u8]) {
        const TERM: u8 = 4 << 3;
        let Some(lease) = self.lease else { return };
        let id = [vec![2 << 3], varint(lease)].concat();
        for at in 2..sent.len() {
            if sent[at..].starts_with(&id) && sent[at - 2] == TERM {
                sent[at - 1] -= 1;
                self.answers += 1;
            }
        }
    }
}

/// How messages name a lease.
pub(crate) fn varint(lease: i64) -> Vec<u8> {
    let mut rest = u64::try_from(lease).unwrap();
    let mut bytes = Vec::new();
    while rest > 0x7f {
        bytes.push(u8::try_from(rest & 0x7f).unwrap() | 0x80);
        rest >>= 7;
    }
    bytes.push(u8::try_from(rest).unwrap());
    bytes
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
