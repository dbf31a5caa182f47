//! Certificates: which are loaded, and how the others are obtained.
//! Caddy: `httpcaddyfile/tlsapp.go`.

mod issuer;
mod policy;
mod subject;

use std::collections::BTreeSet;

use self::issuer::fill_in_defaults;
use self::policy::consolidate;
pub(super) use self::subject::matches_wildcard;
use self::subject::{is_public, is_tailscale, qualifies};
use super::listener::Association;
use super::site::{Site, SiteView};
use crate::address::Scheme;
use crate::diagnostic::Diagnostic;
use crate::directive::{State, default_issuers};
use crate::document::{
    Automation, AutomationPolicy, CertificateLoaders, InternalIssuer, Issuer, TlsApp,
};
use crate::options::Options;

/// The TLS app, or `None` where the defaults do.
pub(super) fn build(
    associations: &[Association],
    sites: &[Site<'_>],
    options: &Options,
    state: &mut State,
) -> Option<TlsApp> {
    let mut builder = Builder {
        sites,
        options,
        policies: Vec::new(),
        catch_all: None,
        forced: BTreeSet::new(),
        loaders: CertificateLoaders::default(),
    };
    let base = base_policy(options);
    if base != AutomationPolicy::default() || has_issuer_defaults(options) {
        builder.catch_all = Some(builder.policies.len());
        builder.policies.push(base);
    }
    for association in associations {
        if !association.uses_port_besides(options.http_port()) {
            continue;
        }
        for view in &association.sites {
            if !view.is_all_http(sites) {
                builder.add_site(view, state);
            }
        }
    }
    builder.add_automated_names(associations);
    let app = builder.finish(state);
    (app != TlsApp::default()).then_some(app)
}

/// What every policy starts with.
fn base_policy(options: &Options) -> AutomationPolicy {
    let mut issuers = options.cert_issuers.clone();
    if issuers.is_empty() && options.local_certs {
        issuers.push(Issuer::Internal(InternalIssuer::default()));
    }
    AutomationPolicy {
        issuers,
        key_type: options.key_type.clone().unwrap_or_default(),
        disable_ocsp_stapling: options.ocsp_stapling_off,
        renewal_window_ratio: options.renewal_window_ratio.unwrap_or(0.0),
        ..AutomationPolicy::default()
    }
}

/// Whether the global options say something about ACME that needs a policy for all names.
fn has_issuer_defaults(options: &Options) -> bool {
    options.acme_ca.is_some()
        || options.acme_ca_root.is_some()
        || options.acme_dns.is_some()
        || options.acme_eab.is_some()
        || options.preferred_chains.is_some()
}

struct Builder<'b, 't> {
    sites: &'b [Site<'t>],
    options: &'b Options,
    policies: Vec<AutomationPolicy>,
    /// Position of the policy for all names.
    catch_all: Option<usize>,
    /// Names to obtain certificates for even if a wildcard fits.
    forced: BTreeSet<String>,
    loaders: CertificateLoaders,
}

impl Builder<'_, '_> {
    fn add_site(&mut self, view: &SiteView, state: &mut State) {
        let site = &self.sites[view.site];
        let hosts = view.hosts(self.sites);
        // A site for all hosts changes the policy for all names.
        let index = match self.catch_all {
            Some(index) if hosts.is_empty() => index,
            _ => {
                self.policies.push(base_policy(self.options));
                self.policies.len() - 1
            }
        };
        let is_shared = Some(index) == self.catch_all;
        let policy = &mut self.policies[index];
        let mut issuers = Vec::new();
        for tls in &site.tls {
            policy.written = tls.connection.written;
            policy.on_demand |= tls.on_demand;
            policy.reuse_private_keys |= tls.reuse_private_keys;
            if !tls.key_type.is_empty() {
                policy.key_type.clone_from(&tls.key_type);
            }
            if tls.renewal_window_ratio > 0.0 {
                policy.renewal_window_ratio = tls.renewal_window_ratio;
            }
            issuers.extend(tls.issuers.iter().cloned());
            policy.get_certificate.extend(tls.managers.iter().cloned());
            if tls.force_automate {
                self.forced.extend(hosts.iter().cloned());
            }
            self.loaders
                .load_files
                .extend(tls.load_files.iter().cloned());
            self.loaders
                .load_folders
                .extend(tls.load_folders.iter().cloned());
        }
        if !issuers.is_empty() {
            if is_shared && policy.issuers != issuers {
                let message = "automation policy from site block is also default/catch-all policy \
                               because of key without hostname, and the two are in conflict";
                let diagnostic = Diagnostic::error(message);
                state.diagnostics.push(match site.keys.first() {
                    Some((token, _)) => diagnostic.at(token),
                    None => diagnostic,
                });
                return;
            }
            policy.issuers = issuers;
        }
        let binds = if site.binds.is_empty() {
            &self.options.default_bind
        } else {
            &site.binds
        };
        for bind in binds {
            issuer::bind_challenges(&mut policy.issuers, bind);
        }
        if hosts.is_empty() && self.catch_all.is_none() {
            self.catch_all = Some(index);
        }

        policy.subjects = view.hosts_not_http(self.sites, self.options.http_port());
        self.split_internal_names(index, site, state);
    }

    /// Gives internal names of a mixed site a policy of their own.
    fn split_internal_names(&mut self, index: usize, site: &Site<'_>, state: &mut State) {
        let policy = &mut self.policies[index];
        if !policy.issuers.is_empty() {
            return;
        }
        let mut internal = Vec::new();
        let mut public = Vec::new();
        for name in policy.subjects.iter().filter(|name| !is_tailscale(name)) {
            if !qualifies(name) {
                let message = format!("subject does not qualify for certificate: `{name}`");
                let diagnostic = Diagnostic::error(message);
                state.diagnostics.push(match site.keys.first() {
                    Some((token, _)) => diagnostic.at(token),
                    None => diagnostic,
                });
                return;
            }
            if is_public(name, policy.on_demand) {
                public.push(name.clone());
            } else {
                internal.push(name.clone());
            }
        }
        if !public.is_empty() && !internal.is_empty() {
            policy.subjects = public;
            let own = AutomationPolicy {
                subjects: internal,
                issuers: vec![Issuer::Internal(InternalIssuer::default())],
                ..policy.clone()
            };
            self.policies.push(own);
        }
    }

    /// Names that no route's matcher shows, since an address beside them stands for all hosts.
    fn add_automated_names(&mut self, associations: &[Association]) {
        let mut names = BTreeSet::new();
        if !self.options.auto_https_has("off") && !self.options.auto_https_has("disable_certs") {
            for view in associations
                .iter()
                .flat_map(|association| &association.sites)
            {
                if !view.has_catch_all(self.sites) {
                    continue;
                }
                names.extend(
                    view.addresses(self.sites)
                        .filter(|address| {
                            !address.host.is_empty()
                                && address.scheme != Some(Scheme::Http)
                                && address.port != Some(self.options.http_port())
                        })
                        .map(|address| address.host.clone()),
                );
            }
        }
        let internal: Vec<String> = names
            .iter()
            .filter(|name| !subject::is_public_certificate(name))
            .cloned()
            .collect();
        names.extend(std::mem::take(&mut self.forced));
        self.loaders.automate = names.into_iter().collect();
        if !internal.is_empty() {
            self.policies.push(AutomationPolicy {
                subjects: internal,
                issuers: vec![Issuer::Internal(InternalIssuer::default())],
                ..AutomationPolicy::default()
            });
        }
    }

    fn finish(mut self, state: &mut State) -> TlsApp {
        let options = self.options;
        let has_defaults = options.email.is_some() || has_issuer_defaults(options);
        for policy in &mut self.policies {
            let is_all_public = policy
                .subjects
                .iter()
                .all(|name| is_public(name, policy.on_demand) && !is_tailscale(name));
            if has_defaults && policy.issuers.is_empty() && is_all_public {
                let email = options.email.as_deref().unwrap_or_default();
                policy.issuers = default_issuers(email);
                // A directory that is written is the only one.
                if options.acme_ca.is_some() {
                    policy.issuers = vec![Issuer::Acme(Box::default())];
                }
            }
            for issuer in &mut policy.issuers {
                if let Err(message) = fill_in_defaults(issuer, options) {
                    state.diagnostics.push(Diagnostic::error(message));
                }
            }
        }
        consolidate(&mut self.policies);
        self.check_overlap(state);

        let automation = Automation {
            policies: self.policies,
            on_demand: options.on_demand_tls.clone(),
            ocsp_interval: options.ocsp_interval.unwrap_or_default(),
            renew_interval: options.renew_interval.unwrap_or_default(),
            storage_clean_interval: options.storage_clean_interval.flatten().unwrap_or_default(),
        };
        TlsApp {
            certificates: (self.loaders != CertificateLoaders::default()).then_some(self.loaders),
            automation: (automation != Automation::default()).then_some(automation),
            disable_ocsp_stapling: options.ocsp_stapling_off,
            disable_storage_check: options.storage_check_off,
            disable_storage_clean: options.storage_clean_interval == Some(None),
            dns: options.dns.clone(),
            encrypted_client_hello: options.encrypted_client_hello.clone(),
            resolvers: options.resolvers.clone(),
            ..TlsApp::default()
        }
    }

    fn check_overlap(&self, state: &mut State) {
        let mut seen = BTreeSet::new();
        for name in self.policies.iter().flat_map(|policy| &policy.subjects) {
            if !seen.insert(name) {
                let message = format!(
                    "hostname appears in more than one automation policy, making certificate \
                     management ambiguous: {name}"
                );
                let keys = self.sites.iter().flat_map(|site| &site.keys).rev();
                let mut keys = keys.filter(|(_, address)| address.host == *name);
                let diagnostic = Diagnostic::error(message);
                state.diagnostics.push(match keys.next() {
                    Some((token, _)) => diagnostic.at(token),
                    None => diagnostic,
                });
            }
        }
    }
}
