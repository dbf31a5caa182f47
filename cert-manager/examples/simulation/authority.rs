//! An authority that signs whatever it is asked for, on invented time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use cert_manager::authority::{Signer, Usage};
use cert_manager::certificate::{Certificate, PrivateKey};
use cert_manager::clock::{Clock, ManualClock};
use cert_manager::issuer::{IssueError, Issued, Issuer, Issuers, Request};
use cert_manager::name::Name;
use cert_manager::policy::IssuerPolicy;
use cert_manager::record::Step;
use cert_manager::store::StoreError;
use jiff::SignedDuration;

/// Signs, and counts.
#[derive(Debug)]
pub(crate) struct Authority {
    clock: Arc<ManualClock>,
    root: Signer,
    lifetime: SignedDuration,
    under_way: AtomicUsize,
    most_under_way: AtomicUsize,
    issued: AtomicUsize,
}

/// One issuer of the authority.
#[derive(Debug)]
struct Desk {
    policy: IssuerPolicy,
    authority: Arc<Authority>,
}

/// The issuers of the authority.
#[derive(Debug)]
pub(crate) struct Desks(pub(crate) Arc<Authority>);

impl Authority {
    pub(crate) fn new(
        clock: Arc<ManualClock>,
        lifetime: SignedDuration,
    ) -> Result<Self, crate::Failure> {
        let century = SignedDuration::from_hours(24 * 36_500);
        Ok(Self {
            root: Signer::root("Simulation", clock.now(), century)?,
            clock,
            lifetime,
            under_way: AtomicUsize::new(0),
            most_under_way: AtomicUsize::new(0),
            issued: AtomicUsize::new(0),
        })
    }

    /// How many certificates were issued so far.
    pub(crate) fn issued(&self) -> usize {
        self.issued.load(Ordering::SeqCst)
    }

    /// How many orders were open at once at the most.
    pub(crate) fn most_under_way(&self) -> usize {
        self.most_under_way.load(Ordering::SeqCst)
    }

    fn sign(
        &self,
        request: &Request,
        policy: &IssuerPolicy,
    ) -> Result<Certificate, crate::Failure> {
        let key = PrivateKey::generate(request.key_type)?;
        let name = request.name.as_str();
        let now = self.clock.now();
        let leaf = self
            .root
            .leaf(name, &key, Usage::Server, now, self.lifetime)?;
        Ok(Certificate::new(
            request.name.clone(),
            policy.id(),
            vec![leaf],
            key,
        )?)
    }
}

impl Issuers for Desks {
    fn issuer(&self, policy: &IssuerPolicy) -> Result<Arc<dyn Issuer>, IssueError> {
        Ok(Arc::new(Desk {
            policy: policy.clone(),
            authority: Arc::clone(&self.0),
        }))
    }
}

#[async_trait]
impl Issuer for Desk {
    async fn issue(&self, request: &Request) -> Result<Issued, IssueError> {
        let authority = &self.authority;
        let open = authority.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        authority.most_under_way.fetch_max(open, Ordering::SeqCst);
        // Others get to open theirs before this one is done, as they would elsewhere.
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
        let signed = authority.sign(request, &self.policy);
        authority.under_way.fetch_sub(1, Ordering::SeqCst);
        authority.issued.fetch_add(1, Ordering::SeqCst);
        let certificate = signed.map_err(|error| IssueError::new(Step::Sign, error.to_string()))?;
        Ok(Issued {
            certificate,
            challenge: None,
        })
    }

    async fn stored(&self, _name: &Name) -> Result<(), StoreError> {
        Ok(())
    }
}
