//! Machines of a test's own: network namespaces on two networks, one for clients and one among themselves,
//! from which each can be cut off.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use super::process::find;
use crate::faulty::Dice;

/// How often other addresses are tried.
const TRIES: usize = 50;

/// What a namespace is connected by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Clients,
    Peers,
}

impl Side {
    fn letter(self) -> char {
        match self {
            Self::Clients => 'c',
            Self::Peers => 'p',
        }
    }

    /// The addresses reserved for measuring networks: nobody else has them.
    fn second(self) -> u8 {
        match self {
            Self::Clients => 18,
            Self::Peers => 19,
        }
    }
}

/// Some machines, reached from this one by the network for clients. Needs root. Gone when dropped.
#[derive(Debug)]
pub struct Network {
    name: String,
    third: u8,
    machines: u8,
}

impl Network {
    /// So many machines, all connected.
    ///
    /// # Panics
    /// Without root's rights, saying so.
    pub fn new(machines: u8) -> Self {
        static SWEPT: Once = Once::new();
        static NEXT: AtomicU32 = AtomicU32::new(0);
        assert!(
            rustix::process::geteuid().is_root(),
            "network namespaces are made by root only: run this test as root"
        );
        SWEPT.call_once(sweep);
        let name = format!("tz{}n{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let network = Self { name, third: free_subnet(), machines };
        network.build();
        network
    }

    /// How many there are.
    pub fn machines(&self) -> u8 {
        self.machines
    }

    /// The name of a machine's namespace, counted from 0.
    pub fn namespace(&self, machine: u8) -> String {
        format!("{}m{machine}", self.name)
    }

    /// Where clients reach a machine: from this process as well.
    pub fn address(&self, machine: u8) -> Ipv4Addr {
        self.place(Side::Clients, machine)
    }

    /// Where the machines reach each other.
    pub fn peer_address(&self, machine: u8) -> Ipv4Addr {
        self.place(Side::Peers, machine)
    }

    /// Cuts a machine off the others, both ways, in silence: clients still reach it.
    pub fn isolate(&self, machine: u8) {
        ip(&["link", "set", &self.plug(Side::Peers, machine), "nomaster"]);
    }

    /// Ends what [`isolate`](Network::isolate) began.
    pub fn rejoin(&self, machine: u8) {
        self.connect(Side::Peers, machine);
    }

    /// Cuts a machine off its clients, both ways, in silence: the others still reach it.
    pub fn hide(&self, machine: u8) {
        ip(&["link", "set", &self.plug(Side::Clients, machine), "nomaster"]);
    }

    /// Ends what [`hide`](Network::hide) began.
    pub fn show(&self, machine: u8) {
        self.connect(Side::Clients, machine);
    }

    fn build(&self) {
        for side in [Side::Clients, Side::Peers] {
            ip(&["link", "add", &self.bridge(side), "type", "bridge"]);
            ip(&["link", "set", &self.bridge(side), "up"]);
        }
        let own = format!("198.{}.{}.254/24", Side::Clients.second(), self.third);
        ip(&["addr", "add", &own, "dev", &self.bridge(Side::Clients)]);
        for machine in 0..self.machines {
            let namespace = self.namespace(machine);
            ip(&["netns", "add", &namespace]);
            ip(&["-n", &namespace, "link", "set", "lo", "up"]);
            for side in [Side::Clients, Side::Peers] {
                let (plug, inside) = (self.plug(side, machine), side.letter().to_string());
                ip(&["link", "add", &plug, "type", "veth", "peer", "name", &inside, "netns", &namespace]);
                let address = format!("{}/24", self.place(side, machine));
                ip(&["-n", &namespace, "addr", "add", &address, "dev", &inside]);
                ip(&["-n", &namespace, "link", "set", &inside, "up"]);
                ip(&["link", "set", &plug, "up"]);
                self.connect(side, machine);
            }
        }
    }

    fn connect(&self, side: Side, machine: u8) {
        ip(&["link", "set", &self.plug(side, machine), "master", &self.bridge(side)]);
    }

    fn place(&self, side: Side, machine: u8) -> Ipv4Addr {
        Ipv4Addr::new(198, side.second(), self.third, machine + 1)
    }

    fn bridge(&self, side: Side) -> String {
        format!("{}{}", self.name, side.letter())
    }

    fn plug(&self, side: Side, machine: u8) -> String {
        format!("{}{}{machine}", self.name, side.letter())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

/// A third byte that no interface of this machine has.
fn free_subnet() -> u8 {
    use std::hash::{BuildHasher, RandomState};
    let mut dice = Dice::new(RandomState::new().hash_one(std::process::id()));
    let taken = ip(&["-o", "-4", "addr"]);
    let drawn = (0..TRIES).filter_map(|_| u8::try_from(dice.below(256)).ok());
    let free = drawn.into_iter().find(|third| !taken.contains(&format!(" 198.18.{third}.")));
    free.unwrap_or_else(|| panic!("no free network among 198.18.0.0/16"))
}

/// Takes away what belongs to networks of processes that have ended.
fn sweep() {
    let links = ip(&["-o", "link", "show", "type", "bridge"]);
    let names = links.lines().filter_map(|line| line.split(": ").nth(1));
    let spaces = ip(&["netns", "list"]);
    for name in names.chain(spaces.lines()) {
        let Some((owner, rest)) = name.strip_prefix("tz").and_then(|name| name.split_once('n')) else {
            continue;
        };
        let number: String = rest.chars().take_while(char::is_ascii_digit).collect();
        if owner.parse::<u32>().is_ok() && !Path::new(&format!("/proc/{owner}")).exists() {
            remove(&format!("tz{owner}n{number}"));
        }
    }
}

/// Takes a network away, as far as it is there: another process may be doing the same.
fn remove(network: &str) {
    let spaces = try_ip(&["netns", "list"]).unwrap_or_default();
    let own = |name: &&str| name.strip_prefix(network).is_some_and(|rest| rest.starts_with('m'));
    for namespace in spaces.lines().filter_map(|line| line.split(' ').next()).filter(own) {
        let _ = try_ip(&["netns", "del", namespace]); // its plugs go with it
    }
    for side in [Side::Clients, Side::Peers] {
        let _ = try_ip(&["link", "del", &format!("{network}{}", side.letter())]); // the same
    }
}

fn ip(words: &[&str]) -> String {
    try_ip(words).unwrap_or_else(|said| panic!("ip {}: {said}", words.join(" ")))
}

fn try_ip(words: &[&str]) -> Result<String, String> {
    let output =
        Command::new(find("ip", "iproute2")).args(words).output().map_err(|error| error.to_string())?;
    let text = |said: &[u8]| String::from_utf8_lossy(said).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}
