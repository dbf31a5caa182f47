//! HTTP handlers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Duration, Empty, ErrorRoutes, HeaderOps, Headers, MatcherSet, ResponseHandler, ResponseMatcher,
    ReverseProxy, Rewrite, Route, WeakString, is_default, modules, object,
};

modules! {
    /// One handler of a route. A handler answers, or passes the request on to the next one.
    pub enum Handler in "handler" {
        /// An ACME server in front of an own CA.
        "acme_server" => AcmeServer(AcmeServer),
        /// Asks for credentials.
        "authentication" => Authentication(Authentication),
        /// Keeps responses for others; not of Caddy.
        "cache" => Cache(Cache),
        /// Sends the upstream's response, in `handle_response`.
        "copy_response" => CopyResponse(CopyResponse),
        /// Copies fields of the upstream's response, in `handle_response`.
        "copy_response_headers" => CopyResponseHeaders(CopyResponseHeaders),
        /// Compresses responses.
        "encode" => Encode(Encode),
        /// Fails with an error.
        "error" => Error(ErrorHandler),
        /// Serves files.
        "file_server" => FileServer(FileServer),
        /// Changes fields of requests and responses.
        "headers" => Headers(Headers),
        /// Replaces certain responses.
        "intercept" => Intercept(Intercept),
        /// Runs a named route.
        "invoke" => Invoke(Invoke),
        /// Adds a field to the access log.
        "log_append" => LogAppend(LogAppend),
        /// Sets variables from others.
        "map" => Map(MapHandler),
        /// Shows counters.
        "metrics" => Metrics(Metrics),
        /// HTTP/2 server push.
        "push" => Push(Push),
        /// Refuses requests that come too often; not of stock Caddy.
        "rate_limit" => RateLimit(RateLimit),
        /// Limits or replaces the request body.
        "request_body" => RequestBody(RequestBody),
        /// Forwards to upstreams.
        "reverse_proxy" => ReverseProxy(Box<ReverseProxy>),
        /// Changes method or URI.
        "rewrite" => Rewrite(Rewrite),
        /// Answers with what is written in the document.
        "static_response" => StaticResponse(StaticResponse),
        /// Routes within a route.
        "subroute" => Subroute(Subroute),
        /// Executes templates in responses.
        "templates" => Templates(Templates),
        /// Traces requests.
        "tracing" => Tracing(Tracing),
        /// Sets variables: `root`, `log_skip` and any others.
        "vars" => Vars(BTreeMap<String, Value>),
    }
}

object! {
    /// Caddy: `http.handlers.subroute`.
    pub struct Subroute {
        /// Routes in the order they are tried.
        pub routes: Vec<Route>,
        /// What answers errors of the routes; absent passes errors on.
        pub errors: Option<ErrorRoutes>,
    }
}

object! {
    /// Caddy: `http.handlers.static_response`.
    pub struct StaticResponse {
        /// Status; empty is 200, or an error's status in error routes.
        pub status_code: WeakString,
        /// Fields of the response.
        pub headers: BTreeMap<String, Vec<String>>,
        /// Body, with placeholders.
        pub body: String,
        /// Closes the connection after the response.
        pub close: bool,
        /// Closes the connection without a response.
        pub abort: bool,
    }
}

object! {
    /// Caddy: `http.handlers.error`.
    pub struct ErrorHandler {
        /// Message, with placeholders.
        pub error: String,
        /// Status; empty is 500.
        pub status_code: WeakString,
    }
}

object! {
    /// Caddy: `http.handlers.file_server`.
    pub struct FileServer {
        /// File system module; empty is the default one.
        pub fs: String,
        /// Folder that is served; empty is `{http.vars.root}`, or the current folder.
        pub root: String,
        /// Paths or patterns that are answered with 404.
        pub hide: Vec<String>,
        /// Names of index files; absent is `index.html` and `index.txt`, empty is none.
        #[serde(rename = "index_names")]
        pub index_names: Option<Vec<String>>,
        /// Lists folders without an index file.
        pub browse: Option<Browse>,
        /// Redirects folders to a trailing slash and files from one; absent means yes.
        pub canonical_uris: Option<bool>,
        /// Status of files; empty is 200.
        pub status_code: WeakString,
        /// Passes on instead of answering 404.
        pub pass_thru: bool,
        /// By encoding (`br`, `gzip`, `zstd`): looks for siblings that are compressed already.
        pub precompressed: BTreeMap<String, Empty>,
        /// Encodings in order of preference.
        pub precompressed_order: Vec<String>,
        /// Extensions of siblings that hold the ETag.
        pub etag_file_extensions: Vec<String>,
    }
}

object! {
    /// Caddy: `browse`.
    pub struct Browse {
        /// Template file; empty is the built-in one.
        pub template_file: String,
        /// Shows where links lead.
        pub reveal_symlinks: bool,
        /// Field and order of sorting.
        pub sort: Vec<String>,
        /// Entries that are read; 0 is 10,000.
        pub file_limit: i64,
    }
}

object! {
    /// The handler `cache`, which is no module of Caddy's.
    pub struct Cache {
        /// Bytes of all that is kept; 0 is 64 MiB.
        pub max_size: i64,
        /// Bytes of the largest body that is kept; 0 is 1 MiB.
        pub max_body: i64,
        /// How long a response past its lifetime is given while it is validated, where it does not
        /// say so itself.
        pub stale_while_revalidate: Duration,
        /// How long a response past its lifetime is given where the app fails, where it does not
        /// say so itself.
        pub stale_if_error: Duration,
        /// How long a response is fresh that does not say; 0 keeps none of those.
        pub default_ttl: Duration,
    }
}

object! {
    /// Caddy: `http.handlers.encode`.
    pub struct Encode {
        /// By encoding (`br`, `gzip`, `zstd`), its options, raw.
        pub encodings: BTreeMap<String, Value>,
        /// Encodings in order of preference.
        pub prefer: Vec<String>,
        /// Bytes of the least response that is compressed; 0 is 512.
        pub minimum_length: i64,
        /// Responses that are compressed; absent is by a list of content types.
        #[serde(rename = "match")]
        pub r#match: Option<ResponseMatcher>,
    }
}

object! {
    /// Caddy: `http.handlers.authentication`.
    pub struct Authentication {
        /// Providers, one of which must accept.
        pub providers: AuthenticationProviders,
    }
}

/// Authentication providers by name.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct AuthenticationProviders {
    /// HTTP basic authentication (RFC 7617).
    #[serde(skip_serializing_if = "is_default")]
    pub http_basic: Option<BasicAuth>,
    /// Providers that are not modelled here, as they were read.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

object! {
    /// Caddy: `http.authentication.providers.http_basic`.
    pub struct BasicAuth {
        /// How passwords are hashed; absent is bcrypt.
        pub hash: Option<PasswordHash>,
        /// Who may enter.
        pub accounts: Vec<BasicAuthAccount>,
        /// Name that browsers show; empty is `restricted`.
        pub realm: String,
        /// Remembers verified passwords.
        pub hash_cache: Option<Empty>,
    }
}

object! {
    /// Caddy: `hash`.
    pub struct PasswordHash {
        /// `bcrypt` or `argon2id`.
        pub algorithm: String,
        /// Cost of the hash of unknown accounts; 0 is the algorithm's default.
        pub cost: i64,
    }
}

object! {
    /// One account.
    pub struct BasicAuthAccount {
        /// Name.
        pub username: String,
        /// Password hash in the algorithm's text form; older documents have base64 of it.
        pub password: String,
    }
}

object! {
    /// Caddy: `http.handlers.request_body`.
    pub struct RequestBody {
        /// Bytes; more is answered with 413. 0 is without limit.
        pub max_size: i64,
        /// Time to read the body; 0 is the server's.
        pub read_timeout: Duration,
        /// Time to write the response; 0 is the server's.
        pub write_timeout: Duration,
        /// Replaces the body, with placeholders.
        pub set: String,
    }
}

object! {
    /// Caddy: `http.handlers.invoke`.
    pub struct Invoke {
        /// Key in the server's `named_routes`.
        pub name: String,
    }
}

object! {
    /// Caddy: `http.handlers.log_append`.
    pub struct LogAppend {
        /// Name of the field.
        pub key: String,
        /// Value: a placeholder, a variable's name, or text.
        pub value: String,
        /// Takes the value before the request is handled.
        pub early: bool,
    }
}

object! {
    /// Caddy: `http.handlers.map`.
    pub struct MapHandler {
        /// Placeholder whose value is looked up.
        pub source: String,
        /// Placeholders that are set.
        pub destinations: Vec<String>,
        /// Rows in the order they are tried.
        pub mappings: Vec<Mapping>,
        /// Values where no row matches.
        pub defaults: Vec<String>,
    }
}

object! {
    /// A row of a map.
    pub struct Mapping {
        /// Value to match.
        pub input: String,
        /// Regular expression to match, where `input` is empty.
        pub input_regexp: String,
        /// Values for the destinations; `null` is the default.
        pub outputs: Vec<Value>,
    }
}

object! {
    /// Caddy: `http.handlers.metrics`.
    pub struct Metrics {
        /// Only the older text format.
        pub disable_openmetrics: bool,
    }
}

object! {
    /// Caddy: `http.handlers.push`.
    pub struct Push {
        /// What is pushed.
        pub resources: Vec<PushResource>,
        /// Fields of pushed requests.
        pub headers: Option<PushHeaders>,
    }
}

object! {
    /// A resource to push.
    pub struct PushResource {
        /// Method; empty is GET.
        pub method: String,
        /// Path.
        pub target: String,
    }
}

/// Changes of the fields of pushed requests.
pub type PushHeaders = HeaderOps;

object! {
    /// The module `http.handlers.rate_limit` of `mholt/caddy-ratelimit`.
    pub struct RateLimit {
        /// Limits by name; a request must be within each that is for it.
        pub rate_limits: BTreeMap<String, RateLimitZone>,
        /// Lengthens `Retry-After` by up to this share, by chance.
        pub jitter: f64,
        /// How often counters of the past are dropped; they are bounded anyway.
        pub sweep_interval: Duration,
        /// Logs the key of refused requests.
        pub log_key: bool,
        /// Counters that instances share, raw.
        pub distributed: Option<Value>,
        /// Where shared counters are kept, raw.
        pub storage: Option<Value>,
    }
}

object! {
    /// One limit.
    pub struct RateLimitZone {
        /// Requests that it is for; empty is all.
        #[serde(rename = "match")]
        pub r#match: Vec<MatcherSet>,
        /// What requests are counted by, with placeholders.
        pub key: String,
        /// Length of the window in which they are counted.
        pub window: Duration,
        /// Requests in a window.
        pub max_events: i64,
    }
}

object! {
    /// Caddy: `http.handlers.intercept`.
    pub struct Intercept {
        /// Routes for certain responses, first match wins.
        pub handle_response: Vec<ResponseHandler>,
    }
}

object! {
    /// Caddy: `http.handlers.copy_response`.
    pub struct CopyResponse {
        /// Replaces the status.
        pub status_code: WeakString,
    }
}

object! {
    /// Caddy: `http.handlers.copy_response_headers`.
    pub struct CopyResponseHeaders {
        /// Fields that are copied; empty is all.
        pub include: Vec<String>,
        /// Fields that are not copied.
        pub exclude: Vec<String>,
    }
}

object! {
    /// Caddy: `http.handlers.templates`.
    pub struct Templates {
        /// Folder of included files; empty is `{http.vars.root}`.
        pub file_root: String,
        /// Content types; empty is HTML, plain text and Markdown.
        pub mime_types: Vec<String>,
        /// Left and right delimiter; empty is `{{` and `}}`.
        pub delimiters: Vec<String>,
        /// Requests whose responses are executed.
        #[serde(rename = "match")]
        pub r#match: Option<Box<MatcherSet>>,
        /// Extension modules, raw.
        pub extensions: BTreeMap<String, Value>,
    }
}

object! {
    /// Caddy: `http.handlers.tracing`.
    pub struct Tracing {
        /// Name of the span; absent or empty is `handler`. Caddy writes it even if it is empty.
        pub span: Option<String>,
        /// Attributes of the span.
        pub span_attributes: BTreeMap<String, String>,
    }
}

object! {
    /// Caddy: `http.handlers.acme_server`.
    pub struct AcmeServer {
        /// Identifier of the authority; empty is `local`.
        pub ca: String,
        /// Lifetime of certificates; 0 is 12 hours.
        pub lifetime: Duration,
        /// Host name in the directory's URLs.
        pub host: String,
        /// Path before the directory; empty is `/acme/`.
        pub path_prefix: String,
        /// Signs with the root instead of the intermediate.
        pub sign_with_root: bool,
        /// Name servers for DNS-01.
        pub resolvers: Vec<String>,
        /// Challenges that are offered; empty is all.
        pub challenges: Vec<String>,
        /// Names that are allowed or denied, raw.
        pub policy: Option<Value>,
    }
}
