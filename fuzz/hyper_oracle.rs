//! What hyper makes of a request head that the codec accepted: it too accepts it, and finds the same framing.

use std::cell::Cell;
use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use http_body_util::Empty;
use hyper::body::{Body, Bytes, Incoming};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::service::service_fn;
use hyper::{Request, Response};

use crate::http1::{FIELDS_MAX, Framing, RequestHead};

/// Gives its bytes, then nothing more.
struct Bench<'a>(&'a [u8]);

impl Read for Bench<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut to: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.0.is_empty() {
            return Poll::Pending;
        }
        let (now, later) = self.0.split_at(to.remaining().min(self.0.len()));
        to.put_slice(now);
        self.0 = later;
        Poll::Ready(Ok(()))
    }
}

impl Write for Bench<'_> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, from: &[u8]) -> Poll<std::io::Result<usize>> {
        Poll::Ready(Ok(from.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

pub fn agrees(bytes: &[u8], head: &RequestHead) {
    let target = bytes.split(|b| *b == b' ').nth(1).unwrap_or_default();
    // Its type for targets takes less than RFC 9112 and than this codec, and it keeps some lengths for itself.
    if hyper::Uri::try_from(target).is_err() || matches!(head.framing, Framing::Length(n) if n > u64::MAX - 2)
    {
        return;
    }
    let seen = Cell::new(None);
    let service = service_fn(|request: Request<Incoming>| {
        let body = request.body();
        seen.set(Some(match (body.size_hint().exact(), body.is_end_stream()) {
            (Some(n), _) => Framing::Length(n),
            (None, _) => Framing::Chunked,
        }));
        std::future::ready(Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())))
    });
    let mut server = hyper::server::conn::http1::Builder::new();
    let connection = server.max_headers(FIELDS_MAX).serve_connection(Bench(bytes), service);
    let _ = pin!(connection).poll(&mut Context::from_waker(Waker::noop()));
    let expect = match head.framing {
        Framing::None => Framing::Length(0),
        framing => framing,
    };
    assert_eq!(seen.get(), Some(expect), "hyper on {:?}", String::from_utf8_lossy(bytes));
}

use std::future::Future;
