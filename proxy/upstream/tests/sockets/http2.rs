use std::convert::Infallible;

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use upstream::{Target, Versions};

use crate::peer::{Upstream, client, get, run, settle, spawn_send, text};

#[derive(Clone)]
struct Local;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

/// Answers HTTP/2 requests with their path and authority.
pub(crate) fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + 'static) {
    let service = service_fn(|request: http::Request<hyper::body::Incoming>| async move {
        let authority = request
            .uri()
            .authority()
            .map_or("", |authority| authority.as_str());
        let body = format!("{} {authority}", request.uri().path());
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(body))))
    });
    tokio::task::spawn_local(async move {
        let _ = hyper::server::conn::http2::Builder::new(Local)
            .serve_connection(TokioIo::new(stream), service)
            .await;
    });
}

#[test]
fn http2_without_tls_shares_one_connection() {
    run(async {
        let (upstream, client) = (Upstream::bind().await, client());
        let mut settings = upstream.settings();
        settings.versions = Versions::Http2;
        let target = Target::new(settings).unwrap();
        let first = spawn_send(&client, &target, get("/1"));
        let second = spawn_send(&client, &target, get("/2?query"));
        serve(upstream.accept().await.stream);
        assert_eq!(text(first.await.unwrap().unwrap()).await, "/1 app.test");
        assert_eq!(text(second.await.unwrap().unwrap()).await, "/2 app.test");
    });
}

#[test]
fn a_closed_http2_connection_is_replaced() {
    run(async {
        let (upstream, client) = (Upstream::bind().await, client());
        let mut settings = upstream.settings();
        settings.versions = Versions::Http2;
        let target = Target::new(settings).unwrap();
        for _ in 0..2 {
            let sending = spawn_send(&client, &target, get("/"));
            let accepted = upstream.accept().await;
            let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
            let serving = tokio::task::spawn_local(async move {
                let service = service_fn(|_| async {
                    Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"ok"))))
                });
                let connection = hyper::server::conn::http2::Builder::new(Local)
                    .serve_connection(TokioIo::new(accepted.stream), service);
                tokio::select! { _ = connection => {}, _ = stopped => {} }
            });
            assert_eq!(text(sending.await.unwrap().unwrap()).await, "ok");
            drop(stop);
            serving.await.unwrap();
            settle().await;
        }
    });
}
