//! A server that has no vote yet: it refuses every call, as those of etcd 3.6 do.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a failed assumption here is a failed test

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

/// What it says to everybody.
const WORDS: &str = "etcdserver: rpc not supported for learner";
/// The gRPC code that goes with it: a failed precondition.
const CODE: &str = "9";

/// How an HTTP/2 connection begins, and the kinds of frames that are answered.
const PREFACE: usize = 24;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
/// The flags of a frame that ends a stream and all headers, and of one that says that another has come.
const LAST: u8 = 0x05;
const ACK: u8 = 0x01;

/// Ends with the process.
pub(crate) struct Learner {
    address: SocketAddr,
}

impl Learner {
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                std::thread::spawn(move || refuse(client)); // until the client goes
            }
        });
        Self { address }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Answers every call on a connection.
fn refuse(mut client: TcpStream) -> io::Result<()> {
    client.set_nodelay(true)?;
    client.read_exact(&mut [0; PREFACE])?;
    client.write_all(&frame(SETTINGS, 0, [0; 4], &[]))?;
    loop {
        let mut head = [0; 9];
        client.read_exact(&mut head)?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut body = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        client.read_exact(&mut body)?;
        match kind {
            HEADERS => client.write_all(&frame(HEADERS, LAST, stream, &refusal()))?,
            SETTINGS if flags & ACK == 0 => client.write_all(&frame(SETTINGS, ACK, stream, &[]))?,
            PING if flags & ACK == 0 => client.write_all(&frame(PING, ACK, stream, &body))?,
            _ => {}
        }
    }
}

fn frame(kind: u8, flags: u8, stream: [u8; 4], body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream, body].concat()
}

/// The headers of an answer that is nothing but its end.
fn refusal() -> Vec<u8> {
    let mut headers = vec![0x88]; // the status 200
    for (name, value) in
        [("content-type", "application/grpc"), ("grpc-status", CODE), ("grpc-message", WORDS)]
    {
        headers.push(0); // a name and a value as they are
        for text in [name, value] {
            headers.push(u8::try_from(text.len()).unwrap());
            headers.extend(text.bytes());
        }
    }
    headers
}
