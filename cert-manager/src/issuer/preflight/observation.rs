//! What is seen of a name from here, and what is to be said of it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::caa::{self, Relevant, Verdict};
use super::dns::{Dns, Lookup};
use super::reach::{self, Http, Reach};
use super::{Ports, is_public_authority};
use crate::challenge::{Acknowledgement, ChallengeBoard};
use crate::finding::{Finding, Severity};
use crate::name::Name;

/// How long proxies have to say that they answer our token.
const ACKNOWLEDGE_TIMEOUT: Duration = Duration::from_secs(3);

/// More addresses than this are not looked at.
const ADDRESSES: usize = 8;

/// What is seen of a name from here.
#[derive(Clone, Debug)]
pub(crate) struct Observation {
    /// Where it leads.
    pub(crate) addresses: Lookup<IpAddr>,
    /// What answers on the port of HTTP-01 of each address; empty where nothing was asked.
    pub(crate) http: Vec<(IpAddr, Reach<Http>)>,
    /// The connected proxies; empty where none was asked.
    pub(crate) proxies: Vec<Acknowledgement>,
    /// The CAA records that count.
    pub(crate) caa: Relevant,
    whole: bool,
}

impl Observation {
    pub(super) async fn of(
        dns: &Dns,
        challenges: &ChallengeBoard,
        ports: Ports,
        name: &Name,
        whole: bool,
    ) -> Self {
        let (addresses, caa) = tokio::join!(addresses(dns, name), caa::relevant(dns, name));
        let (mut http, mut proxies) = (Vec::new(), Vec::new());
        if whole {
            let found: &[IpAddr] = match &addresses {
                Lookup::Found(found) => found,
                _ => &[],
            };
            (http, proxies) = ask_port(challenges, ports.http, name, found).await;
        }
        Self {
            addresses,
            http,
            proxies,
            caa,
            whole,
        }
    }

    /// Whether the ports were looked at, too.
    pub(super) fn is_whole(&self) -> bool {
        self.whole
    }

    /// Where the name leads. An authority that is not public, `for_public` says, may see another DNS
    /// and connect from elsewhere than the internet.
    pub(crate) fn addresses_finding(&self, name: &Name, for_public: bool) -> Option<Finding> {
        if name.is_wildcard() || name.as_address().is_some() {
            return None;
        }
        let record = format!(
            "make an A record for {name} (and AAAA, if the server has IPv6) that points to this \
             server; it can take some minutes until it is seen"
        );
        let mut finding = match &self.addresses {
            Lookup::Found(addresses) => {
                let list = list(addresses);
                let private = addresses.iter().filter(|address| is_private(**address));
                let private: Vec<_> = private.copied().collect();
                if private.is_empty() || !for_public {
                    Finding::ok(format!("{name} resolves to {list}"))
                } else {
                    let message = format!(
                        "{name} resolves to {list}, of which {} cannot be reached from the internet",
                        self::list(&private)
                    );
                    let hint =
                        "a public authority connects from the internet: the record must have \
                                the server's public address"
                            .to_owned();
                    if private.len() == addresses.len() {
                        Finding::problem(message, hint)
                    } else {
                        Finding::warning(message, hint)
                    }
                }
            }
            Lookup::NoSuchName => {
                Finding::problem(format!("the DNS has no name {name} (NXDOMAIN)"), record)
            }
            Lookup::NoRecord => Finding::problem(
                format!("the DNS has neither an A nor an AAAA record for {name}"),
                record,
            ),
            Lookup::Failed(code) => Finding::warning(
                format!("the DNS cannot tell where {name} leads ({code})"),
                "the name servers of the domain fail, or its DNSSEC signatures are wrong; an \
                 authority most likely sees the same",
            ),
            Lookup::NoAnswer => Finding::warning(
                format!("no name server answered where {name} leads"),
                "can this container reach its name servers (/etc/resolv.conf)? --preflight-resolver \
                 names others",
            ),
        };
        if !for_public {
            finding.severity = finding.severity.min(Severity::Warning);
        }
        Some(finding)
    }

    /// What answers where the name leads.
    pub(crate) fn port_findings(&self, name: &Name, ports: Ports) -> Vec<Finding> {
        let ours = |(_, reach): &&(IpAddr, Reach<Http>)| *reach == Reach::Answered(Http::Ours);
        let reached = self.http.iter().filter(ours).count();
        let findings = self.http.iter();
        findings
            .map(|(address, reach)| port_finding(name, *address, ports.http, reach, reached > 0))
            .collect()
    }

    /// Whether CAA lets the authority with `directory_url` certify the name.
    pub(crate) fn caa_finding(&self, name: &Name, directory_url: &str) -> Option<Finding> {
        match &self.caa {
            Relevant::None => Some(Finding::ok(format!(
                "no CAA record: every authority may certify {name}"
            ))),
            Relevant::Unknown { domain, reason } => Some(Finding::warning(
                format!("the CAA records of {domain} cannot be looked up: {reason}"),
                "an authority that sees the same refuses; do the domain's name servers answer \
                 questions for CAA?",
            )),
            Relevant::Of { domain, records } => {
                let identities = caa::identities(directory_url)?;
                let by = identities.first().copied().unwrap_or_default();
                Some(
                    match caa::evaluate(records, name.is_wildcard(), identities) {
                        Verdict::Allowed(conditions) if conditions.is_empty() => {
                            Finding::ok(format!("the CAA records of {domain} allow {by}"))
                        }
                        Verdict::Allowed(conditions) => Finding::warning(
                            format!(
                                "the CAA records of {domain} allow {by} with a condition: {}",
                                conditions.join(", ")
                            ),
                            "the account and the challenge of this server must be those",
                        ),
                        Verdict::Forbidden(record) => Finding::problem(
                            format!("the CAA records of {domain} forbid {by}: {record}"),
                            format!(
                                "add `{domain}. CAA 0 {} \"{by}\"` to the DNS, or choose an \
                                 authority that is there (acme_ca)",
                                if name.is_wildcard() {
                                    "issuewild"
                                } else {
                                    "issue"
                                }
                            ),
                        ),
                    },
                )
            }
        }
    }

    /// Why an order at a public authority is certain to fail. `by_dns` says that the challenge
    /// needs no address.
    pub(super) fn hopeless(
        &self,
        name: &Name,
        directory_url: &str,
        by_dns: bool,
    ) -> Option<Finding> {
        if !is_public_authority(directory_url) {
            return None;
        }
        if !by_dns && self.addresses == Lookup::NoSuchName {
            return self.addresses_finding(name, true);
        }
        let Relevant::Of { records, .. } = &self.caa else {
            return None;
        };
        let identities = caa::identities(directory_url)?;
        match caa::evaluate(records, name.is_wildcard(), identities) {
            Verdict::Forbidden(_) => self.caa_finding(name, directory_url),
            Verdict::Allowed(_) => None,
        }
    }
}

/// Whether an address is not for the internet (RFC 6890).
pub(crate) fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_documentation()
                || a == 0
                || a >= 224
                // Shared by the customers of a provider (RFC 6598).
                || (a == 100 && (64..128).contains(&b))
        }
        IpAddr::V6(v6) => {
            v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_unique_local()
                || v6.is_unicast_link_local()
                || v6.is_multicast()
                || v6.segments()[..2] == [0x2001, 0xdb8]
        }
    }
}

async fn addresses(dns: &Dns, name: &Name) -> Lookup<IpAddr> {
    match name.as_address() {
        Some(address) => Lookup::Found(vec![address]),
        None if name.is_wildcard() => Lookup::NoRecord,
        None => dns.addresses(name.as_str()).await,
    }
}

/// Asks each address for a token that only our proxies know.
async fn ask_port(
    challenges: &ChallengeBoard,
    port: u16,
    name: &Name,
    addresses: &[IpAddr],
) -> (Vec<(IpAddr, Reach<Http>)>, Vec<Acknowledgement>) {
    let token = format!("preflight-{:032x}", rand::random::<u128>());
    // No key authorization of an account, so nothing is proven by it to anybody.
    let expected = format!("{token}.{:032x}", rand::random::<u128>());
    let published = challenges.publish(name.clone(), token.clone(), expected.clone());
    let acknowledged = published.acknowledged(ACKNOWLEDGE_TIMEOUT).await;
    let proxies = published.acknowledgements();
    if acknowledged.is_err() {
        return (Vec::new(), proxies);
    }
    let mut asked = tokio::task::JoinSet::new();
    for (index, address) in addresses.iter().copied().take(ADDRESSES).enumerate() {
        let (name, token, expected) = (name.clone(), token.clone(), expected.clone());
        asked.spawn(async move {
            let socket = SocketAddr::new(address, port);
            let reach = reach::http(&name, socket, &token, &expected).await;
            (index, address, reach)
        });
    }
    let mut answers = asked.join_all().await;
    answers.sort_by_key(|(index, ..)| *index);
    let answers = answers
        .into_iter()
        .map(|(_, address, reach)| (address, reach));
    (answers.collect(), proxies)
}

/// What is to be said of one address. `others` says that another one of the name is ours.
fn port_finding(
    name: &Name,
    address: IpAddr,
    port: u16,
    reach: &Reach<Http>,
    others: bool,
) -> Finding {
    let record = if address.is_ipv6() { "AAAA" } else { "A" };
    let there = format!("port {port} of {address}");
    // Behind many routers a machine cannot reach its own public address, so this is no proof.
    let closed = format!(
        "is port {port} published by the proxy and open in the firewall? If {address} is this \
         server's own public address, it may be reachable from elsewhere all the same"
    );
    let wrong = if others {
        format!(
            "the {record} record of {name} with {address} leads elsewhere: correct or remove it, or \
             validation fails at times"
        )
    } else {
        format!(
            "the {record} record of {name} leads to another machine, or another program has port \
             {port} there"
        )
    };
    match reach {
        Reach::Answered(Http::Ours) => Finding::ok(format!("{there} is answered by our proxies")),
        Reach::Answered(Http::Redirected(to)) => Finding::warning(
            format!("{there} sends to {to} in place of answering"),
            wrong,
        ),
        Reach::Answered(Http::Other(what)) => Finding::warning(
            format!("{there} is answered by something else: {what}"),
            wrong,
        ),
        Reach::Refused => Finding::warning(format!("{there} refuses connections"), closed),
        Reach::Silent => Finding::warning(format!("{there} does not answer"), closed),
        Reach::Broken(error) => {
            Finding::warning(format!("{there} does not answer by HTTP: {error}"), closed)
        }
        Reach::NoRoute if others => Finding::ok(format!("{there} cannot be tried from here")),
        Reach::NoRoute => Finding::warning(
            format!("{there} cannot be tried from here: there is no route to it"),
            String::new(),
        ),
    }
}

fn list(addresses: &[IpAddr]) -> String {
    let texts: Vec<_> = addresses.iter().map(IpAddr::to_string).collect();
    texts.join(", ")
}
