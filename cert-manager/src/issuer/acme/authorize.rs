//! Proving control of a name: which challenge, how it is answered, and what the authority makes of
//! it.
//!
//! The challenge that worked last for the name is tried first, then the others that the policy
//! allows. One that the authority refuses spoils its order (RFC 8555 section 7.1.6), so the next
//! one is tried by a new order, each at most once within an attempt.

mod choice;
mod txt;

use instant_acme::{
    AuthorizationHandle, AuthorizationStatus, ChallengeStatus, KeyAuthorization, Order, OrderStatus,
};

use super::AcmeIssuer;
use super::failure::Failure;
use super::http::Transport;
use super::tries::{STEP_TIMEOUT, retried};
use crate::challenge::{ACKNOWLEDGE_TIMEOUT, ChallengeType, Published, TlsAlpnAnswer};
use crate::dns::TxtRecord;
use crate::fail_point::FailPoint;
use crate::issuer::Request;
use crate::policy::Challenges;
use crate::record::Step;

use choice::{allowed, choose, offers};

/// What answers the challenges of an order.
#[derive(Debug, Default)]
pub(super) struct Proof {
    /// What was proven by; `None` where the authority asks for no proof.
    pub(super) challenge: Option<ChallengeType>,
    /// Whether the authority offers another one that may be used.
    has_alternative: bool,
    published: Vec<Published>,
    records: Vec<TxtRecord>,
}

/// Why an order came to nothing.
#[derive(Debug)]
pub(super) struct Setback {
    pub(super) failure: Failure,
    /// The challenge that the authority refused, so that another may be tried.
    pub(super) refused: Option<ChallengeType>,
    /// Whether the authority offers another one that may be used.
    pub(super) has_alternative: bool,
}

/// The challenges that the authority has refused within an attempt.
#[derive(Debug, Default)]
pub(super) struct Refusals(Vec<(ChallengeType, Failure)>);

impl AcmeIssuer {
    /// Answers the challenge of each authorization that is not valid yet, tells the authority, and
    /// waits until it is convinced. What answers is kept in `proof`, and must stay there until the
    /// certificate is fetched: an authority that was told twice, before and after a restart of this
    /// program, looks twice, and the second look must not fail.
    pub(super) async fn authorize(
        &self,
        request: &Request,
        order: &mut Order,
        proof: &mut Proof,
        refusals: &Refusals,
        transport: &Transport,
    ) -> Result<(), Setback> {
        self.publish_challenges(request, order, proof, refusals, transport)
            .await?;
        self.await_validation(order, transport)
            .await
            .map_err(|(failure, is_refused)| Setback {
                failure,
                refused: proof.challenge.filter(|_| is_refused),
                has_alternative: proof.has_alternative,
            })
    }

    /// Takes back what answered the challenges.
    pub(super) async fn withdraw(&self, request: &Request, proof: Proof) {
        drop(proof.published);
        for record in proof.records {
            if let Err(failure) = self.remove_record(&request.name, &record).await {
                tracing::warn!(
                    name = %request.name,
                    record = record.name,
                    ?failure,
                    "a challenge's TXT record may be left over; the next attempt removes it"
                );
            }
        }
    }

    /// Whether another challenge is left to try.
    pub(super) fn has_another(&self, request: &Request, refusals: &Refusals) -> bool {
        !refusals.left(&self.policy.challenges, request).is_empty()
    }

    async fn publish_challenges(
        &self,
        request: &Request,
        order: &mut Order,
        proof: &mut Proof,
        refusals: &Refusals,
        transport: &Transport,
    ) -> Result<(), Setback> {
        // All of them first: a repetition starts over, and what was fetched is not fetched again.
        retried!(Step::Order, transport, STEP_TIMEOUT, async {
            let mut authorizations = order.authorizations();
            while let Some(authorization) = authorizations.next().await {
                authorization?;
            }
            Ok(())
        })?;
        let types = refusals.left(&self.policy.challenges, request);
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization
                .map_err(|error| Failure::of_request(Step::Order, error, transport))?;
            match authorization.status {
                AuthorizationStatus::Pending => {}
                AuthorizationStatus::Valid => continue,
                _ => return Err(dead(&authorization, &types)),
            }
            let chosen = choose(&authorization, &types, &request.name)?;
            proof.has_alternative |= types
                .iter()
                .any(|other| *other != chosen && offers(&authorization, *other));
            let Some(mut challenge) = authorization.challenge(chosen.into()) else {
                continue;
            };
            let key_authorization = challenge.key_authorization();
            proof.challenge = Some(chosen);
            self.answer(request, chosen, &challenge.token, &key_authorization, proof)
                .await?;
            FailPoint::ChallengePublished.reached();
            if challenge.status != ChallengeStatus::Pending {
                // An earlier attempt has told the authority already.
                continue;
            }
            retried!(Step::Challenge, transport, STEP_TIMEOUT, async {
                challenge.set_ready().await
            })?;
            FailPoint::ChallengeTold.reached();
        }
        Ok(())
    }

    /// Returns once the challenge is answered, by every proxy or at the zone's name servers.
    async fn answer(
        &self,
        request: &Request,
        challenge: ChallengeType,
        token: &str,
        key_authorization: &KeyAuthorization,
        proof: &mut Proof,
    ) -> Result<(), Failure> {
        let board = &self.environment.challenges;
        let open = match challenge {
            ChallengeType::Http => board.publish(
                request.name.clone(),
                token.to_owned(),
                key_authorization.as_str().to_owned(),
            ),
            ChallengeType::TlsAlpn => {
                let digest = key_authorization.digest();
                let digest = digest.as_ref().try_into().map_err(|_| {
                    Failure::other(Step::Challenge, "the key authorization has no SHA-256")
                })?;
                let answer = TlsAlpnAnswer::new(&request.name, digest)?;
                board.publish_tls_alpn(request.name.clone(), answer)
            }
            ChallengeType::Dns => {
                let value = key_authorization.dns_value();
                return self.write_record(request, value, proof).await;
            }
        };
        open.acknowledged(ACKNOWLEDGE_TIMEOUT).await?;
        proof.published.push(open);
        Ok(())
    }

    /// Waits until the order is ready. An error comes with whether the authority has refused the
    /// challenge.
    async fn await_validation(
        &self,
        order: &mut Order,
        transport: &Transport,
    ) -> Result<(), (Failure, bool)> {
        let policy = self.polling();
        let polled = retried!(
            Step::Challenge,
            transport,
            self.environment.patience * 2,
            async { order.poll_ready(&policy).await }
        );
        match polled {
            Ok(OrderStatus::Ready) => Ok(()),
            Ok(_) => {
                let refusal = self.refused_challenge(order, transport).await;
                let failure = refusal
                    .unwrap_or_else(|| Failure::other(Step::Challenge, "the order became invalid"));
                Err((failure, true))
            }
            // What the order says is general; its challenge knows better.
            Err(failure) if failure.is_refusal() => {
                let refusal = self.refused_challenge(order, transport).await;
                Err((refusal.unwrap_or(failure), true))
            }
            Err(failure) => Err((failure, false)),
        }
    }

    /// What the authority says of the challenge that failed.
    async fn refused_challenge(&self, order: &mut Order, transport: &Transport) -> Option<Failure> {
        let problem = retried!(Step::Challenge, transport, STEP_TIMEOUT, async {
            let mut found = None;
            let mut authorizations = order.authorizations();
            while let Some(authorization) = authorizations.next().await {
                let mut authorization = authorization?;
                let state = authorization.refresh().await?;
                found = found.or_else(|| {
                    let mut challenges = state.challenges.iter();
                    challenges.find_map(|challenge| challenge.error.clone())
                });
            }
            Ok(found)
        })
        .ok()??;
        Some(Failure::of_problem(Step::Challenge, problem))
    }
}

impl Refusals {
    /// Keeps what the authority says of `challenge`.
    pub(super) fn push(&mut self, challenge: ChallengeType, failure: Failure) {
        self.0.push((challenge, failure));
    }

    /// All of them as one failure, the first before the others.
    pub(super) fn into_failure(self, request: &Request, directory_url: &str) -> Option<Failure> {
        let mut refusals = self.0.into_iter();
        let (challenge, failure) = refusals.next()?;
        let others = refusals
            .map(|(challenge, failure)| {
                let error = failure.into_error(&request.name, directory_url);
                format!("{challenge}: {}", error.message)
            })
            .collect();
        Some(failure.of_challenge(challenge, others))
    }

    /// The challenges that are left to try, in order.
    fn left(&self, policy: &Challenges, request: &Request) -> Vec<ChallengeType> {
        let mut types = allowed(policy, request.challenge);
        types.retain(|challenge| self.0.iter().all(|(refused, _)| refused != challenge));
        types
    }
}

impl From<Failure> for Setback {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            refused: None,
            has_alternative: false,
        }
    }
}

/// An authorization that cannot become valid any more.
fn dead(authorization: &AuthorizationHandle<'_>, types: &[ChallengeType]) -> Setback {
    let failed = authorization
        .challenges
        .iter()
        .find(|challenge| challenge.error.is_some());
    let of_type = |challenge: &instant_acme::Challenge| {
        types
            .iter()
            .copied()
            .find(|known| challenge.r#type == (*known).into())
    };
    let failure = match failed.and_then(|challenge| challenge.error.clone()) {
        Some(problem) => Failure::of_problem(Step::Challenge, problem),
        None => Failure::other(
            Step::Challenge,
            format!("the authorization is {:?}", authorization.status),
        ),
    };
    Setback {
        failure,
        refused: failed.and_then(of_type).or_else(|| types.first().copied()),
        // What a new order offers is not known.
        has_alternative: true,
    }
}
