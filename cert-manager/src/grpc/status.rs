//! What the manager knows of each name.

use std::pin::Pin;
use std::sync::Arc;

use proto::certs::v1::status_server;
use proto::certs::v1::watch_response::Event;
use proto::certs::v1::{
    GetRequest, GetResponse, ListRequest, ListResponse, WatchRequest, WatchResponse,
};
use proto::sidecar::grpc::require_role;
use proto::sidecar::identity::Role;
use proto::sidecar::shutdown::Shutdown;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::{Active, parse_name};
use crate::manager::{Change, Manager};
use crate::name::Name;

/// Changes that wait for a slow watcher, beyond which the manager's own buffer holds them.
const QUEUE: usize = 16;

#[derive(Debug)]
pub(super) struct StatusService {
    active: Active,
    shutdown: Shutdown,
    /// Who may ask; `None` means anybody who reaches the listener.
    roles: Option<&'static [Role]>,
}

impl StatusService {
    /// For a listener that only this machine reaches.
    pub(super) fn open(active: Active, shutdown: Shutdown) -> Self {
        Self {
            active,
            shutdown,
            roles: None,
        }
    }

    /// For the mutual TLS listener.
    pub(super) fn by_role(active: Active, shutdown: Shutdown) -> Self {
        Self {
            active,
            shutdown,
            roles: Some(&[Role::Operator, Role::Proxy]),
        }
    }

    fn manager<T>(&self, request: &Request<T>) -> Result<Arc<Manager>, Status> {
        if let Some(roles) = self.roles {
            require_role(request, roles)?;
        }
        self.active.manager()
    }
}

#[tonic::async_trait]
impl status_server::Status for StatusService {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

    async fn list(&self, request: Request<ListRequest>) -> Result<Response<ListResponse>, Status> {
        let names = self.manager(&request)?.list();
        Ok(Response::new(ListResponse { names }))
    }

    async fn get(&self, request: Request<GetRequest>) -> Result<Response<GetResponse>, Status> {
        let manager = self.manager(&request)?;
        let name = parse_name(&request.get_ref().name)?;
        let status = manager.status(&name).ok_or_else(|| {
            Status::not_found(format!("{name} is neither declared by a proxy nor stored"))
        })?;
        Ok(Response::new(GetResponse {
            status: Some(status),
        }))
    }

    async fn watch(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let manager = self.manager(&request)?;
        let only = match request.get_ref().name.as_str() {
            "" => None,
            name => Some(parse_name(name)?),
        };
        let (events, stream) = mpsc::channel(QUEUE);
        let token = self.shutdown.token.clone();
        self.shutdown.tasks.spawn(async move {
            tokio::select! {
                // Ends when the watcher is gone.
                _ = watch(&manager, only, &events) => {}
                () = events.closed() => {}
                () = token.cancelled() => {}
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }
}

type Events = mpsc::Sender<Result<WatchResponse, Status>>;

/// Sends the present state, then each change. A watcher that fell behind is sent the present state
/// again.
async fn watch(
    manager: &Manager,
    only: Option<Name>,
    events: &Events,
) -> Result<(), mpsc::error::SendError<Result<WatchResponse, Status>>> {
    let is_watched = |name: &Name| only.as_ref().is_none_or(|only| only == name);
    loop {
        // Before the state is read, so that no change falls between.
        let mut changes = manager.watch();
        let present = match &only {
            Some(name) => manager.status(name).into_iter().collect(),
            None => manager.list(),
        };
        for status in present {
            send(events, Event::Status(status)).await?;
        }
        loop {
            match changes.recv().await {
                Ok(Change::Status(name)) if is_watched(&name) => {
                    if let Some(status) = manager.status(&name) {
                        send(events, Event::Status(status)).await?;
                    }
                }
                Ok(Change::Forgotten(name)) if is_watched(&name) => {
                    send(events, Event::Forgotten(name.to_string())).await?;
                }
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => break,
                Err(RecvError::Closed) => return Ok(()),
            }
        }
    }
}

async fn send(
    events: &Events,
    event: Event,
) -> Result<(), mpsc::error::SendError<Result<WatchResponse, Status>>> {
    events.send(Ok(WatchResponse { event: Some(event) })).await
}
