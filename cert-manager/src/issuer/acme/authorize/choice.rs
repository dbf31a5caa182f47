//! Which challenge to answer.

use instant_acme::{AuthorizationHandle, ChallengeStatus};

use crate::challenge::ChallengeType;
use crate::issuer::acme::failure::Failure;
use crate::name::Name;
use crate::policy::Challenges;
use crate::record::Step;

/// The challenges that `policy` allows, the one that worked last before the others. Caddy: where
/// there is a DNS provider, it is used alone.
pub(super) fn allowed(
    policy: &Challenges,
    worked_last: Option<ChallengeType>,
) -> Vec<ChallengeType> {
    if policy.dns.is_some() {
        return vec![ChallengeType::Dns];
    }
    let mut types = Vec::with_capacity(2);
    if !policy.http_disabled {
        types.push(ChallengeType::Http);
    }
    if !policy.tls_alpn_disabled {
        types.push(ChallengeType::TlsAlpn);
    }
    types.sort_by_key(|challenge| Some(*challenge) != worked_last);
    types
}

/// The challenge to answer: the one that the authority was told to look at by an earlier attempt,
/// or else the first of `types` that it offers.
pub(super) fn choose(
    authorization: &AuthorizationHandle<'_>,
    types: &[ChallengeType],
    name: &Name,
) -> Result<ChallengeType, Failure> {
    let offers = |wanted: ChallengeType, is_begun: bool| {
        authorization.challenges.iter().any(|challenge| {
            challenge.r#type == wanted.into()
                && (!is_begun || challenge.status == ChallengeStatus::Processing)
        })
    };
    let begun = types.iter().find(|challenge| offers(**challenge, true));
    let chosen = begun.or_else(|| types.iter().find(|challenge| offers(**challenge, false)));
    chosen
        .copied()
        .ok_or_else(|| none_offered(authorization, types, name))
}

pub(super) fn offers(authorization: &AuthorizationHandle<'_>, wanted: ChallengeType) -> bool {
    let mut challenges = authorization.challenges.iter();
    challenges.any(|challenge| challenge.r#type == wanted.into())
}

fn none_offered(
    authorization: &AuthorizationHandle<'_>,
    types: &[ChallengeType],
    name: &Name,
) -> Failure {
    if types.is_empty() {
        return Failure::explained(
            Step::Challenge,
            format!("every challenge is disabled for {name}"),
            "remove `disable_http_challenge` or `disable_tlsalpn_challenge`, or name a DNS \
             provider with `dns`",
        );
    }
    let offered: Vec<String> = authorization
        .challenges
        .iter()
        .map(|challenge| offered_type(&challenge.r#type))
        .collect();
    let types: Vec<String> = types.iter().map(ToString::to_string).collect();
    Failure::explained(
        Step::Challenge,
        format!(
            "the authority offers {} for {name}, of which none can be used: {} is left by the \
             Caddyfile",
            offered.join(", "),
            types.join(", ")
        ),
        "allow another challenge in `issuer acme`, or name a DNS provider with `dns`",
    )
}

fn offered_type(kind: &instant_acme::ChallengeType) -> String {
    let known = [
        ChallengeType::Dns,
        ChallengeType::Http,
        ChallengeType::TlsAlpn,
    ];
    match kind {
        instant_acme::ChallengeType::Unknown(name) => name.clone(),
        kind => known
            .into_iter()
            .find(|known| *kind == (*known).into())
            .map_or_else(|| format!("{kind:?}"), |known| known.to_string()),
    }
}

impl From<ChallengeType> for instant_acme::ChallengeType {
    fn from(challenge: ChallengeType) -> Self {
        match challenge {
            ChallengeType::Dns => Self::Dns01,
            ChallengeType::Http => Self::Http01,
            ChallengeType::TlsAlpn => Self::TlsAlpn01,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_worked_last_comes_first() {
        use ChallengeType::{Dns, Http, TlsAlpn};
        let any = Challenges::default();
        assert_eq!(allowed(&any, None), [Http, TlsAlpn]);
        assert_eq!(allowed(&any, Some(Http)), [Http, TlsAlpn]);
        assert_eq!(allowed(&any, Some(TlsAlpn)), [TlsAlpn, Http]);
        assert_eq!(allowed(&any, Some(Dns)), [Http, TlsAlpn]);
        let no_http = Challenges {
            http_disabled: true,
            ..Challenges::default()
        };
        assert_eq!(allowed(&no_http, Some(Http)), [TlsAlpn]);
        let none = Challenges {
            tls_alpn_disabled: true,
            ..no_http
        };
        assert_eq!(allowed(&none, None), []);
    }
}
