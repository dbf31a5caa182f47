//! One request through the compiled routes, without a client, a listener or an upstream.
//!
//! The program that runs is the one that serves. What would ask somebody else or count is not done
//! for a rehearsal (see [`trace`](crate::route::trace)), except that `file` matchers ask the
//! static-server.

use std::cell::OnceCell;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use downstream::{CertificateTable, Connection, ListenAddress, ListenerConfig, TlsSession};
use http::header::HOST;
use http::{HeaderValue, Request, Response};
use proto::sidecar::dns::Resolver;
use tokio::task::LocalSet;

use crate::app::static_server;
use crate::body::{RequestBody, ResponseBody};
use crate::compile::Config;
use crate::edge::{Challenges, Shared, Worker, normalize, route};
use crate::exchange::{Exchange, split_host_port};
use crate::route::trace::{CLIENT, Step, Trace};
use crate::spans::Spans;

/// What a request would do.
#[derive(Debug)]
pub struct Rehearsal {
    /// What it came by, in order; empty unless the configuration was compiled to be explained.
    pub steps: Vec<Step>,
    /// The response; `None` where the connection is closed without one.
    pub answer: Option<Response<ResponseBody>>,
}

/// Runs `request`, whose target is a URL, through the routes of the server that listens on
/// `address`.
///
/// Blocks until the answer is there; must not be called from within a runtime.
///
/// # Errors
/// In words, when the request has no meaning or nothing listens there.
pub fn rehearse(
    config: Config,
    address: ListenAddress,
    request: Request<()>,
    static_server_url: &str,
) -> Result<Rehearsal, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start: {error}"))?;
    let shared = Shared {
        config: ArcSwap::from_pointee(config),
        challenges: Challenges::default(),
        certificates: Arc::<CertificateTable>::default(),
        static_server: static_server(static_server_url).map_err(|error| error.to_string())?,
        replicas: Arc::default(),
        workers: 1,
        volume_changes: Arc::default(),
        metrics: OnceLock::new(),
        spans: Spans::default(),
    };
    let resolver = Resolver::from_system().map_err(|error| error.to_string())?;
    LocalSet::new().block_on(&runtime, async {
        let worker = Worker::new(Arc::new(shared), resolver);
        follow(worker, address, request).await
    })
}

async fn follow(
    worker: Rc<Worker>,
    address: ListenAddress,
    request: Request<()>,
) -> Result<Rehearsal, String> {
    let config = worker.config();
    let index = config
        .server_at(address)
        .ok_or_else(|| format!("nothing listens on {address}"))?;
    let server = &config.servers[index];
    let (mut head, ()) = request.into_parts();
    let is_tls = head.uri.scheme_str() == Some("https");
    let authority = head.uri.authority().map(ToString::to_string);
    let authority = authority.unwrap_or_default();
    // A `Host` of its own is sent in place of the URL's.
    if !head.headers.contains_key(HOST) {
        let host = HeaderValue::from_str(&authority).map_err(|error| error.to_string())?;
        head.headers.insert(HOST, host);
    }
    let target = head.uri.path_and_query().cloned();
    head.uri = target.map_or_else(|| http::Uri::from_static("/"), http::Uri::from);
    normalize(&mut head).map_err(|error| format!("the server refuses this request: {error}"))?;
    let server_name = split_host_port(&authority).0.to_ascii_lowercase();
    let connection = Rc::new(Connection {
        peer: CLIENT,
        local: CLIENT,
        tls: is_tls.then(|| TlsSession::explained(&server_name)),
        listener: Arc::new(ListenerConfig::new(address, None)),
        peer_value: OnceCell::new(),
    });
    let mut exchange = Exchange::new(
        Rc::clone(&worker),
        Rc::clone(&config),
        index,
        connection,
        head,
        RequestBody::default(),
    );
    (exchange.client_ip, exchange.is_from_trusted_proxy) = server
        .client_address
        .find(exchange.client_ip, &exchange.head.headers);
    exchange.rare_mut().trace = Some(Trace::default());
    let answer = route(server, &mut exchange).await.ok();
    let trace = exchange.rare_mut().trace.take().unwrap_or_default();
    Ok(Rehearsal {
        steps: trace.steps,
        answer,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::{CompileContext, compile};
    use crate::testing::document;

    /// What a request for the last of many sites comes by.
    fn steps_among(sites: usize) -> Vec<String> {
        let site = |number| format!("http://site{number}.test {{\nrespond {number}\n}}\n");
        let text: String = (0..sites).map(site).collect();
        let context = CompileContext {
            is_explained: true,
            ..CompileContext::default()
        };
        let config = compile(document(&text), &context).unwrap();
        let address = config.servers[0].listen[0];
        let request = Request::get(format!("http://site{}.test/", sites - 1));
        let request = request.body(()).unwrap();
        let rehearsal = rehearse(config, address, request, "http://127.0.0.1:1").unwrap();
        assert!(rehearsal.answer.is_some());
        let parts = rehearsal.steps.iter().map(|step| step.note.part);
        parts.map(|part| format!("{part:?}")).collect()
    }

    #[test]
    fn a_site_among_ten_thousand_is_found_without_asking_the_others() {
        let few = steps_among(10);
        assert!(few.len() < 6, "{few:?}");
        assert_eq!(steps_among(10_000), few);
    }
}
