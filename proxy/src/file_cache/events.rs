//! Follows the static-server's announcements of changed files.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use proto::files::v1::events_client::EventsClient;
use proto::files::v1::watch_response::Change;
use proto::files::v1::{WatchRequest, WatchResponse};
use proto::sidecar::error_chain::Chain;
use proto::sidecar::shutdown::CancellationToken;
use tonic::transport::Channel;

use super::changes::VolumeChanges;

/// How long to wait before the stream is opened again.
const RECONNECT: Duration = Duration::from_secs(1);

/// Subscribes to a static-server and keeps [`VolumeChanges`] up to date, for as long as the program
/// runs.
#[derive(Debug)]
pub struct Subscriber {
    client: EventsClient<Channel>,
    changes: Arc<VolumeChanges>,
    positions: HashMap<String, Position>,
}

/// The last announcement of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Position {
    epoch: u64,
    sequence: u64,
}

impl Subscriber {
    /// A subscriber over `channel`, which writes what it learns into `changes`.
    pub fn new(channel: Channel, changes: Arc<VolumeChanges>) -> Self {
        Self {
            client: EventsClient::new(channel),
            changes,
            positions: HashMap::new(),
        }
    }

    /// Runs until `shutdown`.
    pub async fn run(mut self, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                outcome = self.follow() => if let Err(status) = outcome {
                    tracing::debug!(error = %Chain(&status), "the static-server's announcements are not to be had");
                },
            }
            if self.changes.is_live() {
                self.changes.set_live(false);
                tracing::warn!(
                    "static-server: announcements of changed files ended; what is kept in memory is asked for anew \
                     until they are back"
                );
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(RECONNECT) => {}
            }
        }
    }

    async fn follow(&mut self) -> Result<(), tonic::Status> {
        let request = WatchRequest {
            volumes: Vec::new(),
        };
        let mut stream = self.client.watch(request).await?.into_inner();
        while let Some(response) = stream.message().await? {
            self.take(response);
            if !self.changes.is_live() {
                self.changes.set_live(true);
                tracing::info!("static-server: following changed files");
            }
        }
        Ok(())
    }

    fn take(&mut self, response: WatchResponse) {
        let position = Position {
            epoch: response.epoch,
            sequence: response.sequence,
        };
        let previous = self.positions.insert(response.volume.clone(), position);
        if previous.is_some_and(|previous| previous.epoch != position.epoch) {
            // Another run of the static-server may give the same files other fields.
            self.changes.add_volume(&response.volume);
        }
        let Some(change) = response.change else {
            return;
        };
        let expected = previous.map(|previous| Position {
            epoch: previous.epoch,
            sequence: previous.sequence + 1,
        });
        match change {
            Change::Path(path) if expected == Some(position) => {
                self.changes.add(&response.volume, &path);
            }
            // A gap in the numbers, or the announcement that there is one.
            Change::Path(_) | Change::Everything(_) => self.changes.add_volume(&response.volume),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file_cache::changes::Changes;

    fn subscriber() -> (Subscriber, Arc<VolumeChanges>) {
        let changes = Arc::new(VolumeChanges::default());
        let channel = tonic::transport::Endpoint::from_static("http://localhost").connect_lazy();
        (Subscriber::new(channel, Arc::clone(&changes)), changes)
    }

    fn response(sequence: u64, change: Option<Change>) -> WatchResponse {
        WatchResponse {
            volume: "/srv/static".into(),
            sequence,
            epoch: 7,
            change,
        }
    }

    #[tokio::test]
    async fn numbered_changes_are_taken_and_a_gap_means_the_whole_volume() {
        let (mut subscriber, changes) = subscriber();
        subscriber.take(response(3, None));
        let start = changes.position();
        subscriber.take(response(4, Some(Change::Path("css/app.css".into()))));
        let (after, taken) = changes.since(start);
        assert!(matches!(taken, Changes::Paths { paths, .. } if paths.len() == 1));
        subscriber.take(response(6, Some(Change::Path("css/app.css".into()))));
        assert_whole_volume_changed(&changes, after);
    }

    fn assert_whole_volume_changed(changes: &VolumeChanges, since: u64) {
        let (_, Changes::Paths { paths, .. }) = changes.since(since) else {
            panic!("too many changes");
        };
        let touches = |file: &str| paths.iter().any(|path| path.touches(file));
        assert!(touches("/srv/static/a.css") && touches("/srv/static/js/deep/a.js"));
        assert!(!touches("/srv/media/a.png") && !touches("/srv/static2/a.css"));
    }

    #[tokio::test]
    async fn another_stream_of_the_same_run_changes_nothing_and_another_run_the_whole_volume() {
        let (mut subscriber, changes) = subscriber();
        subscriber.take(response(3, None));
        let start = changes.position();
        subscriber.take(response(9, None));
        assert_eq!(changes.position(), start);
        let restarted = WatchResponse {
            epoch: 8,
            ..response(9, None)
        };
        subscriber.take(restarted);
        assert_whole_volume_changed(&changes, start);
    }
}
