//! Who may connect, and who may call what.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use http::Request;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tael_grpc::caller::Caller;
use tael_grpc::client::{Channel, Connector, connect};
use tael_grpc::server::{Limits, Readiness, RpcAccess};
use tael_grpc::status;
use tael_grpc::tls::Identity;
use tael_proto::event::v1::RemoveConsumerRequest;
use tael_proto::event::v1::event_log_service_client::EventLogServiceClient;
use tael_testkit::{Authority, Certificate, Mounted, eventually};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Endpoint, Uri};
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::server::{Client, Server, message, read};

/// Orders may list, operators may remove, and nobody may read.
const RPC_ACCESS: RpcAccess = &[(
    "tael.event.v1.EventLogService",
    &[
        ("ListConsumers", &[Caller::Order, Caller::Gateway]),
        ("RemoveConsumer", &[Caller::Operator]),
        ("ReadEvents", &[]),
    ],
)];

async fn server(authority: &Authority) -> Server {
    Server::secured(identity(&authority.certify("payment"), &[authority]).await, RPC_ACCESS).await
}

/// It is read once; the files are gone afterwards.
async fn identity(certificate: &Certificate, authorities: &[&Authority]) -> Identity {
    Mounted::new(certificate, authorities).identity().await
}

fn channel(server: &Server, identity: Identity) -> Channel {
    Connector::new(Some(identity)).connect(&url(server)).unwrap()
}

fn url(server: &Server) -> String {
    format!("https://localhost:{}", server.addr.port())
}

async fn call(channel: Channel) -> Result<(), Status> {
    Client::new(channel).list_consumers(message()).await.map(drop)
}

/// A caller that is not of our making, with any certificate or none.
fn stranger(
    server: &Server,
    authority: &Authority,
    certificate: Option<&Certificate>,
) -> tonic::transport::Channel {
    let (addr, connector) = (server.addr, connector(authority, certificate));
    let connect = tower::service_fn(move |_: Uri| {
        let connector = connector.clone();
        async move { shake_hands(&connector, TcpStream::connect(addr).await?).await.map(TokioIo::new) }
    });
    Endpoint::from_static("http://localhost").connect_with_connector_lazy(connect)
}

async fn shake_hands(connector: &TlsConnector, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    connector.connect(ServerName::try_from("localhost").unwrap(), stream).await
}

fn connector(authority: &Authority, certificate: Option<&Certificate>) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match certificate {
        None => config.with_no_client_auth(),
        Some(Certificate { certificate, key }) => {
            let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
            config
                .with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap())
                .unwrap()
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsConnector::from(Arc::new(config))
}

#[tokio::test]
async fn callers_may_make_the_calls_that_the_table_allows_them_and_no_others() {
    let authority = Authority::new();
    let server = server(&authority).await;
    for (name, may_list, may_remove) in [
        ("order", true, false),
        ("gateway", true, false),
        ("operator", false, true),
        ("backend", false, false),
    ] {
        let channel = channel(&server, identity(&authority.certify(name), &[&authority]).await);
        let mut client = Client::new(channel.clone());
        let listed = client.list_consumers(message()).await.map(drop);
        let removed = client.remove_consumer(RemoveConsumerRequest::default()).await.map(drop);
        let read = client.read_events(read()).await.map(drop);
        let answers = [
            ("ListConsumers", listed, may_list, Code::Ok),
            ("RemoveConsumer", removed, may_remove, Code::Unimplemented),
            ("ReadEvents", read, false, Code::Ok),
        ];
        for (method, answer, may, code) in answers {
            let answer = answer.err().unwrap_or_else(|| Status::ok(""));
            if may {
                assert_eq!(answer.code(), code, "{name} may call {method}");
                continue;
            }
            assert_eq!(answer.code(), Code::PermissionDenied, "{name} may not call {method}");
            assert_eq!(status::reason(&answer).as_deref(), Some("CALLER_NOT_ALLOWED"));
            assert_eq!(
                answer.message(),
                format!("{name} may not call tael.event.v1.EventLogService/{method}")
            );
        }
        // Whoever is known may ask how it is.
        HealthClient::new(channel).check(HealthCheckRequest::default()).await.unwrap();
    }
}

#[tokio::test]
async fn a_certificate_that_names_nobody_we_know_may_nothing() {
    let authority = Authority::new();
    let server = server(&authority).await;
    for uris in [
        &[][..],
        &["spiffe://tael/stranger"],
        &["spiffe://other/order"],
        &["spiffe://tael/order", "spiffe://tael/operator"],
    ] {
        let stranger = stranger(&server, &authority, Some(&authority.certify_uris(uris)));
        let refused = EventLogServiceClient::new(stranger).list_consumers(message()).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{uris:?}: {refused:?}");
    }
    let known = stranger(&server, &authority, Some(&authority.certify("order")));
    EventLogServiceClient::new(known).list_consumers(message()).await.unwrap();
}

#[tokio::test]
async fn who_shows_no_certificate_of_the_authority_is_not_served() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = server(&authority).await;
    let began = Instant::now();
    for certificate in [None, Some(other.certify("order")), Some(authority.certify_expired("order"))] {
        let stranger = stranger(&server, &authority, certificate.as_ref());
        let refused = EventLogServiceClient::new(stranger).list_consumers(message()).await.unwrap_err();
        assert_ne!(refused.code(), Code::PermissionDenied, "it is not even heard");
    }
    // Nor does our client talk to whom it can't believe.
    let expired =
        Server::secured(identity(&authority.certify_expired("payment"), &[&authority]).await, RPC_ACCESS)
            .await;
    let foreign = Server::secured(identity(&other.certify("payment"), &[&authority]).await, RPC_ACCESS).await;
    let elsewhere = authority.certify_for("payment", "payment.elsewhere");
    let elsewhere = Server::secured(identity(&elsewhere, &[&authority]).await, RPC_ACCESS).await;
    for server in [&expired, &foreign, &elsewhere] {
        let order = identity(&authority.certify("order"), &[&authority]).await;
        assert_eq!(call(channel(server, order)).await.unwrap_err().code(), Code::Unavailable);
    }
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_replica_that_does_not_believe_us_gets_no_call_as_long_as_another_does() {
    let (authority, other) = (Authority::new(), Authority::new());
    let believing = server(&authority).await;
    let refusing = identity(&authority.certify("payment"), &[&other]).await;
    let refusing = Server::secured(refusing, RPC_ACCESS).await;
    let urls = format!("{},{}", url(&refusing), url(&believing));
    let order = identity(&authority.certify("order"), &[&authority]).await;
    let channel = Connector::new(Some(order)).connect(&urls).unwrap();
    let began = Instant::now();
    // For longer than it takes until the one that refused is asked again.
    while began.elapsed() < Duration::from_millis(1500) {
        call(channel.clone()).await.unwrap();
    }
}

#[tokio::test]
async fn who_speaks_tls_and_who_does_not_find_out_at_once() {
    let authority = Authority::new();
    let [secure, plain] = [
        server(&authority).await,
        Server::start(Limits::default(), Readiness::default(), |_| async { Ok(()) }).await,
    ];
    let began = Instant::now();
    let unheard = call(connect(&format!("http://{}", secure.addr)).unwrap()).await.unwrap_err();
    assert_eq!(unheard.code(), Code::Unavailable, "{unheard:?}");
    let order = identity(&authority.certify("order"), &[&authority]).await;
    let unheard = call(channel(&plain, order)).await.unwrap_err();
    assert_eq!(unheard.code(), Code::Unavailable, "{unheard:?}");
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[tokio::test]
async fn peers_that_say_nothing_hold_up_nobody() {
    let authority = Authority::new();
    let server = server(&authority).await;
    let silent = join_all((0..100).map(|_| TcpStream::connect(server.addr))).await;
    assert!(silent.iter().all(Result::is_ok));
    let began = Instant::now();
    call(channel(&server, identity(&authority.certify("order"), &[&authority]).await)).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

/// Who connects just before a server ends, whether it was accepted by then or not, is answered or learns that its call
/// was not begun, and in the end that the server goes away.
#[tokio::test]
async fn who_shakes_hands_with_a_server_that_ends_is_not_cut_off() {
    let authority = Authority::new();
    let order = authority.certify("order");
    let connector = connector(&authority, Some(&order));
    for accepted in [true, false] {
        let server = server(&authority).await;
        let stream = TcpStream::connect(server.addr).await.unwrap();
        if accepted {
            // Who comes later is accepted later.
            call(channel(&server, identity(&order, &[&authority]).await)).await.unwrap();
        }
        server.tell_to_end();
        let stream = shake_hands(&connector, stream).await.unwrap();
        let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
        let told = tokio::spawn(connection);
        let answer = match sender.send_request(Request::post("https://localhost/").body(()).unwrap(), true) {
            Ok((answer, _)) => answer.await.map(drop),
            Err(error) => Err(error),
        };
        if let Err(refused) = answer {
            assert!(refused.is_remote() && refused.is_go_away(), "accepted {accepted}: {refused:?}");
        }
        told.await.unwrap().unwrap();
        server.stop().await;
    }
}

/// RpcAccess that connect anew for each call until they are told to end, and then say how many calls they made.
fn calls_on_new_connections(
    addr: SocketAddr,
    identity: &Identity,
    ends: &CancellationToken,
) -> JoinSet<usize> {
    let connector = Connector::new(Some(identity.clone()));
    (0..2)
        .map(|_| {
            let (connector, ends) = (connector.clone(), ends.clone());
            async move {
                let mut calls = 0;
                while !ends.is_cancelled() {
                    call(connector.connect(&format!("https://localhost:{}", addr.port())).unwrap())
                        .await
                        .unwrap();
                    calls += 1;
                }
                calls
            }
        })
        .collect()
}

/// As an operator replaces an authority: both are believed, then certificates are of the new one, then the old one is
/// believed no more.
#[tokio::test]
async fn certificates_and_their_authority_are_replaced_under_load_without_a_failed_call() {
    let (old, new) = (Authority::new(), Authority::new());
    let payment = Mounted::new(&old.certify("payment"), &[&old]);
    let order = Mounted::new(&old.certify("order"), &[&old]);
    let server = Server::secured(payment.identity().await, RPC_ACCESS).await;
    let caller = order.identity().await;
    let ends = CancellationToken::new();
    let load = calls_on_new_connections(server.addr, &caller, &ends);
    let long_lived = channel(&server, caller.clone());

    // Others, by whom it is seen how far it is: what each believes and shows.
    let by_new = channel(&server, identity(&new.certify("order"), &[&old, &new]).await);
    let believing_new = Connector::new(Some(identity(&old.certify("order"), &[&new]).await));
    let of_new = Server::secured(identity(&new.certify("payment"), &[&old, &new]).await, RPC_ACCESS).await;
    assert_eq!(call(by_new.clone()).await.unwrap_err().code(), Code::Unavailable);
    let caller_believes_new = async || {
        let fresh = Connector::new(Some(caller.clone())).connect(&url(&of_new)).unwrap();
        call(fresh).await.ok()
    };
    assert!(caller_believes_new().await.is_none());

    payment.replace(&old.certify("payment"), &[&old, &new]);
    order.replace(&old.certify("order"), &[&old, &new]);
    eventually("the server to believe both", async || call(by_new.clone()).await.ok()).await;
    eventually("the caller to believe both", caller_believes_new).await;

    payment.replace(&new.certify("payment"), &[&old, &new]);
    order.replace(&new.certify("gateway"), &[&old, &new]);
    eventually("the server to show the new one", async || {
        call(believing_new.connect(&url(&server)).unwrap()).await.ok()
    })
    .await;
    eventually("the caller to show the new one", async || (caller.caller() == Caller::Gateway).then_some(()))
        .await;

    payment.replace(&new.certify("payment"), &[&new]);
    eventually("the server to believe the old one no more", async || {
        call(believing_new.connect(&url(&server)).unwrap()).await.err()
    })
    .await;
    call(long_lived).await.expect("a connection goes on as it was made");
    ends.cancel();
    let calls: usize = load.join_all().await.into_iter().sum();
    assert!(calls > 100, "only {calls} calls were made meanwhile");
}

#[tokio::test(start_paused = true)]
async fn new_files_that_can_t_be_used_leave_the_old_ones_in_use() {
    let authority = Authority::new();
    let mounted = Mounted::new(&authority.certify("order"), &[&authority]);
    let identity = mounted.identity().await;
    let (good, other) = (authority.certify("refund"), authority.certify("refund"));
    for bad in [
        Certificate { certificate: "nonsense".to_owned(), ..good.clone() },
        Certificate { key: other.key, ..good.clone() },
        authority.certify_uris(&[]),
    ] {
        mounted.replace(&bad, &[&authority]);
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(identity.caller(), Caller::Order);
    }
    mounted.replace(&good, &[]);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(identity.caller(), Caller::Order, "without an authority nobody could be believed");
    mounted.replace(&good, &[&authority]);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(identity.caller(), Caller::Refund);
}

#[tokio::test]
async fn what_can_t_be_used_at_start_is_told_by_the_name_of_its_variable() {
    let authority = Authority::new();
    let good = authority.certify("order");
    let nonsense = || "nonsense".to_owned();
    for (certificate, authorities, named) in [
        (Certificate { certificate: nonsense(), ..good.clone() }, &[&authority][..], "TAEL_TLS_CERTIFICATE"),
        (Certificate { key: nonsense(), ..good.clone() }, &[&authority], "TAEL_TLS_KEY"),
        (good.clone(), &[], "TAEL_TLS_AUTHORITY"),
        (authority.certify_uris(&[]), &[&authority], "TAEL_TLS_CERTIFICATE"),
    ] {
        let mounted = Mounted::new(&certificate, authorities);
        let error = Identity::read(mounted.files()).await.unwrap_err().to_string();
        assert!(error.starts_with(named), "{error}");
    }
    let files = Mounted::new(&good, &[&authority]).files();
    let error = Identity::read(files).await.unwrap_err().to_string();
    assert!(error.starts_with("TAEL_TLS_CERTIFICATE"), "{error}");
}
