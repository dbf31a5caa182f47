//! Opening an order, or finding again one that was opened before a crash.
//!
//! The certificate key is stored before the authority is asked, and the order's URL as soon as it
//! has answered. A crash in between leaves a key without a URL: then the account's own list of
//! orders is looked at, where the authority has one (RFC 8555 section 7.1.2.1).

use http::header::LOCATION;
use instant_acme::{Error, Order, OrderStatus};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::AcmeIssuer;
use super::failure::Failure;
use super::http::Transport;
use super::link;
use super::requests::{Directory, Registered};
use super::tries::{STEP_TIMEOUT, retried};
use crate::certificate::{Certificate, PrivateKey};
use crate::fail_point::FailPoint;
use crate::issuer::Request;
use crate::record::Step;
use crate::store::{self, OrderTerms};

/// An order that was left open longer than this is not gone on with; authorities keep them for
/// about a week.
const ORDER_LIFETIME: SignedDuration = SignedDuration::from_hours(6 * 24);

/// How many orders at either end of an account's list are looked at for one that was lost: which of
/// them is the newest is not said anywhere.
const MOST_LISTED: usize = 10;
/// How many pages of the list are read.
const MOST_PAGES: usize = 30;

impl AcmeIssuer {
    /// The order of an earlier attempt if it can still lead to a new certificate, else a new one;
    /// with the key that its certificate is to be for.
    pub(super) async fn find_or_open(
        &self,
        request: &Request,
        account: &Registered,
        transport: &Transport,
    ) -> Result<(Order, PrivateKey), Failure> {
        let storage = &self.environment.storage;
        let stored = storage.certificate(&request.name).await?;
        let Some(mut kept) = self.left_open(request, stored.as_ref()).await? else {
            let begun = self.begin(request).await?;
            return self.open(begun, request, stored, account, transport).await;
        };
        if let Some(url) = &kept.url {
            return match find(url, account, transport).await? {
                Some(order) => {
                    tracing::info!(name = %request.name, order = url, "going on with an open order");
                    Ok((order, kept.key))
                }
                None => {
                    let begun = self.begin(request).await?;
                    self.open(begun, request, stored, account, transport).await
                }
            };
        }
        // The authority may have been asked, and its answer lost.
        let Some(url) = find_lost(request, account, transport).await? else {
            return self.open(kept, request, stored, account, transport).await;
        };
        kept.url = Some(url.clone());
        storage.put_order(&kept).await?;
        match find(&url, account, transport).await? {
            Some(order) => {
                tracing::info!(name = %request.name, order = url, "found an order that was lost");
                Ok((order, kept.key))
            }
            None => self.open(kept, request, stored, account, transport).await,
        }
    }

    /// What is kept of an earlier attempt, if it is for the same.
    async fn left_open(
        &self,
        request: &Request,
        stored: Option<&Certificate>,
    ) -> Result<Option<store::Order>, Failure> {
        let storage = &self.environment.storage;
        let kept = storage.order(&self.id, &request.name).await?;
        Ok(kept.filter(|kept| {
            let age = self.environment.clock.now().duration_since(kept.created_at);
            let is_key = |key: &PrivateKey| key.secret_der() == kept.key.secret_der();
            let has_key = match &request.key {
                Some(key) => is_key(key),
                // The key of the present certificate is not used again unasked.
                None => !stored.is_some_and(|stored| is_key(&stored.key)),
            };
            age <= ORDER_LIFETIME
                && kept.replaces == request.replaces
                && kept.terms == self.terms(request)
                && has_key
        }))
    }

    /// Stores the key that the certificate will be for.
    async fn begin(&self, request: &Request) -> Result<store::Order, Failure> {
        let storage = &self.environment.storage;
        let earlier = storage.order(&self.id, &request.name).await?;
        let begun = store::Order {
            name: request.name.clone(),
            issuer: self.id.clone(),
            url: None,
            key: match &request.key {
                Some(key) => key.clone(),
                None => PrivateKey::generate(request.key_type)?,
            },
            created_at: self.environment.clock.now(),
            replaces: request.replaces.clone(),
            terms: self.terms(request),
            // Still to be removed.
            txt_records: earlier.map(|order| order.txt_records).unwrap_or_default(),
        };
        storage.put_order(&begun).await?;
        FailPoint::CertificateKeyStored.reached();
        Ok(begun)
    }

    fn terms(&self, request: &Request) -> OrderTerms {
        OrderTerms {
            key_type: request.key_type,
            profile: self.policy.profile.clone(),
            lifetime: self.policy.lifetime,
        }
    }

    async fn open(
        &self,
        mut begun: store::Order,
        request: &Request,
        stored: Option<Certificate>,
        account: &Registered,
        transport: &Transport,
    ) -> Result<(Order, PrivateKey), Failure> {
        self.check_profile(&account.directory)?;
        let mut payload = self.payload(request);
        let is_replaced =
            |stored: &Certificate| Some(&stored.facts.serial) == request.replaces.as_ref();
        if account.directory.renewal_info.is_some()
            && let Some(id) = stored
                .filter(is_replaced)
                .and_then(|stored| self.identifier(&stored))
        {
            payload["replaces"] = json!(id);
        }
        let url = self.send_order(&mut payload, account, transport).await?;
        FailPoint::OrderOpened.reached();
        begun.url = Some(url.clone());
        self.environment.storage.put_order(&begun).await?;
        FailPoint::OrderStored.reached();
        tracing::info!(name = %request.name, order = url, "opened an order");
        let order = retried!(Step::Order, transport, STEP_TIMEOUT, async {
            account.acme.order(url.clone()).await
        })?;
        Ok((order, begun.key))
    }

    fn payload(&self, request: &Request) -> Value {
        let kind = match request.name.as_address() {
            Some(_) => "ip",
            None => "dns",
        };
        let mut payload = json!({ "identifiers": [{ "type": kind, "value": request.name }] });
        if let Some(profile) = &self.policy.profile {
            payload["profile"] = json!(profile);
        }
        if let Some(not_after) = self.not_after() {
            payload["notAfter"] = json!(not_after.to_string());
        }
        payload
    }

    /// The end of validity to ask for, in whole seconds.
    fn not_after(&self) -> Option<Timestamp> {
        let not_after = self.environment.clock.now() + self.policy.lifetime?;
        Timestamp::from_second(not_after.as_second()).ok()
    }

    /// Asks for an order, a second time without what it replaces where the authority does not like
    /// that (RFC 9773 section 5). Returns its URL.
    async fn send_order(
        &self,
        payload: &mut Value,
        account: &Registered,
        transport: &Transport,
    ) -> Result<String, Failure> {
        let url = &account.directory.new_order;
        let mut answer = account
            .post(Step::Order, transport, url, Some(payload))
            .await;
        if let Err(failure) = &answer
            && (failure.is_problem("alreadyReplaced") || failure.is_problem("malformed"))
            && let Some(replaces) = payload
                .as_object_mut()
                .and_then(|map| map.remove("replaces"))
        {
            tracing::info!(
                %replaces,
                ?failure,
                "the authority takes no order in place of that certificate; asking for a plain one"
            );
            answer = account
                .post(Step::Order, transport, url, Some(payload))
                .await;
        }
        let answer = answer.map_err(|failure| self.explain_lifetime(failure))?;
        let state: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        if self.policy.lifetime.is_some() && state["notAfter"].is_null() {
            tracing::warn!(
                directory = self.policy.directory_url,
                "the authority passes over the lifetime that the policy asks for"
            );
        }
        answer
            .header(LOCATION)
            .map(ToOwned::to_owned)
            .ok_or_else(|| {
                let error = Error::Str("no Location of the order");
                Failure::of_request(Step::Order, error, transport)
            })
    }

    /// Most public authorities refuse every lifetime but their own.
    fn explain_lifetime(&self, failure: Failure) -> Failure {
        if self.policy.lifetime.is_some() && failure.is_problem("malformed") {
            failure.with_hint(
                "many authorities let nobody choose a lifetime: leave `lifetime` out, or choose a \
                 `profile` of the authority that has it",
            )
        } else {
            failure
        }
    }

    /// Checks that the authority has the profile, so that it is not asked in vain.
    fn check_profile(&self, directory: &Directory) -> Result<(), Failure> {
        let Some(wanted) = &self.policy.profile else {
            return Ok(());
        };
        let profiles = &directory.meta.profiles;
        if profiles.contains_key(wanted) {
            return Ok(());
        }
        let known: Vec<_> = profiles.keys().map(String::as_str).collect();
        let hint = if known.is_empty() {
            "leave `profile` out".to_owned()
        } else {
            format!(
                "correct `profile` to one of {}, or leave it out",
                known.join(", ")
            )
        };
        let message = format!("the authority has no profile `{wanted}`");
        Err(Failure::setting(Step::Order, message, hint))
    }
}

/// The order at `url`; `None` when it cannot lead to a certificate any more.
async fn find(
    url: &str,
    account: &Registered,
    transport: &Transport,
) -> Result<Option<Order>, Failure> {
    let found = retried!(Step::Order, transport, STEP_TIMEOUT, async {
        account.acme.order(url.to_owned()).await
    });
    match found {
        Ok(mut order) => Ok((order.state().status != OrderStatus::Invalid).then_some(order)),
        // The authority does not know it any more; Pebble says so without a problem document.
        Err(failure) if failure.is_missing() && !failure.is_unknown_account() => Ok(None),
        Err(failure) if failure.is_unknown_account() || !failure.is_refusal() => Err(failure),
        Err(_) => Ok(None),
    }
}

/// The URL of an order for the name alone that is still open, among those that the account lists.
async fn find_lost(
    request: &Request,
    account: &Registered,
    transport: &Transport,
) -> Result<Option<String>, Failure> {
    match search(request, account, transport).await {
        Err(failure) if failure.is_refusal() && !failure.is_unknown_account() => {
            tracing::info!(
                name = %request.name,
                ?failure,
                "the authority does not list the orders of the account"
            );
            Ok(None)
        }
        other => other,
    }
}

async fn search(
    request: &Request,
    account: &Registered,
    transport: &Transport,
) -> Result<Option<String>, Failure> {
    let state = look(account.acme.id(), account, transport).await?;
    // Optional, and left out by some authorities, Let's Encrypt among them.
    let Some(list) = state["orders"].as_str() else {
        return Ok(None);
    };
    let listed = list_orders(list, account, transport).await?;
    let last = listed.iter().rev().take(MOST_LISTED);
    let first = listed.iter().take(listed.len().saturating_sub(MOST_LISTED));
    for url in last.chain(first.take(MOST_LISTED)) {
        if is_open_for(&look(url, account, transport).await?, request) {
            return Ok(Some(url.clone()));
        }
    }
    Ok(None)
}

/// The orders of a list that may have several pages.
async fn list_orders(
    url: &str,
    account: &Registered,
    transport: &Transport,
) -> Result<Vec<String>, Failure> {
    let mut found = Vec::new();
    let mut next = Some(url.to_owned());
    for _ in 0..MOST_PAGES {
        let Some(url) = next.take() else { break };
        let answer = account.post(Step::Order, transport, &url, None).await?;
        let page: Value = serde_json::from_slice(&answer.body)
            .map_err(|error| Failure::of_request(Step::Order, error.into(), transport))?;
        let urls = page["orders"].as_array().into_iter().flatten();
        found.extend(urls.filter_map(Value::as_str).map(ToOwned::to_owned));
        next = link::targets(&url, &answer.headers, "next")
            .into_iter()
            .next();
    }
    Ok(found)
}

/// What is at `url`, as it came.
async fn look(url: &str, account: &Registered, transport: &Transport) -> Result<Value, Failure> {
    let answer = account.post(Step::Order, transport, url, None).await?;
    serde_json::from_slice(&answer.body)
        .map_err(|error| Failure::of_request(Step::Order, error.into(), transport))
}

fn is_open_for(order: &Value, request: &Request) -> bool {
    let is_open = matches!(order["status"].as_str(), Some("pending" | "ready"));
    let identifiers = order["identifiers"].as_array().map(Vec::as_slice);
    let is_for = match identifiers {
        Some([identifier]) => identifier["value"] == json!(request.name),
        _ => false,
    };
    is_open && is_for
}
