use tael_grpc::client::Channel;
use tael_grpc::server::{Limits, Readiness};
use tael_grpc::status::bad_fields;
use tael_proto::event::v1::ReadEventsResponse;
use tael_proto::merchant::v1::GetMerchantRequest;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

use crate::server::Server;

/// Calls the event log with a message of another type.
async fn call(channel: Channel, text: String) -> Status {
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.unwrap();
    let path = PathAndQuery::from_static("/tael.event.v1.EventLogService/ReadEvents");
    let codec = ProstCodec::<GetMerchantRequest, ReadEventsResponse>::default();
    grpc.unary(Request::new(GetMerchantRequest { merchant_id: text }), path, codec).await.unwrap_err()
}

#[tokio::test]
async fn what_can_t_be_read_is_the_callers_mistake() {
    let server = Server::start(Limits::default(), Readiness::default(), |_| async { Ok(()) }).await;
    for text in ["no cursor at all".to_owned(), "x".repeat(5 << 20)] {
        let status = call(server.channel(), text).await;
        assert_eq!((status.code(), bad_fields(&status)), (Code::InvalidArgument, vec!["request".to_owned()]));
    }
}
