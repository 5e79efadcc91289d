//! Listening and accepted TCP sockets.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{self, AddressFamily, Backlog, SockFlag, SockProtocol, SockType, SockaddrStorage, sockopt};

/// Connections the kernel completes before they are accepted; `net.core.somaxconn` may lower it.
const BACKLOG: i32 = 4096;

/// A non-blocking listener that shares its address with other listeners of this user (SO_REUSEPORT): the kernel spreads
/// connections over them. What is set here is inherited by accepted connections: TCP_NODELAY and, if one is named, the
/// congestion control.
///
/// # Errors
/// Those of the system calls; an unknown congestion control is `NotFound`.
pub fn listen(address: SocketAddr, congestion: Option<&str>) -> io::Result<TcpListener> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd: OwnedFd = socket::socket(family, SockType::Stream, flags, SockProtocol::Tcp)?;
    socket::setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    socket::setsockopt(&fd, sockopt::ReusePort, &true)?;
    socket::setsockopt(&fd, sockopt::TcpNoDelay, &true)?;
    if address.is_ipv6() {
        // "[::]:80" and "0.0.0.0:80" are two listeners, whatever net.ipv6.bindv6only says.
        socket::setsockopt(&fd, sockopt::Ipv6V6Only, &true)?;
    }
    if let Some(name) = congestion {
        socket::setsockopt(&fd, sockopt::TcpCongestion, &name.into())?;
    }
    socket::bind(fd.as_raw_fd(), &SockaddrStorage::from(address))?;
    socket::listen(&fd, Backlog::new(BACKLOG).unwrap_or(Backlog::MAXCONN))?;
    Ok(TcpListener::from(fd))
}

/// The congestion control that new connections get.
pub fn congestion_control(listener: &TcpListener) -> io::Result<String> {
    let name = socket::getsockopt(&listener, sockopt::TcpCongestion)?;
    Ok(name.to_string_lossy().trim_end_matches('\0').to_owned())
}

/// The next connection, non-blocking; `None` when none is waiting.
pub fn accept(listener: &TcpListener) -> io::Result<Option<(TcpStream, SocketAddr)>> {
    match listener.accept() {
        Ok((stream, peer)) => {
            stream.set_nonblocking(true)?;
            Ok(Some((stream, peer)))
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// What to do about a failed accept (accept(2): errors of the connection that was waiting are reported here too).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcceptFailure {
    /// That connection is gone; the next may be well.
    Connection,
    /// No descriptors or no memory: trying again at once would spin.
    Exhausted,
    /// The listener was shut down.
    Closed,
}

impl AcceptFailure {
    pub fn of(error: &io::Error) -> AcceptFailure {
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM) => AcceptFailure::Exhausted,
            Some(Errno::EINVAL | Errno::EBADF) => AcceptFailure::Closed,
            _ => AcceptFailure::Connection,
        }
    }
}

/// Which directions of a connection to end. A task that waits for the socket is woken.
pub use nix::sys::socket::Shutdown;

/// Ends directions of a connection; one that is gone already is no failure.
pub fn shutdown(fd: RawFd, how: Shutdown) {
    let _ = socket::shutdown(fd, how);
}

/// Makes closing the socket send RST, so that the peer knows that what it got is not all there was.
pub fn reset_on_close(fd: BorrowedFd<'_>) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let _ = socket::setsockopt(&fd.as_fd(), sockopt::Linger, &linger);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_share_an_address_and_pass_their_options_on() {
        let first = listen("127.0.0.1:0".parse().unwrap(), Some("reno")).unwrap();
        let second = listen(first.local_addr().unwrap(), None).unwrap();
        assert_eq!(congestion_control(&first).unwrap(), "reno");
        let client = TcpStream::connect(first.local_addr().unwrap()).unwrap();
        let accepted = loop {
            if let Some(accepted) = accept(&first).unwrap().or_else(|| accept(&second).unwrap()) {
                break accepted;
            }
        };
        assert!(accepted.0.nodelay().unwrap());
        assert_eq!(accepted.1, client.local_addr().unwrap());
        assert!(listen("127.0.0.1:0".parse().unwrap(), Some("no-such-control")).is_err());
    }

    #[test]
    fn failures_of_accept() {
        for (errno, want) in [
            (libc::EMFILE, AcceptFailure::Exhausted),
            (libc::ENFILE, AcceptFailure::Exhausted),
            (libc::ECONNABORTED, AcceptFailure::Connection),
            (libc::EPROTO, AcceptFailure::Connection),
            (libc::EINVAL, AcceptFailure::Closed),
        ] {
            assert_eq!(AcceptFailure::of(&io::Error::from_raw_os_error(errno)), want);
        }
    }
}
