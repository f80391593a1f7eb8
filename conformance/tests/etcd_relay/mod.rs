//! A relay in front of a server that holds what one connection sends, while others go on.
//!
//! The session's own connection is the first; a caller's on another runtime is the next.

#![allow(clippy::unwrap_used)] // a failed assumption here is a failed test

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

/// Ends with the process.
pub(crate) struct Relay {
    address: SocketAddr,
    links: Arc<Mutex<Vec<Arc<Mutex<Link>>>>>,
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
        let relay = Self { address: listener.local_addr().unwrap(), links: Arc::default() };
        let (server, links) = (server.to_owned(), Arc::clone(&relay.links));
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
                std::thread::spawn(move || down(from_server, to_client));
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
        let link = self.link(number);
        let mut link = lock(&link);
        link.is_held = false;
        let held = std::mem::take(&mut link.held);
        link.server.write_all(&held).unwrap();
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

    fn link(&self, number: usize) -> Arc<Mutex<Link>> {
        let links = lock(&self.links);
        Arc::clone(links.get(number).unwrap())
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

fn down(mut server: TcpStream, mut client: TcpStream) {
    let _ = std::io::copy(&mut server, &mut client); // either side may end it
    let _ = client.shutdown(Shutdown::Write); // the same
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
