//! Connections that stay open: the WebSocket echo and the server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::Query;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use axum::response::sse::{Event, Sse};
use futures_util::{Stream, stream};
use serde::Deserialize;

/// Sends every text and binary message back.
pub(super) async fn websocket(upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(echo_messages)
}

/// How many events, and how far apart.
#[derive(Deserialize)]
pub(super) struct EventsQuery {
    /// How many; without it, until the client leaves.
    count: Option<u64>,
    /// Milliseconds between two of them.
    #[serde(default = "one_second")]
    every_ms: u64,
}

/// Numbered events, the first at once.
pub(super) async fn events(
    Query(query): Query<EventsQuery>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let interval = Duration::from_millis(query.every_ms.max(1));
    let events = stream::unfold(0, move |number| async move {
        if query.count.is_some_and(|count| number >= count) {
            return None;
        }
        if number > 0 {
            tokio::time::sleep(interval).await;
        }
        let event = Event::default()
            .event("tick")
            .id(number.to_string())
            .data(number.to_string());
        Some((Ok(event), number + 1))
    });
    Sse::new(events)
}

async fn echo_messages(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        let answer = match message {
            Message::Text(_) | Message::Binary(_) => message,
            Message::Close(_) => break,
            Message::Ping(_) | Message::Pong(_) => continue,
        };
        if socket.send(answer).await.is_err() {
            break;
        }
    }
}

fn one_second() -> u64 {
    1000
}
