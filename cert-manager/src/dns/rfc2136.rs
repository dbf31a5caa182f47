//! Dynamic update (RFC 2136) of the zone's primary name server, signed (RFC 8945).

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hickory_proto::op::update_message::{append, delete_by_rdata};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::rdata::tsig::{TsigAlgorithm, TsigError};
use hickory_proto::rr::{Name, RData, RecordSet, RecordType, TSigner};

use super::lookup::Lookup;
use super::{DnsError, Provider, TxtRecord, parse_name, wire};
use crate::clock::Clock;
use crate::policy::Secret;

/// How much the clocks of both sides may differ, in seconds (RFC 8945 section 10).
const FUDGE: u16 = 300;

/// What an update does with a value.
#[derive(Clone, Copy, Debug)]
enum Change {
    Add { ttl: u32 },
    Remove,
}

/// Updates the zone at one server.
pub(super) struct Rfc2136 {
    server: String,
    signer: Option<TSigner>,
    lookup: Lookup,
    clock: Arc<dyn Clock>,
}

/// What signs updates; `None` without a key name.
///
/// # Errors
/// When the algorithm is not supported, or the key malformed.
pub(super) fn signer(
    key_name: &str,
    algorithm: &str,
    key: &Secret,
) -> Result<Option<TSigner>, DnsError> {
    if key_name.is_empty() {
        return Ok(None);
    }
    let algorithm = match algorithm
        .trim_end_matches('.')
        .to_ascii_lowercase()
        .as_str()
    {
        "hmac-sha256" => TsigAlgorithm::HmacSha256,
        "hmac-sha384" => TsigAlgorithm::HmacSha384,
        "hmac-sha512" => TsigAlgorithm::HmacSha512,
        other => {
            return Err(DnsError::new(format!(
                "keys of the algorithm `{other}` are not supported"
            ))
            .with_hint(
                "make a key for `hmac-sha256`, `hmac-sha384` or `hmac-sha512` and name it \
                         in `key_alg`",
            ));
        }
    };
    // Says nothing of the key itself, which must not be seen.
    let bytes = STANDARD.decode(key.reveal().trim()).map_err(|_| {
        DnsError::new(format!(
            "the key `{key_name}` for DNS updates is not base64"
        ))
        .with_hint("correct `key` of `dns rfc2136`, as `tsig-keygen` or `keymgr` prints it")
    })?;
    let signer = TSigner::new(bytes, algorithm, parse_name(key_name)?, FUDGE)
        .map_err(|error| DnsError::new(format!("the key `{key_name}` cannot be used: {error}")))?;
    Ok(Some(signer))
}

impl Rfc2136 {
    pub(super) fn new(
        server: String,
        signer: Option<TSigner>,
        lookup: Lookup,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            server,
            signer,
            lookup,
            clock,
        }
    }

    async fn update(&self, record: &TxtRecord, change: Change) -> Result<(), DnsError> {
        let addresses = self.lookup.addresses(&self.server).await.map_err(|error| {
            DnsError::new(format!(
                "the name server `{}` cannot be used: {error}",
                self.server
            ))
            .with_hint("correct `server` of `dns rfc2136`")
        })?;
        let name = parse_name(&record.name)?;
        let mut silent = DnsError::new(format!("the name server `{}` has no address", self.server));
        for address in addresses {
            let zone = match self.lookup.zone_at(address, &name).await {
                Some(zone) => zone,
                None => self.lookup.zone(&name).await?,
            };
            match self
                .send(address, &name, &zone, &record.value, change)
                .await
            {
                Ok(outcome) => return outcome,
                Err(error) => silent = error,
            }
        }
        Err(silent)
    }

    /// Sends an update. The inner result is the server's word; the outer error is its silence.
    async fn send(
        &self,
        server: SocketAddr,
        name: &Name,
        zone: &Name,
        value: &str,
        change: Change,
    ) -> Result<Result<(), DnsError>, DnsError> {
        let failed = |error: String| {
            DnsError::new(format!("the update of {zone} at {server} failed: {error}"))
        };
        let mut message = update_message(name, zone, value, change);
        let now = u64::try_from(self.clock.now().as_second()).unwrap_or_default();
        let mut verifier = match &self.signer {
            Some(signer) => message
                .finalize(signer, now)
                .map_err(|error| failed(error.to_string()))?,
            None => None,
        };
        let bytes = message
            .to_vec()
            .map_err(|error| failed(error.to_string()))?;
        let answer = wire::by_stream(server, &bytes).await.map_err(|error| {
            failed(error.to_string()).with_hint(
                "is this the zone's primary name server, and can this container reach it over TCP?",
            )
        })?;
        let parsed = Message::from_vec(&answer).map_err(|error| failed(error.to_string()))?;
        if parsed.response_code != ResponseCode::NoError {
            return Ok(Err(self.refused(server, zone, &parsed)));
        }
        // Whoever does not know the key may say yes to anything.
        if let Some(verifier) = &mut verifier {
            verifier
                .verify(&answer)
                .map_err(|error| failed(format!("its answer is not signed by the key: {error}")))?;
        }
        Ok(Ok(()))
    }

    fn refused(&self, server: SocketAddr, zone: &Name, answer: &Message) -> DnsError {
        let key = match &self.signer {
            Some(signer) => format!("the key `{}`", super::text(signer.signer_name())),
            None => "updates without a key".to_owned(),
        };
        let signature = answer
            .signature
            .as_ref()
            .and_then(|record| record.data.error);
        let (reason, hint) = match (answer.response_code, signature) {
            (_, Some(TsigError::BadKey)) => (
                format!("it does not know {key}"),
                "correct `key_name` and `key_alg`, or add the key to the name server".to_owned(),
            ),
            (_, Some(TsigError::BadSig)) => (
                format!("it has another secret for {key}"),
                "correct `key` of `dns rfc2136`".to_owned(),
            ),
            (_, Some(TsigError::BadTime)) => (
                "its clock differs from ours by more than five minutes".to_owned(),
                "set the clock of this machine, or that of the name server".to_owned(),
            ),
            (ResponseCode::Refused | ResponseCode::NotAuth, _) => (
                format!(
                    "it does not allow {key} to write there, or is not the primary of the zone"
                ),
                "allow it (BIND: `update-policy` or `allow-update`; Knot: an `acl` with `action: \
                 update`), and name the primary in `server`"
                    .to_owned(),
            ),
            (code, _) => (code.to_string(), String::new()),
        };
        DnsError::new(format!(
            "the name server {server} refuses the update of {zone}: {reason}"
        ))
        .with_hint(hint)
    }
}

#[async_trait]
impl Provider for Rfc2136 {
    async fn add(&self, record: &TxtRecord, ttl: Duration) -> Result<(), DnsError> {
        let ttl = u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX);
        self.update(record, Change::Add { ttl }).await
    }

    async fn remove(&self, record: &TxtRecord) -> Result<(), DnsError> {
        self.update(record, Change::Remove).await
    }
}

impl fmt::Debug for Rfc2136 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rfc2136")
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

fn update_message(name: &Name, zone: &Name, value: &str, change: Change) -> Message {
    let ttl = match change {
        Change::Add { ttl } => ttl,
        Change::Remove => 0,
    };
    let mut records = RecordSet::with_ttl(name.clone(), RecordType::TXT, ttl);
    records.add_rdata(RData::TXT(TXT::new(vec![value.to_owned()])));
    match change {
        Change::Add { .. } => append(records, zone.clone(), false, false),
        Change::Remove => delete_by_rdata(records, zone.clone(), false),
    }
}
