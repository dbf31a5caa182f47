//! What each connection is doing, kept so cheaply that requests need no timers of their own.
//!
//! A request changes two words; a sweep over all connections once a [`TICK`] counts how long each
//! has been in its state and ends those that exceed a timeout. So timeouts are a tick coarse.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// How often connections are looked at.
pub(crate) const TICK: Duration = Duration::from_secs(1);

/// How long a client that has stopped sending keeps its pending request. One that went away looks
/// the same as one that only closed its sending side, until something is written to it.
const HALF_CLOSED_TICKS: u32 = 3;

/// How long a client's handshake waits for a certificate to be obtained. CertMagic: 90 seconds.
const CERTIFICATE_TICKS: u32 = 90;

/// How long an HTTP/1 connection keeps its buffers without a request.
const PARK_TICKS: u32 = 2;

/// The state of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum State {
    /// In the TLS handshake.
    Handshake,
    /// In the TLS handshake, which waits for a certificate to be obtained.
    Certificate,
    /// Accepted; nothing of a first request has arrived.
    New,
    /// A part of an HTTP/1 request's head has arrived.
    Header,
    /// At least one request is being answered.
    Busy,
    /// Between requests.
    Idle,
    /// Upgraded: it belongs to the handler now.
    Tunnel,
}

impl State {
    fn from_u8(value: u8) -> Self {
        match value {
            0 => Self::Handshake,
            1 => Self::Certificate,
            2 => Self::New,
            3 => Self::Header,
            4 => Self::Busy,
            5 => Self::Idle,
            _ => Self::Tunnel,
        }
    }
}

/// The life signs of one connection. Shared by the connection's task, its socket and the sweep, all
/// on one thread; atomic only because an upgraded socket must be `Send`.
#[derive(Debug)]
pub(crate) struct Activity {
    state: AtomicU8,
    ticks: AtomicU32,
    requests: AtomicU32,
    is_http2: AtomicBool,
    awaits_bytes: AtomicBool,
    has_unflushed: AtomicBool,
    is_probed: AtomicBool,
    has_peer_closed: AtomicBool,
    has_peer_reset: AtomicBool,
    half_closed_ticks: AtomicU32,
    counters: Arc<Counters>,
}

/// What a sweep found due on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Nothing.
    Nothing,
    /// Look whether the client is still there.
    Probe,
    /// Let go of what it only needs while it is busy.
    Park,
    /// Close it as soon as it is idle.
    Finish,
    /// Drop it.
    Abort,
}

/// Timeouts in ticks; [`u32::MAX`] is never reached.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) handshake: u32,
    pub(crate) header: u32,
    pub(crate) idle: u32,
    pub(crate) request: u32,
    pub(crate) response: u32,
}

impl Activity {
    pub(crate) fn new(state: State, counters: Arc<Counters>) -> Arc<Self> {
        counters.opened.fetch_add(1, Relaxed);
        Arc::new(Self {
            state: AtomicU8::new(state as u8),
            ticks: AtomicU32::new(0),
            requests: AtomicU32::new(0),
            is_http2: AtomicBool::new(false),
            awaits_bytes: AtomicBool::new(false),
            has_unflushed: AtomicBool::new(false),
            is_probed: AtomicBool::new(false),
            has_peer_closed: AtomicBool::new(false),
            has_peer_reset: AtomicBool::new(false),
            half_closed_ticks: AtomicU32::new(0),
            counters,
        })
    }

    pub(crate) fn state(&self) -> State {
        State::from_u8(self.state.load(Relaxed))
    }

    /// The handshake waits for a certificate to be obtained.
    pub(crate) fn await_certificate(&self) {
        self.enter(State::Certificate);
    }

    /// The handshake goes on.
    pub(crate) fn resume_handshake(&self) {
        self.enter(State::Handshake);
    }

    /// The handshake is over, and HTTP begins.
    pub(crate) fn begin(&self, is_http2: bool) {
        self.is_http2.store(is_http2, Relaxed);
        self.enter(State::New);
    }

    /// The connection was read from; nothing has arrived.
    pub(crate) fn starved(&self) {
        self.awaits_bytes.store(true, Relaxed);
    }

    /// Bytes have arrived.
    pub(crate) fn received(&self) {
        self.awaits_bytes.store(false, Relaxed);
        match self.state() {
            State::Idle if !self.is_http2.load(Relaxed) => self.enter(State::Header),
            // The time for a first request counts from the connection's begin.
            State::New => self.state.store(State::Header as u8, Relaxed),
            _ => {}
        }
    }

    /// Something is written; it may stay in a buffer until it is [`flushed`](Self::flushed).
    pub(crate) fn written(&self) {
        self.has_unflushed.store(true, Relaxed);
    }

    /// All that was written has been handed to the kernel.
    pub(crate) fn flushed(&self) {
        self.has_unflushed.store(false, Relaxed);
    }

    /// Whether nothing is under way in either direction.
    pub(crate) fn is_at_rest(&self) -> bool {
        matches!(self.state(), State::Idle | State::New) && !self.has_unflushed.load(Relaxed)
    }

    /// A request's head is complete.
    pub(crate) fn begin_request(&self) {
        self.requests
            .store(self.requests.load(Relaxed) + 1, Relaxed);
        self.counters.requests.fetch_add(1, Relaxed);
        self.enter(State::Busy);
    }

    /// A request's response has been handed over or dropped.
    pub(crate) fn end_request(&self) {
        let left = self.requests.load(Relaxed).saturating_sub(1);
        self.requests.store(left, Relaxed);
        if left == 0 && self.state() == State::Busy {
            self.enter(State::Idle);
        }
    }

    /// The connection has been upgraded.
    pub(crate) fn become_tunnel(&self) {
        self.counters.tunnels_opened.fetch_add(1, Relaxed);
        self.enter(State::Tunnel);
    }

    /// A handshake has failed.
    pub(crate) fn fail_handshake(&self) {
        self.counters.handshakes_failed.fetch_add(1, Relaxed);
    }

    /// Whether the socket should say with [`Self::found`] what became of the client.
    pub(crate) fn is_probed(&self) -> bool {
        self.is_probed.load(Relaxed)
    }

    /// What the socket knows of the client's end.
    pub(crate) fn found(&self, has_closed: bool, has_reset: bool) {
        self.is_probed.store(false, Relaxed);
        self.has_peer_closed.store(has_closed, Relaxed);
        self.has_peer_reset.store(has_reset, Relaxed);
    }

    /// Counts one tick and says what is due. `is_draining` ends what only might bring a request.
    pub(crate) fn sweep(&self, limits: &Limits, is_draining: bool) -> Due {
        let ticks = self.ticks.load(Relaxed).saturating_add(1);
        self.ticks.store(ticks, Relaxed);
        match self.state() {
            State::Handshake if ticks >= limits.handshake => Due::Abort,
            State::Certificate if ticks >= CERTIFICATE_TICKS => Due::Abort,
            State::New | State::Header if ticks >= limits.header => Due::Abort,
            State::New if is_draining => Due::Abort,
            State::Idle if ticks >= limits.idle.saturating_add(2) => Due::Abort,
            State::Idle if ticks >= limits.idle => Due::Finish,
            State::New | State::Idle if ticks >= PARK_TICKS && !self.is_http2.load(Relaxed) => {
                Due::Park
            }
            State::Busy if self.is_http2.load(Relaxed) => Due::Nothing,
            State::Busy if ticks >= limits.response => Due::Abort,
            // Somebody waits for more of the request's body.
            State::Busy if ticks >= limits.request && self.awaits_bytes.load(Relaxed) => Due::Abort,
            State::Busy | State::Certificate if self.has_peer_reset.load(Relaxed) => Due::Abort,
            State::Busy | State::Certificate if self.has_peer_closed.load(Relaxed) => {
                let closed = self.half_closed_ticks.load(Relaxed) + 1;
                self.half_closed_ticks.store(closed, Relaxed);
                if closed >= HALF_CLOSED_TICKS {
                    Due::Abort
                } else {
                    Due::Nothing
                }
            }
            State::Busy | State::Certificate => {
                self.is_probed.store(true, Relaxed);
                Due::Probe
            }
            State::Handshake | State::New | State::Header | State::Idle | State::Tunnel => {
                Due::Nothing
            }
        }
    }

    fn enter(&self, state: State) {
        self.state.store(state as u8, Relaxed);
        self.ticks.store(0, Relaxed);
    }
}

impl Drop for Activity {
    fn drop(&mut self) {
        self.counters.closed.fetch_add(1, Relaxed);
        if self.state() == State::Tunnel {
            self.counters.tunnels_closed.fetch_add(1, Relaxed);
        }
    }
}

/// One worker's running totals.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    opened: AtomicU64,
    closed: AtomicU64,
    tunnels_opened: AtomicU64,
    tunnels_closed: AtomicU64,
    requests: AtomicU64,
    handshakes_failed: AtomicU64,
}

impl Counters {
    /// Open connections and tunnels.
    pub(crate) fn open(&self) -> u64 {
        self.opened
            .load(Relaxed)
            .saturating_sub(self.closed.load(Relaxed))
    }

    pub(crate) fn figures(&self) -> Figures {
        let tunnels_accepted = self.tunnels_opened.load(Relaxed);
        Figures {
            accepted: self.opened.load(Relaxed),
            connections: self.open(),
            tunnels: tunnels_accepted.saturating_sub(self.tunnels_closed.load(Relaxed)),
            requests: self.requests.load(Relaxed),
            handshakes_failed: self.handshakes_failed.load(Relaxed),
        }
    }
}

/// What a server does and has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Connections accepted since start.
    pub accepted: u64,
    /// Connections open now, tunnels among them.
    pub connections: u64,
    /// Tunnels (upgraded connections) open now.
    pub tunnels: u64,
    /// Requests received since start.
    pub requests: u64,
    /// TLS handshakes that failed since start.
    pub handshakes_failed: u64,
}

impl std::ops::Add for Figures {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            accepted: self.accepted + other.accepted,
            connections: self.connections + other.connections,
            tunnels: self.tunnels + other.tunnels,
            requests: self.requests + other.requests,
            handshakes_failed: self.handshakes_failed + other.handshakes_failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Activity, Due, Limits, State};

    const LIMITS: Limits = Limits {
        handshake: 2,
        header: 3,
        idle: 4,
        request: 5,
        response: u32::MAX,
    };

    fn ticks_until(activity: &Activity, due: Due) -> u32 {
        (1..20)
            .find(|_| activity.sweep(&LIMITS, false) == due)
            .expect("due within twenty ticks")
    }

    #[test]
    fn each_state_has_its_own_time() {
        let activity = Activity::new(State::Handshake, Default::default());
        assert_eq!(ticks_until(&activity, Due::Abort), 2);
        activity.begin(false);
        assert_eq!(ticks_until(&activity, Due::Abort), 3);
        activity.begin_request();
        activity.end_request();
        assert_eq!(ticks_until(&activity, Due::Finish), 4);
        activity.received();
        assert_eq!(activity.state(), State::Header);
        assert_eq!(ticks_until(&activity, Due::Abort), 3);
    }

    #[test]
    fn handshake_that_waits_for_a_certificate_has_longer_and_watches_its_client() {
        let activity = Activity::new(State::Handshake, Default::default());
        activity.await_certificate();
        assert_eq!(activity.sweep(&LIMITS, false), Due::Probe);
        assert!((0..10).all(|_| activity.sweep(&LIMITS, false) == Due::Probe));
        activity.found(true, false);
        assert_eq!(ticks_until(&activity, Due::Abort), 3);
        activity.resume_handshake();
        assert_eq!(ticks_until(&activity, Due::Abort), 2);
    }

    #[test]
    fn body_that_is_waited_for_has_its_time() {
        let activity = Activity::new(State::New, Default::default());
        activity.begin_request();
        activity.received();
        assert!((0..10).all(|_| activity.sweep(&LIMITS, false) != Due::Abort));
        activity.starved();
        assert_eq!(activity.sweep(&LIMITS, false), Due::Abort);
    }

    #[test]
    fn connection_at_rest_is_parked_once_it_is_flushed() {
        let activity = Activity::new(State::New, Default::default());
        activity.begin_request();
        activity.written();
        activity.end_request();
        assert!(!activity.is_at_rest());
        activity.flushed();
        assert!(activity.is_at_rest());
        assert_eq!(ticks_until(&activity, Due::Park), 2);
    }

    #[test]
    fn half_closed_client_keeps_its_request_a_while() {
        let activity = Activity::new(State::New, Default::default());
        activity.begin_request();
        assert_eq!(activity.sweep(&LIMITS, false), Due::Probe);
        activity.found(true, false);
        assert_eq!(ticks_until(&activity, Due::Abort), 3);
    }

    #[test]
    fn reset_client_is_given_up_at_once() {
        let activity = Activity::new(State::New, Default::default());
        activity.begin_request();
        activity.found(true, true);
        assert_eq!(activity.sweep(&LIMITS, false), Due::Abort);
    }

    #[test]
    fn http2_connection_is_idle_when_its_last_stream_ends() {
        let activity = Activity::new(State::New, Default::default());
        activity.begin(true);
        activity.begin_request();
        activity.begin_request();
        activity.end_request();
        assert_eq!(activity.state(), State::Busy);
        activity.end_request();
        activity.received();
        assert_eq!(activity.state(), State::Idle);
    }
}
