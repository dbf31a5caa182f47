//! The upstreams of one `reverse_proxy`.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use upstream::Target;

use super::address;
use super::health::Check;
use super::state::{FailureLimit, UpstreamState};
use super::transport::Transport;
use crate::exchange::Exchange;
use crate::placeholder::Template;

/// So many addresses are kept at hand that placeholders gave; clients may be able to make up more.
const KEPT: usize = 256;

/// One upstream as configured.
#[derive(Debug)]
pub(crate) struct Upstream {
    /// The dial address as configured.
    pub(super) dial: Box<str>,
    place: Place,
    max_requests: Option<usize>,
    /// What asks after its health, where that is configured.
    check: Option<Arc<Check>>,
}

#[derive(Debug)]
enum Place {
    Dynamic(Box<Dynamic>),
    Fixed(Endpoint),
}

/// Where a request goes.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    pub(super) target: Arc<Target>,
    pub(super) state: Arc<UpstreamState>,
}

/// An address with placeholders.
pub(super) struct Dynamic {
    template: Template,
    transport: Transport,
    known: Mutex<HashMap<Box<str>, Endpoint>>,
}

impl Upstream {
    pub(super) fn fixed(
        dial: &str,
        endpoint: Endpoint,
        check: Option<Arc<Check>>,
        max_requests: Option<usize>,
    ) -> Self {
        Self {
            dial: dial.into(),
            place: Place::Fixed(endpoint),
            max_requests,
            check,
        }
    }

    pub(super) fn dynamic(dial: &str, dynamic: Dynamic, max_requests: Option<usize>) -> Self {
        Self {
            dial: dial.into(),
            place: Place::Dynamic(Box::new(dynamic)),
            max_requests,
            check: None,
        }
    }

    /// Where it is for this request.
    ///
    /// # Errors
    /// Says why the address that placeholders gave cannot be used.
    pub(super) fn endpoint(&self, exchange: &Exchange) -> Result<Endpoint, String> {
        match &self.place {
            Place::Dynamic(dynamic) => dynamic.endpoint(exchange),
            Place::Fixed(endpoint) => Ok(endpoint.clone()),
        }
    }

    /// Whether a request may be sent to it. What placeholders will give is not known here.
    pub(super) fn is_available(&self, limit: FailureLimit) -> bool {
        match &self.place {
            Place::Dynamic(_) => true,
            Place::Fixed(Endpoint { state, .. }) => {
                self.check.as_ref().is_none_or(|check| check.is_up())
                    && self.max_requests.is_none_or(|max| state.requests() < max)
                    && state.is_healthy(limit)
            }
        }
    }

    /// Requests in flight.
    pub(super) fn requests(&self) -> usize {
        self.state().map_or(0, UpstreamState::requests)
    }

    /// What is known of it, where its address is fixed.
    pub(super) fn state(&self) -> Option<&UpstreamState> {
        match &self.place {
            Place::Dynamic(_) => None,
            Place::Fixed(Endpoint { state, .. }) => Some(state),
        }
    }
}

impl Dynamic {
    pub(super) fn new(template: Template, transport: Transport) -> Self {
        Self {
            template,
            transport,
            known: Mutex::default(),
        }
    }

    fn endpoint(&self, exchange: &Exchange) -> Result<Endpoint, String> {
        let dial = self.template.expand(exchange);
        if let Some(endpoint) = self.known.lock().get(&*dial) {
            return Ok(endpoint.clone());
        }
        let address = address::parse(&dial).map_err(|error| error.to_string())?;
        let target = Target::new(self.transport.settings(address))
            .map_err(|error| proto::sidecar::error_chain::Chain(&error).to_string())?;
        let endpoint = Endpoint {
            target,
            state: UpstreamState::of(&dial),
        };
        let mut known = self.known.lock();
        if known.len() >= KEPT {
            known.clear();
        }
        known.insert(dial.into(), endpoint.clone());
        Ok(endpoint)
    }
}

impl fmt::Debug for Dynamic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dynamic")
            .field("template", &self.template)
            .finish_non_exhaustive()
    }
}
