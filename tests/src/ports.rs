//! Ports for programs that must be told theirs.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::Context as _;

/// Below the range from which kernels take ports for outgoing connections, so that nothing takes a
/// port between the moment it is found free and the moment a program binds it.
const FIRST: u16 = 10_000;
const COUNT: u16 = 20_000;

/// A port of 127.0.0.1 on which nothing listens. No port is given twice by one process, and
/// processes start at different ones.
///
/// # Errors
/// When no port is free.
pub fn free() -> anyhow::Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    (0..COUNT)
        .map(|_| {
            let step = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
            let start = std::process::id().wrapping_mul(61);
            FIRST + u16::try_from((start + step) % u32::from(COUNT)).expect("COUNT fits")
        })
        .find(|&port| {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
                && UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
        })
        .context("no free port")
}
