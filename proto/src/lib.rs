//! The contract between Portico's programs: the gRPC packages, the file request that travels as a
//! header, how requests select from a [`representation`], and ([`sidecar`]) what every program does
//! the same way.

pub mod certs;
pub mod edge;
pub mod file_request;
pub mod files;
pub mod handoff;
pub mod representation;
pub mod sidecar;

/// The encoded descriptors of every package, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/portico.bin"));

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::FILE_DESCRIPTOR_SET;

    #[test]
    fn descriptor_set_holds_every_package() {
        let set = prost_types::FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
        for package in ["portico.certs.v1", "portico.edge.v1", "portico.files.v1"] {
            assert!(
                set.file.iter().any(|file| file.package() == package),
                "{package}"
            );
        }
    }
}
