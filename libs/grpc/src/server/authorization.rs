//! Which caller may call what.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::Either;
use http::{Request, Response};
use tael_proto::r#type::v1::ErrorReason;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};

use super::edge::drop_message;
use super::incoming::Peer;
use crate::caller::Caller;
use crate::observe::METHODS;
use crate::status;

/// Which callers may call each method of each service that a server serves. What is not in it may be called by nobody.
///
/// Without TLS nobody can be told from anybody, and all may call everything.
pub type RpcAccess = &'static [(&'static str, &'static [(&'static str, &'static [Caller])])];

/// What every server serves beside its own: anybody may ask how it is, and operators what it serves.
pub(super) const EVERYWHERE: RpcAccess = &[
    ("grpc.health.v1.Health", &[("Check", &Caller::ALL), ("Watch", &Caller::ALL)]),
    ("grpc.reflection.v1.ServerReflection", &[("ServerReflectionInfo", &[Caller::Operator])]),
    ("grpc.reflection.v1alpha.ServerReflection", &[("ServerReflectionInfo", &[Caller::Operator])]),
];

/// Compares the tables of all services with the contracts: names each method of a table's services that is missing from
/// it, each that no contract has, and each service that is in no table.
pub fn unlike_contracts(tables: &[RpcAccess]) -> Vec<String> {
    let served: HashSet<_> = tables.iter().copied().flatten().map(|(service, _)| *service).collect();
    let of = |service: &str, name: &str| name.split_once('/').is_some_and(|(of, _)| of == service);
    let mut faults = Vec::new();
    for table in tables {
        let in_table: HashSet<_> = names(table).map(|(name, _)| name).collect();
        let of_table = |name: &&String| table.iter().any(|(service, _)| of(service, name));
        let missing = METHODS.iter().filter(of_table).filter(|name| !in_table.contains(*name));
        faults.extend(missing.map(|name| format!("{name} is missing")));
        faults.extend(in_table.difference(&METHODS).map(|name| format!("{name} is in no contract")));
    }
    let nowhere = METHODS.iter().filter(|name| !served.iter().any(|service| of(service, name)));
    faults.extend(nowhere.map(|name| format!("{name} is served by nobody")));
    faults.sort_unstable();
    faults
}

fn names(access: RpcAccess) -> impl Iterator<Item = (String, &'static [Caller])> {
    access.iter().flat_map(|(service, methods)| {
        methods.iter().map(move |(method, allowed)| (format!("{service}/{method}"), *allowed))
    })
}

/// Makes [`Authorized`] services; without a table all calls are let through.
#[derive(Clone, Debug)]
pub(crate) struct AuthorizationLayer(Option<Arc<HashMap<String, &'static [Caller]>>>);

impl AuthorizationLayer {
    pub(crate) fn new(access: Option<RpcAccess>) -> Self {
        Self(access.map(|access| Arc::new(names(access).chain(names(EVERYWHERE)).collect())))
    }

    /// Whether a call may be made; otherwise who may not make it.
    fn check(&self, request: &Request<Body>) -> Result<(), Option<Caller>> {
        let Some(table) = &self.0 else { return Ok(()) };
        let caller = request.extensions().get::<Peer>().and_then(|peer| peer.caller);
        let allowed = table.get(request.uri().path().trim_start_matches('/')).copied().unwrap_or_default();
        if caller.is_some_and(|caller| allowed.contains(&caller)) { Ok(()) } else { Err(caller) }
    }
}

impl<S> Layer<S> for AuthorizationLayer {
    type Service = Authorized<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Authorized { inner, access: self.clone() }
    }
}

/// Lets only those calls through that the caller may make.
#[derive(Clone, Debug)]
pub(crate) struct Authorized<S> {
    inner: S,
    access: AuthorizationLayer,
}

type Refusal = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

impl<S> Service<Request<Body>> for Authorized<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<S::Future, Refusal>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match self.access.check(&request) {
            Ok(()) => Either::Left(self.inner.call(request)),
            Err(caller) => Either::Right(Box::pin(refuse(request, caller))),
        }
    }
}

async fn refuse(request: Request<Body>, caller: Option<Caller>) -> Result<Response<Body>, Infallible> {
    let method = request.uri().path().trim_start_matches('/').to_owned();
    let caller = caller.map_or("nobody we know", Caller::name);
    tracing::warn!(caller, method, "a caller was refused");
    drop_message(request.into_body()).await;
    let status: Status = status::error(
        Code::PermissionDenied,
        status::SHARED_DOMAIN,
        ErrorReason::CallerNotAllowed.as_str_name(),
        format!("{caller} may not call {method}"),
        [("caller", caller.to_owned()), ("method", method)],
    );
    Ok(status.into_http())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_is_not_like_its_contracts_is_told() {
        const LOG: &str = "tael.event.v1.EventLogService";
        let of_log = |tables: &[RpcAccess]| {
            let mut faults = unlike_contracts(tables);
            faults.retain(|fault| fault.starts_with(LOG));
            faults
        };
        let whole: RpcAccess =
            &[(LOG, &[("ReadEvents", &[]), ("ListConsumers", &[]), ("RemoveConsumer", &[])])];
        assert_eq!(of_log(&[whole]), [""; 0]);
        let wrong: RpcAccess =
            &[(LOG, &[("ReadEvent", &[]), ("ListConsumers", &[]), ("RemoveConsumer", &[])])];
        assert_eq!(
            of_log(&[whole, wrong]),
            [format!("{LOG}/ReadEvent is in no contract"), format!("{LOG}/ReadEvents is missing")]
        );
        assert!(of_log(&[]).contains(&format!("{LOG}/ReadEvents is served by nobody")));
    }
}
