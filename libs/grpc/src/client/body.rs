//! The messages of a call: the one that goes out, and those that come back.

use std::convert::Infallible;
use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};
use tonic::Status;
use tonic::body::Body;

use super::{broken, late};

/// The message of a call, whole, so that it can be said again to another replica.
#[derive(Clone)]
pub(crate) struct Message(Bytes);

impl Message {
    pub(super) fn new(bytes: &'static [u8]) -> Self {
        Self(Bytes::from_static(bytes))
    }

    /// Holds these bytes.
    pub(crate) fn of(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// Waits until all is there. No contract streams requests, and one message comes in one piece.
    pub(super) async fn read(mut body: Body) -> Result<Self, Status> {
        let mut message = Bytes::new();
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            let Ok(data) = frame?.into_data() else { continue };
            message = if message.is_empty() { data } else { [message, data].concat().into() };
        }
        Ok(Self(message))
    }
}

impl http_body::Body for Message {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let bytes = std::mem::take(&mut self.0);
        Poll::Ready(if bytes.is_empty() { None } else { Some(Ok(Frame::data(bytes))) })
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
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
