//! What `serve` was told, checked.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proto::sidecar::cli::AdminAddress;
use proto::sidecar::identity::SubscriberId;
use rustls_pki_types::CertificateDer;

use crate::cli::{PreflightArgs, ServeArgs};
use crate::events::{Endpoint, TOKEN_VARIABLE};
use crate::grpc::Subscribers;
use crate::issuer::preflight::{Mode, Ports};
use crate::name::Name;
use crate::pem;
use crate::policy::{Defaults, LETS_ENCRYPT, Secret};
use crate::store::Keyring;

/// What `serve` was told, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Folder of the store.
    pub data: PathBuf,
    /// Folder of the identities of all roles.
    pub control: PathBuf,
    /// Address of the mutual TLS listener.
    pub listen: SocketAddr,
    /// Address of the plaintext `Status` listener.
    pub status_listen: SocketAddr,
    /// Address of the administration listener.
    pub admin: AdminAddress,
    /// What applies where a policy leaves something open.
    pub defaults: Defaults,
    /// Trusted for ACME directories beside the public roots.
    pub acme_roots: Vec<CertificateDer<'static>>,
    /// What private keys are sealed with at rest.
    pub keyring: Option<Arc<Keyring>>,
    /// The program that writes DNS records.
    pub dns_exec: Option<PathBuf>,
    /// Other programs that may fetch certificates.
    pub subscribers: Subscribers,
    /// Programs that are run for each event.
    pub event_programs: Vec<PathBuf>,
    /// URLs that each event is posted to.
    pub event_webhooks: Vec<Endpoint>,
    /// The look at a name before an order.
    pub preflight: PreflightConfig,
}

/// The look at a name before an order.
#[derive(Clone, Debug)]
pub struct PreflightConfig {
    /// What is done with the findings.
    pub mode: Mode,
    /// Asked in place of the name servers of `/etc/resolv.conf`, if there are any.
    pub resolvers: Vec<SocketAddr>,
    /// The ports that names are reached at from outside.
    pub ports: Ports,
}

impl Config {
    /// Checks the flags of `serve`; `control` is the one that all commands share.
    ///
    /// # Errors
    /// What is wrong, in words for an operator.
    pub fn load(args: ServeArgs, control: PathBuf) -> Result<Self, String> {
        check_store(&args.store)?;
        // Compose hands a variable that is not set on as an empty one.
        let acme_ca = non_empty(args.acme_ca).unwrap_or_else(|| LETS_ENCRYPT.to_owned());
        check_directory(&acme_ca)?;
        let acme_roots = match non_empty(args.acme_root.unwrap_or_default()) {
            None => Vec::new(),
            Some(path) => std::fs::read_to_string(&path)
                .map_err(|error| error.to_string())
                .and_then(|text| pem::decode_certificates(&text))
                .map_err(|error| {
                    format!("cannot read certificates from {path} (--acme-root): {error}")
                })?,
        };
        let keyring = non_empty(args.key_file.unwrap_or_default())
            .map(|path| Keyring::load(Path::new(&path)).map(Arc::new))
            .transpose()
            .map_err(|error| format!("{error} (--key-file)"))?;
        Ok(Self {
            data: args.data,
            control,
            listen: args.listen,
            status_listen: args.status_listen,
            admin: args.admin.admin,
            defaults: Defaults {
                acme_ca,
                email: non_empty(args.email.unwrap_or_default()),
            },
            acme_roots,
            keyring,
            dns_exec: non_empty(args.dns_exec.unwrap_or_default()).map(PathBuf::from),
            subscribers: parse_subscribers(&args.subscriber)?,
            event_programs: non_empty_ones(args.events.event_exec)
                .map(PathBuf::from)
                .collect(),
            event_webhooks: parse_webhooks(args.events.event_webhook)?,
            preflight: parse_preflight(args.preflight)?,
        })
    }
}

fn non_empty_ones(texts: Vec<String>) -> impl Iterator<Item = String> {
    texts
        .into_iter()
        .filter_map(|text| non_empty(text.trim().to_owned()))
}

fn parse_subscribers(texts: &[String]) -> Result<Subscribers, String> {
    let mut subscribers = Subscribers::new();
    for text in texts.iter().filter(|text| !text.trim().is_empty()) {
        let wrong = |what: String| format!("`{text}` (--subscriber): {what}");
        let (id, names) = text
            .split_once('=')
            .ok_or_else(|| wrong("write ID=NAME, such as mail=mail.example.org".to_owned()))?;
        let id: SubscriberId =
            id.trim()
                .parse()
                .map_err(|error: proto::sidecar::identity::SubscriberIdError| {
                    wrong(error.to_string())
                })?;
        for name in names.split(',') {
            let name = Name::parse(name.trim()).map_err(|error| wrong(error.to_string()))?;
            subscribers.entry(id.clone()).or_default().insert(name);
        }
    }
    Ok(subscribers)
}

fn parse_webhooks(urls: Vec<String>) -> Result<Vec<Endpoint>, String> {
    let token = std::env::var(TOKEN_VARIABLE).ok().and_then(non_empty);
    let token = token.map(Secret::new);
    non_empty_ones(urls)
        .map(|url| {
            // Not shown: many services put a secret into it.
            Endpoint::parse(&url, token.clone())
                .map_err(|error| format!("an URL of --event-webhook is wrong: {error}"))
        })
        .collect()
}

fn parse_preflight(args: PreflightArgs) -> Result<PreflightConfig, String> {
    let resolvers = non_empty_ones(args.preflight_resolver).map(|text| {
        let with_port = || text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53));
        text.parse().or_else(|_| with_port()).map_err(|_| {
            format!("`{text}` (--preflight-resolver) is no address such as 9.9.9.9 or [::1]:5353")
        })
    });
    Ok(PreflightConfig {
        mode: args.preflight,
        resolvers: resolvers.collect::<Result<_, _>>()?,
        ports: Ports {
            http: args.preflight_http_port,
            https: args.preflight_https_port,
        },
    })
}

fn non_empty(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn check_store(store: &str) -> Result<(), String> {
    match store {
        "sled" => Ok(()),
        _ if store.starts_with("etcd://") => Err(format!(
            "`{store}` (--store): etcd is not supported yet; use sled, in the data folder"
        )),
        _ => Err(format!("`{store}` (--store) is no store; use sled")),
    }
}

fn check_directory(url: &str) -> Result<(), String> {
    let uri: Result<http::Uri, _> = url.parse();
    match uri {
        Ok(uri) if uri.scheme_str() == Some("https") && uri.host().is_some() => Ok(()),
        _ => Err(format!(
            "`{url}` (--acme-ca) is no ACME directory; it must begin with https://"
        )),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    fn load(flags: &[&str]) -> Result<Config, String> {
        let args = ["cert-manager", "serve"]
            .into_iter()
            .chain(flags.iter().copied());
        let cli = Cli::try_parse_from(args).map_err(|error| error.to_string())?;
        let Command::Serve(serve) = cli.command else {
            return Err("another command".to_owned());
        };
        Config::load(*serve, cli.common.control)
    }

    #[test]
    fn defaults_are_those_of_the_operating_interface() {
        let config = load(&[]).unwrap();
        assert_eq!(config.data, PathBuf::from("/data"));
        assert_eq!(config.control, PathBuf::from("/control"));
        assert_eq!(config.listen.to_string(), "0.0.0.0:7070");
        assert_eq!(config.status_listen.to_string(), "127.0.0.1:7071");
        assert_eq!(config.admin.to_string(), "127.0.0.1:9070");
        assert_eq!(config.defaults.acme_ca, LETS_ENCRYPT);
    }

    #[test]
    fn empty_values_mean_the_default() {
        let config = load(&[
            "--acme-ca=",
            "--acme-root=",
            "--email=",
            "--key-file=",
            "--dns-exec=",
            "--subscriber=",
            "--event-exec=",
            "--event-webhook=",
            "--preflight-resolver=",
        ])
        .unwrap();
        assert_eq!(config.defaults.acme_ca, LETS_ENCRYPT);
        assert_eq!(config.defaults.email, None);
        assert!(config.acme_roots.is_empty());
        assert_eq!(config.dns_exec, None);
        assert!(config.subscribers.is_empty());
        assert!(config.event_programs.is_empty() && config.event_webhooks.is_empty());
        assert!(config.preflight.resolvers.is_empty());
    }

    #[test]
    fn subscribers_are_read_with_their_names() {
        let config = load(&[
            "--subscriber",
            "mail=mail.school.org, mx.school.org",
            "--subscriber=db=db.school.org;mail=imap.school.org",
        ])
        .unwrap();
        let names = |id: &str| -> Vec<String> {
            let names = &config.subscribers[&id.parse().unwrap()];
            names.iter().map(ToString::to_string).collect()
        };
        assert_eq!(
            names("mail"),
            ["imap.school.org", "mail.school.org", "mx.school.org"]
        );
        assert_eq!(names("db"), ["db.school.org"]);
        for wrong in ["mail", "Mail=a.org", "mail=", "mail=a b", "=a.org"] {
            let error = load(&["--subscriber", wrong]).unwrap_err();
            assert!(error.contains("--subscriber"), "{error}");
        }
    }

    #[test]
    fn webhooks_are_checked_and_not_shown() {
        let config = load(&["--event-webhook", "https://a.test/x http://b.test/"]).unwrap();
        assert_eq!(config.event_webhooks.len(), 2);
        let error = load(&["--event-webhook", "htps://a.test/sesame"]).unwrap_err();
        assert!(error.contains("--event-webhook"), "{error}");
        assert!(!error.contains("sesame"), "{error}");
    }

    #[test]
    fn name_servers_may_have_a_port() {
        let config = load(&["--preflight-resolver", "9.9.9.9,[::1]:5353"]).unwrap();
        let resolvers: Vec<_> = config
            .preflight
            .resolvers
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(resolvers, ["9.9.9.9:53", "[::1]:5353"]);
        assert!(load(&["--preflight-resolver", "dns.test"]).is_err());
    }

    #[test]
    fn mistakes_name_their_flag() {
        let error = |flags: &[&str]| load(flags).unwrap_err();
        assert!(error(&["--store", "etcd://etcd:2379"]).contains("not supported yet"));
        assert!(error(&["--store", "redis"]).contains("--store"));
        assert!(error(&["--acme-ca", "http://ca/dir"]).contains("--acme-ca"));
        assert!(error(&["--acme-root", "/nowhere/ca.pem"]).contains("--acme-root"));
        assert!(error(&["--key-file", "/nowhere/key"]).contains("--key-file"));
        assert!(error(&["--listen", "7070"]).contains("--listen"));
    }
}
