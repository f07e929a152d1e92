//! The services that settlement asks, scripted: what they say is decided by the test.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures::Stream;
use tael_grpc::status;
use tael_proto::event::v1::Event;
use tael_proto::merchant::v1::merchant_service_server::{MerchantService, MerchantServiceServer};
use tael_proto::merchant::v1::{self as merchant, GetMerchantRequest, GetMerchantResponse, Merchant};
use tael_proto::payment::v1::channel_account::Account;
use tael_proto::payment::v1::channel_account_service_server::{
    ChannelAccountService, ChannelAccountServiceServer,
};
use tael_proto::payment::v1::statement_service_server::{StatementService, StatementServiceServer};
use tael_proto::payment::v1::{
    self as payment, AlipayAccount, ChannelAccount, ListChannelAccountsRequest, ListChannelAccountsResponse,
    ReadStatementRequest, ReadStatementResponse, StatementLine,
};
use tael_proto::r#type::v1::Channel;
use tael_testkit::ScriptedLog;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Request, Response, Status};

/// A server that ends with its value.
#[derive(Debug)]
pub(crate) struct Serving {
    pub(crate) addr: SocketAddr,
    task: AbortHandle,
}

impl Serving {
    async fn start(routes: Routes) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let server = tonic::transport::Server::builder().add_routes(routes);
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let task = tokio::spawn(server.serve_with_incoming(incoming)).abort_handle();
        Self { addr, task }
    }

    /// Serves the order service's log.
    pub(crate) async fn of_orders(log: &ScriptedLog) -> Self {
        Self::start(Routes::new(log.server())).await
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The payment service: its log, its channel accounts and their bills.
#[derive(Clone, Debug, Default)]
pub(crate) struct FakePayment(Arc<PaymentState>);

#[derive(Debug, Default)]
struct PaymentState {
    log: ScriptedLog,
    accounts: Mutex<Vec<ChannelAccount>>,
    /// By channel account and day.
    bills: Mutex<HashMap<(String, String), Bill>>,
    bill_reads: AtomicUsize,
}

/// What is answered to `ReadStatement`.
#[derive(Clone, Debug)]
pub(crate) enum Bill {
    /// The bill in parts.
    Parts(Vec<Vec<StatementLine>>),
    /// Nothing, for good.
    Refused(payment::ErrorReason),
    /// A part, and then the connection to the channel breaks.
    BreaksOff(Vec<StatementLine>),
}

impl FakePayment {
    pub(crate) async fn serve(&self) -> Serving {
        let routes = Routes::new(self.0.log.server())
            .add_service(ChannelAccountServiceServer::new(self.clone()))
            .add_service(StatementServiceServer::new(self.clone()));
        Serving::start(routes).await
    }

    /// Appends events so that a reader who waits gets all of them in one batch.
    pub(crate) fn append(&self, events: impl IntoIterator<Item = Event>) {
        self.0.log.append_all(events);
    }

    /// Waits until the service has been through the log.
    pub(crate) async fn consumed(&self) {
        self.0.log.consumed().await;
    }

    /// An account with a seller.
    pub(crate) fn add_account(&self, merchant_id: &str, channel_account_id: &str, seller_id: &str) {
        let alipay = AlipayAccount { seller_id: seller_id.to_owned(), ..AlipayAccount::default() };
        self.0.accounts.lock().unwrap().push(ChannelAccount {
            channel_account_id: channel_account_id.to_owned(),
            merchant_id: merchant_id.to_owned(),
            channel: Channel::Alipay.into(),
            account: Some(Account::Alipay(alipay)),
            ..ChannelAccount::default()
        });
    }

    pub(crate) fn set_bill(&self, channel_account_id: &str, date: &str, bill: Bill) {
        self.0.bills.lock().unwrap().insert((channel_account_id.to_owned(), date.to_owned()), bill);
    }

    /// How often a bill was asked for.
    pub(crate) fn bill_reads(&self) -> usize {
        self.0.bill_reads.load(Ordering::SeqCst)
    }

    fn account(&self, merchant_id: &str, channel_account_id: &str) -> Result<(), Status> {
        let is_it = |account: &ChannelAccount| {
            account.merchant_id == merchant_id && account.channel_account_id == channel_account_id
        };
        if self.0.accounts.lock().unwrap().iter().any(is_it) {
            return Ok(());
        }
        let id = channel_account_id.to_owned();
        Err(payment_error(payment::ErrorReason::ChannelAccountNotFound, ("channel_account_id", id)))
    }
}

fn payment_error(reason: payment::ErrorReason, metadata: (&'static str, String)) -> Status {
    status::error(Code::NotFound, "tael.payment", reason.as_str_name(), "no such thing", [metadata])
}

#[tonic::async_trait]
impl ChannelAccountService for FakePayment {
    async fn list_channel_accounts(
        &self,
        request: Request<ListChannelAccountsRequest>,
    ) -> Result<Response<ListChannelAccountsResponse>, Status> {
        let request = request.into_inner();
        let accounts = self.0.accounts.lock().unwrap();
        let of_merchant = accounts.iter().filter(|account| account.merchant_id == request.merchant_id);
        let from: usize = request.page_token.parse().unwrap_or(0);
        // Pages of one, so that more than one account takes several.
        let channel_accounts: Vec<_> = of_merchant.clone().skip(from).take(1).cloned().collect();
        let next_page_token =
            if from + 1 < of_merchant.count() { (from + 1).to_string() } else { String::new() };
        Ok(Response::new(ListChannelAccountsResponse { channel_accounts, next_page_token }))
    }

    async fn create_channel_account(
        &self,
        _: Request<payment::CreateChannelAccountRequest>,
    ) -> Result<Response<payment::CreateChannelAccountResponse>, Status> {
        Err(not_scripted())
    }

    async fn get_channel_account(
        &self,
        _: Request<payment::GetChannelAccountRequest>,
    ) -> Result<Response<payment::GetChannelAccountResponse>, Status> {
        Err(not_scripted())
    }

    async fn test_channel_account(
        &self,
        _: Request<payment::TestChannelAccountRequest>,
    ) -> Result<Response<payment::TestChannelAccountResponse>, Status> {
        Err(not_scripted())
    }

    async fn activate_channel_account(
        &self,
        _: Request<payment::ActivateChannelAccountRequest>,
    ) -> Result<Response<payment::ActivateChannelAccountResponse>, Status> {
        Err(not_scripted())
    }

    async fn disable_channel_account(
        &self,
        _: Request<payment::DisableChannelAccountRequest>,
    ) -> Result<Response<payment::DisableChannelAccountResponse>, Status> {
        Err(not_scripted())
    }

    async fn add_channel_credential(
        &self,
        _: Request<payment::AddChannelCredentialRequest>,
    ) -> Result<Response<payment::AddChannelCredentialResponse>, Status> {
        Err(not_scripted())
    }

    async fn retire_channel_credential(
        &self,
        _: Request<payment::RetireChannelCredentialRequest>,
    ) -> Result<Response<payment::RetireChannelCredentialResponse>, Status> {
        Err(not_scripted())
    }
}

#[tonic::async_trait]
impl StatementService for FakePayment {
    type ReadStatementStream = Pin<Box<dyn Stream<Item = Result<ReadStatementResponse, Status>> + Send>>;

    async fn read_statement(
        &self,
        request: Request<ReadStatementRequest>,
    ) -> Result<Response<Self::ReadStatementStream>, Status> {
        let request = request.into_inner();
        self.account(&request.merchant_id, &request.channel_account_id)?;
        self.0.bill_reads.fetch_add(1, Ordering::SeqCst);
        let key = (request.channel_account_id, request.statement_date);
        let bill = self.0.bills.lock().unwrap().get(&key).cloned();
        let parts: Vec<Result<ReadStatementResponse, Status>> = match bill {
            Some(Bill::Parts(parts)) => {
                parts.into_iter().map(|lines| Ok(ReadStatementResponse { lines })).collect()
            }
            Some(Bill::Refused(reason)) => {
                let reason = reason.as_str_name();
                return Err(status::error(Code::FailedPrecondition, "tael.payment", reason, "no", []));
            }
            Some(Bill::BreaksOff(lines)) => {
                vec![Ok(ReadStatementResponse { lines }), Err(Status::unavailable("the channel is gone"))]
            }
            None => {
                let reason = payment::ErrorReason::StatementNotAvailable;
                return Err(payment_error(reason, ("statement_date", key.1)));
            }
        };
        Ok(Response::new(Box::pin(futures::stream::iter(parts))))
    }
}

/// The merchant service: merchants and their time zones.
#[derive(Clone, Debug, Default)]
pub(crate) struct FakeMerchants(Arc<Mutex<HashMap<String, String>>>);

impl FakeMerchants {
    pub(crate) async fn serve(&self) -> Serving {
        Serving::start(Routes::new(MerchantServiceServer::new(self.clone()))).await
    }

    pub(crate) fn add(&self, merchant_id: &str, time_zone: &str) {
        self.0.lock().unwrap().insert(merchant_id.to_owned(), time_zone.to_owned());
    }
}

#[tonic::async_trait]
impl MerchantService for FakeMerchants {
    async fn get_merchant(
        &self,
        request: Request<GetMerchantRequest>,
    ) -> Result<Response<GetMerchantResponse>, Status> {
        let merchant_id = request.into_inner().merchant_id;
        let Some(time_zone) = self.0.lock().unwrap().get(&merchant_id).cloned() else {
            let reason = merchant::ErrorReason::MerchantNotFound.as_str_name();
            return Err(status::error(Code::NotFound, "tael.merchant", reason, "no such merchant", []));
        };
        let merchant = Some(Merchant { merchant_id, time_zone, ..Merchant::default() });
        Ok(Response::new(GetMerchantResponse { merchant }))
    }

    async fn register_merchant(
        &self,
        _: Request<merchant::RegisterMerchantRequest>,
    ) -> Result<Response<merchant::RegisterMerchantResponse>, Status> {
        Err(not_scripted())
    }

    async fn approve_merchant(
        &self,
        _: Request<merchant::ApproveMerchantRequest>,
    ) -> Result<Response<merchant::ApproveMerchantResponse>, Status> {
        Err(not_scripted())
    }

    async fn list_merchants(
        &self,
        _: Request<merchant::ListMerchantsRequest>,
    ) -> Result<Response<merchant::ListMerchantsResponse>, Status> {
        Err(not_scripted())
    }
}

fn not_scripted() -> Status {
    Status::unimplemented("settlement does not call this")
}
