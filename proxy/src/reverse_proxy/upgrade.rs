//! Switching protocols: what was HTTP becomes a tunnel between client and upstream
//! (RFC 9110 section 7.8; WebSocket: RFC 6455).

use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use http::header::UPGRADE;
use http::{HeaderMap, HeaderValue, Response};
use hyper::upgrade::OnUpgrade;
use upstream::UpstreamBody;

use super::state::InFlight;
use crate::body::ResponseBody;
use crate::edge::Worker;

/// How long tunnels stay open; zero is without end.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TunnelLimits {
    /// From their beginning on (Caddy: `stream_timeout`).
    pub(super) total: Duration,
    /// From the first reload on. Caddy ends them at once where `stream_close_delay` says nothing.
    pub(super) after_reload: Duration,
}

/// Whether the upstream switches to a protocol that it was asked for.
pub(super) fn is_as_asked(asked: Option<&HeaderValue>, headers: &HeaderMap) -> bool {
    let (Some(asked), Some(chosen)) = (asked, headers.get(UPGRADE)) else {
        return false;
    };
    let (Ok(asked), Ok(chosen)) = (asked.to_str(), chosen.to_str()) else {
        return false;
    };
    let mut protocols = asked.split(',').map(str::trim);
    protocols.any(|protocol| protocol.eq_ignore_ascii_case(chosen.trim()))
}

/// Joins the client's connection and the upstream's once both have switched, on a task of its own
/// that outlives the request, and any reload unless `limits` says otherwise.
pub(super) fn join(
    client: OnUpgrade,
    mut response: Response<UpstreamBody>,
    in_flight: InFlight,
    limits: TunnelLimits,
    worker: Rc<Worker>,
) -> Response<ResponseBody> {
    let upstream = hyper::upgrade::on(&mut response);
    tokio::task::spawn_local(async move {
        // From here on, so that no reload is missed meanwhile.
        let replaced = worker.replaced.notified();
        match tokio::try_join!(client, upstream) {
            Ok((client, upstream)) => {
                let figures = upstream::tunnel(client, upstream, expired(limits, replaced)).await;
                tracing::debug!(
                    sent = figures.sent,
                    received = figures.received,
                    end = ?figures.end,
                    "a tunnel ended"
                );
            }
            Err(error) => {
                tracing::debug!(%error, "a tunnel did not open");
            }
        }
        drop(in_flight);
    });
    response.map(|_nothing| ResponseBody::Empty)
}

async fn expired(limits: TunnelLimits, replaced: impl Future<Output = ()>) {
    let after_reload = async {
        if !limits.after_reload.is_zero() {
            replaced.await;
        }
        elapsed(limits.after_reload).await;
    };
    tokio::select! {
        () = elapsed(limits.total) => {}
        () = after_reload => {}
    }
}

/// Ends after `limit`; never if that is zero.
async fn elapsed(limit: Duration) {
    if limit.is_zero() {
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(limit).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_protocols_that_were_asked_for_are_switched_to() {
        let chosen = |asked: Option<&'static str>, chosen: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            if let Some(chosen) = chosen {
                headers.insert(UPGRADE, HeaderValue::from_static(chosen));
            }
            let asked = asked.map(HeaderValue::from_static);
            is_as_asked(asked.as_ref(), &headers)
        };
        assert!(chosen(Some("websocket"), Some("WebSocket")));
        assert!(chosen(Some("foo, websocket"), Some("websocket")));
        assert!(!chosen(Some("websocket"), Some("other")));
        assert!(!chosen(Some("websocket"), None));
        assert!(!chosen(None, Some("websocket")));
    }
}
