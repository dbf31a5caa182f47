//! The admin endpoint and the storage.

use serde_json::{Map, Value};

use super::{Duration, object};

object! {
    /// Caddy: `admin`.
    pub struct Admin {
        /// No admin endpoint at all.
        pub disabled: bool,
        /// Address of the endpoint; Caddy's default is `localhost:2019`.
        pub listen: String,
        /// Refuses requests whose `Origin` is not listed.
        pub enforce_origin: bool,
        /// Origins that are allowed.
        pub origins: Vec<String>,
        /// What happens to configurations that are loaded over the endpoint.
        pub config: Option<AdminConfigSettings>,
        /// Certificate of the endpoint, raw.
        pub identity: Option<Value>,
        /// Remote administration, raw.
        pub remote: Option<Value>,
    }
}

object! {
    /// Caddy: `admin/config`.
    pub struct AdminConfigSettings {
        /// Whether the last configuration is kept on disk; absent means yes.
        pub persist: Option<bool>,
        /// Module that loads the configuration, raw.
        pub load: Option<Value>,
        /// Time between loads.
        pub load_delay: Duration,
    }
}

/// Caddy: `storage`, an object whose `module` names the storage, raw.
pub type Storage = Map<String, Value>;
