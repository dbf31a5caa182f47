//! Package `portico.edge.v1`, generated from `proto/portico/edge/v1/edge.proto`.

/// Version 1.
#[allow(
    warnings,
    clippy::all,
    reason = "generated; its documentation is the .proto file's"
)]
pub mod v1 {
    tonic::include_proto!("portico.edge.v1");
}
