//! gRPC: a request becomes domain values (`parse`), a use case runs, its result goes on the wire (`convert`), and why it
//! did not becomes a status (`error`). One file per service.

mod attempt_decision;
mod callback;
mod channel_account;
mod convert;
mod error;
mod integrity_alert;
mod parse;
mod payment;
mod refund_execution;
mod statement;

use tael_idempotency::Idempotency;
use tael_proto::payment::v1::attempt_decision_service_server::AttemptDecisionServiceServer;
use tael_proto::payment::v1::callback_service_server::CallbackServiceServer;
use tael_proto::payment::v1::channel_account_service_server::ChannelAccountServiceServer;
use tael_proto::payment::v1::integrity_alert_service_server::IntegrityAlertServiceServer;
use tael_proto::payment::v1::payment_service_server::PaymentServiceServer;
use tael_proto::payment::v1::refund_execution_service_server::RefundExecutionServiceServer;
use tael_proto::payment::v1::statement_service_server::StatementServiceServer;
use tonic::service::Routes;

use crate::usecase::Payments;

/// Serves every service of this one.
#[derive(Clone)]
pub(crate) struct Rpc {
    payments: Payments,
    idempotency: Idempotency,
}

impl Rpc {
    pub(crate) fn new(payments: Payments, idempotency: Idempotency) -> Self {
        Self { payments, idempotency }
    }

    pub(crate) fn routes(&self) -> Routes {
        Routes::new(PaymentServiceServer::new(self.clone()))
            .add_service(AttemptDecisionServiceServer::new(self.clone()))
            .add_service(RefundExecutionServiceServer::new(self.clone()))
            .add_service(ChannelAccountServiceServer::new(self.clone()))
            .add_service(StatementServiceServer::new(self.clone()))
            .add_service(CallbackServiceServer::new(self.clone()))
            .add_service(IntegrityAlertServiceServer::new(self.clone()))
    }
}
