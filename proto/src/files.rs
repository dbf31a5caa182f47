//! Package `portico.files.v1`, generated from the files in `proto/portico/files/v1/`.

/// Version 1.
#[allow(
    warnings,
    clippy::all,
    reason = "generated; its documentation is the .proto file's"
)]
pub mod v1 {
    tonic::include_proto!("portico.files.v1");
}
