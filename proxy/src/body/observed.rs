//! A response's body that somebody watches on its way to the client.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::ResponseBody;

/// A body that tells an observer what is sent of it.
///
/// The observer is dropped with the body, which is when it has been sent or given up.
#[derive(Debug)]
pub struct Observed<O> {
    body: ResponseBody,
    observer: O,
}

/// Who wants to know what is sent of a body.
pub(crate) trait Observer {
    /// So many bytes more go to the client.
    fn sent(&mut self, bytes: u64);

    /// The body broke off.
    fn failed(&mut self, _error: &(dyn std::error::Error + Send + Sync)) {}
}

impl<O> Observed<O> {
    /// The body, watched.
    pub(crate) const fn new(body: ResponseBody, observer: O) -> Self {
        Self { body, observer }
    }
}

impl<O: Observer + Unpin> Body for Observed<O> {
    type Data = Bytes;
    type Error = <ResponseBody as Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        match &frame {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    self.observer.sent(data.len() as u64);
                }
            }
            Poll::Ready(Some(Err(error))) => self.observer.failed(&**error),
            Poll::Ready(None) | Poll::Pending => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
