//! The future of a request on its way.

use std::error::Error;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Body;

use super::attempt::{Responded, failed, take_over};
use super::{Client, Sent};
use crate::connection::InFlight;
use crate::pool::Pool;
use crate::target::Target;

pin_project_lite::pin_project! {
    /// A request on its way. By far the most are written to an idle connection at once; their
    /// state is kept small and in place, since it is part of every request's.
    #[project = SendingProjection]
    pub(super) enum Sending<'a, B, F>
    where
        B: 'static,
    {
        Begun {
            #[pin]
            responding: F,
            rest: Option<(InFlight<B>, Rc<Pool<B>>)>,
            client: &'a Rc<Client<B>>,
            target: &'a Arc<Target>,
        },
        Elsewhere { sending: Pin<Box<dyn Future<Output = Sent<B>> + 'a>> },
    }
}

impl<B, F> Future for Sending<'_, B, F>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
    F: Future<Output = Responded<B>>,
{
    type Output = Sent<B>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Sent<B>> {
        let sending = match self.as_mut().project() {
            SendingProjection::Elsewhere { sending } => return sending.as_mut().poll(cx),
            SendingProjection::Begun {
                responding,
                rest,
                client,
                target,
            } => {
                let responded = ready!(responding.poll(cx));
                let (in_flight, pool) = rest.take().expect("polled after it was ready");
                let error = match responded {
                    Ok(response) => {
                        let read_timeout = target.settings().read_timeout;
                        return Poll::Ready(Ok(take_over(response, in_flight, read_timeout)));
                    }
                    Err(error) => failed(error, true),
                };
                let Some(request) = error.unsent else {
                    return Poll::Ready(Err(error));
                };
                // It was closed, and another connection takes the request.
                drop(in_flight);
                Box::pin(client.send_slowly(target, pool, request))
            }
        };
        self.set(Self::Elsewhere { sending });
        self.poll(cx)
    }
}
