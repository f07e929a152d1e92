//! The services that the audit asks, scripted: what they say is decided by the test.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use tael_grpc::status;
use tael_proto::payment::v1::statement_service_server::{StatementService, StatementServiceServer};
use tael_proto::payment::v1::{ErrorReason, ReadStatementRequest, ReadStatementResponse, StatementLine};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Request, Response, Status};

use crate::audit_facts::ScriptedFacts;

/// A server that ends with its value.
#[derive(Debug)]
pub(crate) struct Serving {
    addr: SocketAddr,
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

    /// Serves a service's facts.
    pub(crate) async fn of_facts(books: &ScriptedFacts, service: &'static str) -> Self {
        Self::start(Routes::new(books.server(service))).await
    }

    /// Serves payment's facts and the channels' statements.
    pub(crate) async fn of_payment(books: &ScriptedFacts, statements: &FakeStatements) -> Self {
        let statements = StatementServiceServer::new(statements.clone());
        Self::start(Routes::new(books.server("payment")).add_service(statements)).await
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

/// What is answered to `ReadStatement`.
#[derive(Clone, Debug)]
pub(crate) enum Statement {
    /// The statement in parts.
    Parts(Vec<Vec<StatementLine>>),
    /// A part, and then the channel's connection breaks.
    BreaksOff(Vec<StatementLine>),
    /// The channel takes the connection and never answers; the payment service gives up at last.
    Silent,
    /// The payment service itself can't be asked.
    PaymentAway,
}

/// Channels' statements by account and day; there is none of the others.
#[derive(Clone, Debug, Default)]
pub(crate) struct FakeStatements(Arc<State>);

#[derive(Debug, Default)]
struct State {
    statements: Mutex<HashMap<(String, String), Statement>>,
    reads: AtomicUsize,
}

impl FakeStatements {
    pub(crate) fn set(&self, channel_account_id: &str, date: &str, statement: Statement) {
        let key = (channel_account_id.to_owned(), date.to_owned());
        self.0.statements.lock().unwrap().insert(key, statement);
    }

    /// How often a statement was asked for.
    pub(crate) fn reads(&self) -> usize {
        self.0.reads.load(Ordering::SeqCst)
    }
}

/// The channel's fault, as the payment service tells it.
fn channel_failed() -> Status {
    status::unavailable("alipay", &std::io::Error::other("the connection broke"))
}

#[tonic::async_trait]
impl StatementService for FakeStatements {
    type ReadStatementStream = Pin<Box<dyn Stream<Item = Result<ReadStatementResponse, Status>> + Send>>;

    async fn read_statement(
        &self,
        request: Request<ReadStatementRequest>,
    ) -> Result<Response<Self::ReadStatementStream>, Status> {
        let request = request.into_inner();
        self.0.reads.fetch_add(1, Ordering::SeqCst);
        let key = (request.channel_account_id, request.statement_date);
        let statement = self.0.statements.lock().unwrap().get(&key).cloned();
        let part = |lines| Ok(ReadStatementResponse { lines });
        let parts: Vec<Result<ReadStatementResponse, Status>> = match statement {
            Some(Statement::Parts(parts)) => parts.into_iter().map(part).collect(),
            Some(Statement::BreaksOff(lines)) => vec![part(lines), Err(channel_failed())],
            Some(Statement::Silent) => {
                let silence = tokio::time::sleep(Duration::from_mins(10));
                return Ok(Response::new(
                    futures::stream::once(silence).map(|()| Err(channel_failed())).boxed(),
                ));
            }
            Some(Statement::PaymentAway) => return Err(Status::unavailable("the connection was refused")),
            None => {
                let reason = ErrorReason::StatementNotAvailable.as_str_name();
                let date = [("statement_date", key.1)];
                return Err(status::error(Code::NotFound, "tael.payment", reason, "no such thing", date));
            }
        };
        Ok(Response::new(Box::pin(futures::stream::iter(parts))))
    }
}
