//! Telling systemd how the service is (sd_notify(3): one datagram to the socket that `NOTIFY_SOCKET` names).

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// What can be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State<'a> {
    /// Start-up is complete.
    Ready,
    Stopping,
    /// Still alive: due at least once per [`watchdog_period`].
    Watchdog,
    /// A line for `systemctl status`.
    Status(&'a str),
}

/// Tells the service manager, if there is one.
pub fn notify(state: State<'_>) -> io::Result<()> {
    match std::env::var_os("NOTIFY_SOCKET") {
        Some(socket) => send(&socket, state),
        None => Ok(()),
    }
}

/// How often the service manager expects [`State::Watchdog`] (`WATCHDOG_USEC`); `None` if it does not, or expects it from
/// another process. Half of it is a good interval to send at.
pub fn watchdog_period() -> Option<Duration> {
    let ours = match std::env::var("WATCHDOG_PID") {
        Ok(pid) => pid.parse() == Ok(std::process::id()),
        Err(_) => true,
    };
    let micros: u64 = std::env::var("WATCHDOG_USEC").ok()?.parse().ok()?;
    (ours && micros > 0).then(|| Duration::from_micros(micros))
}

fn send(socket: &OsStr, state: State<'_>) -> io::Result<()> {
    let address = match socket.as_bytes() {
        // A name in the abstract namespace.
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(socket)?,
    };
    let text = match state {
        State::Ready => "READY=1".to_owned(),
        State::Stopping => "STOPPING=1".to_owned(),
        State::Watchdog => "WATCHDOG=1".to_owned(),
        // One assignment a line: a line break would start another.
        State::Status(line) => format!("STATUS={}", line.replace(['\n', '\r'], " ")),
    };
    UnixDatagram::unbound()?.send_to_addr(text.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_arrive() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let name = format!("headwater-test-{}", std::process::id());
        let abstract_address = SocketAddr::from_abstract_name(&name).unwrap();
        for (receiver, socket) in [
            (UnixDatagram::bind(&path).unwrap(), path.to_str().unwrap().to_owned()),
            (UnixDatagram::bind_addr(&abstract_address).unwrap(), format!("@{name}")),
        ] {
            for (state, want) in [
                (State::Ready, "READY=1"),
                (State::Stopping, "STOPPING=1"),
                (State::Watchdog, "WATCHDOG=1"),
                (State::Status("3 assets\nREADY=1"), "STATUS=3 assets READY=1"),
            ] {
                send(OsStr::new(&socket), state).unwrap();
                let mut buffer = [0; 100];
                let len = receiver.recv(&mut buffer).unwrap();
                assert_eq!(&buffer[..len], want.as_bytes());
            }
        }
        assert!(send(OsStr::new("/nowhere/at/all"), State::Ready).is_err());
    }
}
