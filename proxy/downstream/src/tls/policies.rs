//! The choice of how TLS is spoken by the name that a client asks for.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::ServerConfig;

/// How TLS is spoken with clients that ask for certain names (Caddy: connection policies with
/// `match.sni`).
#[derive(Clone, Debug, Default)]
pub(crate) struct Policies {
    configs: Vec<Arc<ServerConfig>>,
    /// The first of them that is for a name or for a wildcard.
    by_name: HashMap<Box<str>, usize>,
}

impl Policies {
    /// Adds how TLS is spoken for `names`, unless a policy before is for them. A `*` stands for one
    /// label.
    pub(super) fn add(&mut self, names: &[Box<str>], config: Arc<ServerConfig>) {
        let index = self.configs.len();
        self.configs.push(config);
        for name in names {
            self.by_name
                .entry(name.to_ascii_lowercase().into())
                .or_insert(index);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.configs.is_empty()
    }

    /// How TLS is spoken for `name`, if there is anything of it: the first policy that is for it.
    pub(crate) fn find(&self, name: &str) -> Option<&Arc<ServerConfig>> {
        let mut found = self.by_name.get(name).copied();
        // Caddy: labels are replaced from the left, so that `*.*.com` is for two.
        let mut rest = name;
        let mut wildcard = String::new();
        while let Some((_, following)) = rest.split_once('.') {
            wildcard.push_str("*.");
            let candidate = format!("{wildcard}{following}");
            if let Some(&index) = self.by_name.get(candidate.as_str()) {
                found = Some(found.map_or(index, |before| before.min(index)));
            }
            rest = following;
        }
        self.configs.get(found?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Arc<ServerConfig> {
        let builder = ServerConfig::builder_with_provider(proto::sidecar::identity::provider());
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let resolver = rustls::server::ResolvesServerCertUsingSni::new();
        Arc::new(
            builder
                .with_no_client_auth()
                .with_cert_resolver(Arc::new(resolver)),
        )
    }

    #[test]
    fn the_first_policy_for_a_name_holds() {
        let mut policies = Policies::default();
        let all = [
            ["a.example.com"],
            ["*.example.com"],
            ["b.example.com"],
            ["*.*.com"],
        ]
        .map(|names| {
            let config = config();
            policies.add(&names.map(Into::into), Arc::clone(&config));
            config
        });
        let index = |name: &str| {
            let found = policies.find(name)?;
            all.iter().position(|config| Arc::ptr_eq(config, found))
        };
        assert_eq!(index("a.example.com"), Some(0));
        assert_eq!(index("b.example.com"), Some(1));
        assert_eq!(index("c.example.com"), Some(1));
        assert_eq!(index("example.com"), None);
        assert_eq!(index("a.other.com"), Some(3));
        assert_eq!(index("a.b.example.com"), None);
    }
}
