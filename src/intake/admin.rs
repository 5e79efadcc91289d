//! The admin listener: health, readiness, metrics and what the library holds, for operators and their machines.

use std::convert::Infallible;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Map, Value, json};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tracing::{debug, warn};

use super::channel_api::ChannelApi;
use super::exposition::{self, Exposition};
use super::harvest_api::HarvestApi;
use super::{Health, Readiness, Server, auth, catalog, process};
use crate::base::limits;
use crate::library::Library;

/// After a failed accept (out of descriptors): time for something to be closed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

pub struct Admin {
    pub token: Option<String>,
    pub library: Arc<Library>,
    pub server: Arc<dyn Server>,
    pub channels: ChannelApi,
    pub harvests: HarvestApi,
}

impl Admin {
    /// Until `stop` changes.
    pub async fn serve(self, listener: TcpListener, mut stop: watch::Receiver<bool>) -> std::io::Result<()> {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let admin = Rc::new(self);
        let places = Arc::new(Semaphore::new(limits::ADMIN_CONNECTIONS_MAX));
        loop {
            let next = async {
                let place = places.clone().acquire_owned().await.expect("the semaphore is never closed");
                listener.accept().await.map(|(stream, _)| (stream, place))
            };
            // Also while every place is taken: a client that holds one does not hold up the end.
            let accepted = tokio::select! {
                accepted = next => accepted,
                _ = stop.changed() => return Ok(()),
            };
            match accepted {
                Ok((stream, place)) => {
                    let admin = admin.clone();
                    tokio_uring::spawn(async move {
                        admin.connection(stream).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    warn!("admin: accept: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn connection(self: Rc<Self>, stream: TcpStream) {
        let answer = service_fn(move |request| {
            let admin = self.clone();
            async move { Ok::<_, Infallible>(admin.answer(request).await) }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits::ADMIN_HEAD_TIMEOUT)
            .max_buf_size(limits::HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), answer);
        match tokio::time::timeout(limits::ADMIN_CONNECTION_TIMEOUT, connection).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!("admin: connection: {error}"),
            Err(_) => debug!("admin: connection closed after {} s", limits::ADMIN_CONNECTION_TIMEOUT.as_secs()),
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let authorization = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes);
        match authorized(self.token.as_deref(), authorization) {
            Access::Granted => {}
            Access::Missing => {
                let mut response = text(StatusCode::UNAUTHORIZED, "a token is needed: Authorization: Bearer …\n");
                response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
                return response;
            }
            Access::Wrong => return text(StatusCode::FORBIDDEN, "this is not the token\n"),
        }
        let Some(resource) = Resource::parse(request.uri().path()) else {
            return text(
                StatusCode::NOT_FOUND,
                "nothing here; try /healthz, /readyz, /metrics, /api/assets, /api/channels or /api/harvest\n",
            );
        };
        let allowed = resource.methods();
        if !allowed.split(", ").any(|method| method == request.method().as_str()) {
            let mut response =
                text(StatusCode::METHOD_NOT_ALLOWED, &format!("{} only\n", allowed.replace(", ", " and ")));
            response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
            return response;
        }
        match resource {
            Resource::Health => match self.server.health() {
                Health::Working => text(StatusCode::OK, "ok\n"),
                Health::Stuck { worker } => {
                    text(StatusCode::SERVICE_UNAVAILABLE, &format!("delivery worker {worker} makes no progress\n"))
                }
            },
            Resource::Readiness => match self.server.readiness() {
                Readiness::Ready => text(StatusCode::OK, "ready\n"),
                Readiness::Starting => text(StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
                Readiness::Stopping => text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
            },
            Resource::Metrics => {
                let mut out = Exposition::default();
                self.server.write_metrics(&mut out);
                catalog::write_metrics(&self.library, &mut out);
                self.channels.write_metrics(&mut out).await;
                process::write(&mut out);
                response(StatusCode::OK, exposition::CONTENT_TYPE, out.into_text())
            }
            Resource::Channels => self.channels.list().await,
            Resource::Channel(name) => match *request.method() {
                Method::PUT | Method::POST => self.channels.put(&name, request.into_body(), &*self.server).await,
                Method::DELETE => self.channels.remove(&name).await,
                _ => self.channels.describe(&name).await,
            },
            Resource::StopChannel(name) => self.channels.stop(&name).await,
            Resource::Harvest => self.harvests.make(request.into_body()).await,
            Resource::Assets => json_response(&catalog::assets(&self.library)),
            Resource::Asset(name) => {
                let library = self.library.clone();
                // Opening an asset waits for the disk.
                match tokio::task::spawn_blocking(move || catalog::asset(&library, &name)).await {
                    Ok(Ok(found)) => json_response(&found),
                    Ok(Err(catalog::Missing::Unknown)) => text(StatusCode::NOT_FOUND, "no such asset\n"),
                    Ok(Err(catalog::Missing::Damaged)) => {
                        text(StatusCode::INTERNAL_SERVER_ERROR, "the asset's files are damaged, see the log\n")
                    }
                    Err(error) => {
                        warn!("admin: {error}");
                        text(StatusCode::INTERNAL_SERVER_ERROR, "failed, see the log\n")
                    }
                }
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Resource {
    Health,
    Readiness,
    Metrics,
    Assets,
    Asset(String),
    Channels,
    Channel(String),
    StopChannel(String),
    Harvest,
}

impl Resource {
    /// As in `Allow`.
    fn methods(&self) -> &'static str {
        match self {
            Resource::Channel(_) => "GET, HEAD, PUT, POST, DELETE",
            Resource::StopChannel(_) | Resource::Harvest => "POST",
            _ => "GET, HEAD",
        }
    }

    fn parse(path: &str) -> Option<Resource> {
        Some(match path {
            "/healthz" => Resource::Health,
            "/readyz" => Resource::Readiness,
            "/metrics" => Resource::Metrics,
            "/api/assets" => Resource::Assets,
            "/api/channels" => Resource::Channels,
            "/api/harvest" => Resource::Harvest,
            _ if path.starts_with("/api/channels/") => {
                let rest = path.strip_prefix("/api/channels/")?;
                let element = |text: &str| unescaped(text).filter(|name| !name.is_empty());
                match rest.strip_suffix("/stop") {
                    Some(name) => Resource::StopChannel(element(name)?),
                    None => Resource::Channel(element(rest)?),
                }
            }
            _ => Resource::Asset(unescaped(path.strip_prefix("/api/assets/")?).filter(|name| !name.is_empty())?),
        })
    }
}

/// Percent escapes of one path element (RFC 3986 §2.1).
fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'/' => return None,
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                (digit()? * 16 + digit()?) as u8
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[derive(Debug, PartialEq, Eq)]
enum Access {
    Granted,
    Missing,
    Wrong,
}

/// RFC 6750 §2.1; the scheme's name is case-insensitive (RFC 9110 §11.1).
fn authorized(token: Option<&str>, field: Option<&[u8]>) -> Access {
    let Some(token) = token else { return Access::Granted };
    let Some(presented) = field.and_then(|field| auth::after_scheme(field, "bearer")) else { return Access::Missing };
    if auth::same(presented, token.as_bytes()) { Access::Granted } else { Access::Wrong }
}

/// A request's body, which is to be one JSON object.
pub async fn body(request: Incoming) -> Result<Map<String, Value>, Response<Full<Bytes>>> {
    let body = match Limited::new(request, limits::ADMIN_BODY_BYTES_MAX).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            let line = format!("a body of more than {} bytes\n", limits::ADMIN_BODY_BYTES_MAX);
            return Err(text(StatusCode::PAYLOAD_TOO_LARGE, &line));
        }
        Err(error) => return Err(text(StatusCode::BAD_REQUEST, &format!("{error}\n"))),
    };
    match serde_json::from_slice(&body) {
        Ok(Value::Object(keys)) => Ok(keys),
        Ok(_) => Err(text(StatusCode::BAD_REQUEST, "found JSON that is no object, expected one\n")),
        Err(error) => Err(text(StatusCode::BAD_REQUEST, &format!("not JSON: {error}\n"))),
    }
}

pub fn text(status: StatusCode, body: &str) -> Response<Full<Bytes>> {
    response(status, "text/plain; charset=utf-8", body.to_owned())
}

pub fn json_response(value: &Value) -> Response<Full<Bytes>> {
    response(StatusCode::OK, "application/json", json!(value).to_string() + "\n")
}

fn response(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources() {
        for (path, want) in [
            ("/healthz", Some(Resource::Health)),
            ("/readyz", Some(Resource::Readiness)),
            ("/metrics", Some(Resource::Metrics)),
            ("/api/assets", Some(Resource::Assets)),
            ("/api/assets/news", Some(Resource::Asset("news".to_owned()))),
            ("/api/assets/a%20b%C3%A4", Some(Resource::Asset("a bä".to_owned()))),
            ("/api/channels", Some(Resource::Channels)),
            ("/api/channels/news", Some(Resource::Channel("news".to_owned()))),
            ("/api/channels/news/stop", Some(Resource::StopChannel("news".to_owned()))),
            ("/api/channels/stop", Some(Resource::Channel("stop".to_owned()))),
            ("/api/channels//stop", None),
            ("/api/channels/a/b", None),
            ("/api/harvest", Some(Resource::Harvest)),
            ("/api/channels/", None),
            ("/api/assets/", None),
            ("/api/assets/a/b", None),
            ("/api/assets/%", None),
            ("/api/assets/%2", None),
            ("/api/assets/%zz", None),
            ("/api/assets/%ff", None),
            ("/", None),
            ("/metrics/", None),
        ] {
            assert_eq!(Resource::parse(path), want, "{path}");
        }
    }

    #[test]
    fn tokens() {
        let token = Some("0123456789abcdef");
        for (token, field, want) in [
            (None, None, Access::Granted),
            (None, Some("Bearer x"), Access::Granted),
            (token, None, Access::Missing),
            (token, Some(""), Access::Missing),
            (token, Some("Basic 0123456789abcdef"), Access::Missing),
            (token, Some("Bearer 0123456789abcdef"), Access::Granted),
            (token, Some("bearer  0123456789abcdef "), Access::Granted),
            (token, Some("Bearer 0123456789abcdeF"), Access::Wrong),
            (token, Some("Bearer 0123456789abcde"), Access::Wrong),
            (token, Some("Bearer "), Access::Wrong),
        ] {
            assert_eq!(authorized(token, field.map(str::as_bytes)), want, "{field:?}");
        }
    }
}
