//! The principal of a call: verified, and bound to what the call concerns.
//!
//! A call without a token in `tael-principal` passes as it is: a service's own call, which the access table judges. Where
//! there is one, the request is held to it before any service sees it: a merchant's principal names no merchant but its
//! own, and who acts is the principal. It is done on the encoded message, by the fields that the contract marks
//! ([`crate::contract`]), so that no rpc can forget it.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use futures::future::Either;
use http::{Request, Response};
use http_body::Body as _;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use tael_ids::MerchantId;
use tael_principal::{METADATA, Principal, Verifier};
use tael_proto::r#type::v1::ErrorReason;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};

use super::edge::drop_message;
use crate::client::body::Message;
use crate::contract::{Binding, contracts};
use crate::status;

/// The largest message that is taken, as everywhere in tonic.
const MAX_MESSAGE: usize = 4 * 1024 * 1024;
/// What stands before a message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// Makes [`Principals`] services. Without a verifier no token holds.
#[derive(Clone, Debug)]
pub(crate) struct PrincipalLayer(Option<Verifier>);

impl PrincipalLayer {
    pub(crate) fn new(verifier: Option<Verifier>) -> Self {
        Self(verifier)
    }
}

impl<S> Layer<S> for PrincipalLayer {
    type Service = Principals<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Principals { inner, verifier: self.0.clone() }
    }
}

/// Lets only those calls through that their principal may make.
#[derive(Clone, Debug)]
pub(crate) struct Principals<S> {
    inner: S,
    verifier: Option<Verifier>,
}

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl<S> Service<Request<Body>> for Principals<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<S::Future, BoxFuture<Result<Response<Body>, Infallible>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if !request.headers().contains_key(METADATA) || request.uri().path().starts_with("/grpc.") {
            return Either::Left(self.inner.call(request));
        }
        // The clone may not be ready; the one that was polled is.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let verifier = self.verifier.clone();
        Either::Right(Box::pin(async move {
            match bind(verifier.as_ref(), request).await {
                Ok(request) => inner.call(request).await,
                Err(refusal) => Ok(refusal.into_http()),
            }
        }))
    }
}

async fn bind(verifier: Option<&Verifier>, request: Request<Body>) -> Result<Request<Body>, Status> {
    let (mut parts, body) = request.into_parts();
    let method = parts.uri.path().trim_start_matches('/');
    let judged = verify(verifier, &parts.headers).and_then(|principal| {
        let contract = contracts().get(method);
        let merchant = match (principal.merchant, contract.map(|contract| contract.binding)) {
            (None, _) | (Some(_), Some(Binding::Bearer)) => None,
            (Some(merchant), Some(Binding::Merchant(field))) => Some((field, merchant)),
            (Some(_), Some(Binding::Platform | Binding::Undeclared) | None) => {
                return Err(not_allowed(method));
            }
        };
        Ok((principal, merchant, contract.and_then(|contract| contract.operator)))
    });
    let (principal, merchant, operator) = match judged {
        Ok(judged) => judged,
        Err(refusal) => {
            drop_message(body).await;
            return Err(refusal);
        }
    };
    let mut message = read(body).await?;
    if let Some((field, merchant)) = merchant {
        message = bind_merchant(message, field, merchant)?;
    }
    if let Some(field) = operator {
        message = append(message, field, &principal.subject);
    }
    tael_telemetry::record("tael.principal", &principal.subject);
    parts.extensions.insert(principal);
    Ok(Request::from_parts(parts, Body::new(Message::of(framed(&message)))))
}

fn verify(verifier: Option<&Verifier>, headers: &http::HeaderMap) -> Result<Principal, Status> {
    // Two tokens would leave it open which of them is meant.
    let mut tokens = headers.get_all(METADATA).iter();
    let token = tokens.next().and_then(|token| token.to_str().ok()).filter(|_| tokens.next().is_none());
    let principal = match (verifier, token) {
        (Some(verifier), Some(token)) => verifier.verify(token).map_err(|error| error.to_string()),
        (None, _) => Err("no keys to verify a principal are configured".to_owned()),
        (_, None) => Err("there must be one token".to_owned()),
    };
    principal.map_err(|problem| {
        tracing::warn!(problem, "a principal was refused");
        let reason = ErrorReason::PrincipalInvalid.as_str_name();
        status::error(Code::Unauthenticated, status::SHARED_DOMAIN, reason, "the principal does not hold", [])
    })
}

fn not_allowed(method: &str) -> Status {
    status::error(
        Code::PermissionDenied,
        status::SHARED_DOMAIN,
        ErrorReason::PrincipalNotAllowed.as_str_name(),
        format!("no merchant may call {method}"),
        [("method", method.to_owned())],
    )
}

/// Reads the one message of a call.
async fn read(mut body: Body) -> Result<Bytes, Status> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let Ok(data) = frame?.into_data() else { continue };
        if bytes.len() + data.len() > PREFIX + MAX_MESSAGE {
            return Err(status::invalid_field("request", "is larger than 4 MiB"));
        }
        bytes.extend_from_slice(&data);
    }
    let mut message = bytes.freeze();
    if message.len() < PREFIX || message.get_u8() != 0 {
        return Err(unreadable());
    }
    let length = usize::try_from(message.get_u32()).unwrap_or(usize::MAX);
    if message.len() == length { Ok(message) } else { Err(unreadable()) }
}

fn framed(message: &Bytes) -> Bytes {
    let mut bytes = BytesMut::with_capacity(PREFIX + message.len());
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(message.len()).expect("messages are far smaller than 4 GiB"));
    bytes.extend_from_slice(message);
    bytes.freeze()
}

/// Sees to it that a message names a merchant, and no other. Each occurrence of the field is looked at: the last one
/// counts, but a reader that counts otherwise must not be fooled.
fn bind_merchant(message: Bytes, field: u32, merchant: MerchantId) -> Result<Bytes, Status> {
    let own = merchant.to_string();
    for text in texts(&message, field).ok_or_else(unreadable)? {
        if !text.is_empty() && text != own.as_bytes() {
            let named = String::from_utf8_lossy(text).into_owned();
            return Err(status::merchant_not_found(&named));
        }
    }
    Ok(append(message, field, &own))
}

/// Sets a text field: of several occurrences the last one counts
/// (<https://protobuf.dev/programming-guides/encoding/#last-one-wins>).
fn append(message: Bytes, field: u32, text: &str) -> Bytes {
    let mut bytes = BytesMut::from(message);
    prost::encoding::string::encode(field, &text.to_owned(), &mut bytes);
    bytes.freeze()
}

/// Returns all occurrences of a text field; none when the message is malformed.
fn texts(mut message: &[u8], field: u32) -> Option<Vec<&[u8]>> {
    let mut texts = Vec::new();
    while !message.is_empty() {
        let (number, wire_type) = decode_key(&mut message).ok()?;
        if number != field {
            skip_field(wire_type, number, &mut message, DecodeContext::default()).ok()?;
            continue;
        }
        if wire_type != WireType::LengthDelimited {
            return None;
        }
        let length = usize::try_from(decode_varint(&mut message).ok()?).ok()?;
        let (text, rest) = message.split_at_checked(length)?;
        texts.push(text);
        message = rest;
    }
    Some(texts)
}

fn unreadable() -> Status {
    status::invalid_field("request", "is not a valid message of its type")
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use tael_proto::refund::v1::GetRefundRequest;

    use super::*;

    fn request(merchant_id: &str) -> Bytes {
        let request = GetRefundRequest { merchant_id: merchant_id.to_owned(), refund_id: "ref_1".to_owned() };
        request.encode_to_vec().into()
    }

    #[test]
    fn a_message_names_the_merchant_or_nobody() {
        let own = MerchantId::new();
        for named in [own.to_string(), String::new()] {
            let bound = bind_merchant(request(&named), 1, own).unwrap();
            let read = GetRefundRequest::decode(bound).unwrap();
            assert_eq!((read.merchant_id, read.refund_id.as_str()), (own.to_string(), "ref_1"));
        }
        for named in [MerchantId::new().to_string(), "x".to_owned(), own.to_string().to_uppercase()] {
            assert_eq!(bind_merchant(request(&named), 1, own).unwrap_err().code(), Code::NotFound, "{named}");
        }
    }

    #[test]
    fn another_merchant_is_not_hidden_behind_the_own_one() {
        let (own, other) = (MerchantId::new(), MerchantId::new());
        for [first, second] in [[own, other], [other, own]] {
            let twice = [request(&first.to_string()), request(&second.to_string())].concat();
            assert_eq!(bind_merchant(twice.into(), 1, own).unwrap_err().code(), Code::NotFound);
        }
    }

    #[test]
    fn what_can_t_be_read_is_refused() {
        let own = MerchantId::new();
        // A number where the text is to be; a text longer than the message; half a key.
        for message in [&[0x08, 0x01][..], &[0x0a, 0x7f, b'm'], &[0xff]] {
            let refused = bind_merchant(Bytes::copy_from_slice(message), 1, own).unwrap_err();
            assert_eq!(refused.code(), Code::InvalidArgument, "{message:?}");
        }
    }
}
