//! Noticing that nobody reads any more what is printed now and then.

use std::future::pending;
use std::io;
use std::thread;

use rustix::event::{PollFd, PollFlags, poll};
use tokio::sync::oneshot;

use super::failure::Failure;

/// Ends when the other end of the pipe that is standard output is closed: `tooz topic subscribe news | head -1`
/// must not wait for one more message to find out. Where standard output is no pipe, it never ends.
pub(crate) async fn gone() -> Failure {
    let (tell, told) = oneshot::channel();
    // A thread of its own: there is no asking an asynchronous runtime for errors only.
    thread::spawn(move || {
        if is_closed(&io::stdout()) {
            let _ = tell.send(()); // whoever asked may have ended meanwhile
        }
    });
    match told.await {
        Ok(()) => Failure::reader_gone(),
        Err(_) => pending().await,
    }
}

/// Waits until there is anything to say of it but that it can be written to.
fn is_closed(out: &io::Stdout) -> bool {
    loop {
        let mut asked = [PollFd::new(out, PollFlags::empty())];
        match poll(&mut asked, None) {
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
            Ok(_) => return asked.iter().any(|answer| answer.revents().contains(PollFlags::ERR)),
        }
    }
}
