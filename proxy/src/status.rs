//! The gRPC service `portico.edge.v1.Status`.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::SystemTime;

use downstream::Server;
use proto::edge::v1::status_server::{Status as StatusService, StatusServer};
use proto::edge::v1::{
    GetStatusRequest, GetStatusResponse, PurgeRequest, PurgeResponse, ReloadRequest,
    ReloadResponse, Site, Upstream,
};
use tonic::{Request, Response, Status};

use crate::certs::Certificates;
use crate::edge::Shared;
use crate::http_cache::{self, Purge};
use crate::reload::Reloader;

/// Tells how the proxy fares, and reloads it.
pub struct EdgeStatus {
    started_at: SystemTime,
    server: Weak<Server>,
    shared: Arc<Shared>,
    certificates: Certificates,
    reloader: Arc<Reloader>,
}

impl EdgeStatus {
    /// The service over a running proxy.
    pub fn service(
        server: &Arc<Server>,
        shared: Arc<Shared>,
        certificates: Certificates,
        reloader: Arc<Reloader>,
    ) -> StatusServer<Self> {
        StatusServer::new(Self {
            started_at: SystemTime::now(),
            server: Arc::downgrade(server),
            shared,
            certificates,
            reloader,
        })
    }

    fn sites(&self) -> Vec<Site> {
        let config = self.shared.config.load();
        config
            .certificates
            .sites
            .iter()
            .map(|site| {
                let certificate = self.certificates.table().find(&site.host);
                Site {
                    host: site.host.clone(),
                    listen: site.listen.clone(),
                    tls: site.is_tls,
                    certificate_not_after: certificate
                        .filter(|_| site.is_tls)
                        .map(|certificate| certificate.not_after().into()),
                }
            })
            .collect()
    }

    fn upstreams() -> Vec<Upstream> {
        crate::reverse_proxy::upstream_states()
            .into_iter()
            .map(|state| Upstream {
                address: state.address,
                is_healthy: state.is_healthy,
                requests_in_flight: state.requests_in_flight,
                failures: state.failures,
                last_failure: state.last_failure.unwrap_or_default(),
                health_check: state.health_check.unwrap_or_default(),
            })
            .collect()
    }
}

#[tonic::async_trait]
impl StatusService for EdgeStatus {
    async fn get_status(
        &self,
        _: Request<GetStatusRequest>,
    ) -> Result<Response<GetStatusResponse>, Status> {
        let figures = self
            .server
            .upgrade()
            .map(|server| server.figures())
            .unwrap_or_default();
        Ok(Response::new(GetStatusResponse {
            started_at: Some(self.started_at.into()),
            configured_at: Some(self.reloader.state().configured_at.into()),
            config_file: self.reloader.file().to_string(),
            sites: self.sites(),
            upstreams: Self::upstreams(),
            connections: figures.connections,
            tunnels: figures.tunnels,
            requests: figures.requests,
            cert_manager_connected: self.certificates.is_connected(),
        }))
    }

    async fn reload(&self, _: Request<ReloadRequest>) -> Result<Response<ReloadResponse>, Status> {
        let outcome = self.reloader.reload("asked for over gRPC").await;
        Ok(Response::new(ReloadResponse {
            is_applied: outcome.is_applied,
            report: outcome.report.plain,
        }))
    }

    async fn purge(
        &self,
        request: Request<PurgeRequest>,
    ) -> Result<Response<PurgeResponse>, Status> {
        let PurgeRequest {
            everything,
            host,
            path,
        } = request.into_inner();
        let purge = match (everything, host.as_str(), path.as_str()) {
            (true, "", "") => Purge::Everything,
            (true, ..) => {
                return Err(Status::invalid_argument(
                    "`host` and `path` say nothing beside `everything`",
                ));
            }
            (false, "", _) => return Err(Status::invalid_argument("`host` is missing")),
            (false, host, path) if path.starts_with('/') => Purge::of(host, path),
            (false, ..) => return Err(Status::invalid_argument("`path` does not begin with `/`")),
        };
        let removed = http_cache::purge(&purge);
        tracing::info!(everything, host, path, removed, "purged the cache");
        Ok(Response::new(PurgeResponse { removed }))
    }
}

impl fmt::Debug for EdgeStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EdgeStatus").finish_non_exhaustive()
    }
}
