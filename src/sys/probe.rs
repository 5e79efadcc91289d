//! What this kernel can do, for choosing a way at start and for `check`.

use std::fs;
use std::io;

use io_uring::IoUring;

/// How well io_uring serves delivery here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ring {
    /// Completions are collected when the worker asks for them (Linux 6.1).
    Deferred,
    /// Without interrupting the worker (Linux 5.19): about 30% more CPU per small answer.
    Cooperative,
    /// A ring without any of that.
    Plain,
    /// None: the reason.
    Unavailable(String),
}

/// The best ring that can be made. Costs a few system calls.
pub fn ring() -> Ring {
    for ring in [Ring::Deferred, Ring::Cooperative] {
        if builder(&ring).build(8).is_ok() {
            return ring;
        }
    }
    match builder(&Ring::Plain).build(8) {
        Ok(_) => Ring::Plain,
        Err(error) => Ring::Unavailable(unavailable(&error)),
    }
}

/// The set-up flags of a ring of that kind, for the thread that will use it alone.
pub fn builder(ring: &Ring) -> io_uring::Builder {
    let mut builder = IoUring::builder();
    match ring {
        Ring::Deferred => {
            builder.setup_single_issuer().setup_coop_taskrun().setup_defer_taskrun();
        }
        Ring::Cooperative => {
            builder.setup_coop_taskrun();
        }
        Ring::Plain | Ring::Unavailable(_) => {}
    }
    builder.setup_clamp();
    builder
}

fn unavailable(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::ENOSYS) => "the kernel has no io_uring (Linux 5.6 or newer is needed)".to_owned(),
        Some(libc::EPERM) => "io_uring is forbidden here (kernel.io_uring_disabled, or a seccomp filter)".to_owned(),
        Some(libc::ENOMEM) => "no locked memory for a ring (raise LimitMEMLOCK)".to_owned(),
        _ => error.to_string(),
    }
}

/// The running kernel, as `uname -r` says it.
pub fn kernel_release() -> io::Result<String> {
    Ok(nix::sys::utsname::uname()?.release().to_string_lossy().into_owned())
}

/// Whether TLS can be done by the kernel (kTLS): the protocol is there, or its module is loaded.
pub fn kernel_tls() -> bool {
    read("/proc/sys/net/ipv4/tcp_available_ulp").split_whitespace().any(|ulp| ulp == "tls")
}

/// The congestion control that sockets get when none is named.
pub fn congestion_default() -> String {
    read("/proc/sys/net/ipv4/tcp_congestion_control").trim().to_owned()
}

/// Those that can be named.
pub fn congestion_available() -> Vec<String> {
    read("/proc/sys/net/ipv4/tcp_available_congestion_control").split_whitespace().map(str::to_owned).collect()
}

/// The most connections that wait for accept (`net.core.somaxconn`).
pub fn backlog_max() -> Option<u32> {
    read("/proc/sys/net/core/somaxconn").trim().parse().ok()
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_that_is_found_can_be_built() {
        let ring = ring();
        assert_eq!(matches!(ring, Ring::Unavailable(_)), builder(&ring).build(8).is_err(), "{ring:?}");
    }

    #[test]
    fn the_default_congestion_control_is_available() {
        let default = congestion_default();
        assert!(congestion_available().contains(&default), "{default}");
    }
}
