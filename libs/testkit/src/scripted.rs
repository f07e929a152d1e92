//! Services that are not there: a gRPC server whose answers a test decides on.

use std::any::type_name;
use std::collections::{HashMap, VecDeque};
use std::future::{Future, pending, ready};
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};

use bytes::{BufMut as _, Bytes, BytesMut};
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _};
use http::{Extensions, HeaderMap, HeaderValue};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use prost::Message;
use prost_types::FileDescriptorSet;
use tael_grpc::client::Channel;
use tael_grpc::server::{Limits, Readiness, bind};
use tokio_util::task::AbortOnDropHandle;
use tonic::body::Body;
use tonic::metadata::MetadataMap;
use tonic::service::Routes;
use tonic::{Code, Request, Status};

use crate::ScriptedLog;

/// The messages of all methods of the contracts, by `package.Service/Method`.
static METHODS: LazyLock<HashMap<String, Messages>> = LazyLock::new(|| {
    let set = FileDescriptorSet::decode(tael_proto::FILE_DESCRIPTOR_SET).expect("compiled descriptors");
    let mut methods = HashMap::new();
    for file in &set.file {
        for service in &file.service {
            for method in &service.method {
                let name = format!("{}.{}/{}", file.package(), service.name(), method.name());
                let short = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
                let messages =
                    Messages { request: short(method.input_type()), answer: short(method.output_type()) };
                methods.insert(name, messages);
            }
        }
    }
    methods
});

struct Messages {
    request: String,
    answer: String,
}

/// A server that answers any method of the contracts from a script, in the place of a whole service: a contract that grows
/// needs no change here. It serves an event log as well ([`ScriptedServer::log`]), health and reflection.
///
/// A method is named as in `tael.order.v1.OrderService/GetOrder`. One without an answer is refused as UNIMPLEMENTED. Clones
/// are the same server; it ends with the last of them.
///
/// ```no_run
/// # async fn test() {
/// use tael_proto::order::v1::{GetOrderRequest, GetOrderResponse, Order};
/// use tael_testkit::{Answer, ScriptedServer};
///
/// const GET_ORDER: &str = "tael.order.v1.OrderService/GetOrder";
///
/// let orders = ScriptedServer::start().await;
/// orders.on(GET_ORDER, Answer::by(|request: tonic::Request<GetOrderRequest>| async move {
///     let order = Order { order_id: request.into_inner().order_id, ..Order::default() };
///     Ok(GetOrderResponse { order: Some(order) })
/// }));
/// orders.once(GET_ORDER, Answer::unavailable());
/// // … the service under test asks `orders.url()` …
/// assert_eq!(orders.calls::<GetOrderRequest>(GET_ORDER).len(), 2);
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ScriptedServer {
    addr: SocketAddr,
    script: Arc<Script>,
    log: ScriptedLog,
    _serving: Arc<AbortOnDropHandle<()>>,
}

#[derive(Debug, Default)]
struct Script(Mutex<HashMap<String, Scripted>>);

#[derive(Debug, Default)]
struct Scripted {
    usual: Option<Answer>,
    next: VecDeque<Answer>,
    calls: Vec<(MetadataMap, Bytes)>,
}

/// What is answered to a call.
#[derive(Clone)]
pub struct Answer {
    work: Arc<Work>,
    /// The Rust types of the request and of what is answered, where they are known.
    takes: Option<&'static str>,
    gives: Option<&'static str>,
}

type Work = dyn Fn(MetadataMap, Bytes) -> BoxFuture<'static, Reply> + Send + Sync;

/// The messages of an answer, and how it ends.
struct Reply {
    messages: Vec<Vec<u8>>,
    end: Status,
}

/// A call that was made.
#[derive(Clone, Debug)]
pub struct Recorded<Q> {
    /// Its metadata.
    pub metadata: MetadataMap,
    /// Its message.
    pub message: Q,
}

impl Answer {
    /// What a function answers to the request.
    pub fn by<Q, A, F>(answer: impl Fn(Request<Q>) -> F + Send + Sync + 'static) -> Self
    where
        Q: Message + Default + 'static,
        A: Message + 'static,
        F: Future<Output = Result<A, Status>> + Send + 'static,
    {
        let work = move |metadata, message: Bytes| {
            let message = Q::decode(message).expect("the caller sends the method's message");
            let answer = answer(Request::from_parts(metadata, Extensions::default(), message));
            async move {
                match answer.await {
                    Ok(message) => Reply::of([message.encode_to_vec()]),
                    Err(refusal) => Reply { messages: Vec::new(), end: refusal },
                }
            }
            .boxed()
        };
        Self { work: Arc::new(work), takes: Some(type_name::<Q>()), gives: Some(type_name::<A>()) }
    }

    /// Always this message.
    pub fn of<A: Message + 'static>(message: &A) -> Self {
        Self::stream([Ok(message)])
    }

    /// These messages of a stream, up to the first error.
    pub fn stream<'a, A: Message + 'static>(parts: impl IntoIterator<Item = Result<&'a A, Status>>) -> Self {
        let mut reply = Reply::of([]);
        for part in parts {
            match part {
                Ok(message) => reply.messages.push(message.encode_to_vec()),
                Err(status) => {
                    reply.end = status;
                    break;
                }
            }
        }
        Self { gives: Some(type_name::<A>()), ..Self::untyped(move |_, _| ready(reply.clone()).boxed()) }
    }

    /// Always this error.
    pub fn refusal(status: Status) -> Self {
        Self::untyped(move |_, _| ready(Reply { messages: Vec::new(), end: status.clone() }).boxed())
    }

    /// An UNAVAILABLE, as of a server that nobody reaches. (Who wants that nobody reaches it drops the server.)
    pub fn unavailable() -> Self {
        Self::refusal(Status::unavailable("as the test wants it"))
    }

    /// None: the call waits until its caller gives up.
    pub fn hang() -> Self {
        Self::untyped(|_, _| pending().boxed())
    }

    /// Does what another answer does, and then says this error instead: the effect happened and the answer was lost.
    #[must_use]
    pub fn lost(self, status: Status) -> Self {
        let work = Arc::clone(&self.work);
        let lose = move |metadata, message| {
            let (status, work) = (status.clone(), work(metadata, message));
            async move {
                work.await;
                Reply { messages: Vec::new(), end: status }
            }
            .boxed()
        };
        Self { work: Arc::new(lose), ..self }
    }

    fn untyped(
        work: impl Fn(MetadataMap, Bytes) -> BoxFuture<'static, Reply> + Send + Sync + 'static,
    ) -> Self {
        Self { work: Arc::new(work), takes: None, gives: None }
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answer")
            .field("takes", &self.takes)
            .field("gives", &self.gives)
            .finish_non_exhaustive()
    }
}

impl Clone for Reply {
    fn clone(&self) -> Self {
        Self { messages: self.messages.clone(), end: self.end.clone() }
    }
}

impl Reply {
    fn of(messages: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self { messages: messages.into_iter().collect(), end: Status::new(Code::Ok, "") }
    }

    fn into_response(self) -> http::Response<Body> {
        if self.messages.is_empty() && self.end.code() != Code::Ok {
            return self.end.into_http();
        }
        let mut trailers = HeaderMap::new();
        self.end.add_header(&mut trailers).expect("a status can be written");
        let messages = self.messages.into_iter().map(|message| Frame::data(framed(&message)));
        let frames = messages.chain([Frame::trailers(trailers)]).map(Ok::<_, Status>);
        let mut response =
            http::Response::new(Body::new(StreamBody::new(futures::stream::iter(frames).boxed())));
        response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
        response
    }
}

/// A message as gRPC sends it: not compressed, its length, itself.
fn framed(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(5 + message.len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).expect("a message of a test is small"));
    frame.put_slice(message);
    frame.freeze()
}

impl ScriptedServer {
    /// Starts one on a free port; until it is given answers it has none.
    pub async fn start() -> Self {
        let (script, log) = (Arc::<Script>::default(), ScriptedLog::default());
        let unlogged = Arc::clone(&script);
        let router = Routes::new(log.server())
            .into_axum_router()
            .fallback(move |request| answer(Arc::clone(&unlogged), request));
        let bound = bind(([127, 0, 0, 1], 0).into(), Limits::default()).await.expect("a port is free");
        let addr = bound.addr();
        let serving = tokio::spawn(async move {
            let served = bound.serve(Routes::from(router), Readiness::default(), pending()).await;
            served.expect("a server on the loopback serves");
        });
        Self { addr, script, log, _serving: Arc::new(AbortOnDropHandle::new(serving)) }
    }

    /// Returns where it serves.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns the address as a URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Returns a channel for generated clients.
    pub fn channel(&self) -> Channel {
        tael_grpc::client::connect(&self.url()).expect("the address is valid")
    }

    /// Returns the log that is served here.
    pub fn log(&self) -> &ScriptedLog {
        &self.log
    }

    /// Answers the calls of a method like this from now on.
    pub fn on(&self, method: &str, answer: Answer) {
        check(method, answer.takes, answer.gives);
        self.script.methods().entry(method.to_owned()).or_default().usual = Some(answer);
    }

    /// Answers the next call of a method like this, after those for which an answer was given already; calls after it are
    /// answered as usual.
    pub fn once(&self, method: &str, answer: Answer) {
        check(method, answer.takes, answer.gives);
        self.script.methods().entry(method.to_owned()).or_default().next.push_back(answer);
    }

    /// Returns the calls of a method so far, the first one first.
    pub fn calls<Q: Message + Default>(&self, method: &str) -> Vec<Recorded<Q>> {
        check(method, Some(type_name::<Q>()), None);
        let methods = self.script.methods();
        let calls = methods.get(method).map(|scripted| scripted.calls.as_slice()).unwrap_or_default();
        let read = |(metadata, message): &(MetadataMap, Bytes)| Recorded {
            metadata: metadata.clone(),
            message: Q::decode(message.clone()).expect("the caller sends the method's message"),
        };
        calls.iter().map(read).collect()
    }
}

impl Script {
    fn methods(&self) -> MutexGuard<'_, HashMap<String, Scripted>> {
        self.0.lock().expect("nothing panics while it holds the script")
    }
}

/// Fails the test whose script is not as the contracts: a name, or a type of another method, would be noticed late.
fn check(method: &str, request: Option<&str>, answer: Option<&str>) {
    let messages = METHODS.get(method).unwrap_or_else(|| panic!("no contract has a method {method}"));
    for (found, expected) in [(request, &messages.request), (answer, &messages.answer)] {
        let found = found.map(|name| name.rsplit("::").next().unwrap_or_default());
        assert!(found.is_none_or(|name| name == expected), "{method}: {found:?} in the place of {expected}");
    }
}

async fn answer(script: Arc<Script>, request: http::Request<axum::body::Body>) -> http::Response<Body> {
    let method = request.uri().path().trim_start_matches('/').to_owned();
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else {
        return Status::cancelled("the caller is gone").into_http();
    };
    let Some(message) = body.to_bytes().get(5..).map(Bytes::copy_from_slice) else {
        return Status::internal("the call has no message").into_http();
    };
    let metadata = MetadataMap::from_headers(head.headers);
    let answer = {
        let mut methods = script.methods();
        let scripted = methods.entry(method.clone()).or_default();
        scripted.calls.push((metadata.clone(), message.clone()));
        scripted.next.pop_front().or_else(|| scripted.usual.clone())
    };
    match answer {
        Some(answer) => (answer.work)(metadata, message).await.into_response(),
        None => Status::unimplemented(format!("the test has no answer for {method}")).into_http(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tael_proto::merchant::v1::merchant_service_client::MerchantServiceClient;
    use tael_proto::merchant::v1::{GetMerchantRequest, GetMerchantResponse, Merchant};

    use super::*;

    const GET: &str = "tael.merchant.v1.MerchantService/GetMerchant";

    fn named(name: &str) -> GetMerchantResponse {
        GetMerchantResponse { merchant: Some(Merchant { name: name.to_owned(), ..Merchant::default() }) }
    }

    fn request(id: &str) -> GetMerchantRequest {
        GetMerchantRequest { merchant_id: id.to_owned() }
    }

    #[tokio::test]
    async fn calls_are_answered_as_scripted_and_recorded() {
        let server = ScriptedServer::start().await;
        let mut client = MerchantServiceClient::new(server.channel());
        let unscripted = client.get_merchant(request("a")).await.unwrap_err();
        assert_eq!(unscripted.code(), Code::Unimplemented);
        assert!(unscripted.message().contains(GET), "{unscripted}");

        server.on(
            GET,
            Answer::by(|request: Request<GetMerchantRequest>| {
                ready(Ok(named(&request.get_ref().merchant_id)))
            }),
        );
        server.once(GET, Answer::refusal(Status::not_found("no such merchant")));
        server.once(GET, Answer::of(&named("canned")));
        assert_eq!(client.get_merchant(request("b")).await.unwrap_err().code(), Code::NotFound);
        assert_eq!(client.get_merchant(request("c")).await.unwrap().into_inner(), named("canned"));
        assert_eq!(
            client.get_merchant(crate::with_key("k", request("d"))).await.unwrap().into_inner(),
            named("d")
        );

        let calls = server.calls::<GetMerchantRequest>(GET);
        let ids: Vec<_> = calls.iter().map(|call| call.message.merchant_id.as_str()).collect();
        assert_eq!(ids, ["a", "b", "c", "d"]);
        assert_eq!(calls[3].metadata.get("idempotency-key").unwrap(), "k");
    }

    #[tokio::test]
    async fn an_answer_can_be_late_or_lost() {
        let server = ScriptedServer::start().await;
        let mut client = MerchantServiceClient::new(server.channel());
        server.once(GET, Answer::hang());
        let mut hurried = Request::new(request("a"));
        hurried.set_timeout(Duration::from_millis(50));
        let late = client.get_merchant(hurried).await.unwrap_err();
        assert!(matches!(late.code(), Code::DeadlineExceeded | Code::Cancelled), "{late}");

        let done = Arc::new(Mutex::new(0));
        let counting = Arc::clone(&done);
        let answer = Answer::by(move |_: Request<GetMerchantRequest>| {
            *counting.lock().unwrap() += 1;
            ready(Ok(named("done")))
        });
        server.once(GET, answer.lost(Status::aborted("lost")));
        assert_eq!(client.get_merchant(request("b")).await.unwrap_err().code(), Code::Aborted);
        assert_eq!(*done.lock().unwrap(), 1);
    }

    #[tokio::test]
    async fn a_stream_breaks_off_where_the_script_says_so() {
        let part = named("part");
        let stream = Answer::stream([Ok(&part), Err(Status::data_loss("broken off")), Ok(&part)]);
        let reply = (stream.work)(MetadataMap::new(), Bytes::new()).await;
        let body = reply.into_response().into_body().collect().await.unwrap();
        let end = Status::from_header_map(body.trailers().expect("the end comes after the parts")).unwrap();
        assert_eq!((end.code(), end.message()), (Code::DataLoss, "broken off"));
        assert_eq!(body.to_bytes(), framed(&part.encode_to_vec()));
    }

    #[tokio::test]
    #[should_panic(expected = "no contract has a method")]
    async fn a_method_that_no_contract_has_is_a_mistake() {
        ScriptedServer::start().await.on("tael.merchant.v1.MerchantService/GetMerchants", Answer::hang());
    }

    #[tokio::test]
    #[should_panic(expected = "in the place of GetMerchantResponse")]
    async fn an_answer_to_another_method_is_a_mistake() {
        ScriptedServer::start().await.on(GET, Answer::of(&Merchant::default()));
    }
}
