//! What an operator does.

use proto::certs::v1::admin_server::Admin;
use proto::certs::v1::{
    self, DiagnoseRequest, DiagnoseResponse, ExportRequest, ExportResponse, ForgetRequest,
    ForgetResponse, ImportRequest, ImportResponse, RenewRequest, RenewResponse, RevokeRequest,
    RevokeResponse, RolloverAccountRequest, RolloverAccountResponse, rollover_account_response,
};
use proto::sidecar::grpc::require_role;
use proto::sidecar::identity::Role;
use proto::sidecar::shutdown::Shutdown;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{Active, explain, parse_name, transfer};
use crate::doctor::Doctor;
use crate::issuer::RevocationReason;

#[derive(Debug)]
pub(super) struct AdminService {
    active: Active,
    doctor: Doctor,
    shutdown: Shutdown,
}

impl AdminService {
    pub(super) fn new(active: Active, doctor: Doctor, shutdown: Shutdown) -> Self {
        Self {
            active,
            doctor,
            shutdown,
        }
    }
}

#[tonic::async_trait]
impl Admin for AdminService {
    type ExportStream = ReceiverStream<Result<ExportResponse, Status>>;
    type ImportStream = ReceiverStream<Result<ImportResponse, Status>>;

    async fn export(
        &self,
        request: Request<ExportRequest>,
    ) -> Result<Response<Self::ExportStream>, Status> {
        require_role(&request, &[Role::Operator])?;
        let wanted = transfer::wanted(request.get_ref())?;
        let manager = self.active.manager()?;
        let (answers, stream) = mpsc::channel(transfer::QUEUE);
        let token = self.shutdown.token.clone();
        self.shutdown.tasks.spawn(async move {
            let gone = answers.clone();
            tokio::select! {
                () = transfer::export(manager, wanted, answers) => {}
                () = token.cancelled() => {
                    let _ = gone.try_send(Err(Status::unavailable("cert-manager is ending")));
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn import(
        &self,
        request: Request<Streaming<ImportRequest>>,
    ) -> Result<Response<Self::ImportStream>, Status> {
        require_role(&request, &[Role::Operator])?;
        let manager = self.active.manager()?;
        let (answers, stream) = mpsc::channel(transfer::QUEUE);
        let token = self.shutdown.token.clone();
        self.shutdown.tasks.spawn(async move {
            let gone = answers.clone();
            tokio::select! {
                () = transfer::import(manager, request.into_inner(), answers) => {}
                () = token.cancelled() => {
                    let _ = gone.try_send(Err(Status::unavailable("cert-manager is ending")));
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn renew(
        &self,
        request: Request<RenewRequest>,
    ) -> Result<Response<RenewResponse>, Status> {
        require_role(&request, &[Role::Operator])?;
        let name = parse_name(&request.get_ref().name)?;
        self.active.manager()?.renew(&name).await?;
        Ok(Response::new(RenewResponse {}))
    }

    async fn forget(
        &self,
        request: Request<ForgetRequest>,
    ) -> Result<Response<ForgetResponse>, Status> {
        require_role(&request, &[Role::Operator])?;
        let name = parse_name(&request.get_ref().name)?;
        self.active.manager()?.forget(&name).await?;
        Ok(Response::new(ForgetResponse {}))
    }

    async fn diagnose(
        &self,
        request: Request<DiagnoseRequest>,
    ) -> Result<Response<DiagnoseResponse>, Status> {
        require_role(&request, &[Role::Operator])?;
        let name = parse_name(&request.get_ref().name)?;
        let checks = self.doctor.examine(&name).await;
        Ok(Response::new(DiagnoseResponse { checks }))
    }

    async fn revoke(
        &self,
        request: Request<RevokeRequest>,
    ) -> Result<Response<RevokeResponse>, Status> {
        require_role(&request, &[Role::Operator])?;
        let name = parse_name(&request.get_ref().name)?;
        let reason = reason(request.get_ref())?;
        self.active.manager()?.revoke(&name, reason).await?;
        Ok(Response::new(RevokeResponse {}))
    }

    async fn rollover_account(
        &self,
        request: Request<RolloverAccountRequest>,
    ) -> Result<Response<RolloverAccountResponse>, Status> {
        require_role(&request, &[Role::Operator])?;
        let RolloverAccountRequest {
            directory_url,
            email,
        } = request.into_inner();
        let some = |text: &'_ str| (!text.is_empty()).then(|| text.to_owned());
        let (directory_url, email) = (some(&directory_url), some(&email));
        let done = self
            .active
            .manager()?
            .roll_over_accounts(directory_url.as_deref(), email.as_deref())
            .await?;
        if done.is_empty() {
            return Err(Status::not_found("no such account is stored"));
        }
        let accounts = done
            .into_iter()
            .map(|done| rollover_account_response::Account {
                directory_url: done.directory_url,
                email: done.email.unwrap_or_default(),
                problem: done
                    .outcome
                    .err()
                    .map(|error| explain(&error))
                    .unwrap_or_default(),
            });
        Ok(Response::new(RolloverAccountResponse {
            accounts: accounts.collect(),
        }))
    }
}

fn reason(request: &RevokeRequest) -> Result<RevocationReason, Status> {
    let reason = v1::RevocationReason::try_from(request.reason);
    let reason = reason.map_err(|_| Status::invalid_argument("an unknown reason"))?;
    Ok(match reason {
        v1::RevocationReason::Unspecified => RevocationReason::Unspecified,
        v1::RevocationReason::KeyCompromise => RevocationReason::KeyCompromise,
        v1::RevocationReason::AffiliationChanged => RevocationReason::AffiliationChanged,
        v1::RevocationReason::Superseded => RevocationReason::Superseded,
        v1::RevocationReason::CessationOfOperation => RevocationReason::CessationOfOperation,
    })
}
