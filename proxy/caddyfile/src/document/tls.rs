//! Certificates and TLS connections.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Duration, IpRanges, Storage, Written, modules, object};

object! {
    /// Caddy: `apps/tls`.
    pub struct TlsApp {
        /// Certificates that are loaded, and names to obtain some for.
        pub certificates: Option<CertificateLoaders>,
        /// How certificates are obtained.
        pub automation: Option<Automation>,
        /// Session tickets, raw.
        pub session_tickets: Option<Value>,
        /// Certificate cache, raw.
        pub cache: Option<Value>,
        /// No OCSP stapling.
        pub disable_ocsp_stapling: bool,
        /// No check of the storage at start.
        pub disable_storage_check: bool,
        /// No cleaning of the storage.
        pub disable_storage_clean: bool,
        /// Encrypted ClientHello, raw.
        pub encrypted_client_hello: Option<Value>,
        /// DNS provider for all DNS tasks, raw; its `name` names it.
        pub dns: Option<Value>,
        /// Name servers for DNS tasks.
        pub resolvers: Vec<String>,
    }
}

object! {
    /// Caddy: `apps/tls/certificates`.
    pub struct CertificateLoaders {
        /// Names to obtain certificates for at start.
        pub automate: Vec<String>,
        /// Certificates in files.
        pub load_files: Vec<LoadFiles>,
        /// Folders with certificates.
        pub load_folders: Vec<String>,
        /// Certificates in the document, raw.
        pub load_pem: Option<Value>,
        /// Certificates in the storage, raw.
        pub load_storage: Option<Value>,
    }
}

object! {
    /// A certificate in files.
    pub struct LoadFiles {
        /// Where the files were named.
        #[serde(skip)]
        pub written: Written,
        /// Path of the certificate chain.
        pub certificate: String,
        /// Path of the private key.
        pub key: String,
        /// Format; empty is `pem`.
        pub format: String,
        /// Labels that `certificate_selection` refers to.
        pub tags: Vec<String>,
    }
}

object! {
    /// Caddy: `apps/tls/automation`.
    pub struct Automation {
        /// Policies; the first that names a subject applies to it.
        pub policies: Vec<AutomationPolicy>,
        /// Limits of on-demand certificates.
        pub on_demand: Option<OnDemand>,
        /// Time between OCSP checks; 0 is 1 hour.
        pub ocsp_interval: Duration,
        /// Time between renewal checks; 0 is 10 minutes.
        pub renew_interval: Duration,
        /// Time between cleanings of the storage; 0 is 24 hours.
        pub storage_clean_interval: Duration,
    }
}

object! {
    /// Caddy: `apps/tls/automation/policies`.
    pub struct AutomationPolicy {
        /// Where the policy was written.
        #[serde(skip)]
        pub written: Written,
        /// Names; empty is all others.
        pub subjects: Vec<String>,
        /// Issuers in the order they are tried; empty is Let's Encrypt, then ZeroSSL.
        pub issuers: Vec<Issuer>,
        /// Modules that give certificates during the handshake, raw; their `via` names them.
        pub get_certificate: Vec<Value>,
        /// Asks for OCSP Must-Staple.
        pub must_staple: bool,
        /// Share of the lifetime that is left when a certificate is renewed; 0 is one third.
        pub renewal_window_ratio: f64,
        /// `ed25519`, `p256`, `p384`, `rsa2048` or `rsa4096`; empty is `p256`.
        pub key_type: String,
        /// Where certificates are kept, if not in the document's storage.
        pub storage: Option<Storage>,
        /// Obtains certificates during the first handshake.
        pub on_demand: bool,
        /// No OCSP stapling.
        pub disable_ocsp_stapling: bool,
        /// By responder, the one to use instead.
        pub ocsp_overrides: BTreeMap<String, String>,
        /// Keeps the key at renewal.
        pub reuse_private_keys: bool,
    }
}

object! {
    /// Caddy: `apps/tls/automation/on_demand`.
    pub struct OnDemand {
        /// Module that allows names, raw; its `module` names it.
        pub permission: Option<Value>,
    }
}

modules! {
    /// Who signs certificates.
    pub enum Issuer in "module" {
        /// A CA that speaks ACME (RFC 8555).
        "acme" => Acme(Box<AcmeIssuer>),
        /// A CA of Caddy's own.
        "internal" => Internal(InternalIssuer),
        /// ZeroSSL by its own interface.
        "zerossl" => ZeroSsl(ZeroSslIssuer),
    }
}

object! {
    /// Caddy: `tls.issuance.acme`.
    pub struct AcmeIssuer {
        /// URL of the CA's directory; empty is Let's Encrypt.
        pub ca: String,
        /// URL of the directory for tries after a failure; empty is the CA's staging one.
        pub test_ca: String,
        /// Address of the account's owner.
        pub email: String,
        /// Certificate profile.
        pub profile: String,
        /// Account key, PEM.
        pub account_key: String,
        /// External account binding (RFC 8555 section 7.3.4).
        pub external_account: Option<ExternalAccount>,
        /// Time of one order; 0 is without end.
        pub acme_timeout: Duration,
        /// How control of a name is proven.
        pub challenges: Option<Challenges>,
        /// Files of roots that the CA's own server is verified by.
        pub trusted_roots_pem_files: Vec<String>,
        /// Choice among chains that the CA offers.
        pub preferred_chains: Option<PreferredChains>,
        /// Lifetime to ask for; 0 leaves it to the CA.
        pub certificate_lifetime: Duration,
        /// Forward proxy module, raw.
        pub network_proxy: Option<Value>,
    }
}

object! {
    /// Caddy: `external_account`.
    pub struct ExternalAccount {
        /// Key identifier.
        pub key_id: String,
        /// MAC key, base64url; a secret.
        pub mac_key: String,
    }
}

object! {
    /// Caddy: `challenges`.
    pub struct Challenges {
        /// HTTP-01.
        pub http: Option<PortChallenge>,
        /// TLS-ALPN-01.
        #[serde(rename = "tls-alpn")]
        pub tls_alpn: Option<PortChallenge>,
        /// DNS-01.
        pub dns: Option<DnsChallenge>,
        /// Address that challenge listeners bind to.
        pub bind_host: String,
        /// Whether challenge data goes through the storage; absent means yes.
        pub distributed: Option<bool>,
    }
}

object! {
    /// A challenge that the CA makes by connecting.
    pub struct PortChallenge {
        /// Not used.
        pub disabled: bool,
        /// Port that is listened on where the CA's connection arrives elsewhere; 0 is the usual.
        pub alternate_port: u16,
    }
}

object! {
    /// Caddy: `challenges/dns`.
    pub struct DnsChallenge {
        /// Provider module, raw; its `name` names it.
        pub provider: Option<Value>,
        /// TTL of the record.
        pub ttl: Duration,
        /// Time before the record is looked up.
        pub propagation_delay: Duration,
        /// Time to see the record; negative does not look.
        pub propagation_timeout: Duration,
        /// Name servers to ask.
        pub resolvers: Vec<String>,
        /// Name that the record is put under.
        pub override_domain: String,
    }
}

object! {
    /// Caddy: `preferred_chains`.
    pub struct PreferredChains {
        /// The chain with the fewest bytes.
        pub smallest: Option<bool>,
        /// A chain whose root has one of these common names.
        pub root_common_name: Vec<String>,
        /// A chain with one of these common names anywhere.
        pub any_common_name: Vec<String>,
    }
}

object! {
    /// Caddy: `tls.issuance.internal`.
    pub struct InternalIssuer {
        /// Identifier of the authority; empty is `local`.
        pub ca: String,
        /// Lifetime of certificates; 0 is 12 hours.
        pub lifetime: Duration,
        /// Signs with the root instead of the intermediate.
        pub sign_with_root: bool,
    }
}

object! {
    /// Caddy: `tls.issuance.zerossl`.
    pub struct ZeroSslIssuer {
        /// Access key; a secret.
        pub api_key: String,
        /// Days a certificate is valid; 0 is 90.
        pub validity_days: i64,
        /// Address that the validation listener binds to.
        pub listen_host: String,
        /// Port that the validation listener binds to.
        pub alternate_port: i64,
        /// DNS validation.
        pub cname_validation: Option<DnsChallenge>,
    }
}

object! {
    /// How TLS connections are set up.
    pub struct ConnectionPolicy {
        /// Where the policy was written.
        #[serde(skip)]
        pub written: Written,
        /// Connections the policy is for; absent is all.
        #[serde(rename = "match")]
        pub r#match: Option<ConnectionMatcher>,
        /// Choice among certificates.
        pub certificate_selection: Option<CertificateSelection>,
        /// Cipher suites by IANA name, for TLS 1.2; empty is the safe ones.
        pub cipher_suites: Vec<String>,
        /// Key exchange groups; empty is the safe ones.
        pub curves: Vec<String>,
        /// Protocols that are offered (RFC 7301); empty is the server's.
        pub alpn: Vec<String>,
        /// `tls1.2` or `tls1.3`; empty is `tls1.2`.
        pub protocol_min: String,
        /// `tls1.2` or `tls1.3`; empty is `tls1.3`.
        pub protocol_max: String,
        /// Closes the connection.
        pub drop: bool,
        /// Client certificates; absent asks for none.
        pub client_authentication: Option<ClientAuthentication>,
        /// Name for handshakes without SNI.
        pub default_sni: String,
        /// Name for handshakes whose SNI has no certificate.
        pub fallback_sni: String,
        /// File that session secrets are written to.
        pub insecure_secrets_log: String,
    }
}

object! {
    /// Caddy: `match` of a connection policy; all that are present must match.
    pub struct ConnectionMatcher {
        /// Server names; wildcards are allowed.
        pub sni: Vec<String>,
        /// Regular expression on the server name, raw.
        pub sni_regexp: Option<Value>,
        /// The other end's address.
        pub remote_ip: Option<IpRanges>,
        /// The own address.
        pub local_ip: Option<IpRanges>,
    }
}

object! {
    /// Caddy: `certificate_selection`.
    pub struct CertificateSelection {
        /// Serial numbers, decimal.
        pub serial_number: Vec<String>,
        /// Organizations of the subject.
        pub subject_organization: Vec<String>,
        /// `rsa`, `ecdsa` or `ed25519`.
        pub public_key_algorithm: String,
        /// One of these labels.
        pub any_tag: Vec<String>,
        /// All of these labels.
        pub all_tags: Vec<String>,
    }
}

object! {
    /// Caddy: `client_authentication`.
    pub struct ClientAuthentication {
        /// Module that gives trusted roots, raw; its `provider` names it.
        pub ca: Option<Value>,
        /// Trusted roots, base64 of DER (older form of `ca`).
        pub trusted_ca_certs: Vec<String>,
        /// Files of trusted roots (older form of `ca`).
        pub trusted_ca_certs_pem_files: Vec<String>,
        /// Trusted leaf certificates, base64 of DER (older form of `verifiers`).
        pub trusted_leaf_certs: Vec<String>,
        /// Modules that verify certificates, raw; their `verifier` names them.
        pub verifiers: Vec<Value>,
        /// `request`, `require`, `verify_if_given` or `require_and_verify`.
        pub mode: String,
    }
}
