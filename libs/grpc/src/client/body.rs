//! The messages of a call: those that go out, and those that come back.

use std::collections::VecDeque;
use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};
use tonic::Status;
use tonic::body::Body;

use super::{broken, late};

/// What a caller sends.
pub(super) enum Outgoing {
    /// All that it has to say, as for every call with one message. It can be said again to another replica.
    Whole(Bytes),
    /// What there was of a stream, and what is still to come.
    Stream(VecDeque<Frame<Bytes>>, Body),
}

impl Outgoing {
    /// Takes what is there already. A call with one message has all of it.
    pub(super) fn from_body(mut body: Body) -> Result<Self, Status> {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut frames = VecDeque::new();
        // A stream that never pauses must not be taken whole: one message, and then the end or not.
        while frames.len() < 2 {
            match Pin::new(&mut body).poll_frame(&mut cx) {
                Poll::Ready(Some(Ok(frame))) => frames.push_back(frame),
                Poll::Ready(None) if frames.iter().all(Frame::is_data) => {
                    return Ok(Self::Whole(join(frames)));
                }
                Poll::Ready(Some(Err(status))) => return Err(status),
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        Ok(Self::Stream(frames, body))
    }

    /// The same again; none for a stream.
    pub(super) fn copy(&self) -> Option<Self> {
        match self {
            Self::Whole(bytes) => Some(Self::Whole(bytes.clone())),
            Self::Stream(..) => None,
        }
    }
}

fn join(frames: VecDeque<Frame<Bytes>>) -> Bytes {
    let mut parts: Vec<Bytes> = frames.into_iter().filter_map(|frame| frame.into_data().ok()).collect();
    if parts.len() == 1 {
        return parts.swap_remove(0);
    }
    let mut all = BytesMut::new();
    for part in &parts {
        all.extend_from_slice(part);
    }
    all.freeze()
}

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match &mut *self {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Stream(first, rest) => match first.pop_front() {
                Some(frame) => Poll::Ready(Some(Ok(frame))),
                None => Pin::new(rest).poll_frame(cx),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Stream(first, rest) => first.is_empty() && rest.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        // None is given, for it would become a `content-length`, which gRPC does not have.
        SizeHint::default()
    }
}

/// What comes back. It ends by the call's deadline.
pub(super) struct Answer {
    incoming: Incoming,
    deadline: Instant,
    /// Made when the answer is waited for.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Answer {
    pub(super) fn new(incoming: Incoming, deadline: Instant) -> Self {
        Self { incoming, deadline, alarm: None }
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(cx) {
            return Poll::Ready(frame.map(|frame| frame.map_err(body_error)));
        }
        let deadline = self.deadline;
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        alarm.as_mut().poll(cx).map(|()| Some(Err(late())))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// The peer may reset a stream for reasons of its own, which tonic knows by their names; anything else is the
/// connection.
fn body_error(error: hyper::Error) -> Status {
    let reset = std::error::Error::source(&error)
        .and_then(|cause| cause.downcast_ref::<h2::Error>())
        .is_some_and(h2::Error::is_reset);
    if reset { Status::from_error(Box::new(error)) } else { broken(Arc::new(error)) }
}
