//! Names to addresses, asked once for all that want to know at the same moment.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_util::future::{FutureExt as _, LocalBoxFuture, Shared};
use proto::sidecar::dns::Resolver;

/// How long an answer is used. An upstream that closes every connection after one response would
/// otherwise cost a query per request; a container that moved is noticed by the failure to connect
/// to it, which drops the answer at once.
const LIFETIME: Duration = Duration::from_secs(1);

/// More names than this are only reached by dial addresses that come from requests.
const PRUNE_ABOVE: usize = 64;

type Answer = Result<Rc<[IpAddr]>, Rc<io::Error>>;
type Lookup = Shared<LocalBoxFuture<'static, Answer>>;

/// The names that one worker looks up.
pub(super) struct Names {
    resolver: Resolver,
    lookups: RefCell<HashMap<Box<str>, (Instant, Lookup)>>,
}

impl Names {
    pub(super) fn new(resolver: Resolver) -> Self {
        Self {
            resolver,
            lookups: RefCell::default(),
        }
    }

    /// The addresses of `host`, IPv4 before IPv6.
    pub(super) async fn resolve(&self, host: &str) -> Answer {
        let lookup = self.lookup(host);
        let answer = lookup.await;
        if answer.is_err() {
            self.forget(host);
        }
        answer
    }

    /// Makes the next one to ask get a new answer.
    pub(super) fn forget(&self, host: &str) {
        self.lookups.borrow_mut().remove(host);
    }

    fn lookup(&self, host: &str) -> Lookup {
        let now = Instant::now();
        let mut lookups = self.lookups.borrow_mut();
        if let Some((started, lookup)) = lookups.get(host)
            && now.duration_since(*started) < LIFETIME
        {
            return lookup.clone();
        }
        if lookups.len() >= PRUNE_ABOVE {
            lookups.retain(|_, (started, _)| now.duration_since(*started) < LIFETIME);
        }
        let resolver = self.resolver.clone();
        let name = host.to_owned();
        let lookup = async move {
            match resolver.resolve(&name).await {
                Ok(addresses) => Ok(addresses.into()),
                Err(error) => Err(Rc::new(error)),
            }
        }
        .boxed_local()
        .shared();
        lookups.insert(host.into(), (now, lookup.clone()));
        lookup
    }
}
