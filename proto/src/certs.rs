//! Package `portico.certs.v1`, generated from `proto/portico/certs/v1/certs.proto`.

/// Version 1.
#[allow(
    warnings,
    clippy::all,
    reason = "generated; its documentation is the .proto file's"
)]
pub mod v1 {
    tonic::include_proto!("portico.certs.v1");
}

/// Prints a message without its secrets.
macro_rules! debug_without_secrets {
    ($($message:ident { $($field:ident),* })*) => {$(
        impl std::fmt::Debug for v1::$message {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($message))
                    $(.field(stringify!($field), &self.$field))*
                    .finish_non_exhaustive()
            }
        }
    )*};
}

debug_without_secrets! {
    AcmeIssuer { directory_url, email }
    Certificate { name, not_after }
    CloudflareProvider { api_url }
    ExportResponse { path }
    ExternalAccount { key_id }
    ImportedAccount { folder, email, url }
    ImportedAuthority { certificate_pem }
    ImportedCertificate { directory_url, internal }
    Rfc2136Provider { server, key_name }
    TicketKey {}
    TlsAlpnAnswer { server_name }
    WebhookProvider { url }
}
