//! Contention: many processes on one lock, every call recorded, a fenced register used under it.

use std::io;
use std::path::Path;

use tooz_core::{Coordinator, Error};

use crate::checkers::Register;
use crate::history::{Op, Outcome, Recorder, now};

/// One process's part: so many cycles of acquire, look, write, release. Records everything.
///
/// # Errors
/// If a record or the register cannot be written, or the store fails.
pub async fn contend(
    coord: &Coordinator,
    name: &str,
    cycles: usize,
    recorder: &Recorder,
    register: &mut Register,
) -> io::Result<()> {
    let lock = coord.lock(name);
    for _ in 0..cycles {
        let call = now();
        let guard = match lock.acquire().await {
            Ok(guard) => guard,
            Err(error) => {
                recorder.note(Op::Acquire, name, call, Outcome::Error(error.to_string()), None, None)?;
                return Err(failed(&error));
            }
        };
        let token = Some(guard.fencing_token().get());
        recorder.note(Op::Acquire, name, call, Outcome::Yes, token, guard.deadline())?;

        let call = now();
        let outcome = register.write(guard.fencing_token().get())?;
        recorder.note(Op::Write, name, call, outcome, token, guard.deadline())?;

        let call = now();
        let held = if guard.is_held() { Outcome::Yes } else { Outcome::No };
        recorder.note(Op::IsHeld, name, call, held, token, guard.deadline())?;

        let call = now();
        let outcome = match guard.release().await {
            Ok(()) => Outcome::Yes,
            Err(error) => Outcome::Error(error.to_string()),
        };
        recorder.note(Op::Release, name, call, outcome, token, None)?;
    }
    Ok(())
}

/// The same cycles under a plain `flock` of the file at `path`: what the machine itself can do. The
/// register's own numbers stand for tokens, since `flock` has none.
///
/// # Errors
/// If a file cannot be opened, locked or written.
pub fn contend_plainly(
    path: &Path,
    name: &str,
    cycles: usize,
    recorder: &Recorder,
    register: &mut Register,
) -> io::Result<()> {
    for _ in 0..cycles {
        let call = now();
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
        file.lock()?;
        let written = now();
        let outcome = register.write(0)?;
        let token = match outcome {
            Outcome::Accepted(nth) => Some(nth),
            _ => None,
        };
        recorder.note(Op::Acquire, name, call, Outcome::Yes, token, None)?;
        recorder.note(Op::Write, name, written, outcome, token, None)?;
        let call = now();
        recorder.note(Op::IsHeld, name, call, Outcome::Yes, token, None)?;
        let call = now();
        drop(file);
        recorder.note(Op::Release, name, call, Outcome::Yes, token, None)?;
    }
    Ok(())
}

fn failed(error: &Error) -> io::Error {
    io::Error::other(error.to_string())
}
