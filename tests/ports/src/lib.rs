//! Ports for programs that must be told theirs.
//!
//! A port that was free a moment ago may be another's by the time a program binds it, be it that of
//! another test or one that the kernel gives away. So each process claims a block of ports for itself,
//! below those that the kernel gives away.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

use parking_lot::Mutex;

/// The first port of the first block, and how many blocks there are of how many ports. Linux gives
/// away ports from 32768 on.
const FIRST: u16 = 10_000;
const BLOCKS: u16 = 700;
const BLOCK: u16 = 32;

/// A block that is this process's own for as long as it holds the block's first port.
struct Claim {
    held: TcpListener,
    used: u16,
}

/// A port of 127.0.0.1 on which nothing listens. No port is given twice by one process, nor to two
/// processes at a time.
///
/// # Errors
/// When all ports are claimed.
pub fn free() -> io::Result<u16> {
    static CLAIMS: Mutex<Vec<Claim>> = Mutex::new(Vec::new());
    let mut claims = CLAIMS.lock();
    loop {
        if let Some(claim) = claims.last_mut()
            && let Some(port) = claim.next()?
        {
            return Ok(port);
        }
        claims.push(Claim::new()?);
    }
}

/// The address of a [`free`] port.
///
/// # Errors
/// As [`free`].
pub fn free_address() -> io::Result<SocketAddr> {
    Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, free()?)))
}

impl Claim {
    fn new() -> io::Result<Self> {
        // Begun at different blocks, so that what a process leaves behind is not the next one's.
        let begin = std::process::id() % u32::from(BLOCKS);
        let blocks = (0..BLOCKS).cycle().skip(begin as usize);
        let claimed = blocks
            .take(BLOCKS.into())
            .find_map(|block| TcpListener::bind((Ipv4Addr::LOCALHOST, FIRST + block * BLOCK)).ok());
        match claimed {
            Some(held) => Ok(Self { held, used: 0 }),
            None => Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                "all ports are claimed by other tests",
            )),
        }
    }

    fn next(&mut self) -> io::Result<Option<u16>> {
        let first = self.held.local_addr()?.port();
        while self.used < BLOCK - 1 {
            self.used += 1;
            let address = (Ipv4Addr::LOCALHOST, first + self.used);
            if TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok() {
                return Ok(Some(address.1));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ports_are_given_once_and_can_be_bound() {
        let ports: HashSet<u16> = (0..100).map(|_| free().unwrap()).collect();
        assert_eq!(ports.len(), 100);
        for port in ports {
            assert!((FIRST..FIRST + BLOCKS * BLOCK).contains(&port));
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        }
    }

    #[test]
    fn a_block_is_claimed_once() {
        let claims: Vec<Claim> = (0..4).map(|_| Claim::new().unwrap()).collect();
        let blocks: HashSet<_> = claims
            .iter()
            .map(|c| c.held.local_addr().unwrap())
            .collect();
        assert_eq!(blocks.len(), 4);
    }
}
