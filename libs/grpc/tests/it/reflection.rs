use futures::StreamExt as _;
use tael_grpc::server::{Limits, Readiness, RpcAccess, bind};
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1alpha;

use crate::server::Server;

async fn ask(server: &Server, question: MessageRequest) -> MessageResponse {
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(question) };
    let mut client = ServerReflectionClient::new(server.channel());
    let mut answers =
        client.server_reflection_info(futures::stream::iter([request])).await.unwrap().into_inner();
    answers.next().await.unwrap().unwrap().message_response.unwrap()
}

#[tokio::test]
async fn services_and_their_contracts_can_be_looked_up() {
    let server = Server::start(Limits::default(), Readiness::default(), |_| async { Ok(()) }).await;
    let MessageResponse::ListServicesResponse(list) =
        ask(&server, MessageRequest::ListServices(String::new())).await
    else {
        panic!("not a list of services");
    };
    let names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    for name in ["tael.event.v1.EventLogService", "tael.payment.v1.PaymentService", "grpc.health.v1.Health"] {
        assert!(names.iter().any(|n| n == name), "{name} is not in {names:?}");
        let question = MessageRequest::FileContainingSymbol(name.to_owned());
        let MessageResponse::FileDescriptorResponse(files) = ask(&server, question).await else {
            panic!("{name} has no contract");
        };
        assert!(!files.file_descriptor_proto.is_empty());
    }
}

/// A server that serves the log, as a table says.
async fn of_a_log() -> Server {
    let bound = bind(([127, 0, 0, 1], 0).into(), Limits::default()).await.unwrap();
    let access: RpcAccess = &[("tael.event.v1.EventLogService", &[])];
    Server::serve(bound.serving(access), Readiness::default(), |_| async { Ok(()) })
}

const OF_A_LOG: [&str; 4] = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    "tael.event.v1.EventLogService",
];

#[tokio::test]
async fn a_port_lists_what_it_serves_and_nothing_else() {
    let server = of_a_log().await;
    let answer = ask(&server, MessageRequest::ListServices(String::new())).await;
    let MessageResponse::ListServicesResponse(list) = answer else { panic!("not a list of services") };
    let mut names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    names.sort_unstable();
    assert_eq!(names, OF_A_LOG);
    let question = MessageRequest::FileContainingSymbol(OF_A_LOG[3].to_owned());
    assert!(matches!(ask(&server, question).await, MessageResponse::FileDescriptorResponse(_)));
}

#[tokio::test]
async fn clients_that_know_only_the_older_reflection_are_answered() {
    let server = of_a_log().await;
    let question = v1alpha::server_reflection_request::MessageRequest::ListServices(String::new());
    let request = v1alpha::ServerReflectionRequest { host: String::new(), message_request: Some(question) };
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(server.channel());
    let answers = client.server_reflection_info(futures::stream::iter([request])).await.unwrap();
    let answer = answers.into_inner().next().await.unwrap().unwrap().message_response.unwrap();
    let v1alpha::server_reflection_response::MessageResponse::ListServicesResponse(list) = answer else {
        panic!("not a list of services")
    };
    assert_eq!(list.service.len(), OF_A_LOG.len());
}
