//! Clients of all services.

use std::fmt::Display;

use tael_grpc::client::{Channel, Connector, InvalidUrl};
use tael_grpc::tls::Identity;
use tael_ids::EventId;
use tael_proto::audit::v1::money_audit_service_client::MoneyAuditServiceClient;
use tael_proto::merchant::v1::api_key_service_client::ApiKeyServiceClient;
use tael_proto::merchant::v1::merchant_service_client::MerchantServiceClient;
use tael_proto::notification::v1::delivery_service_client::DeliveryServiceClient;
use tael_proto::notification::v1::webhook_endpoint_service_client::WebhookEndpointServiceClient;
use tael_proto::order::v1::order_service_client::OrderServiceClient;
use tael_proto::order::v1::promotion_service_client::PromotionServiceClient;
use tael_proto::order::v1::unapplied_payment_service_client::UnappliedPaymentServiceClient;
use tael_proto::order::v1::voucher_service_client::VoucherServiceClient;
use tael_proto::payment::v1::channel_account_service_client::ChannelAccountServiceClient;
use tael_proto::payment::v1::payment_service_client::PaymentServiceClient;
use tael_proto::payment::v1::refund_execution_service_client::RefundExecutionServiceClient;
use tael_proto::refund::v1::refund_service_client::RefundServiceClient;
use tael_proto::settlement::v1::fee_schedule_service_client::FeeScheduleServiceClient;
use tael_proto::settlement::v1::ledger_service_client::LedgerServiceClient;
use tael_proto::settlement::v1::reconciliation_service_client::ReconciliationServiceClient;
use tael_proto::settlement::v1::settlement_batch_service_client::SettlementBatchServiceClient;
use tael_sandbox::ControlClient;
use tonic::Request;

use crate::Error;
use crate::platform::Addresses;

/// One client of each service, and one that plays the payer. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Clients {
    /// Merchants.
    pub merchant: MerchantServiceClient<Channel>,
    /// Merchants' API keys.
    pub api_key: ApiKeyServiceClient<Channel>,
    /// Orders.
    pub order: OrderServiceClient<Channel>,
    /// Vouchers.
    pub voucher: VoucherServiceClient<Channel>,
    /// Promotions.
    pub promotion: PromotionServiceClient<Channel>,
    /// Money that came when an order did not wait for it.
    pub unapplied_payment: UnappliedPaymentServiceClient<Channel>,
    /// Payments.
    pub payment: PaymentServiceClient<Channel>,
    /// Channel accounts.
    pub channel_account: ChannelAccountServiceClient<Channel>,
    /// Refunds as the channel executes them.
    pub refund_execution: RefundExecutionServiceClient<Channel>,
    /// Refunds.
    pub refund: RefundServiceClient<Channel>,
    /// The ledger.
    pub ledger: LedgerServiceClient<Channel>,
    /// Fee schedules.
    pub fee_schedules: FeeScheduleServiceClient<Channel>,
    /// Settlement batches.
    pub batches: SettlementBatchServiceClient<Channel>,
    /// Comparisons with the channels' statements.
    pub reconciliations: ReconciliationServiceClient<Channel>,
    /// The money audit.
    pub audit: MoneyAuditServiceClient<Channel>,
    /// Where webhooks go.
    pub webhook_endpoints: WebhookEndpointServiceClient<Channel>,
    /// What became of webhooks.
    pub deliveries: DeliveryServiceClient<Channel>,
    /// The payer, and the faults of the channel.
    pub payer: ControlClient,
}

impl Clients {
    /// Connects to every service when it is first called.
    pub fn connect<A: Display>(addresses: &Addresses<A>) -> Result<Self, Error> {
        let connector = Connector::default();
        Self::by(addresses, |addr| connector.connect(&format!("http://{addr}")))
    }

    /// The same with mutual TLS, as whom the identity names.
    pub fn connect_as(identity: Identity, addresses: &Addresses) -> Result<Self, Error> {
        let connector = Connector::new(Some(identity));
        // Certificates are for names.
        Self::by(addresses, |addr| connector.connect(&format!("https://localhost:{}", addr.port())))
    }

    fn by<A: Display>(
        addresses: &Addresses<A>,
        channel: impl Fn(&A) -> Result<Channel, InvalidUrl>,
    ) -> Result<Self, Error> {
        Ok(Self {
            merchant: MerchantServiceClient::new(channel(&addresses.merchant)?),
            api_key: ApiKeyServiceClient::new(channel(&addresses.merchant)?),
            order: OrderServiceClient::new(channel(&addresses.order)?),
            voucher: VoucherServiceClient::new(channel(&addresses.order)?),
            promotion: PromotionServiceClient::new(channel(&addresses.order)?),
            unapplied_payment: UnappliedPaymentServiceClient::new(channel(&addresses.order)?),
            payment: PaymentServiceClient::new(channel(&addresses.payment)?),
            channel_account: ChannelAccountServiceClient::new(channel(&addresses.payment)?),
            refund_execution: RefundExecutionServiceClient::new(channel(&addresses.payment)?),
            refund: RefundServiceClient::new(channel(&addresses.refund)?),
            ledger: LedgerServiceClient::new(channel(&addresses.settlement)?),
            fee_schedules: FeeScheduleServiceClient::new(channel(&addresses.settlement)?),
            batches: SettlementBatchServiceClient::new(channel(&addresses.settlement)?),
            reconciliations: ReconciliationServiceClient::new(channel(&addresses.settlement)?),
            audit: MoneyAuditServiceClient::new(channel(&addresses.audit)?),
            webhook_endpoints: WebhookEndpointServiceClient::new(channel(&addresses.notification)?),
            deliveries: DeliveryServiceClient::new(channel(&addresses.notification)?),
            payer: ControlClient::new(&format!("http://{}", addresses.sandbox))?,
        })
    }
}

/// Puts a new idempotency key into a request.
pub fn keyed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    let key = EventId::new().channel_number().parse().expect("letters and digits are metadata");
    request.metadata_mut().insert("idempotency-key", key);
    request
}
