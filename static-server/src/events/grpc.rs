//! The service `portico.files.v1.Events`.

use std::sync::Arc;

use proto::files::v1::events_server::Events;
use proto::files::v1::watch_response::Change as WireChange;
use proto::files::v1::{
    GetStatusRequest, GetStatusResponse, Volume as WireVolume, WatchRequest, WatchResponse,
};
use proto::sidecar::grpc::require_role;
use proto::sidecar::identity::Role;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::feed::Change;
use crate::volume::{Volume, Volumes};

/// Responses that wait for a slow connection before changes pile up in the feed.
const QUEUE: usize = 256;

/// The service over the server's volumes.
#[derive(Debug)]
pub struct EventsService {
    volumes: Volumes,
    stop: CancellationToken,
}

impl EventsService {
    /// The service; its streams end with `stop`.
    pub fn new(volumes: Volumes, stop: CancellationToken) -> Self {
        Self { volumes, stop }
    }

    fn chosen(&self, paths: &[String]) -> Result<Vec<Arc<Volume>>, Status> {
        if paths.is_empty() {
            return Ok(self.volumes.iter().cloned().collect());
        }
        let find = |path: &String| {
            let found = self.volumes.iter().find(|volume| volume.path == *path);
            found.cloned().ok_or_else(|| {
                Status::not_found(format!(
                    "`{path}` is no volume of this static-server (--volume)"
                ))
            })
        };
        paths.iter().map(find).collect()
    }
}

#[tonic::async_trait]
impl Events for EventsService {
    type WatchStream = ReceiverStream<Result<WatchResponse, Status>>;

    async fn watch(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        require_role(&request, &[Role::Operator, Role::Proxy])?;
        let (responses, stream) = mpsc::channel(QUEUE);
        for volume in self.chosen(&request.get_ref().volumes)? {
            let teller = Teller {
                volume,
                responses: responses.clone(),
            };
            let stop = self.stop.clone();
            tokio::spawn(async move { stop.run_until_cancelled(teller.run()).await });
        }
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn get_status(
        &self,
        request: Request<GetStatusRequest>,
    ) -> Result<Response<GetStatusResponse>, Status> {
        require_role(&request, &[Role::Operator, Role::Proxy, Role::StaticServer])?;
        let volumes = self.volumes.clone();
        let counted = tokio::task::spawn_blocking(move || {
            volumes.iter().map(|volume| describe(volume)).collect()
        });
        let volumes = counted
            .await
            .map_err(|_| Status::internal("counting the files failed"))?;
        Ok(Response::new(GetStatusResponse { volumes }))
    }
}

/// Tells one subscriber of one volume's changes.
struct Teller {
    volume: Arc<Volume>,
    responses: mpsc::Sender<Result<WatchResponse, Status>>,
}

impl Teller {
    /// Ends when the subscriber is gone.
    async fn run(self) {
        let mut subscription = self.volume.feed.subscribe();
        if !self.send(subscription.sequence, None).await {
            return;
        }
        loop {
            let received = tokio::select! {
                received = subscription.changes.recv() => received,
                () = self.responses.closed() => return,
            };
            let is_sent = match received {
                Ok(numbered) => {
                    let change = match numbered.change {
                        Change::Everything => WireChange::Everything(true),
                        Change::Path(path) => WireChange::Path(path.as_ref().to_owned()),
                    };
                    self.send(numbered.sequence, Some(change)).await
                }
                Err(RecvError::Lagged(_)) => {
                    // Its number leaves a gap, as the contract has it for changes that were lost.
                    subscription = self.volume.feed.subscribe();
                    self.send(subscription.sequence, Some(WireChange::Everything(true)))
                        .await
                }
                Err(RecvError::Closed) => return,
            };
            if !is_sent {
                return;
            }
        }
    }

    async fn send(&self, sequence: u64, change: Option<WireChange>) -> bool {
        let response = WatchResponse {
            volume: self.volume.path.clone(),
            sequence,
            epoch: self.volume.feed.epoch(),
            change,
        };
        self.responses.send(Ok(response)).await.is_ok()
    }
}

fn describe(volume: &Volume) -> WireVolume {
    let problem = volume.problem();
    let (files, bytes) = match problem {
        Some(_) => (0, 0),
        None => count(&volume.directory),
    };
    let watched_by = if volume.feed.is_watched() {
        "inotify"
    } else {
        "none"
    };
    WireVolume {
        path: volume.path.clone(),
        directory: volume.directory.display().to_string(),
        is_available: problem.is_none(),
        problem: problem.unwrap_or_default(),
        files,
        bytes,
        watched_by: watched_by.to_owned(),
        watchers: u32::try_from(volume.feed.subscribers()).unwrap_or(u32::MAX),
    }
}

/// Regular files below a folder and their bytes; what vanishes or cannot be read meanwhile is left
/// out.
fn count(folder: &std::path::Path) -> (u64, u64) {
    let (mut files, mut bytes) = (0, 0);
    let mut waiting = vec![folder.to_owned()];
    while let Some(folder) = waiting.pop() {
        let Ok(entries) = std::fs::read_dir(folder) else {
            continue;
        };
        for entry in entries.flatten() {
            match entry.metadata() {
                Ok(found) if found.is_dir() => waiting.push(entry.path()),
                Ok(found) if found.is_file() => {
                    files += 1;
                    bytes += found.len();
                }
                _ => {}
            }
        }
    }
    (files, bytes)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proto::files::v1::WatchRequest;
    use proto::files::v1::events_server::Events as _;
    use proto::files::v1::watch_response::Change as WireChange;
    use proto::sidecar::grpc::Peer;
    use proto::sidecar::identity::Role;
    use tokio_stream::StreamExt as _;
    use tokio_util::sync::CancellationToken;
    use tonic::Request;

    use super::{Change, EventsService};
    use crate::volume::Volumes;

    fn request() -> Request<WatchRequest> {
        let mut request = Request::new(WatchRequest {
            volumes: Vec::new(),
        });
        let address = "127.0.0.1:1".parse().unwrap();
        request.extensions_mut().insert(Peer {
            role: Some(Role::Proxy),
            subscriber: None,
            address,
        });
        request
    }

    fn service() -> (EventsService, Volumes, CancellationToken) {
        let volumes = Volumes::open(&["/srv=/nowhere".parse().unwrap()], 1);
        let stop = CancellationToken::new();
        (
            EventsService::new(volumes.clone(), stop.clone()),
            volumes,
            stop,
        )
    }

    #[tokio::test]
    async fn a_subscriber_that_lags_is_told_that_everything_changed() {
        let (service, volumes, _stop) = service();
        let mut stream = service.watch(request()).await.unwrap().into_inner();
        let first = stream.next().await.unwrap().unwrap();
        let feed = &volumes.iter().next().unwrap().feed;
        for _ in 0..20_000 {
            feed.publish(Change::Path(Arc::from("a")));
        }
        let mut sequence = first.sequence;
        loop {
            let response = stream.next().await.unwrap().unwrap();
            if response.sequence > sequence + 1 {
                assert_eq!(response.change, Some(WireChange::Everything(true)));
                assert_eq!(response.sequence, 20_000);
                break;
            }
            sequence = response.sequence;
        }
        feed.publish(Change::Path(Arc::from("b")));
        assert_eq!(stream.next().await.unwrap().unwrap().sequence, 20_001);
    }

    #[tokio::test]
    async fn streams_end_with_the_server() {
        let (service, _volumes, stop) = service();
        let mut stream = service.watch(request()).await.unwrap().into_inner();
        assert!(stream.next().await.is_some());
        stop.cancel();
        assert!(stream.next().await.is_none());
    }
}
