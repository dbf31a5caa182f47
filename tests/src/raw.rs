//! HTTP/1.1 byte by byte, for what a client library would not send.

use anyhow::{Context as _, bail};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::wait::DEADLINE;

/// A connection and what was read from it but not asked for yet.
#[derive(Debug)]
pub struct Raw<S> {
    stream: S,
    buffer: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Raw<S> {
    /// Takes over a connection.
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    /// Sends `text` as it is.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn send(&mut self, text: &str) -> anyhow::Result<()> {
        self.stream
            .write_all(text.as_bytes())
            .await
            .context("sending")?;
        self.stream.flush().await.context("sending")
    }

    /// Reads up to and including `end`.
    ///
    /// # Errors
    /// When the connection ends first, or nothing more comes.
    pub async fn read_to(&mut self, end: &str) -> anyhow::Result<String> {
        loop {
            let found = self
                .buffer
                .windows(end.len())
                .position(|window| window == end.as_bytes());
            if let Some(start) = found {
                let text = self.buffer.drain(..start + end.len()).collect();
                return String::from_utf8(text).context("reading text");
            }
            if self.fill().await? == 0 {
                bail!(
                    "ended before {end:?}, after {:?}",
                    String::from_utf8_lossy(&self.buffer)
                );
            }
        }
    }

    /// Reads a response's head: status line and header, to the empty line.
    ///
    /// # Errors
    /// As [`Self::read_to`].
    pub async fn head(&mut self) -> anyhow::Result<String> {
        self.read_to("\r\n\r\n").await
    }

    /// Reads until the other side ends the connection.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn read_to_end(&mut self) -> anyhow::Result<String> {
        while self.fill().await? > 0 {}
        Ok(String::from_utf8_lossy(&std::mem::take(&mut self.buffer)).into_owned())
    }

    async fn fill(&mut self) -> anyhow::Result<usize> {
        let mut piece = [0; 8192];
        let read = tokio::time::timeout(DEADLINE, self.stream.read(&mut piece))
            .await
            .context("nothing more comes")?;
        // A peer that ends TLS without saying so has ended the connection all the same.
        let read = match read {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => 0,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => 0,
            read => read.context("reading")?,
        };
        self.buffer.extend_from_slice(&piece[..read]);
        Ok(read)
    }
}
