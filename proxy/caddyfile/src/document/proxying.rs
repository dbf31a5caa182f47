//! The reverse proxy handler: upstreams, balancing, health and transports.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    Duration, Empty, HeaderOps, MatcherSet, ResponseHandler, ResponseHeaderOps, Rewrite, modules,
    object,
};

object! {
    /// Caddy: `http.handlers.reverse_proxy`.
    pub struct ReverseProxy {
        /// How upstreams are reached; absent is HTTP.
        pub transport: Option<Transport>,
        /// Circuit breaker module, raw.
        pub circuit_breaker: Option<Value>,
        /// Choice among upstreams and retries.
        pub load_balancing: Option<LoadBalancing>,
        /// Active and passive health checks.
        pub health_checks: Option<HealthChecks>,
        /// Upstreams that are fixed.
        pub upstreams: Vec<Upstream>,
        /// A module that finds upstreams for each request, raw; its `source` names it.
        pub dynamic_upstreams: Option<Value>,
        /// Time after which written bytes are flushed to the client; negative is at once.
        pub flush_interval: Duration,
        /// Ranges of proxies whose forwarding fields are kept, besides the server's.
        pub trusted_proxies: Vec<String>,
        /// Changes of request and response fields.
        pub headers: Option<ProxyHeaders>,
        /// Bytes of the request body that are read before it is sent on; -1 is all of it.
        pub request_buffers: i64,
        /// Bytes of the response body that are read before it is sent on; -1 is all of it.
        pub response_buffers: i64,
        /// Time after which upgraded connections are closed; 0 is never.
        pub stream_timeout: Duration,
        /// Size of the buffer of upgraded connections, in bytes; 0 is 32 KiB.
        pub stream_buffer_size: i64,
        /// Time that upgraded connections stay open after a reload.
        pub stream_close_delay: Duration,
        /// Change of method or URI on a copy of the request.
        pub rewrite: Option<Rewrite>,
        /// Routes for certain responses, first match wins.
        pub handle_response: Vec<ResponseHandler>,
        /// Logs each try.
        pub verbose_logs: bool,
    }
}

object! {
    /// One upstream.
    pub struct Upstream {
        /// Network address with one port, without a scheme; may have placeholders.
        pub dial: String,
        /// Requests at a time; 0 is without limit.
        pub max_requests: i64,
    }
}

object! {
    /// Caddy: `headers` of the reverse proxy.
    pub struct ProxyHeaders {
        /// On the request to the upstream.
        pub request: Option<HeaderOps>,
        /// On the upstream's response.
        pub response: Option<ResponseHeaderOps>,
    }
}

object! {
    /// Caddy: `load_balancing`.
    pub struct LoadBalancing {
        /// How an upstream is chosen; absent is random.
        pub selection_policy: Option<SelectionPolicy>,
        /// Tries after the first; 0 leaves it to `try_duration`.
        pub retries: i64,
        /// Time during which other upstreams are tried; 0 is no retry unless `retries` says so.
        pub try_duration: Duration,
        /// Time between tries; 0 is Caddy's default of 250 ms.
        pub try_interval: Duration,
        /// Requests that may be sent again although they have been sent; GET otherwise.
        pub retry_match: Vec<MatcherSet>,
    }
}

modules! {
    /// How an upstream is chosen.
    pub enum SelectionPolicy in "policy" {
        /// By a hash of the client's address behind trusted proxies.
        "client_ip_hash" => ClientIpHash(Empty),
        /// By a cookie, which is set on the first response.
        "cookie" => Cookie(CookieHash),
        /// The first that is available.
        "first" => First(Empty),
        /// By a hash of a request field.
        "header" => Header(HeaderHash),
        /// By a hash of the connection's address.
        "ip_hash" => IpHash(Empty),
        /// The one with the fewest requests.
        "least_conn" => LeastConn(Empty),
        /// By a hash of a query key.
        "query" => Query(QueryHash),
        /// Any.
        "random" => Random(Empty),
        /// The least busy of some that are picked at random.
        "random_choose" => RandomChoose(RandomChoose),
        /// Each in turn.
        "round_robin" => RoundRobin(Empty),
        /// By a hash of the URI.
        "uri_hash" => UriHash(Empty),
        /// Each in turn as often as its weight.
        "weighted_round_robin" => WeightedRoundRobin(WeightedRoundRobin),
    }
}

/// The policy that chooses where a hash has nothing to go by; absent is random.
pub type FallbackPolicy = Option<Box<SelectionPolicy>>;

object! {
    /// Caddy: `cookie`.
    pub struct CookieHash {
        /// Name of the cookie; empty is `lb`.
        pub name: String,
        /// Key of the HMAC in the cookie.
        pub secret: String,
        /// Lifetime of the cookie; 0 is the browser's session.
        pub max_age: Duration,
        /// For requests without the cookie.
        pub fallback: FallbackPolicy,
    }
}

object! {
    /// Caddy: `header`.
    pub struct HeaderHash {
        /// Name of the request field.
        pub field: String,
        /// For requests without the field.
        pub fallback: FallbackPolicy,
    }
}

object! {
    /// Caddy: `query`.
    pub struct QueryHash {
        /// Query key.
        pub key: String,
        /// For requests without the key.
        pub fallback: FallbackPolicy,
    }
}

object! {
    /// Caddy: `random_choose`.
    pub struct RandomChoose {
        /// How many are picked; at least 2.
        pub choose: i64,
    }
}

object! {
    /// Caddy: `weighted_round_robin`.
    pub struct WeightedRoundRobin {
        /// Weights by position in `upstreams`; 0 is never.
        pub weights: Vec<i64>,
    }
}

object! {
    /// Caddy: `health_checks`.
    pub struct HealthChecks {
        /// Requests of the proxy's own.
        pub active: Option<ActiveHealthChecks>,
        /// What clients' requests show.
        pub passive: Option<PassiveHealthChecks>,
    }
}

object! {
    /// Caddy: `health_checks/active`.
    pub struct ActiveHealthChecks {
        /// Path (older form of `uri`).
        pub path: String,
        /// Path and query of the request; none checks nothing unless a port is given.
        pub uri: String,
        /// Address that is asked instead of the upstream's.
        pub upstream: String,
        /// Port that is asked instead of the upstream's; 0 is that.
        pub port: i64,
        /// Fields of the request.
        pub headers: BTreeMap<String, Vec<String>>,
        /// Method; empty is GET.
        pub method: String,
        /// Body of the request.
        pub body: String,
        /// Follows redirects.
        pub follow_redirects: bool,
        /// Time between requests; 0 is 30 s.
        pub interval: Duration,
        /// Time to answer; 0 is 5 s.
        pub timeout: Duration,
        /// Good answers in a row that make an upstream healthy; 0 is 1.
        pub passes: i64,
        /// Bad answers in a row that make an upstream unhealthy; 0 is 1.
        pub fails: i64,
        /// Bytes of the answer that are read; 0 is all.
        pub max_size: i64,
        /// Expected status, or a class as one digit; 0 is 2xx.
        pub expect_status: i64,
        /// Regular expression that the answer's body must match.
        pub expect_body: String,
    }
}

object! {
    /// Caddy: `health_checks/passive`.
    pub struct PassiveHealthChecks {
        /// Time a failure is remembered; 0 turns passive checks off.
        pub fail_duration: Duration,
        /// Remembered failures that make an upstream unhealthy; 0 is 1.
        pub max_fails: i64,
        /// Requests at a time that make an upstream unavailable; 0 is without limit.
        pub unhealthy_request_count: i64,
        /// Statuses that are failures; one digit is a class.
        pub unhealthy_status: Vec<i64>,
        /// Time to answer that is a failure.
        pub unhealthy_latency: Duration,
    }
}

modules! {
    /// How upstreams are reached.
    pub enum Transport in "protocol" {
        /// FastCGI.
        "fastcgi" => Fastcgi(FastcgiTransport),
        /// HTTP, with or without TLS.
        "http" => Http(Box<HttpTransport>),
    }
}

object! {
    /// Caddy: `http.reverse_proxy.transport.http`.
    pub struct HttpTransport {
        /// Name servers for upstream names.
        pub resolver: Option<Resolver>,
        /// TLS to the upstream; absent is plain HTTP.
        pub tls: Option<UpstreamTls>,
        /// Reuse of connections; absent is on.
        pub keep_alive: Option<KeepAlive>,
        /// Asks for gzip where the client did not; absent means yes.
        pub compression: Option<bool>,
        /// Connections to one upstream; 0 is without limit.
        pub max_conns_per_host: i64,
        /// Sends a PROXY protocol header: `v1` or `v2`; empty is none.
        pub proxy_protocol: String,
        /// URL of a forward proxy (older form of `network_proxy`).
        pub forward_proxy_url: String,
        /// Time to connect; 0 is 3 s.
        pub dial_timeout: Duration,
        /// Head start of IPv6 over IPv4 (RFC 8305); 0 is 300 ms, negative turns it off.
        pub dial_fallback_delay: Duration,
        /// Time to the response's head; 0 is without end.
        pub response_header_timeout: Duration,
        /// Time to a `100 Continue` where the request expects it; 0 sends the body at once.
        pub expect_continue_timeout: Duration,
        /// Size of a response's head, in bytes; 0 is Go's default of 10 MiB.
        pub max_response_header_size: i64,
        /// Size of the write buffer, in bytes; 0 is 4 KiB.
        pub write_buffer_size: i64,
        /// Size of the read buffer, in bytes; 0 is 4 KiB.
        pub read_buffer_size: i64,
        /// Time of one read; 0 is without end.
        pub read_timeout: Duration,
        /// Time of one write; 0 is without end.
        pub write_timeout: Duration,
        /// `1.1`, `2`, `h2c`, `3`; empty is `1.1` and `2`.
        pub versions: Vec<String>,
        /// Address that connections are made from.
        pub local_address: String,
        /// Forward proxy module, raw; its `from` names it.
        pub network_proxy: Option<Value>,
    }
}

object! {
    /// Caddy: `resolver`.
    pub struct Resolver {
        /// Addresses of name servers.
        pub addresses: Vec<String>,
    }
}

object! {
    /// Caddy: `tls` of the HTTP transport.
    pub struct UpstreamTls {
        /// Module that gives trusted roots, raw; its `provider` names it.
        pub ca: Option<Value>,
        /// Trusted roots, base64 of DER (older form of `ca`).
        pub root_ca_pool: Vec<String>,
        /// Files of trusted roots (older form of `ca`).
        pub root_ca_pem_files: Vec<String>,
        /// File of the client certificate.
        pub client_certificate_file: String,
        /// File of the client certificate's key.
        pub client_certificate_key_file: String,
        /// Name whose managed certificate is the client certificate.
        pub client_certificate_automate: String,
        /// Accepts any certificate.
        pub insecure_skip_verify: bool,
        /// Time of the handshake; 0 is without end.
        pub handshake_timeout: Duration,
        /// Name in the SNI and in the certificate; empty is the upstream's host. May have
        /// placeholders.
        pub server_name: String,
        /// `never`, `once` or `freely`; empty is `never`.
        pub renegotiation: String,
        /// Ports that are reached without TLS.
        pub except_ports: Vec<String>,
        /// Key exchange groups in order of preference.
        pub curves: Vec<String>,
    }
}

object! {
    /// Caddy: `keep_alive`.
    pub struct KeepAlive {
        /// Whether connections are reused; absent means yes.
        pub enabled: Option<bool>,
        /// Time between TCP keep-alive probes; 0 is 30 s.
        pub probe_interval: Duration,
        /// Idle connections in all; 0 is without limit.
        pub max_idle_conns: i64,
        /// Idle connections to one upstream; 0 is 32.
        pub max_idle_conns_per_host: i64,
        /// Time a connection is kept; 0 is 2 minutes.
        pub idle_timeout: Duration,
    }
}

object! {
    /// Caddy: `http.reverse_proxy.transport.fastcgi`.
    pub struct FastcgiTransport {
        /// Document root; empty is `{http.vars.root}`.
        pub root: String,
        /// Extensions after which the path is split into script and path info.
        pub split_path: Vec<String>,
        /// Resolves links in the root.
        pub resolve_root_symlink: bool,
        /// Variables for the script.
        pub env: BTreeMap<String, String>,
        /// Time to connect; 0 is 3 s.
        pub dial_timeout: Duration,
        /// Time of one read; 0 is without end.
        pub read_timeout: Duration,
        /// Time of one write; 0 is without end.
        pub write_timeout: Duration,
        /// Logs the script's standard error as warnings.
        pub capture_stderr: bool,
        /// Memory for a request body without a length, raw.
        pub body_buffer_limit: Option<Value>,
    }
}
