//! Answers to challenges: those that came over the stream, and asking cert-manager for one that did
//! not.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use downstream::{CertificateError, CertificateTable, ChallengeCertificate};
use proto::certs::v1::challenge::Answer;
use proto::certs::v1::delivery_client::DeliveryClient;
use proto::certs::v1::{Challenge, GetChallengeRequest, TlsAlpnAnswer};
use proto::sidecar::error_chain::Chain;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tonic::transport::Channel;

use crate::edge::{ChallengeSource, Challenges};
use crate::log_limit::LogLimit;

/// How long a client's request waits for cert-manager.
const PATIENCE: Duration = Duration::from_secs(3);

/// A challenge that is being answered.
#[derive(Debug)]
pub(super) enum OpenChallenge {
    /// Over HTTP.
    Http {
        /// The last segment of the path.
        token: String,
    },
    /// In handshakes.
    TlsAlpn {
        /// The name that is asked for.
        server_name: String,
        /// What it is answered with.
        certificate: ChallengeCertificate,
    },
}

impl OpenChallenge {
    /// Answers `challenge` from now on, at every worker. `None` for one that cannot be answered.
    pub(super) fn begin(
        challenge: &Challenge,
        answering: &Challenges,
        table: &CertificateTable,
    ) -> Option<Self> {
        let name = &challenge.name;
        match &challenge.answer {
            Some(Answer::Http(answer)) => {
                tracing::info!(
                    name,
                    "answering an HTTP-01 challenge: port 80 of this name must reach this proxy"
                );
                answering.insert(answer.token.clone(), answer.key_authorization.clone());
                Some(Self::Http {
                    token: answer.token.clone(),
                })
            }
            Some(Answer::TlsAlpn(answer)) => {
                tracing::info!(
                    name,
                    "answering a TLS-ALPN-01 challenge: port 443 of this name must reach this proxy"
                );
                let certificate = match certificate(answer) {
                    Ok(certificate) => certificate,
                    Err(error) => {
                        tracing::error!(
                            name,
                            error = %Chain(&error),
                            "cert-manager sent a challenge's certificate that cannot be used"
                        );
                        return None;
                    }
                };
                let server_name = answer.server_name.to_ascii_lowercase();
                table.challenges().insert(&server_name, certificate.clone());
                Some(Self::TlsAlpn {
                    server_name,
                    certificate,
                })
            }
            None => {
                tracing::warn!(
                    name,
                    "cert-manager sent a challenge of a kind not known here: is it of the same \
                     version?"
                );
                None
            }
        }
    }

    /// Answers it no more.
    pub(super) fn end(self, answering: &Challenges, table: &CertificateTable) {
        match self {
            Self::Http { token } => answering.remove(&token),
            Self::TlsAlpn {
                server_name,
                certificate,
            } => table.challenges().remove(&server_name, &certificate),
        }
    }
}

fn certificate(answer: &TlsAlpnAnswer) -> Result<ChallengeCertificate, CertificateError> {
    let certificate = CertificateDer::from(answer.certificate.clone());
    let key = PrivatePkcs8KeyDer::from(answer.private_key.clone());
    ChallengeCertificate::new(certificate, PrivateKeyDer::Pkcs8(key))
}

/// Asks cert-manager, which knows of every open challenge.
#[derive(Clone)]
pub struct AskCertManager {
    client: DeliveryClient<Channel>,
}

impl AskCertManager {
    /// Asks over `client`.
    pub fn new(client: DeliveryClient<Channel>) -> Self {
        Self { client }
    }
}

impl ChallengeSource for AskCertManager {
    fn key_authorization(
        &self,
        host: &str,
        token: &str,
    ) -> Pin<Box<dyn Future<Output = Option<String>> + Send>> {
        let mut client = self.client.clone();
        let (host, request) = (
            host.to_owned(),
            GetChallengeRequest {
                token: token.to_owned(),
            },
        );
        Box::pin(async move {
            match tokio::time::timeout(PATIENCE, client.get_challenge(request)).await {
                Ok(Ok(response)) => Some(response.into_inner().key_authorization),
                Ok(Err(status)) if status.code() == tonic::Code::NotFound => {
                    tracing::debug!(host, "cert-manager knows no such challenge");
                    None
                }
                Ok(Err(status)) => {
                    complain(&host, status.message());
                    None
                }
                Err(_) => {
                    complain(&host, "no answer in time");
                    None
                }
            }
        })
    }
}

/// Anybody can send such requests, so they must not fill the log.
fn complain(host: &str, reason: &str) {
    static LIMIT: LogLimit = LogLimit::new();
    if let Some(suppressed) = LIMIT.permit() {
        tracing::warn!(
            host,
            reason,
            suppressed,
            "cannot ask cert-manager for a challenge's answer"
        );
    }
}

impl fmt::Debug for AskCertManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AskCertManager").finish_non_exhaustive()
    }
}
