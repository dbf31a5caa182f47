//! Responses on their way into the cache, so that what many ask for at once is fetched once.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use tokio::sync::OnceCell;

use super::{CachedFile, Key, Request};

/// What one worker is fetching.
#[derive(Debug, Default)]
pub(crate) struct Flights(Rc<RefCell<HashMap<Key, Rc<Flight>>>>);

/// A response on its way.
#[derive(Debug)]
struct Flight {
    /// The position of the announced changes when it was asked for.
    asked_at: u64,
    /// `None` where it turned out to be nothing that others can be given.
    landed: OnceCell<Option<Rc<CachedFile>>>,
}

/// A place in a flight.
#[derive(Debug)]
pub(crate) struct Place {
    flights: Rc<RefCell<HashMap<Key, Rc<Flight>>>>,
    key: Key,
    flight: Rc<Flight>,
}

impl Flights {
    /// A place in the flight for `request`. One that began before a change is joined by nobody.
    pub(crate) fn board(&self, request: Request<'_>, asked_at: u64) -> Place {
        let mut flights = self.0.borrow_mut();
        let key = Key::from(request);
        let known = flights.get(&key);
        let flight = match known.filter(|flight| flight.asked_at == asked_at) {
            Some(flight) => Rc::clone(flight),
            None => {
                let flight = Rc::new(Flight {
                    asked_at,
                    landed: OnceCell::new(),
                });
                flights.insert(key.clone(), Rc::clone(&flight));
                flight
            }
        };
        Place {
            flights: Rc::clone(&self.0),
            key,
            flight,
        }
    }
}

impl Place {
    /// The response that others can be given as well, which `fetch` gets if nobody does already. If
    /// whoever does goes away, another one's `fetch` takes over. `None` where each must ask itself.
    pub(crate) async fn landing(
        &self,
        fetch: impl Future<Output = Option<Rc<CachedFile>>>,
    ) -> Option<Rc<CachedFile>> {
        self.flight.landed.get_or_init(|| fetch).await.clone()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        /// The map's, and this one.
        const LAST: usize = 2;

        let mut flights = self.flights.borrow_mut();
        let is_over = self.flight.landed.initialized() || Rc::strong_count(&self.flight) == LAST;
        let known = flights.get(&self.key);
        if is_over && known.is_some_and(|known| Rc::ptr_eq(known, &self.flight)) {
            flights.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::pending;

    use bytes::Bytes;
    use futures_util::FutureExt as _;
    use futures_util::future::join3;
    use http::{HeaderMap, HeaderValue};
    use proto::representation::Validators;
    use tokio::task::yield_now;

    use super::*;
    use crate::testing::run;

    static OPTIONS: HeaderValue = HeaderValue::from_static("root=\"/srv/static\"");
    const CSS: Request<'static> = Request {
        options: &OPTIONS,
        path: "/app.css",
        accept_encoding: b"",
    };

    fn file() -> Rc<CachedFile> {
        Rc::new(CachedFile {
            headers: HeaderMap::new(),
            validators: Validators::default(),
            body: Bytes::from_static(b"body"),
            file: "/srv/static/app.css".to_owned(),
        })
    }

    #[test]
    fn one_fetches_for_all() {
        run(async {
            let (flights, asked) = (Flights::default(), Cell::new(0));
            let get = async || {
                let place = flights.board(CSS, 1);
                let fetch = async {
                    asked.set(asked.get() + 1);
                    yield_now().await;
                    Some(file())
                };
                place.landing(fetch).await.unwrap()
            };
            let (first, second, third) = join3(get(), get(), get()).await;
            assert_eq!(asked.get(), 1);
            assert!(Rc::ptr_eq(&first, &second) && Rc::ptr_eq(&second, &third));
            assert!(flights.0.borrow().is_empty());
            get().await;
            assert_eq!(asked.get(), 2, "what landed is not a flight");
        });
    }

    #[test]
    fn who_goes_away_in_the_lead_fails_nobody() {
        run(async {
            let flights = Flights::default();
            let (first, second) = (flights.board(CSS, 1), flights.board(CSS, 1));
            let mut lead = Box::pin(first.landing(pending()));
            assert!((&mut lead).now_or_never().is_none());
            let mut follower = Box::pin(second.landing(async { Some(file()) }));
            assert!((&mut follower).now_or_never().is_none());
            drop(lead);
            drop(first);
            assert!(follower.await.is_some());
            drop(second);
            assert!(flights.0.borrow().is_empty());
        });
    }

    #[test]
    fn when_all_go_away_nothing_stays() {
        run(async {
            let flights = Flights::default();
            let place = flights.board(CSS, 1);
            let mut lead = Box::pin(place.landing(pending()));
            assert!((&mut lead).now_or_never().is_none());
            drop(lead);
            drop(place);
            assert!(flights.0.borrow().is_empty());
        });
    }

    #[test]
    fn what_is_not_for_others_is_waited_for_once() {
        run(async {
            let flights = Flights::default();
            let (first, second) = (flights.board(CSS, 1), flights.board(CSS, 1));
            assert!(first.landing(async { None }).await.is_none());
            assert!(second.landing(async { Some(file()) }).await.is_none());
        });
    }

    #[test]
    fn nobody_joins_what_was_asked_before_a_change() {
        run(async {
            let flights = Flights::default();
            let before = flights.board(CSS, 1);
            let mut old = Box::pin(before.landing(pending()));
            assert!((&mut old).now_or_never().is_none());
            let after = flights.board(CSS, 2);
            assert!(after.landing(async { Some(file()) }).await.is_some());
            drop(old);
            drop(before);
            let again = flights.board(CSS, 2);
            assert!(Rc::ptr_eq(&again.flight, &after.flight));
        });
    }
}
