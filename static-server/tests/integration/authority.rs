//! A control authority for one test.

use std::path::Path;

use proto::sidecar::identity::{AUTHORITY_FILE, IDENTITY_FILE, LiveIdentity, Role};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer }
    }

    /// Writes an identity into a folder, as cert-manager does.
    pub(crate) fn write(&self, role: Role, folder: &Path) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![role.dns_name()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let identity = format!("{}{}", key.serialize_pem(), certificate.pem());
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(folder.join(IDENTITY_FILE), identity).unwrap();
        std::fs::write(folder.join(AUTHORITY_FILE), self.issuer.pem()).unwrap();
    }

    pub(crate) fn identity(&self, role: Role) -> LiveIdentity {
        let folder = tempfile::tempdir().unwrap();
        self.write(role, folder.path());
        let live = LiveIdentity::default();
        live.set(proto::sidecar::identity::Identity::load(folder.path()).unwrap());
        live
    }
}
