//! Requests that are answered from the worker's own memory, or whose answers go there.

mod answer;

use std::borrow::Cow;
use std::rc::Rc;
use std::time::{Duration, Instant};

use http::header::{ACCEPT_ENCODING, CONTENT_LENGTH, SERVER};
use http::{HeaderValue, Method, Response, StatusCode};
use proto::file_request::{FILE_PATH, parse_file_path};
use proto::representation::Validators;
use tokio::time::timeout;

use super::fetch::{self, CONDITIONS, Conditions, Failure};
use crate::body::ResponseBody;
use crate::error::{Error, Side};
use crate::exchange::{Exchange, SERVER_NAME};
use crate::file_cache::{self, CachedFile, Found, LARGEST_BODY};
use crate::log_limit::LogLimit;

/// How long after the last moment in which a file was known to be current it may stand in for the
/// answer of a static-server that gives none: about the time that another one takes to start.
const MAY_STAND_IN: Duration = Duration::from_secs(60);
/// How long a static-server may think about whether a file is still the same, where the file could
/// stand in for the answer.
const CONFIRMATION: Duration = Duration::from_secs(2);

static STANDING_IN: LogLimit = LogLimit::new();

/// A request whose answer may be kept.
pub(super) struct Request<'a> {
    options: Cow<'a, HeaderValue>,
    varies: bool,
    /// Whether the client's conditions and ranges are left aside.
    is_whole: bool,
    has_conditions: bool,
    /// Position of the announced changes before anybody was asked; `None` while there are none, and
    /// nothing is kept.
    asked_at: Option<u64>,
    unconfirmed: Option<Unconfirmed>,
}

/// A file that is kept, and was current at some time.
struct Unconfirmed {
    file: Rc<CachedFile>,
    tag: HeaderValue,
    since: Instant,
}

/// What came from the static-server.
enum Fetched {
    /// What others can be given as well.
    Kept(Rc<CachedFile>),
    /// What is for this client.
    Response(Response<ResponseBody>),
}

impl<'a> Request<'a> {
    /// A request that the cache may answer, or `None`. `varies` says that the client's codings count;
    /// `is_whole` that its conditions do not.
    pub(super) fn new(
        exchange: &Exchange,
        method: &Method,
        options: Cow<'a, HeaderValue>,
        varies: bool,
        is_whole: bool,
    ) -> Option<Self> {
        let is_simple = *method == Method::GET
            // Else the client's own path, which a redirect would depend on, is another one than
            // that of the last client.
            && exchange.original.uri.path().ends_with(exchange.head.uri.path());
        if !is_simple {
            return None;
        }
        let headers = &exchange.head.headers;
        Some(Self {
            options,
            varies,
            is_whole,
            has_conditions: !is_whole && headers.keys().any(|name| CONDITIONS.contains(name)),
            asked_at: exchange.worker.files.borrow_mut().position(),
            unconfirmed: None,
        })
    }

    /// The answer, if it is known to be current.
    pub(super) fn lookup(&mut self, exchange: &Exchange) -> Option<Response<ResponseBody>> {
        let found = exchange
            .worker
            .files
            .borrow_mut()
            .lookup(self.key(exchange))?;
        match found {
            Found::Current(file) => Some(self.answer(exchange, &file)),
            Found::Unconfirmed(file, since) => {
                let tag = file.validators.etag_value.clone();
                self.unconfirmed = tag.map(|tag| Unconfirmed { file, tag, since });
                None
            }
        }
    }

    /// Asks the static-server, and keeps the answer if it is a whole, small file.
    ///
    /// # Errors
    /// When there is no such file, the static-server gives no answer, or the file breaks off.
    pub(super) async fn fetch(
        mut self,
        exchange: &mut Exchange,
        field: HeaderValue,
    ) -> Result<Response<ResponseBody>, Error> {
        if let Some(unconfirmed) = self.unconfirmed.take() {
            return self.confirm(unconfirmed, exchange, field).await;
        }
        let Some(asked_at) = self.asked_at.filter(|_| !self.has_conditions) else {
            let fetched = self.ask(exchange, field, self.conditions()).await;
            let fetched = fetched.map_err(|failure| failure.error)?;
            return Ok(self.response(exchange, fetched));
        };
        let key = self.key(exchange);
        let place = exchange.worker.flights.board(key, asked_at);
        let mut own = None;
        let landing = place.landing(async {
            match self.ask(exchange, field.clone(), self.conditions()).await {
                Ok(Fetched::Kept(file)) => Some(file),
                other => {
                    own = Some(other);
                    None
                }
            }
        });
        let fetched = match landing.await {
            Some(file) => Fetched::Kept(file),
            None => {
                drop(place);
                let own = match own {
                    Some(own) => own,
                    None => self.ask(exchange, field, self.conditions()).await,
                };
                own.map_err(|failure| failure.error)?
            }
        };
        Ok(self.response(exchange, fetched))
    }

    /// Asks whether a file is still the same, and answers with what is there now.
    async fn confirm(
        self,
        unconfirmed: Unconfirmed,
        exchange: &mut Exchange,
        field: HeaderValue,
    ) -> Result<Response<ResponseBody>, Error> {
        let Unconfirmed { file, tag, since } = unconfirmed;
        let may_stand_in = since.elapsed() < MAY_STAND_IN;
        let asked = self.ask(exchange, field.clone(), Conditions::Another(&tag));
        let fetched = match may_stand_in {
            true => match timeout(CONFIRMATION, asked).await {
                Ok(fetched) => fetched,
                Err(elapsed) => Err(Failure::silence(elapsed.to_string())),
            },
            false => asked.await,
        };
        match &fetched {
            Ok(Fetched::Response(response)) if response.status() == StatusCode::NOT_MODIFIED => {
                let key = self.key(exchange);
                let files = &exchange.worker.files;
                files.borrow_mut().confirm(self.asked_at, key, &file);
                return Ok(self.answer(exchange, &file));
            }
            Err(failure) if failure.is_silence && may_stand_in => {
                if let Some(suppressed) = STANDING_IN.permit() {
                    tracing::warn!(
                        path = file.file,
                        suppressed,
                        "the static-server does not answer; for {} s files that are kept in memory stand in",
                        MAY_STAND_IN.as_secs()
                    );
                }
                return Ok(self.answer(exchange, &file));
            }
            Ok(Fetched::Response(_))
            | Err(Failure {
                is_silence: false, ..
            }) => {
                let key = self.key(exchange);
                exchange.worker.files.borrow_mut().remove(key);
            }
            Ok(Fetched::Kept(_)) | Err(_) => {}
        }
        let fetched = match fetched.map_err(|failure| failure.error)? {
            // It was not asked with the client's own conditions.
            Fetched::Response(_) if self.has_conditions => {
                let asked = self.ask(exchange, field, Conditions::Clients).await;
                asked.map_err(|failure| failure.error)?
            }
            fetched => fetched,
        };
        Ok(self.response(exchange, fetched))
    }

    fn conditions(&self) -> Conditions<'static> {
        match self.is_whole {
            true => Conditions::Whole,
            false => Conditions::Clients,
        }
    }

    async fn ask(
        &self,
        exchange: &mut Exchange,
        field: HeaderValue,
        conditions: Conditions<'_>,
    ) -> Result<Fetched, Failure> {
        let mut response = fetch::file(exchange, Method::GET, field, conditions).await?;
        let file = response.headers_mut().remove(FILE_PATH);
        let file = file.and_then(|file| parse_file_path(file.as_bytes()));
        let length = response.headers().get(CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        let (Some(file), Some(length @ 0..=LARGEST_BODY), StatusCode::OK) =
            (file, length, response.status())
        else {
            return Ok(Fetched::Response(response));
        };
        let (mut head, body) = response.into_parts();
        // So that answers need not find room for it.
        head.headers.insert(SERVER, SERVER_NAME);
        let file = Rc::new(CachedFile {
            validators: Validators::of_response(&head.headers),
            headers: head.headers,
            body: body.into_bytes(length).await.map_err(broken)?,
            file,
        });
        let key = self.key(exchange);
        let mut files = exchange.worker.files.borrow_mut();
        match self.asked_at {
            Some(asked_at) => files.insert(asked_at, key, Rc::clone(&file)),
            None => files.remove(key),
        }
        Ok(Fetched::Kept(file))
    }

    fn response(&self, exchange: &Exchange, fetched: Fetched) -> Response<ResponseBody> {
        match fetched {
            Fetched::Kept(file) => self.answer(exchange, &file),
            Fetched::Response(response) => response,
        }
    }

    fn answer(&self, exchange: &Exchange, file: &CachedFile) -> Response<ResponseBody> {
        let mut response = match self.has_conditions {
            true => answer::selected(&exchange.head.headers, file),
            false => answer::whole(file),
        };
        if !exchange.has_default_server_name() {
            response.headers_mut().remove(SERVER);
        }
        response
    }

    fn key<'k>(&'k self, exchange: &'k Exchange) -> file_cache::Request<'k> {
        let accept_encoding = match exchange.head.headers.get(ACCEPT_ENCODING) {
            Some(value) if self.varies => value.as_bytes(),
            _ => b"",
        };
        file_cache::Request {
            options: &self.options,
            path: exchange.head.uri.path(),
            accept_encoding,
        }
    }
}

fn broken(error: impl ToString) -> Failure {
    let error = Error::new(
        StatusCode::BAD_GATEWAY,
        Side::Upstream,
        "a file broke off on its way",
    )
    .with_source(error.to_string());
    Failure {
        error,
        is_silence: false,
    }
}
