//! Certificate authorities of Caddy's own.

use std::collections::BTreeMap;

use super::{Duration, Storage, object};

object! {
    /// Caddy: `apps/pki`.
    pub struct PkiApp {
        /// Authorities by identifier; `local` is the default one.
        pub certificate_authorities: BTreeMap<String, CertificateAuthority>,
    }
}

object! {
    /// Caddy: `apps/pki/certificate_authorities/ID`.
    pub struct CertificateAuthority {
        /// Name for people.
        pub name: String,
        /// Common name of the root certificate.
        pub root_common_name: String,
        /// Common name of intermediate certificates.
        pub intermediate_common_name: String,
        /// Lifetime of intermediate certificates; 0 is Caddy's default of 7 days.
        pub intermediate_lifetime: Duration,
        /// Time between looks at the authority's own certificates; 0 is 10 minutes.
        pub maintenance_interval: Duration,
        /// Share of the lifetime that is left when certificates are renewed; 0 is 0.2.
        pub renewal_window_ratio: f64,
        /// Whether the root is put into the system's trust store; absent means yes.
        pub install_trust: Option<bool>,
        /// A root certificate that is provided.
        pub root: Option<KeyPairFiles>,
        /// An intermediate certificate that is provided.
        pub intermediate: Option<KeyPairFiles>,
        /// Where the authority keeps its assets.
        pub storage: Option<Storage>,
    }
}

object! {
    /// A certificate and its key in files.
    pub struct KeyPairFiles {
        /// Path of the certificate.
        pub certificate: String,
        /// Path of the private key.
        pub private_key: String,
        /// Format of both; empty is `pem_file`.
        pub format: String,
    }
}
