//! A TCP forwarder: the one address of a service with several replicas, and the place where connections go wrong.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::Error;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long after a request of gRPC the connection is cut: long enough for the server to have done the work, too short
/// for the answer, which is not passed on any more.
const WORK: Duration = Duration::from_millis(300);

/// What is spoken through a forwarder: how it knows that an answer is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// PostgreSQL: the answer to a COMMIT.
    Postgres,
    /// gRPC: the answer to any call.
    Grpc,
    /// HTTP/1: the answer to a POST.
    Http,
}

/// How connections behave at present.
#[derive(Clone, Copy, Debug, Default)]
struct Weather {
    delay: Duration,
    hung: bool,
}

/// A listening forwarder.
#[derive(Clone, Debug)]
pub struct Forwarder {
    /// Where it listens.
    pub addr: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    protocol: Protocol,
    targets: Vec<SocketAddr>,
    next: AtomicUsize,
    weather: watch::Sender<Weather>,
    /// Cancelled to cut all connections, and replaced.
    open: Mutex<CancellationToken>,
    /// So many answers are to be cut off.
    answers_to_cut: AtomicUsize,
    answers_cut: AtomicU64,
}

impl Forwarder {
    /// Listens at a free port for as long as the program runs.
    pub async fn start(protocol: Protocol, targets: Vec<SocketAddr>) -> Result<Self, Error> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let shared = Arc::new(Shared {
            protocol,
            targets,
            next: AtomicUsize::new(0),
            weather: watch::Sender::new(Weather::default()),
            open: Mutex::default(),
            answers_to_cut: AtomicUsize::new(0),
            answers_cut: AtomicU64::new(0),
        });
        let forwarder = Self { addr: listener.local_addr()?, shared };
        tokio::spawn(forwarder.clone().accept(listener));
        Ok(forwarder)
    }

    /// Cuts the next so many answers: the request arrives and is worked on, and its connection ends.
    pub fn cut_answers(&self, count: usize) {
        self.shared.answers_to_cut.store(count, Ordering::Relaxed);
    }

    /// How many answers were cut off so far.
    pub fn answers_cut(&self) -> u64 {
        self.shared.answers_cut.load(Ordering::Relaxed)
    }

    /// Cuts all open connections.
    pub fn cut_connections(&self) {
        self.shared.open().cancel();
        *self.shared.open() = CancellationToken::new();
    }

    /// Lets every piece of data wait before it is passed on.
    pub fn set_delay(&self, delay: Duration) {
        self.shared.weather.send_modify(|weather| weather.delay = delay);
    }

    /// Passes nothing on while `hung`; nothing is lost.
    pub fn set_hung(&self, hung: bool) {
        self.shared.weather.send_modify(|weather| weather.hung = hung);
    }

    /// Back to good weather.
    pub fn lift(&self) {
        self.cut_answers(0);
        self.shared.weather.send_replace(Weather::default());
    }

    async fn accept(self, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((client, _)) => {
                    let shared = self.shared.clone();
                    tokio::spawn(async move { shared.connection(client).await });
                }
                Err(error) => {
                    tracing::warn!(%error, "a forwarder could not accept");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
}

impl Shared {
    fn open(&self) -> std::sync::MutexGuard<'_, CancellationToken> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn connection(self: Arc<Self>, client: TcpStream) {
        let cut = self.open().clone();
        // A connection that nobody takes is closed: what a client sees of a service that is down.
        let Some(server) = self.connect().await else { return };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        let answer_is_cut = AtomicBool::new(false);
        tokio::select! {
            () = self.forward_requests(from_client, to_server, &answer_is_cut) => {}
            () = self.forward_answers(from_server, to_client, &answer_is_cut) => {}
            () = cut.cancelled() => {}
        }
    }

    /// The next target in turn that accepts.
    async fn connect(&self) -> Option<TcpStream> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        for offset in 0..self.targets.len() {
            let target = self.targets[(first + offset) % self.targets.len()];
            if let Ok(Ok(stream)) = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(target)).await {
                return Some(stream);
            }
        }
        None
    }

    async fn forward_requests(
        &self,
        mut from: OwnedReadHalf,
        mut to: OwnedWriteHalf,
        answer_is_cut: &AtomicBool,
    ) {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let Ok(count @ 1..) = from.read(&mut buffer).await else { return };
            let data = &buffer[..count];
            self.weathered().await;
            let cut = self.protocol.has_request(data) && self.take_cut();
            if cut {
                answer_is_cut.store(true, Ordering::Release);
            }
            if to.write_all(data).await.is_err() {
                return;
            }
            if cut && self.protocol == Protocol::Grpc {
                tokio::time::sleep(WORK).await;
                return;
            }
        }
    }

    async fn forward_answers(
        &self,
        mut from: OwnedReadHalf,
        mut to: OwnedWriteHalf,
        answer_is_cut: &AtomicBool,
    ) {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let Ok(count @ 1..) = from.read(&mut buffer).await else { return };
            if answer_is_cut.load(Ordering::Acquire) {
                // One call at a time is under way here, and this is its answer. gRPC has many: see `WORK`.
                if self.protocol == Protocol::Grpc {
                    continue;
                }
                return;
            }
            self.weathered().await;
            if to.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
    }

    async fn weathered(&self) {
        let mut weather = self.weather.subscribe();
        let delay = weather.borrow().delay;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        // The sender lives as long as `self`.
        let _ = weather.wait_for(|weather| !weather.hung).await;
    }

    fn take_cut(&self) -> bool {
        let taken = self
            .answers_to_cut
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| count.checked_sub(1))
            .is_ok();
        if taken {
            self.answers_cut.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }
}

impl Protocol {
    /// Whether data of a client holds a request whose answer is worth cutting off.
    fn has_request(self, data: &[u8]) -> bool {
        match self {
            // A simple query: 'Q', the length, the text, a zero. Our clients send it in a packet of its own.
            Self::Postgres => contains(data, b"Q\0\0\0\x0bCOMMIT\0"),
            // Window updates, settings and pings are smaller than any call.
            Self::Grpc => data.len() >= 100,
            Self::Http => data.starts_with(b"POST "),
        }
    }
}

fn contains(data: &[u8], wanted: &[u8]) -> bool {
    data.windows(wanted.len()).any(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that answers every piece with "done" and remembers what it got.
    async fn server() -> (SocketAddr, Arc<Mutex<Vec<u8>>>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let got = Arc::new(Mutex::new(Vec::new()));
        let kept = got.clone();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let kept = kept.clone();
                tokio::spawn(async move {
                    let mut buffer = [0; 256];
                    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                        kept.lock().unwrap().extend_from_slice(&buffer[..count]);
                        if stream.write_all(b"done").await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        (addr, got)
    }

    async fn say(stream: &mut TcpStream, data: &[u8]) -> Vec<u8> {
        stream.write_all(data).await.unwrap();
        let mut answer = vec![0; 4];
        match stream.read(&mut answer).await {
            Ok(count) => answer[..count].to_vec(),
            Err(_) => Vec::new(),
        }
    }

    #[tokio::test]
    async fn the_answer_to_a_commit_is_cut_off_and_the_commit_arrives() {
        let (addr, got) = server().await;
        let forwarder = Forwarder::start(Protocol::Postgres, vec![addr]).await.unwrap();
        forwarder.cut_answers(1);
        let mut stream = TcpStream::connect(forwarder.addr).await.unwrap();
        assert_eq!(say(&mut stream, b"Q\0\0\0\x0aBEGIN\0").await, b"done");
        assert_eq!(say(&mut stream, b"Q\0\0\0\x0bCOMMIT\0").await, b"");
        assert!(contains(&got.lock().unwrap(), b"COMMIT"));
        assert_eq!(forwarder.answers_cut(), 1);
        let mut stream = TcpStream::connect(forwarder.addr).await.unwrap();
        assert_eq!(say(&mut stream, b"Q\0\0\0\x0bCOMMIT\0").await, b"done");
    }

    #[tokio::test]
    async fn the_next_replica_is_taken_when_one_is_down() {
        let (up, _) = server().await;
        let down = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap();
        let forwarder = Forwarder::start(Protocol::Http, vec![down, up]).await.unwrap();
        for _ in 0..4 {
            let mut stream = TcpStream::connect(forwarder.addr).await.unwrap();
            assert_eq!(say(&mut stream, b"GET").await, b"done");
        }
    }

    #[tokio::test]
    async fn what_hangs_goes_on_when_lifted_and_what_is_cut_ends() {
        let (addr, _) = server().await;
        let forwarder = Forwarder::start(Protocol::Http, vec![addr]).await.unwrap();
        let mut stream = TcpStream::connect(forwarder.addr).await.unwrap();
        forwarder.set_hung(true);
        let hung = tokio::time::timeout(Duration::from_millis(100), say(&mut stream, b"GET")).await;
        assert!(hung.is_err());
        forwarder.lift();
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"done");
        forwarder.cut_connections();
        assert_eq!(stream.read(&mut answer).await.unwrap_or(0), 0);
    }
}
