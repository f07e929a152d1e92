//! Files that a channel links to.
//!
//! Who names a gateway names what it links to, so a file may never end, come byte by byte, or come for many accounts at
//! once. It goes to disk piece by piece, is bounded in bytes and in time, and waits for its turn: what this process holds in
//! memory does not grow with any of them.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write as _};
use std::time::Duration;

use reqwest::{RequestBuilder, StatusCode};
use tael_egress::Failure;
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};
use tokio::time::timeout;
use tracing::Span;

use super::call::Outcome;

/// The largest file, as it comes: a day of about ten million lines, compressed. k8s/base/payment gives the pods room for
/// [`FILES`] of them.
pub(crate) const MAX_FILE_BYTES: u64 = 256 << 20;
/// How many files this process has on disk at once, those that are still being read among them.
const FILES: usize = 4;
/// How long a file may take to come. Settlement and the audit wait for 30 seconds.
const FILE_TIME: Duration = Duration::from_secs(20);
/// How long to wait for a turn.
const TURN_TIME: Duration = Duration::from_secs(25);
/// So many pieces, of 16 KiB or so, wait for the disk.
const PIECES: usize = 16;

static TURNS: Turns = Turns::new();

/// What a download waits for. Both are handed out in the order in which they were asked for.
struct Turns {
    /// Places on the disk.
    places: Semaphore,
    /// One file at a time comes in.
    turn: Semaphore,
}

/// Why there is no file. The words are fit for the merchant: the link itself is a capability and in none of them.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DownloadError {
    #[error("{}", Failure::of(.0).as_str())]
    Http(reqwest::Error),
    /// Never asked for.
    #[error("the address {0}")]
    NotAllowed(#[from] tael_egress::Refusal),
    #[error("status {0}")]
    Status(StatusCode),
    #[error("the file is larger than {} MiB", MAX_FILE_BYTES >> 20)]
    TooLarge,
    #[error("the file did not come within {} seconds", FILE_TIME.as_secs())]
    Slow,
    #[error("too many files are being read; try again later")]
    Busy,
    #[error("the file could not be stored")]
    Disk(#[source] io::Error),
}

impl DownloadError {
    pub(crate) fn outcome(&self) -> Outcome {
        match self {
            Self::TooLarge => Outcome::Unclear,
            Self::Http(_)
            | Self::NotAllowed(_)
            | Self::Status(_)
            | Self::Slow
            | Self::Busy
            | Self::Disk(_) => Outcome::Unavailable,
        }
    }
}

/// A file on disk that has no name and is gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Downloaded {
    file: File,
    _place: SemaphorePermit<'static>,
}

impl Read for Downloaded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }
}

impl Seek for Downloaded {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.file.seek(position)
    }
}

/// Sends a request and puts the body of its answer, which must be a 200, on disk.
pub(crate) async fn download(request: RequestBuilder) -> Result<Downloaded, DownloadError> {
    TURNS.download(request).await
}

impl Turns {
    const fn new() -> Self {
        Self { places: Semaphore::const_new(FILES), turn: Semaphore::const_new(1) }
    }

    async fn download(&'static self, request: RequestBuilder) -> Result<Downloaded, DownloadError> {
        // A place first: who waits for one keeps nobody from the turn.
        let both = async { (self.places.acquire().await, self.turn.acquire().await) };
        let (Ok(place), Ok(_turn)) = timeout(TURN_TIME, both).await.map_err(|_| DownloadError::Busy)? else {
            return Err(DownloadError::Busy);
        };
        // The client's own bound is for calls; ours, which is told apart, comes before this one.
        let file = spool(request.timeout(2 * FILE_TIME), MAX_FILE_BYTES);
        let file = timeout(FILE_TIME, file).await.map_err(|_| DownloadError::Slow)??;
        Ok(Downloaded { file, _place: place })
    }
}

async fn spool(request: RequestBuilder, max: u64) -> Result<File, DownloadError> {
    let http = |error: reqwest::Error| DownloadError::Http(error.without_url());
    let mut response = request.send().await.map_err(http)?;
    Span::current().record("http.response.status_code", response.status().as_u16());
    if response.status() != StatusCode::OK {
        return Err(DownloadError::Status(response.status()));
    }
    let (pieces, mut coming) = mpsc::channel::<Vec<u8>>(PIECES);
    // Ends when the last piece was sent, or when nobody waits for the file any more.
    let writing = tokio::task::spawn_blocking(move || {
        let mut file = tempfile::tempfile()?;
        while let Some(piece) = coming.blocking_recv() {
            file.write_all(&piece)?;
        }
        file.rewind()?;
        Ok(file)
    });
    let mut bytes = 0;
    while let Some(piece) = response.chunk().await.map_err(http)? {
        bytes += piece.len() as u64;
        if bytes > max {
            return Err(DownloadError::TooLarge);
        }
        if pieces.send(piece.to_vec()).await.is_err() {
            break; // The disk failed, and says so below.
        }
    }
    drop(pieces);
    writing.await.map_err(|error| DownloadError::Disk(error.into()))?.map_err(DownloadError::Disk)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::channel::StatementFailure;

    /// A server that answers each request with this head and then with a piece as often as it is taken.
    async fn serve(head: &'static str, piece: &'static [u8], times: usize) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/file", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(stream.read_u8().await.unwrap());
                }
                stream.write_all(head.as_bytes()).await.unwrap();
                for _ in 0..times {
                    if stream.write_all(piece).await.is_err() {
                        break;
                    }
                }
            }
        });
        url
    }

    const OK: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";

    #[tokio::test]
    async fn a_file_comes_to_disk_whole() {
        let url = serve(OK, b"0123456789", 1_000).await;
        let mut file = download(reqwest::Client::new().get(url)).await.unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "0123456789".repeat(1_000));
    }

    #[tokio::test]
    async fn an_endless_file_ends_at_the_bound() {
        let url = serve(OK, &[0; 16 << 10], usize::MAX).await;
        let error = spool(reqwest::Client::new().get(url), 4 << 20).await.unwrap_err();
        assert!(matches!(error, DownloadError::TooLarge), "{error}");
        assert!(matches!(StatementFailure::from(error), StatementFailure::Broken(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_does_not_come_is_given_up_and_so_is_a_turn() {
        let turns: &'static Turns = Box::leak(Box::new(Turns::new()));
        // Accepted by nobody: the connection stands, and nothing comes.
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/file", silent.local_addr().unwrap());
        let request = || reqwest::Client::new().get(&url);
        let error = turns.download(request()).await.unwrap_err();
        assert!(matches!(error, DownloadError::Slow), "{error}");

        let turn = turns.turn.acquire().await.unwrap();
        let error = turns.download(request()).await.unwrap_err();
        assert!(matches!(error, DownloadError::Busy), "{error}");
        drop(turn);
        let places = turns.places.acquire_many(u32::try_from(FILES).unwrap()).await.unwrap();
        let error = turns.download(request()).await.unwrap_err();
        assert!(matches!(error, DownloadError::Busy), "{error}");
        drop(places);
    }

    #[tokio::test]
    async fn an_answer_that_is_no_file_is_told_by_its_status() {
        let url = serve("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", b"", 0).await;
        let error = download(reqwest::Client::new().get(url)).await.unwrap_err();
        assert!(matches!(&error, DownloadError::Status(status) if *status == 404), "{error}");
        assert!(matches!(StatementFailure::from(error), StatementFailure::Unavailable(_)));
    }
}
