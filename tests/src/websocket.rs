//! A WebSocket client on a connection that is there already.

use anyhow::{Context as _, bail};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::wait::DEADLINE;

/// An open WebSocket.
#[derive(Debug)]
pub struct Socket<S>(WebSocketStream<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    /// Upgrades `stream` for `url`.
    ///
    /// # Errors
    /// When the server does not switch protocols.
    pub async fn open(stream: S, url: &str) -> anyhow::Result<Self> {
        let (socket, _) = tokio_tungstenite::client_async(url, stream)
            .await
            .with_context(|| format!("opening the WebSocket {url}"))?;
        Ok(Self(socket))
    }

    /// Sends a text message and returns the next one that comes.
    ///
    /// # Errors
    /// When the connection ends or nothing comes.
    pub async fn exchange(&mut self, text: &str) -> anyhow::Result<String> {
        self.0
            .send(Message::text(text))
            .await
            .context("sending a message")?;
        match tokio::time::timeout(DEADLINE, self.0.next()).await {
            Ok(Some(Ok(Message::Text(answer)))) => Ok(answer.to_string()),
            Ok(other) => bail!("no text but {other:?}"),
            Err(_) => bail!("no answer to {text:?}"),
        }
    }

    /// Waits until the other side ends the connection, with or without a close frame.
    ///
    /// # Errors
    /// When it does not.
    pub async fn closed(&mut self) -> anyhow::Result<()> {
        let end = async {
            while let Some(Ok(message)) = self.0.next().await {
                if message.is_close() {
                    break;
                }
            }
        };
        tokio::time::timeout(DEADLINE, end)
            .await
            .context("the WebSocket is not closed")
    }
}
