//! HTTP ingest: `POST` or `PUT /ingest/{channel}/{name…}`, in requests that last for a segment or for months.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Incoming;
use hyper::header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use percent_encoding::percent_decode_str;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tracing::{debug, info, warn};

use super::auth::{self, Presented};
use super::channels::{Channel, Channels};
use super::encoder::Identity;
use super::objects::{self, ObjectApi, ResponseBody};
use super::refusal::Refusal;
use super::seldom::Seldom;
use crate::base::limits;
use crate::ingest::name::{self, Protocol};

/// After a failed accept (out of descriptors): time for something to be closed.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// What the listeners of the intake thread share.
pub struct Ingest {
    pub channels: Rc<Channels>,
    /// Places for connections, over all listeners.
    pub places: Arc<Semaphore>,
    pub connections_max: usize,
    pub idle_timeout: Duration,
    /// What the log says of connections beyond `connections_max`, and of publishers over RTMP that know no key.
    pub too_many: Seldom,
    pub unknown: Seldom,
    /// What answers below `/store`.
    pub store: Option<ObjectApi>,
}

impl Ingest {
    /// HTTP, until the task is dropped.
    pub async fn serve(self: Rc<Self>, listener: TcpListener) {
        let serve = |ingest: Rc<Self>, stream, peer| async move { ingest.connection(stream, peer).await };
        self.accept(listener, serve, Self::refuse).await;
    }

    /// Serves each connection there is a place for in a task of its own, and refuses the others.
    pub async fn accept<F: Future<Output = ()> + 'static>(
        self: Rc<Self>,
        listener: TcpListener,
        serve: impl Fn(Rc<Self>, TcpStream, SocketAddr) -> F,
        refuse: impl Fn(&Self, TcpStream, SocketAddr),
    ) {
        let listener = match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => return warn!("intake: {error}"),
        };
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => match self.places.clone().try_acquire_owned() {
                    Ok(place) => {
                        let served = serve(self.clone(), stream, peer);
                        tokio_uring::spawn(async move {
                            served.await;
                            drop(place);
                        });
                    }
                    Err(_) => refuse(&self, stream, peer),
                },
                Err(error) => {
                    warn!("intake: accept: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// What fits the socket's buffer, at once; nobody waits for a connection there is no place for.
    fn refuse(&self, stream: TcpStream, peer: SocketAddr) {
        let refusal = self.no_place("HTTP", peer);
        let text = format!("{refusal}\n");
        let answer = format!(
            "HTTP/1.1 503 Service Unavailable\r\nRetry-After: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
            limits::RETRY_AFTER_SECS,
            text.len(),
        );
        let _ = stream.try_write(answer.as_bytes());
    }

    /// There is no place for a connection.
    pub fn no_place(&self, protocol: &str, peer: SocketAddr) -> Refusal {
        let refusal = Refusal::Connections { max: self.connections_max };
        if let Some(unsaid) = self.too_many.due(Instant::now()) {
            warn!("intake: {peer}: {protocol}: {refusal} (intake.connections_max){unsaid}");
        }
        refusal
    }

    async fn connection(self: Rc<Self>, stream: TcpStream, peer: SocketAddr) {
        // Answers are small, and encoders wait for them.
        let _ = stream.set_nodelay(true);
        let idle_timeout = self.idle_timeout;
        let answer = service_fn(move |request| {
            let ingest = self.clone();
            // Boxed, for a connection is only taken apart again where this can be moved.
            Box::pin(async move { ingest.answer(request, peer).await })
        });
        let mut connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            // Counted from the end of the answer before: between segments, encoders keep their connections.
            .header_read_timeout(idle_timeout)
            // ffmpeg closes behind its last request, and does not wait for the answer: what it said counts.
            .half_close(true)
            .max_buf_size(READ_BYTES)
            .serve_connection(TokioIo::new(stream), answer);
        let served = std::future::poll_fn(|context| connection.poll_without_shutdown(context)).await;
        if let Err(error) = served {
            return debug!("intake: {peer}: {error}");
        }
        linger(connection.into_parts().io.into_inner()).await;
    }

    async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Result<Response<ResponseBody>, Infallible> {
        if let Some(store) = self.store.as_ref().filter(|_| objects::is_store(request.uri().path())) {
            return store.answer(request, peer).await;
        }
        let response = match self.take(request, peer).await {
            Ok(status) => response(status, ""),
            Err(refusal) => refused(&refusal),
        };
        Ok(response.map(Either::Left))
    }

    async fn take(&self, request: Request<Incoming>, peer: SocketAddr) -> Result<StatusCode, Refusal> {
        let (channel, name) = place(request.uri().path()).ok_or(Refusal::NoPlace)?;
        let is_delete = request.method() == Method::DELETE;
        if !is_delete && request.method() != Method::POST && request.method() != Method::PUT {
            return Err(Refusal::Method);
        }
        let field = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes);
        let presented = auth::presented(field, request.uri().query());
        let address = peer.ip().to_canonical();
        let channel = self.channels.admit(&channel, presented.as_ref(), address, Instant::now())?;
        // Encoders delete the segments they no longer list; here the window decides what goes.
        if is_delete {
            return Ok(StatusCode::NO_CONTENT);
        }
        let taken = self.upload(&channel, &name, presented, address, request).await;
        if let Err(refusal) = &taken {
            channel.figures.refused.add(1);
            match refusal {
                // The recorder has said so, once.
                Refusal::Full => debug!("channel {}: {address}: {name:?}: {refusal}", channel.name()),
                _ => info!("channel {}: {address}: {name:?}: {refusal}", channel.name()),
            }
        }
        taken.map(|()| StatusCode::OK)
    }

    async fn upload(
        &self,
        channel: &Rc<Channel>,
        name: &str,
        presented: Option<Presented>,
        address: std::net::IpAddr,
        request: Request<Incoming>,
    ) -> Result<(), Refusal> {
        if channel.is_full() {
            return Err(Refusal::Full);
        }
        let protocol = name::protocol(name);
        let identity = Identity {
            protocol: protocol_name(protocol),
            address,
            user: presented.map(|presented| presented.user).unwrap_or_default(),
        };
        let mut cut = channel.watch();
        let encoder = channel.encoder(identity, protocol, Instant::now())?;
        let mut upload = encoder.begin(name, Instant::now()).await?;
        let mut body = request.into_body();
        let broken = loop {
            let frame = tokio::select! {
                frame = tokio::time::timeout(self.idle_timeout, body.frame()) => frame,
                _ = cut.changed() => break Refusal::Stopped,
            };
            match frame {
                Ok(None) => {
                    upload.finish(Instant::now()).await?;
                    return if channel.is_full() { Err(Refusal::Full) } else { Ok(()) };
                }
                Ok(Some(Ok(frame))) => {
                    // Trailers say nothing here.
                    let Ok(bytes) = frame.into_data() else { continue };
                    channel.figures.bytes.add(bytes.len() as u64);
                    match upload.handle(bytes, Instant::now()).await {
                        Ok(samples) => channel.figures.samples.add(samples),
                        Err(refusal) => break refusal,
                    }
                }
                Ok(Some(Err(error))) => break Refusal::Broken(error),
                Err(_) => break Refusal::Silent { after: self.idle_timeout },
            }
        };
        // What it was before counts for more than what follows from it.
        let _ = upload.abandon(&broken).await;
        Err(broken)
    }
}

/// Bytes that are read at once, at most: chunks of low latency are smaller.
const READ_BYTES: usize = 256 * 1024;

/// The channel and the name below it, decoded. A name that climbs out of its channel is none.
fn place(path: &str) -> Option<(String, String)> {
    let (channel, name) = path.strip_prefix("/ingest/")?.split_once('/')?;
    let decoded = |text: &str| percent_decode_str(text).decode_utf8().ok().map(|text| text.into_owned());
    let (channel, name) = (decoded(channel)?, decoded(name)?);
    let is_sound = !channel.is_empty() && !name.contains('\0') && !name.split('/').any(|part| part == "..");
    is_sound.then_some((channel, name))
}

fn protocol_name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Cmaf => "CMAF ingest",
        Protocol::DashPush | Protocol::HlsPush => "HLS or DASH push",
    }
}

fn refused(refusal: &Refusal) -> Response<Full<Bytes>> {
    let mut response = response(refusal.status(), &format!("{refusal}\n"));
    let fields = response.headers_mut();
    match refusal {
        Refusal::NoKey => {
            fields.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"ingest\", charset=\"UTF-8\""));
        }
        Refusal::Method => {
            fields.insert(ALLOW, HeaderValue::from_static("POST, PUT, DELETE"));
        }
        _ => {}
    }
    if let Some(seconds) = refusal.retry_after() {
        fields.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn response(status: StatusCode, body: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::copy_from_slice(body.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if !body.is_empty() {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    }
    response
}

/// An encoder that is in the middle of its upload would lose the answer to a reset: what it still sends is read for a moment.
async fn linger(mut stream: TcpStream) {
    if stream.shutdown().await.is_err() {
        return;
    }
    let mut thrown_away = [0; 8 * 1024];
    let mut rest = limits::LINGER_BYTES_MAX;
    let drained = async {
        while let Ok(count @ 1..) = stream.read(&mut thrown_away).await {
            rest = rest.saturating_sub(count as u64);
            if rest == 0 {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(limits::LINGER, drained).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        for (path, want) in [
            ("/ingest/news/video.cmfv", Some(("news", "video.cmfv"))),
            ("/ingest/news/a/b/c.m4s", Some(("news", "a/b/c.m4s"))),
            ("/ingest/news/Streams(video.cmfv)", Some(("news", "Streams(video.cmfv)"))),
            ("/ingest/n%65ws/Streams%28video.cmfv%29", Some(("news", "Streams(video.cmfv)"))),
            ("/ingest/news/", Some(("news", ""))),
            ("/ingest/news", None),
            ("/ingest//x", None),
            ("/ingest/news/../x", None),
            ("/ingest/news/%2e%2e/x", None),
            ("/ingest/news/%00", None),
            ("/ingest/news/%ff", None),
            ("/live/news/x", None),
            ("/", None),
        ] {
            let want = want.map(|(channel, name)| (channel.to_owned(), name.to_owned()));
            assert_eq!(place(path), want, "{path}");
        }
    }
}
