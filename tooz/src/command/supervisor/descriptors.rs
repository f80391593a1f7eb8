//! Passing open files between processes over a socket.
//!
//! A descriptor that is merely inherited is only a number, and turning a number into an owner needs
//! `unsafe`. Sent as ancillary data it arrives owned and closed on exec.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

/// Closed on exec from the start, so that no child started meanwhile inherits them.
#[cfg(not(target_vendor = "apple"))]
const CLOSED_ON_EXEC: RecvFlags = RecvFlags::CMSG_CLOEXEC;
/// There is no such flag: [`receive`] says it of each.
#[cfg(target_vendor = "apple")]
const CLOSED_ON_EXEC: RecvFlags = RecvFlags::empty();

/// The most descriptors one message carries.
const MOST: usize = 2;

/// Sends one byte and these descriptors with it.
pub(super) fn send(socket: impl AsFd, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    sendmsg(socket, &[IoSlice::new(b"\0")], &mut control, SendFlags::empty())?;
    Ok(())
}

/// Receives what [`send`] sent, in the same order.
pub(super) fn receive(socket: impl AsFd) -> io::Result<Vec<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let got = recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut control, CLOSED_ON_EXEC)?;
    if got.bytes == 0 {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
    }
    let mut received = Vec::with_capacity(MOST);
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            received.extend(descriptors);
        }
    }
    #[cfg(target_vendor = "apple")]
    for descriptor in &received {
        rustix::io::fcntl_setfd(descriptor, rustix::io::FdFlags::CLOEXEC)?;
    }
    Ok(received)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn descriptors_arrive_owned_in_order_and_before_what_follows() {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        let (read, mut write) = io::pipe().unwrap();
        send(&ours, &[read.as_fd()]).unwrap();
        ours.write_all(b"more").unwrap();
        drop(read);

        let mut received = receive(&theirs).unwrap();

        assert_eq!(received.len(), 1);
        write.write_all(b"through").unwrap();
        drop(write);
        let mut text = String::new();
        io::PipeReader::from(received.remove(0)).read_to_string(&mut text).unwrap();
        assert_eq!(text, "through");
        let mut rest = [0; 4];
        theirs.read_exact(&mut rest).unwrap();
        assert_eq!(&rest, b"more");
    }

    #[test]
    fn a_sender_that_died_is_told_from_one_that_sent_nothing() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(ours);
        assert_eq!(receive(&theirs).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
