//! The HTTP app: servers, their listeners and their routes.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{ConnectionPolicy, Duration, Handler, MatcherSet, Origins, Written, modules, object};

object! {
    /// Caddy: `apps/http`.
    pub struct HttpApp {
        /// Port of plain HTTP; 0 is 80.
        pub http_port: u16,
        /// Port of HTTPS; 0 is 443.
        pub https_port: u16,
        /// Time that open requests get at shutdown; 0 is without end.
        pub grace_period: Duration,
        /// Time between the announcement of a shutdown and its start.
        pub shutdown_delay: Duration,
        /// Servers by name.
        pub servers: BTreeMap<String, Server>,
        /// Counts requests of all servers.
        pub metrics: Option<HttpMetrics>,
    }
}

object! {
    /// Caddy: `metrics`.
    pub struct HttpMetrics {
        /// Adds the host to the labels.
        pub per_host: bool,
        /// Also counts hosts that no site names.
        pub observe_catchall_hosts: bool,
        /// Adds OTLP export.
        pub otlp: bool,
    }
}

object! {
    /// One server: listeners that share routes.
    pub struct Server {
        /// Where its settings were written, if there are any beside its sites.
        #[serde(skip)]
        pub written: Written,
        /// Network addresses, such as `:443`, `127.0.0.1:8080-8090` or `unix//run/a.sock`.
        pub listen: Vec<String>,
        /// What connections pass before HTTP, such as PROXY protocol, raw.
        pub listener_wrappers: Vec<Value>,
        /// What QUIC packets pass, raw.
        pub packet_conn_wrappers: Vec<Value>,
        /// Time to read a whole request; 0 is without end.
        pub read_timeout: Duration,
        /// Time to read a request's head; 0 is Caddy's default of one minute.
        pub read_header_timeout: Duration,
        /// Time to write a response; 0 is without end.
        pub write_timeout: Duration,
        /// Time a connection may be idle; 0 is Caddy's default of 5 minutes.
        pub idle_timeout: Duration,
        /// Time between TCP keep-alive probes; 0 is Go's default of 15 s, negative is none.
        pub keepalive_interval: Duration,
        /// Time a TCP connection is idle before keep-alive probes; 0 is Go's default of 15 s.
        pub keepalive_idle: Duration,
        /// Keep-alive probes that may be lost; 0 is Go's default of 9.
        pub keepalive_count: i64,
        /// Size of a request's head, in bytes; 0 is Go's default of 1 MiB.
        pub max_header_bytes: i64,
        /// Writes HTTP/1 responses while requests are still read.
        pub enable_full_duplex: bool,
        /// Routes in the order they are tried.
        pub routes: Vec<Route>,
        /// What answers errors of the routes.
        pub errors: Option<ErrorRoutes>,
        /// Routes that `invoke` names.
        pub named_routes: BTreeMap<String, Route>,
        /// How TLS connections are set up, first match wins; empty means no TLS unless automatic
        /// HTTPS turns it on, absent from the list means the defaults.
        pub tls_connection_policies: Vec<ConnectionPolicy>,
        /// Automatic HTTPS; absent means on.
        pub automatic_https: Option<AutomaticHttps>,
        /// Refuses requests whose host is not the SNI; absent is on where client certificates
        /// are asked for.
        pub strict_sni_host: Option<bool>,
        /// Proxies whose forwarding fields are believed.
        pub trusted_proxies: Option<IpSource>,
        /// Fields that give the client's address; empty is `X-Forwarded-For`.
        pub client_ip_headers: Vec<String>,
        /// Not 0: reads the fields from right to left.
        pub trusted_proxies_strict: i64,
        /// Believes forwarding fields of Unix socket peers.
        pub trusted_proxies_unix: bool,
        /// Access logs; absent means none.
        pub logs: Option<ServerLogs>,
        /// `h1`, `h2`, `h2c` and `h3`; empty is `h1`, `h2` and `h3`.
        pub protocols: Vec<String>,
        /// Protocols by position in `listen`; `null` is `protocols`.
        pub listen_protocols: Option<Vec<Option<Vec<String>>>>,
        /// TLS early data; absent means on.
        pub allow_0rtt: Option<bool>,
        /// Counts requests of this server (older form).
        pub metrics: Option<HttpMetrics>,
    }
}

object! {
    /// One route: handlers for the requests that match.
    pub struct Route {
        /// Of the routes with one group only the first that matches runs; empty is no group.
        pub group: String,
        /// Matcher sets, any of them; empty matches everything.
        #[serde(rename = "match")]
        pub r#match: Vec<MatcherSet>,
        /// Handlers in the order they run.
        pub handle: Vec<Handler>,
        /// No later route runs.
        pub terminal: bool,
        /// Where the handlers were written.
        #[serde(skip)]
        pub origins: Origins,
    }
}

object! {
    /// Routes for errors; `{http.error.*}` tells about the error.
    pub struct ErrorRoutes {
        /// Routes in the order they are tried.
        pub routes: Vec<Route>,
    }
}

object! {
    /// Caddy: `automatic_https`.
    pub struct AutomaticHttps {
        /// No automatic HTTPS at all.
        pub disable: bool,
        /// Certificates, but no redirects from HTTP.
        pub disable_redirects: bool,
        /// Redirects, but no certificates.
        pub disable_certificates: bool,
        /// Names that get neither.
        pub skip: Vec<String>,
        /// Names that get no certificates.
        pub skip_certificates: Vec<String>,
        /// Obtains certificates also for names whose certificates are loaded.
        pub ignore_loaded_certificates: bool,
        /// Uses wildcard certificates for the names below.
        pub prefer_wildcard: bool,
    }
}

object! {
    /// Caddy: `logs`.
    pub struct ServerLogs {
        /// Logger of hosts without one of their own; empty is the server's log.
        pub default_logger_name: String,
        /// By host (wildcards allowed), names of loggers.
        pub logger_names: BTreeMap<String, Vec<String>>,
        /// Hosts without access log.
        pub skip_hosts: Vec<String>,
        /// Hosts that `logger_names` does not have get no access log.
        pub skip_unmapped_hosts: bool,
        /// Writes `Authorization`, `Cookie` and the like in clear.
        pub should_log_credentials: bool,
        /// Logs each handler that runs.
        pub trace: bool,
    }
}

modules! {
    /// A set of addresses.
    pub enum IpSource in "source" {
        /// What Cloudflare says it has; not of stock Caddy.
        "cloudflare" => Cloudflare(CloudflareIps),
        /// A fixed list.
        "static" => Static(StaticIps),
    }
}

object! {
    /// The module `http.ip_sources.cloudflare`. Both values are taken and not used: the list is
    /// fetched once a day.
    pub struct CloudflareIps {
        /// How often the list is fetched.
        pub interval: Duration,
        /// How long that may take.
        pub timeout: Duration,
    }
}

object! {
    /// Caddy: `http.ip_sources.static`.
    pub struct StaticIps {
        /// Addresses or CIDR ranges.
        pub ranges: Vec<String>,
    }
}
