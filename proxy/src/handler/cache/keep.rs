//! Keeping a response while it goes to the client.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{Response, StatusCode};
use http_body::{Body as _, Frame};
use tokio::sync::oneshot;

use super::fetch::{Fetch, is_failure};
use crate::body::ResponseBody;
use crate::http_cache::{self, Key, Landing, Lead, Pushed, Recording, Store, Stored};

/// What keeps a response.
struct Keeper {
    body: ResponseBody,
    recording: Arc<Recording>,
    /// Where the body goes if it is too large to be kept.
    rest: oneshot::Sender<ResponseBody>,
    store: Arc<Store>,
    key: Key,
    generation: u64,
    max_body: u64,
    lead: Option<Lead>,
}

impl Fetch {
    /// Keeps a response if it may be kept; gives the answer for the client.
    pub(super) fn keep(
        mut self: Box<Self>,
        mut response: Response<ResponseBody>,
    ) -> Response<ResponseBody> {
        let received = self.received();
        let status = response.status();
        let Some(head) = self.head(status, response.headers(), received) else {
            match status {
                _ if is_failure(status) => self.land(Landing::Failed),
                // These are about one request, and say nothing of others.
                StatusCode::NOT_MODIFIED | StatusCode::PARTIAL_CONTENT => {
                    self.land(Landing::NotForOthers);
                }
                _ => {
                    self.forget_stale();
                    self.pass();
                }
            }
            self.say(&mut response, None, false);
            return response;
        };
        let announced = response.headers().get(CONTENT_LENGTH);
        let announced = announced.and_then(|length| length.to_str().ok()?.parse().ok());
        let length = announced.or_else(|| response.body().size_hint().exact());
        let has_room = length.is_none_or(|length: u64| length <= self.policy.max_body);
        let budget = Arc::clone(&self.store.budget);
        let head = Arc::new(head);
        let recording = has_room
            .then(|| Recording::new(Arc::clone(&head), length, budget))
            .flatten();
        let Some(recording) = recording else {
            self.forget_stale();
            self.pass();
            self.say(&mut response, None, false);
            return response;
        };
        self.say(&mut response, None, true);
        if !head.is_fresh(received.instant) {
            // Everybody has to ask for himself, and needs not wait for the body to do so.
            self.pass();
        }
        if let Some(lead) = &self.lead {
            lead.record(Arc::clone(&recording));
        }
        let (rest, handed_over) = oneshot::channel();
        let reader = recording.first_reader(handed_over);
        let (head, body) = response.into_parts();
        let is_wanted = !self.has_client;
        let mut answer = Response::from_parts(head, ResponseBody::Empty);
        if http_cache::conditional(&self.request, &mut answer) || is_wanted {
            // Others may want it.
            recording.want();
        } else {
            *answer.body_mut() = ResponseBody::Recorded(Box::new(reader));
        }
        Keeper {
            body,
            recording,
            rest,
            store: self.store,
            key: self.key,
            generation: self.generation,
            max_body: self.policy.max_body,
            lead: self.lead,
        }
        .begin();
        answer
    }
}

impl Keeper {
    /// Takes what is there already, which may be all, and the rest on a task of its own.
    fn begin(mut self) {
        let mut context = Context::from_waker(Waker::noop());
        loop {
            match Pin::new(&mut self.body).poll_frame(&mut context) {
                Poll::Pending => break,
                Poll::Ready(frame) => match self.take(frame) {
                    Some(keeper) => self = keeper,
                    None => return,
                },
            }
        }
        tokio::task::spawn_local(self.go_on());
    }

    async fn go_on(mut self) {
        let recording = Arc::clone(&self.recording);
        loop {
            let body = &mut self.body;
            let next = std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context));
            let frame = tokio::select! {
                biased;
                frame = next => frame,
                // Dropping the body ends the server's work.
                () = recording.deserted() => return,
            };
            match self.take(frame) {
                Some(keeper) => self = keeper,
                None => return,
            }
        }
    }

    /// Takes the next piece of the body; `None` if that was the last.
    fn take(
        self,
        frame: Option<Result<Frame<Bytes>, <ResponseBody as http_body::Body>::Error>>,
    ) -> Option<Self> {
        match frame {
            None => {
                let whole = self.recording.complete();
                let is_whole = whole.is_some();
                if let Some(body) = whole {
                    let head = Arc::clone(&self.recording.head);
                    let stored = Stored { head, body };
                    self.store.insert(&self.key, self.generation, stored);
                }
                self.land(match is_whole {
                    true => Landing::Stored,
                    false => Landing::NotForOthers,
                })
            }
            Some(Err(_)) => {
                // Whoever talks to the server has told the log.
                self.recording.break_off();
                self.land(Landing::Failed)
            }
            Some(Ok(frame)) => match frame.into_data() {
                Ok(piece) => match self.recording.push(piece, self.max_body) {
                    Pushed::Kept => Some(self),
                    Pushed::TooLarge => self.give_up(),
                },
                Err(frame) => {
                    if let Ok(trailers) = frame.into_trailers() {
                        self.recording.push_trailers(trailers);
                    }
                    Some(self)
                }
            },
        }
    }

    /// Lets the first client have what is too large to be kept.
    fn give_up(mut self) -> Option<Self> {
        if let Some(lead) = self.lead.take() {
            self.store.pass(lead.key.clone());
            lead.land(Landing::NotForOthers);
        }
        // Without a client nobody wants it.
        let _ = self.rest.send(self.body);
        None
    }

    fn land(mut self, landing: Landing) -> Option<Self> {
        if let Some(lead) = self.lead.take() {
            lead.land(landing);
        }
        None
    }
}
