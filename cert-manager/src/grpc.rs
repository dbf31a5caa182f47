//! The gRPC services over the manager.

mod admin;
mod delivery;
mod status;
mod subscription;
mod transfer;

use std::sync::Arc;

use parking_lot::RwLock;
use proto::certs::v1::admin_server::AdminServer;
use proto::certs::v1::delivery_server::DeliveryServer;
use proto::certs::v1::status_server::StatusServer;
use proto::certs::v1::subscription_server::SubscriptionServer;
use proto::sidecar::shutdown::Shutdown;
use tonic::Status;
use tonic::service::Routes;

use crate::doctor::Doctor;
use crate::issuer::IssueError;
use crate::manager::{Manager, ObtainError, RequestError};
use crate::name::Name;
use crate::on_demand::Refusal;
use crate::ticket_keys::TicketKeys;

pub use subscription::Subscribers;

/// The manager, once this program is the active one of its data folder. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Active(Arc<RwLock<Option<Arc<Manager>>>>);

impl Active {
    /// The program is active from now on.
    pub fn set(&self, manager: Arc<Manager>) {
        *self.0.write() = Some(manager);
    }

    fn manager(&self) -> Result<Arc<Manager>, Status> {
        self.0.read().clone().ok_or_else(|| {
            Status::unavailable(
                "this cert-manager is not active yet; `cert-manager health` says what it waits for",
            )
        })
    }
}

/// Adds what anybody on this machine may ask: `Status`, without private keys.
pub fn local_services(routes: Routes, active: Active, shutdown: &Shutdown) -> Routes {
    let status = status::StatusService::open(active, shutdown.clone());
    routes.add_service(StatusServer::new(status))
}

/// What the services for other machines answer from, beside the manager.
#[derive(Debug)]
pub struct Control {
    /// Finds out what is wrong with a name.
    pub doctor: Doctor,
    /// Other programs that may fetch certificates.
    pub subscribers: Arc<Subscribers>,
    /// Keys of session tickets.
    pub ticket_keys: TicketKeys,
}

/// Adds what holders of a role may ask over mutual TLS.
pub fn control_services(
    routes: Routes,
    active: Active,
    control: Control,
    shutdown: &Shutdown,
) -> Routes {
    let Control {
        doctor,
        subscribers,
        ticket_keys,
    } = control;
    let delivery = delivery::DeliveryService::new(active.clone(), ticket_keys, shutdown.clone());
    let status = status::StatusService::by_role(active.clone(), shutdown.clone());
    let subscription =
        subscription::SubscriptionService::new(active.clone(), subscribers, shutdown.clone());
    routes
        .add_service(DeliveryServer::new(delivery))
        .add_service(StatusServer::new(status))
        .add_service(SubscriptionServer::new(subscription))
        .add_service(AdminServer::new(admin::AdminService::new(
            active,
            doctor,
            shutdown.clone(),
        )))
}

fn parse_name(text: &str) -> Result<Name, Status> {
    Name::parse(text).map_err(|error| Status::invalid_argument(error.to_string()))
}

impl From<RequestError> for Status {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Unknown(_) | RequestError::NothingStored(_) => {
                Self::not_found(error.to_string())
            }
            RequestError::Undeclared(_) | RequestError::Busy(_) => {
                Self::failed_precondition(error.to_string())
            }
            RequestError::Authority(error) => Self::failed_precondition(explain(&error)),
            RequestError::Store(source) => store_failed(&source),
        }
    }
}

impl From<ObtainError> for Status {
    fn from(error: ObtainError) -> Self {
        let message = error.to_string();
        match error {
            ObtainError::Name(_) | ObtainError::Policy => Self::invalid_argument(message),
            ObtainError::Refused(Refusal::Denied { .. }) => Self::permission_denied(message),
            ObtainError::Refused(Refusal::Unanswered { .. }) => Self::unavailable(message),
            ObtainError::TooMany => Self::resource_exhausted(message),
            ObtainError::Failed { .. } => Self::failed_precondition(message),
            ObtainError::Slow => Self::deadline_exceeded(message),
            ObtainError::Store(source) => store_failed(&source),
        }
    }
}

/// An authority's refusal with what can be done about it.
fn explain(error: &IssueError) -> String {
    match error.hint.as_str() {
        "" => error.message.clone(),
        hint => format!("{}; {hint}", error.message),
    }
}

/// Says that the store failed; what exactly is in the log, not for the caller.
fn store_failed(error: &crate::store::StoreError) -> Status {
    tracing::error!(error = %proto::sidecar::error_chain::Chain(error), "the store failed");
    Status::internal("the store failed; see the log of cert-manager")
}
