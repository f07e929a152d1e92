//! Which replica a call goes to.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{join_all, select_ok};
use http::{Request, Response, request};
use hyper::body::Incoming;
use rand::Rng as _;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tonic::Status;

use super::body::Message;
use super::broken;
use super::replica::{InFlight, Replica, Sender};
use super::resolve::Resolver;
use super::target::{Host, Target};
use crate::deadline;

/// Names are looked up every two seconds: no sooner than after the first part of the pause, and before the end of the
/// second when a connection was lost, none could be made, or a call waits for the first addresses.
const LOOKUP_PAUSE: Duration = Duration::from_millis(200);
const LOOKUP_DOUBT: Duration = Duration::from_millis(1800);
/// How long a call waits for a look-up that succeeds, when none has yet: there is time for two.
const LOOKUP_PATIENCE: Duration = Duration::from_secs(5);
/// How often a call is sent on at most after a replica did not begin it.
const MAX_SENDS: usize = 4;

/// The replicas of one service.
pub(super) struct Replicas {
    targets: Vec<Arc<Target>>,
    name: String,
    resolver: Resolver,
    /// None until a look-up has succeeded: what is not known is not the same as nobody.
    known: watch::Sender<Option<Arc<[Arc<Replica>]>>>,
    /// Something suggests that the addresses have changed.
    doubt: Arc<Notify>,
    follows: AtomicBool,
}

impl Replicas {
    pub(super) fn new(targets: Vec<Target>, resolver: Resolver) -> Arc<Self> {
        let targets: Vec<_> = targets.into_iter().map(Arc::new).collect();
        let name = targets.iter().map(|target| target.host.to_string()).collect::<Vec<_>>().join(",");
        let replicas = Self {
            targets,
            name,
            resolver,
            known: watch::Sender::new(None),
            doubt: Arc::default(),
            follows: AtomicBool::new(false),
        };
        if replicas.targets.iter().all(|target| matches!(target.host, Host::Address(_))) {
            replicas.look_up().now_or_never().expect("addresses need not be looked up");
            replicas.follows.store(true, Ordering::Relaxed);
        }
        Arc::new(replicas)
    }

    /// The host, or the hosts.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Sends a call to one replica, and to others as long as it was certainly not begun. Each is told how long it has by
    /// then until `deadline`.
    pub(super) async fn send(
        self: Arc<Self>,
        head: request::Parts,
        message: Message,
        deadline: Instant,
    ) -> Result<(Response<Incoming>, InFlight), Status> {
        let mut tried = Vec::new();
        loop {
            let (replica, mut sender) = self.choose(&tried).await?;
            let in_flight = InFlight::new(&replica);
            let request = request(&head, replica.target(), message.clone(), deadline);
            let mut failed = match sender.try_send_request(request).await {
                Ok(answer) => return Ok((answer, in_flight)),
                Err(failed) => failed,
            };
            self.doubt.notify_one();
            let was_not_begun = failed.take_message().is_some() || was_refused(failed.error());
            if !was_not_begun || tried.len() >= MAX_SENDS {
                return Err(broken(Arc::new(failed.into_error())));
            }
            tracing::debug!(addr = %replica.addr(), "a call that was not begun goes to another replica");
            tried.push(replica.addr());
        }
    }

    /// Chooses among the replicas that are connected; when none is, whichever can be connected to first. One that was
    /// tried before is tried again only when there is no other.
    async fn choose(self: &Arc<Self>, tried: &[SocketAddr]) -> Result<(Arc<Replica>, Sender), Status> {
        let replicas = self.known().await?;
        let untried = || replicas.iter().filter(|replica| !tried.contains(&replica.addr()));
        if let Some(chosen) = less_busy_of_two(untried()) {
            return Ok(chosen);
        }
        if replicas.is_empty() {
            self.doubt.notify_one();
            return Err(Status::unavailable(format!("{} has no address", self.name)));
        }
        let mut candidates: Vec<_> = untried().collect();
        if candidates.is_empty() {
            candidates.extend(replicas.iter());
        }
        let connecting = candidates.into_iter().map(|replica| {
            Box::pin(async move { replica.connect().await.map(|sender| (Arc::clone(replica), sender)) })
        });
        match select_ok(connecting).await {
            Ok((chosen, _others)) => Ok(chosen),
            Err(error) => {
                self.doubt.notify_one();
                Err(broken(error))
            }
        }
    }

    async fn known(self: &Arc<Self>) -> Result<Arc<[Arc<Replica>]>, Status> {
        if let Some(replicas) = &*self.known.borrow() {
            return Ok(Arc::clone(replicas));
        }
        let mut known = self.known.subscribe();
        if !self.follows.swap(true, Ordering::Relaxed) {
            tokio::spawn(follow(Arc::downgrade(self)));
        }
        self.doubt.notify_one();
        let found = tokio::time::timeout(LOOKUP_PATIENCE, known.wait_for(Option::is_some)).await;
        let found =
            found.map_err(|_elapsed| Status::unavailable(format!("{} can't be looked up", self.name)))?;
        let replicas = found.expect("the sender is ours");
        Ok(replicas.as_ref().map(Arc::clone).expect("it was waited for"))
    }

    /// Looks all names up.
    async fn look_up(&self) {
        let found = join_all(self.targets.iter().map(|target| self.addresses(target))).await;
        self.learn(&found);
    }

    /// The addresses of a target; none when they can't be looked up.
    async fn addresses(&self, target: &Target) -> Option<Vec<SocketAddr>> {
        let name = match &target.host {
            Host::Address(address) => return Some(vec![SocketAddr::new(*address, target.port)]),
            Host::Name(name) => name,
        };
        let found = self.resolver.look_up(name, target.port).await;
        found
            .inspect_err(|error| {
                tracing::debug!(name, error = error as &dyn Error, "a name could not be looked up");
            })
            .ok()
    }

    /// Replaces the replicas by those at the addresses of each target. Who stays keeps its connection; calls in flight
    /// to one that goes are not disturbed. A target that could not be looked up keeps the replicas that it had: a name
    /// server that is away takes no service with it.
    fn learn(&self, found: &[Option<Vec<SocketAddr>>]) {
        let known = self.known.borrow().clone();
        let before = known.as_deref().unwrap_or_default();
        let mut replicas: Vec<Arc<Replica>> = Vec::new();
        for (target, addresses) in self.targets.iter().zip(found) {
            let of_target = before.iter().filter(|replica| Arc::ptr_eq(replica.target(), target));
            let Some(addresses) = addresses else {
                replicas.extend(of_target.cloned());
                continue;
            };
            for &addr in addresses {
                let replica = of_target.clone().find(|replica| replica.addr() == addr).cloned();
                replicas.push(replica.unwrap_or_else(|| Arc::new(Replica::new(addr, Arc::clone(target)))));
            }
        }
        if known.is_none() && replicas.is_empty() && found.iter().any(Option::is_none) {
            return;
        }
        let same =
            replicas.len() == before.len() && replicas.iter().zip(before).all(|(a, b)| Arc::ptr_eq(a, b));
        if !same || known.is_none() {
            tracing::debug!(
                name = self.name,
                replicas = replicas.len(),
                "the replicas of a service are known"
            );
            self.known.send_replace(Some(replicas.into()));
        }
    }
}

/// Looks names up again and again as long as somebody may ask for them.
async fn follow(replicas: Weak<Replicas>) {
    while let Some(replicas) = replicas.upgrade() {
        replicas.look_up().await;
        let doubt = Arc::clone(&replicas.doubt);
        let awaited = replicas.known.receiver_count() > 0;
        drop(replicas);
        tokio::time::sleep(LOOKUP_PAUSE).await;
        if !awaited {
            let _ = tokio::time::timeout(LOOKUP_DOUBT, doubt.notified()).await;
        }
    }
}

/// Takes two of the connected replicas at random and chooses the one with fewer calls in flight; has the others connect
/// in the meantime. None when none is connected.
///
/// Two random ones are nearly as good as the least busy of all, and callers that know nothing of one another do not all
/// choose the same.
fn less_busy_of_two<'a>(replicas: impl Iterator<Item = &'a Arc<Replica>>) -> Option<(Arc<Replica>, Sender)> {
    let mut rng = rand::rng();
    let mut two: [Option<(&Arc<Replica>, Sender)>; 2] = [None, None];
    let mut connected = 0;
    for replica in replicas {
        let Some(sender) = replica.sender() else {
            replica.connect_when_rested();
            continue;
        };
        // Each of those seen so far has the same chance to be among the two.
        let place = if connected < 2 { connected } else { rng.random_range(0..=connected) };
        if let Some(place) = two.get_mut(place) {
            *place = Some((replica, sender));
        }
        connected += 1;
    }
    let chosen = match two {
        [Some(first), Some(second)] => {
            let (a, b) = (first.0.in_flight(), second.0.in_flight());
            if a < b || (a == b && rng.random()) { first } else { second }
        }
        [first, second] => first.or(second)?,
    };
    Some((Arc::clone(chosen.0), chosen.1))
}

fn request(head: &request::Parts, target: &Target, message: Message, deadline: Instant) -> Request<Message> {
    let mut request = Request::new(message);
    *request.method_mut() = head.method.clone();
    *request.version_mut() = http::Version::HTTP_2;
    *request.uri_mut() = target.uri(head.uri.path_and_query().cloned().expect("a call has a path"));
    *request.headers_mut() = head.headers.clone();
    let left = deadline.saturating_duration_since(Instant::now());
    request.headers_mut().insert(deadline::HEADER, deadline::to_header(left));
    request
}

/// Whether the peer itself says that it did not begin the call: because it is going away, and the call came after the
/// last that it took (RFC 9113, 6.8), or because it refused the stream (8.7).
fn was_refused(error: &hyper::Error) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
            return error.is_remote() && (refused || error.is_go_away());
        }
        cause = error.source();
    }
    false
}
