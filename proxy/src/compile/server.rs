//! One server: where it listens and what it does with requests.

use std::fmt;
use std::sync::Arc;

use caddyfile::document::{self, IpSource};
use downstream::ListenAddress;

use super::{CompileContext, CompileError, Scope, listen};
use crate::access_log;
use crate::edge::ClientAddress;
use crate::exchange::Exchange;
use crate::matcher::address::Ranges;
use crate::reverse_proxy::Check;
use crate::route::Program;

/// A compiled server.
pub struct Server {
    /// Its name in the document.
    pub name: Box<str>,
    /// Where it listens.
    pub listen: Box<[ListenAddress]>,
    /// The rest of the document's server: TLS, time limits, protocols. Its routes are moved out.
    pub settings: document::Server,
    /// What answers requests.
    pub routes: Program,
    /// What answers errors of the routes; `None` answers them with their status alone.
    pub errors: Option<Program>,
    /// How the client's address is found.
    pub client_address: ClientAddress,
    /// Which requests are logged; `None` logs none.
    pub logs: Option<access_log::Selection>,
    /// Active health checks of the upstreams.
    pub checks: Vec<Arc<Check>>,
}

impl Server {
    /// Compiles a server of the document.
    pub(super) fn compile(
        name: String,
        mut settings: document::Server,
        logs: &access_log::Logs,
        context: &CompileContext,
        errors: &mut Vec<CompileError>,
    ) -> Self {
        let mut scope = Scope::new(format!("apps.http.servers.{name}"), context.clone());
        let scope = &mut scope;
        scope.named_routes = std::mem::take(&mut settings.named_routes);
        let routes = std::mem::take(&mut settings.routes);
        let error_routes = settings.errors.take().map(|errors| errors.routes);
        note(&routes, scope);
        note(error_routes.as_deref().unwrap_or_default(), scope);
        for route in scope.named_routes.clone().into_values() {
            note(&[route], scope);
        }
        let written = settings.written.0;
        scope.written(written, |scope| refuse(&settings, scope));

        let listen = scope.within(".listen", |scope| {
            settings
                .listen
                .iter()
                .flat_map(|text| listen::parse(text, scope))
                .collect()
        });
        let client_address = ClientAddress {
            trusted: match &settings.trusted_proxies {
                None => Ranges::default(),
                Some(IpSource::Static(source)) => scope.written(written, |scope| {
                    scope.within(".trusted_proxies", |scope| {
                        Ranges::compile(&source.ranges, scope)
                    })
                }),
                Some(IpSource::Cloudflare(_)) => Ranges::cloudflare(),
                Some(IpSource::Other(_)) => {
                    scope.written(written, |scope| {
                        scope.within(".trusted_proxies", |scope| {
                            scope.error_with_hint(
                                "this source of addresses is not supported",
                                "use `cloudflare`, or list them: `trusted_proxies static RANGE...`",
                            );
                        });
                    });
                    Ranges::default()
                }
            },
            fields: scope.within(".client_ip_headers", |scope| {
                let names = settings.client_ip_headers.iter();
                scope.written(written, |scope| {
                    names.filter_map(|name| scope.header_name(name)).collect()
                })
            }),
            is_strict: settings.trusted_proxies_strict != 0,
        };
        let logs_of = settings.logs.as_ref();
        let logs = logs_of.map(|settings| access_log::Selection::compile(settings, logs));
        let mut compiled = Self {
            name: name.into(),
            listen,
            routes: scope.within(".routes", |scope| Program::compile(&routes, scope)),
            errors: error_routes.map(|routes| {
                scope.within(".errors.routes", |scope| Program::compile(&routes, scope))
            }),
            client_address,
            logs,
            settings,
            checks: Vec::new(),
        };
        compiled.checks = std::mem::take(&mut scope.checks);
        errors.append(&mut std::mem::take(scope).into_errors());
        compiled
    }

    /// Whether a request is to be refused because its host is not the name that the client asked
    /// for in the handshake, where the configuration is strict about that.
    pub(crate) fn refuses_host(&self, exchange: &Exchange) -> bool {
        let asks_for_certificates = || {
            self.settings
                .tls_connection_policies
                .iter()
                .any(|policy| policy.client_authentication.is_some())
        };
        let Some(session) = &exchange.connection.tls else {
            return false;
        };
        self.settings
            .strict_sni_host
            .unwrap_or_else(asks_for_certificates)
            && !exchange
                .host()
                .eq_ignore_ascii_case(session.server_name.as_deref().unwrap_or(""))
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("name", &self.name)
            .field("listen", &self.listen)
            .finish_non_exhaustive()
    }
}

/// Refuses what a server of the document may have and the proxy does not do.
fn refuse(settings: &document::Server, scope: &mut Scope) {
    for (is_used, name, hint) in [
        (
            !settings.listener_wrappers.iter().all(is_default_wrapper),
            ".listener_wrappers",
            "only the `http_redirect` and `tls` wrappers' defaults can be left in place; remove it",
        ),
        (
            !settings.packet_conn_wrappers.is_empty(),
            ".packet_conn_wrappers",
            "HTTP/3 is not supported; remove it",
        ),
        (
            settings.listen_protocols.is_some(),
            ".listen_protocols",
            "set `protocols` instead",
        ),
        (
            settings.trusted_proxies_unix,
            ".trusted_proxies_unix",
            "Unix sockets are not listened on; remove it",
        ),
    ] {
        if is_used {
            scope.within(name, |scope| {
                scope.error_with_hint("this is not supported", hint)
            });
        }
    }
}

/// The `tls` wrapper only marks where TLS comes in the order of wrappers.
fn is_default_wrapper(wrapper: &serde_json::Value) -> bool {
    wrapper.get("wrapper").and_then(serde_json::Value::as_str) == Some("tls")
}

/// Notes the placeholders that handlers anywhere in `routes` set.
fn note(routes: &[document::Route], scope: &mut Scope) {
    for handler in routes.iter().flat_map(|route| &route.handle) {
        match handler {
            document::Handler::Map(map) => {
                let names = map.destinations.iter();
                scope
                    .mapped
                    .extend(names.map(|name| name.trim_matches(['{', '}']).to_owned()));
            }
            document::Handler::Subroute(subroute) => {
                note(&subroute.routes, scope);
                note(
                    subroute
                        .errors
                        .as_ref()
                        .map_or(&[], |errors| &errors.routes),
                    scope,
                );
            }
            _ => {}
        }
    }
}
