//! An answer that keeps its call's place until it has been sent, and knows how the call ended.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;
use tonic::body::Body;
use tonic::{Code, Status};

use super::call::Call;

/// The body of an answer with the place of its call. A stream is work until its last message.
pub(crate) struct Held {
    body: Body,
    _place: Arc<OwnedSemaphorePermit>,
    call: Option<Call>,
}

impl Held {
    pub(crate) fn new(body: Body, place: Arc<OwnedSemaphorePermit>, call: Option<Call>) -> Self {
        Self { body, _place: place, call }
    }
}

impl http_body::Body for Held {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        // How a call ended is said after its last message.
        if let (Some(Ok(frame)), Some(call)) = (&frame, &mut self.call)
            && let Some(status) = frame.trailers_ref().and_then(|trailers| trailers.get("grpc-status"))
        {
            call.end(Code::from_bytes(status.as_bytes()));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
