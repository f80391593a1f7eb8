//! A terminal with a session of its own on it.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Pty {
    session: Child,
    keyboard: File,
    screen: Receiver<Vec<u8>>,
    unread: String,
}

impl Pty {
    /// Runs the command as the leader of a session that this terminal controls.
    pub(crate) fn start(command: &Command) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let path = ptsname(&master, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let terminal = File::from(rustix::fs::open(path, flags, Mode::empty()).unwrap());
        let mut session = Command::new("setsid");
        session.arg("--ctty").arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => session.env(name, value),
                None => session.env_remove(name),
            };
        }
        session.stdin(Stdio::from(terminal.try_clone().unwrap()));
        session.stdout(Stdio::from(terminal.try_clone().unwrap())).stderr(Stdio::from(terminal));
        let session = session.spawn().unwrap();
        let keyboard = File::from(master);
        let mut seen = keyboard.try_clone().unwrap();
        let (shown, screen) = channel();
        thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(length @ 1..) = seen.read(&mut chunk) {
                if shown.send(chunk[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { session, keyboard, screen, unread: String::new() }
    }

    pub(crate) fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until nobody is left on the terminal: the exit code of whoever led the session.
    pub(crate) fn code(&mut self) -> Option<i32> {
        loop {
            match self.screen.recv_timeout(PATIENCE) {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => return self.session.wait().unwrap().code(),
                Err(e) => panic!("{e}: somebody still has the terminal"),
            }
        }
    }

    /// Reads on until this is seen, and returns what came before it.
    pub(crate) fn until(&mut self, text: &str) -> String {
        loop {
            if let Some(at) = self.unread.find(text) {
                let before = self.unread[..at].to_owned();
                self.unread.drain(..at + text.len());
                return before;
            }
            let chunk = self.screen.recv_timeout(PATIENCE);
            let chunk = chunk.unwrap_or_else(|e| panic!("{e}: no {text:?} in {:?}", self.unread));
            self.unread.push_str(&String::from_utf8_lossy(&chunk));
        }
    }
}

/// Closing the terminal hangs up whoever is left on it.
impl Drop for Pty {
    fn drop(&mut self) {
        let _ = self.session.kill();
        let _ = self.session.wait();
    }
}
