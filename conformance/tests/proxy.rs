//! The proxy: what it counts is what passed, and it breaks what it is told to, nothing else.

#![allow(clippy::unwrap_used)] // a failed assumption here is a failed test

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use conformance::proxy::{Counts, Loss, Proxy, Way};
use conformance::servers::resp::{Decoded, Value, decode, encode};
use conformance::servers::{Redis, until};

/// How long nothing must be heard to call it silence.
const SILENCE: Duration = Duration::from_millis(80);

/// A client of Redis, as plain as can be.
struct Client {
    stream: TcpStream,
    heard: Vec<u8>,
}

impl Client {
    fn connect(proxy: &Proxy) -> Self {
        let stream = TcpStream::connect(proxy.address()).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, heard: Vec::new() }
    }

    fn send(&mut self, words: &[&str]) {
        self.stream.write_all(&encode(words)).unwrap();
    }

    fn hear_within(&mut self, patience: Duration) -> io::Result<Value> {
        self.stream.set_read_timeout(Some(patience))?;
        loop {
            if let Decoded::Whole(value, length, _) = decode(&self.heard) {
                self.heard.drain(..length);
                return Ok(value);
            }
            let mut piece = [0; 4096];
            let read = self.stream.read(&mut piece)?;
            if read == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            self.heard.extend(piece.iter().take(read));
        }
    }

    fn hear(&mut self) -> io::Result<Value> {
        self.hear_within(Duration::from_secs(5))
    }

    fn ask(&mut self, words: &[&str]) -> String {
        self.send(words);
        self.hear().unwrap().text()
    }

    fn hears_nothing(&mut self) -> bool {
        self.hear_within(SILENCE).is_err_and(|error| is_patience(&error))
    }
}

fn is_patience(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn is_broken(result: &io::Result<Value>) -> bool {
    let broken = |error: &io::Error| {
        matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe)
    };
    result.as_ref().is_err_and(broken)
}

/// A server that sends back what it is sent.
fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || io::copy(&mut &stream, &mut &stream));
        }
    });
    port
}

#[test]
fn every_command_byte_and_trip_is_counted() {
    let redis = Redis::start();
    let proxy = Proxy::redis(redis.port());
    let mut client = Client::connect(&proxy);
    assert_eq!(client.ask(&["SET", "key", "value"]), "OK");
    assert_eq!(client.ask(&["GET", "key"]), "value");

    let counts = proxy.counts();
    let commands = [("GET".to_owned(), 1), ("SET".to_owned(), 1)].into();
    let (bytes_up, bytes_down) = (33 + 22, 5 + 11);
    let expected =
        Counts { connections: 1, requests: 2, commands, replies: 2, trips: 2, ..Counts::default() };
    assert_eq!(counts, Counts { bytes_up, bytes_down, ..expected });
    assert_eq!(proxy.counts().since(&counts), Counts::default());
}

#[test]
fn requests_that_do_not_wait_for_each_other_are_one_trip() {
    let redis = Redis::start();
    let proxy = Proxy::redis(redis.port());
    proxy.delay(Duration::from_millis(20));
    let mut client = Client::connect(&proxy);
    let start = Instant::now();
    for _ in 0..100 {
        client.send(&["INCR", "key"]);
    }
    for count in 1..=100 {
        assert_eq!(client.hear().unwrap().number(), Some(count));
    }
    assert!(start.elapsed() >= Duration::from_millis(40), "{:?}", start.elapsed());

    let counts = proxy.counts();
    assert_eq!((counts.command("INCR"), counts.replies, counts.trips), (100, 100, 1));
    client.ask(&["PING"]);
    assert_eq!(proxy.counts().since(&counts).trips, 1);
}

#[test]
fn messages_are_no_answers() {
    let redis = Redis::start();
    let proxy = Proxy::redis(redis.port());
    let mut client = Client::connect(&proxy);
    client.ask(&["HELLO", "3"]);
    client.ask(&["SUBSCRIBE", "news"]);
    let before = proxy.counts();
    redis.command(&["PUBLISH", "news", "one"]);
    assert!(client.hear().unwrap().text().contains("one"));

    let passed = proxy.counts().since(&before);
    assert_eq!((passed.pushes, passed.replies, passed.trips, passed.requests), (1, 0, 0, 0));
    proxy.lose_next_reply();
    client.send(&["SET", "key", "value"]);
    assert!(is_broken(&client.hear()));
    assert_eq!(redis.command(&["GET", "key"]).text(), "value");
}

#[test]
fn a_lost_reply_leaves_the_deed_and_cuts_the_connection() {
    let redis = Redis::start();
    let proxy = Proxy::redis(redis.port());
    let (mut client, mut other) = (Client::connect(&proxy), Client::connect(&proxy));
    assert_eq!(client.ask(&["PING"]), "PONG");
    assert_eq!(other.ask(&["PING"]), "PONG");

    proxy.lose_next_reply_to("key");
    assert_eq!(client.ask(&["PING"]), "PONG");
    client.send(&["INCR", "other"]);
    client.send(&["INCR", "key"]);
    client.send(&["INCR", "after"]);
    assert_eq!(client.hear().unwrap().number(), Some(1));
    assert!(is_broken(&client.hear()));

    assert_eq!(redis.command(&["MGET", "other", "key", "after"]).text(), "1\n1\n1");
    assert_eq!(proxy.counts().lost, 1);
    assert_eq!(other.ask(&["PING"]), "PONG");
    assert_eq!(Client::connect(&proxy).ask(&["INCR", "key"]), "2");
}

#[test]
fn a_lost_request_is_never_carried_out() {
    let redis = Redis::start();
    let proxy = Proxy::redis(redis.port());
    proxy.lose_next(Loss::Request, "key");
    let mut client = Client::connect(&proxy);
    client.send(&["INCR", "key"]);
    assert!(is_broken(&client.hear()));
    assert_eq!(redis.command(&["GET", "key"]).text(), "(nil)");
    assert_eq!(Client::connect(&proxy).ask(&["INCR", "key"]), "1");
}

#[test]
fn what_is_under_way_when_the_line_is_cut_arrives_when_it_is_joined() {
    let redis = Redis::start();
    let proxy = Proxy::redis(redis.port());
    let mut client = Client::connect(&proxy);
    assert_eq!(client.ask(&["PING"]), "PONG");

    proxy.cut(Way::Both);
    client.send(&["SET", "key", "1"]);
    let mut late = Client::connect(&proxy);
    late.send(&["PING"]);
    assert!(client.hears_nothing() && late.hears_nothing());
    assert_eq!(redis.command(&["GET", "key"]).text(), "(nil)");
    proxy.join();
    assert_eq!(client.hear().unwrap().text(), "OK");
    assert_eq!(late.hear().unwrap().text(), "PONG");

    proxy.cut(Way::Down);
    client.send(&["SET", "key", "2"]);
    until("the server has heard", || redis.command(&["GET", "key"]).text() == "2");
    assert!(client.hears_nothing());
    proxy.join();
    assert_eq!(client.hear().unwrap().text(), "OK");
}

#[test]
fn a_reset_ends_old_connections_and_a_closed_door_new_ones() {
    let redis = Redis::start();
    let proxy = Proxy::redis(redis.port());
    let mut client = Client::connect(&proxy);
    assert_eq!(client.ask(&["PING"]), "PONG");
    proxy.refuse();
    assert!(is_broken(&Client::connect(&proxy).hear()));
    assert_eq!(client.ask(&["PING"]), "PONG");

    proxy.reset();
    assert!(is_broken(&client.hear()));
    until("the server has dropped it", || redis.command(&["CLIENT", "LIST"]).text().lines().count() == 1);
    proxy.join();
    assert_eq!(Client::connect(&proxy).ask(&["PING"]), "PONG");
}

#[test]
fn a_half_open_connection_is_accepted_and_never_answered() {
    let redis = Redis::start();
    let proxy = Proxy::redis(redis.port());
    let mut old = Client::connect(&proxy);
    assert_eq!(old.ask(&["PING"]), "PONG");
    proxy.half_open();
    let mut client = Client::connect(&proxy);
    client.send(&["PING"]);
    assert!(client.hears_nothing());
    assert_eq!(old.ask(&["PING"]), "PONG");

    proxy.join();
    assert_eq!(Client::connect(&proxy).ask(&["PING"]), "PONG");
    assert!(client.hears_nothing());
}

#[test]
fn a_server_that_is_gone_is_told_apart_from_one_that_is_silent() {
    let (first, second) = (Redis::start(), Redis::start());
    let proxy = Proxy::redis(first.port());
    let mut client = Client::connect(&proxy);
    assert_eq!(client.ask(&["PING"]), "PONG");
    first.kill();
    assert!(is_broken(&client.hear()));
    assert!(is_broken(&Client::connect(&proxy).hear()));

    first.restart();
    assert_eq!(Client::connect(&proxy).ask(&["PING"]), "PONG");
    proxy.lead_to(second.port());
    Client::connect(&proxy).ask(&["SET", "key", "value"]);
    assert_eq!(second.command(&["GET", "key"]).text(), "value");
}

#[test]
fn any_protocol_is_carried_lost_and_slowed_down() {
    let proxy = Proxy::bytes(echo());
    let mut stream = TcpStream::connect(proxy.address()).unwrap();
    stream.write_all(b"hello").unwrap();
    let mut heard = [0; 5];
    stream.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"hello");
    let counts = proxy.counts();
    assert_eq!((counts.requests, counts.replies, counts.trips, counts.bytes_down), (1, 1, 1, 5));

    proxy.throttle(Some(100_000));
    let (start, mut heard) = (Instant::now(), vec![0; 10_000]);
    stream.write_all(&vec![7; 10_000]).unwrap();
    stream.read_exact(&mut heard).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(100), "{:?}", start.elapsed());
    proxy.throttle(None);

    proxy.lose_next_reply_to("again");
    stream.write_all(b"hello").unwrap();
    stream.read_exact(&mut heard[..5]).unwrap();
    stream.write_all(b"once again").unwrap();
    assert_eq!(stream.read(&mut heard).unwrap_or_default(), 0);
    assert_eq!(proxy.counts().lost, 1);
}

#[test]
fn a_dropped_proxy_takes_its_connections_along() {
    let redis = Redis::start();
    let proxy = Proxy::redis(redis.port());
    let mut client = Client::connect(&proxy);
    assert_eq!(client.ask(&["PING"]), "PONG");
    let address = proxy.address();
    drop(proxy);
    assert!(is_broken(&client.hear()));
    assert!(TcpStream::connect(address).is_err());
}
