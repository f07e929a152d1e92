//! Statements.

use futures::StreamExt as _;
use futures::stream::BoxStream;
use tael_proto::payment::v1::statement_service_server::StatementService;
use tael_proto::payment::v1::{ReadStatementRequest, ReadStatementResponse};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::{Rpc, convert, parse};

#[tonic::async_trait]
impl StatementService for Rpc {
    type ReadStatementStream = BoxStream<'static, Result<ReadStatementResponse, Status>>;

    async fn read_statement(
        &self,
        request: Request<ReadStatementRequest>,
    ) -> Result<Response<Self::ReadStatementStream>, Status> {
        let (merchant_id, account_id, day) = parse::read_statement(&request.into_inner())?;
        let parts = self.payments.read_statement(merchant_id, account_id, day).await?;
        let stream = ReceiverStream::new(parts).map(|part| match part {
            Ok(lines) => {
                Ok(ReadStatementResponse { lines: lines.into_iter().map(convert::statement_entry).collect() })
            }
            Err(error) => Err(error.into()),
        });
        Ok(Response::new(stream.boxed()))
    }
}
