//! One request on one connection.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Request, Response, StatusCode, Uri, Version, header};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http2};
use tokio::sync::oneshot;

use super::{Ready, Sent};
use crate::body::UpstreamBody;
use crate::connection::{Connection, InFlight, Lease as _};
use crate::error::{SendError, SendErrorKind};
use crate::outgoing::{Gate, Outgoing, RequestBodyError};
use crate::target::Target;

pub(super) async fn send_on<B>(
    ready: Ready<B>,
    target: &Target,
    request: Box<Request<B>>,
) -> Sent<B>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    match ready {
        Ready::Http1(connection) => send_http1(target, connection, request).await,
        Ready::Http2(sender) => send_http2(target, sender, request).await,
    }
}

async fn send_http1<B>(
    target: &Target,
    connection: Rc<Connection<B>>,
    mut request: Box<Request<B>>,
) -> Sent<B>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    prepare_http1(&mut request);
    let settings = target.settings();
    let gate = settings
        .expect_continue_timeout
        .and_then(|limit| expectation(&mut request, limit));
    let (sent, was_sent) = settings
        .response_header_timeout
        .map(|_| oneshot::channel())
        .unzip();
    let request = request
        .map(|body| Outgoing::new(body, gate.as_ref().map(|(gate, _)| Arc::clone(gate)), sent));
    let is_reused = connection.is_reused.get();
    let responding = Driven::start(&connection, request);
    let in_flight = InFlight::new(connection);
    let responding = with_expectation(responding, gate);
    let response = within(
        settings.response_header_timeout,
        was_sent,
        responding,
        is_reused,
    )
    .await?;
    Ok(take_over(response, in_flight, settings.read_timeout))
}

pin_project_lite::pin_project! {
    /// Waits for the head of the response, and meanwhile makes the connection get on.
    pub(super) struct Driven<B, F>
    where
        B: 'static,
    {
        connection: Rc<Connection<B>>,
        #[pin]
        responding: F,
    }
}

impl<B> Driven<B, ()> {
    /// Gives the request to the connection.
    pub(super) fn start(
        connection: &Rc<Connection<B>>,
        request: Request<Outgoing<B>>,
    ) -> Driven<B, impl Future<Output = Responded<B>> + use<B>>
    where
        B: Body<Data = Bytes> + Unpin + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        if !request.body().is_end_stream() {
            // The upload goes on while nobody reads the response.
            connection.driver().spawn();
        }
        Driven {
            connection: Rc::clone(connection),
            responding: connection.sender.borrow_mut().try_send_request(request),
        }
    }
}

impl<B, F: Future> Future for Driven<B, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        this.connection
            .driver()
            .poll(cx, |cx| this.responding.poll(cx))
    }
}

pub(super) fn prepare_http1<B: Body>(request: &mut Request<B>) {
    *request.version_mut() = Version::HTTP_11;
    frame_body(request);
}

/// Ties a response to the connection it comes on.
pub(super) fn take_over<B>(
    response: Response<Incoming>,
    in_flight: InFlight<B>,
    read_timeout: Option<Duration>,
) -> Response<UpstreamBody> {
    let is_upgrade = response
        .extensions()
        .get::<hyper::upgrade::OnUpgrade>()
        .is_some();
    if is_upgrade {
        in_flight.detach();
        return response.map(|incoming| UpstreamBody::new(incoming, None, None));
    }
    let lease = in_flight.into_lease();
    response.map(|incoming| UpstreamBody::new(incoming, lease, read_timeout))
}

async fn send_http2<B>(
    target: &Target,
    mut sender: http2::SendRequest<Outgoing<B>>,
    mut request: Box<Request<B>>,
) -> Sent<B>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    *request.version_mut() = Version::HTTP_2;
    if let Err(error) = absolute_uri(&mut request, target) {
        return Err(SendError {
            kind: SendErrorKind::Protocol,
            unsent: None,
            is_reused: true,
            source: Some(error.into()),
        });
    }
    let settings = target.settings();
    let (sent, was_sent) = settings
        .response_header_timeout
        .map(|_| oneshot::channel())
        .unzip();
    let request = request.map(|body| Outgoing::new(body, None, sent));
    let responding = sender.try_send_request(request);
    let response = within(settings.response_header_timeout, was_sent, responding, true).await?;
    Ok(response.map(|incoming| UpstreamBody::new(incoming, None, settings.read_timeout)))
}

pub(super) type Responded<B> = Result<Response<Incoming>, TrySendError<Request<Outgoing<B>>>>;

/// Limits the time from the end of the request to the head of the response.
async fn within<B>(
    limit: Option<Duration>,
    was_sent: Option<oneshot::Receiver<()>>,
    responding: impl Future<Output = Responded<B>>,
    is_reused: bool,
) -> Result<Response<Incoming>, SendError<B>> {
    let (Some(limit), Some(was_sent)) = (limit, was_sent) else {
        return responding.await.map_err(|error| failed(error, is_reused));
    };
    let expired = async {
        // The sender is dropped, never used.
        let _ = was_sent.await;
        tokio::time::sleep(limit).await;
    };
    tokio::select! {
        responded = responding => responded.map_err(|error| failed(error, is_reused)),
        () = expired => Err(SendError {
            kind: SendErrorKind::HeaderTimeout,
            unsent: None,
            is_reused,
            source: None,
        }),
    }
}

/// Opens the gate after a while if the upstream stays silent.
async fn with_expectation<B>(
    responding: impl Future<Output = Responded<B>>,
    expectation: Option<(Arc<Gate>, Duration)>,
) -> Responded<B> {
    let Some((gate, limit)) = expectation else {
        return responding.await;
    };
    let mut responding = std::pin::pin!(responding);
    if let Ok(responded) = tokio::time::timeout(limit, &mut responding).await {
        return responded;
    }
    gate.open();
    responding.await
}

/// Holds the body back where the client waits for leave to send it.
fn expectation<B: Body>(
    request: &mut Request<B>,
    limit: Duration,
) -> Option<(Arc<Gate>, Duration)> {
    let expect = request.headers().get(header::EXPECT)?;
    if !expect.as_bytes().eq_ignore_ascii_case(b"100-continue") || request.body().is_end_stream() {
        return None;
    }
    let gate = Arc::new(Gate::default());
    let opened = Arc::clone(&gate);
    hyper::ext::on_informational(request, move |response| {
        if response.status() == StatusCode::CONTINUE {
            opened.open();
        }
    });
    Some((gate, limit))
}

/// A body of unknown length is sent in chunks, also where such bodies are rare: hyper would leave
/// it out of a GET otherwise.
fn frame_body<B: Body>(request: &mut Request<B>) {
    if !request.body().is_end_stream()
        && request.body().size_hint().exact().is_none()
        && !request.headers().contains_key(header::CONTENT_LENGTH)
    {
        let chunked = HeaderValue::from_static("chunked");
        request
            .headers_mut()
            .insert(header::TRANSFER_ENCODING, chunked);
    }
}

/// HTTP/2 has the scheme and authority in the URI, and no `Host` field (RFC 9113 section 8.3.1).
fn absolute_uri<B>(request: &mut Request<B>, target: &Target) -> Result<(), http::Error> {
    let authority = match request.headers_mut().remove(header::HOST) {
        Some(host) => Authority::from_maybe_shared(Bytes::copy_from_slice(host.as_bytes()))?,
        None => Authority::try_from(target.address().to_string())?,
    };
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(if target.is_tls() {
        Scheme::HTTPS
    } else {
        Scheme::HTTP
    });
    parts.authority = Some(authority);
    if parts.path_and_query.is_none() {
        parts.path_and_query = Some(PathAndQuery::from_static("/"));
    }
    *request.uri_mut() = Uri::from_parts(parts)?;
    Ok(())
}

pub(super) fn failed<B>(
    mut error: TrySendError<Request<Outgoing<B>>>,
    is_reused: bool,
) -> SendError<B> {
    let unsent = error.take_message().map(|request| {
        let mut request = request.map(Outgoing::into_inner);
        origin_form(&mut request);
        Box::new(request)
    });
    let error = error.into_error();
    let is_request_body = error
        .source()
        .is_some_and(|source| source.is::<RequestBodyError>());
    let kind = if is_request_body {
        SendErrorKind::RequestBody
    } else if error.is_parse() {
        SendErrorKind::Protocol
    } else {
        SendErrorKind::Closed
    };
    SendError {
        kind,
        unsent,
        is_reused,
        source: Some(error.into()),
    }
}

/// Undoes what [`absolute_uri`] did, so that the request may be sent again in any version.
fn origin_form<B>(request: &mut Request<B>) {
    let Some(authority) = request.uri().authority() else {
        return;
    };
    if let Ok(host) = HeaderValue::from_str(authority.as_str()) {
        request.headers_mut().insert(header::HOST, host);
    }
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = path.map_or_else(Uri::default, Uri::from);
}
