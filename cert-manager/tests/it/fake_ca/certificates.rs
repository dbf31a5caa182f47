//! What the authority signs with.

use cert_manager::authority::Signer;
use jiff::{SignedDuration, Timestamp};
use rcgen::{CertificateSigningRequestParams, Issuer, SerialNumber};
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer};

/// The intermediates below two roots; the second is for the alternate chain.
#[derive(Debug)]
pub(super) struct Authorities {
    first: Signer,
    second: Signer,
}

/// A signed certificate.
#[derive(Clone, Debug)]
pub(super) struct Issued {
    pub(super) leaf: CertificateDer<'static>,
    /// The chains in PEM.
    pub(super) chains: [String; 2],
}

impl Authorities {
    pub(super) fn new() -> Self {
        let (now, year) = (Timestamp::now(), SignedDuration::from_hours(24 * 365));
        let below = |root: &str, name: &str| {
            let root = Signer::root(root, now, year).unwrap();
            root.intermediate(name, now, year).unwrap()
        };
        Self {
            first: below("Fake Root One", "Fake Intermediate One"),
            second: below("Fake Root Two", "Fake Intermediate Two"),
        }
    }

    /// Signs what `csr` asks for, valid until `not_after`.
    pub(super) fn sign(&self, csr: &[u8], not_after: Timestamp) -> Result<Issued, String> {
        let der = CertificateSigningRequestDer::from(csr);
        let mut request =
            CertificateSigningRequestParams::from_der(&der).map_err(|error| error.to_string())?;
        let moment =
            |time: Timestamp| time::OffsetDateTime::from_unix_timestamp(time.as_second()).unwrap();
        request.params.not_before = moment(Timestamp::now() - SignedDuration::from_mins(5));
        request.params.not_after = moment(not_after);
        request.params.use_authority_key_identifier_extension = true;
        let mut serial: [u8; 16] = rand::random();
        serial[0] = serial[0] & 0x3f | 0x40;
        request.params.serial_number = Some(SerialNumber::from_slice(&serial));
        let certificate = self.first.certificate().unwrap();
        let key = self.first.key.key_pair().unwrap();
        let issuer = Issuer::from_ca_cert_der(&certificate, key).unwrap();
        let leaf = request
            .signed_by(&issuer)
            .map_err(|error| error.to_string())?;
        let chain = |above: &Signer| format!("{}{}", leaf.pem(), above.certificate_pem);
        Ok(Issued {
            chains: [chain(&self.first), chain(&self.second)],
            leaf: leaf.der().clone(),
        })
    }
}
