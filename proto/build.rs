//! Compiles the `.proto` files in-process, so that no `protoc` has to be installed.

use std::path::PathBuf;

use prost::Message as _;

const FILES: [&str; 6] = [
    "portico/certs/v1/certs.proto",
    "portico/certs/v1/diagnosis.proto",
    "portico/certs/v1/subscription.proto",
    "portico/files/v1/files.proto",
    "portico/files/v1/handoff.proto",
    "portico/edge/v1/edge.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=portico");
    let descriptors = protox::compile(FILES, ["."])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("portico.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        // They hold secrets, which must not be printed by accident.
        .skip_debug([
            "portico.certs.v1.AcmeIssuer",
            "portico.certs.v1.Certificate",
            "portico.certs.v1.CloudflareProvider",
            "portico.certs.v1.ExportResponse",
            "portico.certs.v1.ExternalAccount",
            "portico.certs.v1.ImportedAccount",
            "portico.certs.v1.ImportedAuthority",
            "portico.certs.v1.ImportedCertificate",
            "portico.certs.v1.Rfc2136Provider",
            "portico.certs.v1.TicketKey",
            "portico.certs.v1.TlsAlpnAnswer",
            "portico.certs.v1.WebhookProvider",
        ])
        .compile_fds(descriptors)?;
    Ok(())
}
