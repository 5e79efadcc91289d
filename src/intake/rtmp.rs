//! RTMP: the socket around [`crate::ingest::rtmp::Connection`], which knows the protocol.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tracing::{debug, info, warn};

use super::auth::Presented;
use super::channels::{Channel, Listed, Publisher};
use super::ingest::Ingest;
use super::recorder::{Publication, Refused};
use super::refusal::Refusal;
use super::seldom::Remarks;
use crate::base::limits;
use crate::ingest::rtmp::{self, Connection, Event, StreamId, Target};
use crate::live::SourceName;

/// Bytes that are read at once, at most.
const READ_BYTES: usize = 64 * 1024;

/// Characters of a name that somebody asks to publish as.
const NAME_SHOWN: usize = 64;

/// Why a connection ends.
#[derive(Debug, Error)]
enum End {
    #[error("the encoder closed it")]
    Closed,
    #[error("the encoder did not ask to publish within {} s", limits::RTMP_HANDSHAKE_TIMEOUT.as_secs())]
    Unasked,
    #[error("nothing came for {} s", .0.as_secs())]
    Silent(Duration),
    #[error("it does not take what it is sent")]
    Stuck,
    #[error("it was refused")]
    Refused,
    #[error(transparent)]
    Lost(#[from] Refusal),
    #[error(transparent)]
    Protocol(#[from] rtmp::Error),
    #[error(transparent)]
    Socket(#[from] io::Error),
}

/// One connection: what it has been let to publish.
struct Publishing {
    ingest: Rc<Ingest>,
    peer: SocketAddr,
    protocol: Connection,
    streams: BTreeMap<StreamId, Stream>,
    remarks: Remarks,
}

struct Stream {
    channel: Rc<Channel>,
    publication: Publication,
    cut: tokio::sync::watch::Receiver<()>,
    _listed: Listed,
}

impl Ingest {
    /// RTMP, until the task is dropped.
    pub async fn serve_rtmp(self: Rc<Self>, listener: TcpListener) {
        let serve = |ingest, stream, peer: SocketAddr| {
            let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
            Publishing::new(ingest, peer).run(stream)
        };
        let refuse = |ingest: &Ingest, _: TcpStream, peer| {
            ingest.no_place("RTMP", peer);
        };
        self.accept(listener, serve, refuse).await;
    }
}

impl Publishing {
    fn new(ingest: Rc<Ingest>, peer: SocketAddr) -> Publishing {
        Publishing { ingest, peer, protocol: Connection::new(), streams: BTreeMap::new(), remarks: Remarks::default() }
    }

    async fn run(mut self, mut stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let Err(end) = self.serve(&mut stream).await;
        // What is left to say says why.
        let _ = self.write(&mut stream).await;
        let peer = self.peer;
        if self.streams.is_empty() {
            debug!("intake: {peer}: RTMP: {end}");
        }
        for publishing in self.streams.into_values() {
            info!("channel {}: RTMP from {peer} ends: {end}", publishing.channel.name());
        }
    }

    async fn serve(&mut self, stream: &mut TcpStream) -> Result<std::convert::Infallible, End> {
        // When it last had nothing to publish.
        let mut idle = Instant::now();
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let timeout = match self.streams.is_empty() {
                true => limits::RTMP_HANDSHAKE_TIMEOUT.saturating_sub(idle.elapsed()),
                false => self.ingest.idle_timeout,
            };
            let read = tokio::select! {
                read = tokio::time::timeout(timeout, stream.read(&mut buffer)) => read,
                () = cut(&mut self.streams) => return Err(Refusal::Stopped.into()),
            };
            let count = match read {
                Ok(read) => read?,
                Err(_) if self.streams.is_empty() => return Err(End::Unasked),
                Err(_) => return Err(End::Silent(timeout)),
            };
            if count == 0 {
                return Err(End::Closed);
            }
            self.protocol.handle_input(&buffer[..count]);
            for publishing in self.streams.values() {
                publishing.channel.figures.bytes.add(count as u64);
            }
            while let Some(event) = self.protocol.poll_event()? {
                let ends = matches!(event, Event::Unpublish { .. });
                self.step(event).await?;
                if ends {
                    idle = Instant::now();
                }
            }
            self.write(stream).await?;
        }
    }

    async fn step(&mut self, event: Event) -> Result<(), End> {
        match event {
            Event::Publish { stream, target } => {
                let admitted = self.admit(&target).await;
                match admitted {
                    Ok(publishing) => {
                        info!(
                            "channel {}: RTMP from {} begins to publish {}",
                            publishing.channel.name(),
                            self.peer,
                            target.path.join("/")
                        );
                        self.protocol.accept(stream);
                        self.streams.insert(stream, publishing);
                    }
                    Err(refusal) => {
                        // Whoever sets up an encoder looks for it here. Wrong keys have been told of by their number.
                        if matches!(refusal, Refusal::NoKey | Refusal::NoPlace | Refusal::Disabled { .. })
                            && let Some(unsaid) = self.ingest.unknown.due(Instant::now())
                        {
                            let path: String = target.path.join("/").chars().take(NAME_SHOWN).collect();
                            info!("intake: {}: RTMP: {path:?} is refused: {refusal}{unsaid}", self.peer);
                        }
                        let kind = match refusal {
                            Refusal::NoKey | Refusal::WrongKey { .. } | Refusal::Guessing { .. } => {
                                rtmp::Refusal::Unauthorized
                            }
                            _ => rtmp::Refusal::BadName,
                        };
                        self.protocol.refuse(stream, kind, &refusal.to_string());
                        return Err(End::Refused);
                    }
                }
            }
            Event::Media { stream, event } => {
                let Some(publishing) = self.streams.get(&stream) else { return Ok(()) };
                if matches!(event, crate::media::feed::Event::Sample { .. }) {
                    publishing.channel.figures.samples.add(1);
                }
                publishing.publication.feed(event).await.map_err(Refusal::from)?;
            }
            Event::Ignored { stream, error } => {
                if let Some(publishing) = self.streams.get(&stream)
                    && self.remarks.is_new(error.to_string())
                {
                    warn!("channel {}: RTMP from {}: {error}", publishing.channel.name(), self.peer);
                }
            }
            Event::Unpublish { stream } => {
                if let Some(publishing) = self.streams.remove(&stream) {
                    info!("channel {}: RTMP from {} has done publishing", publishing.channel.name(), self.peer);
                }
            }
            Event::Closed => return Err(End::Closed),
        }
        Ok(())
    }

    async fn admit(&self, target: &Target) -> Result<Stream, Refusal> {
        let (name, source) = place(&target.path).ok_or(Refusal::NoPlace)?;
        let presented =
            target.parameter("key").map(|key| Presented { user: String::new(), key: key.as_bytes().to_vec() });
        let channel = self.ingest.channels.admit(name, presented.as_ref(), self.peer.ip(), Instant::now())?;
        let cut = channel.watch();
        let publication = match channel.entrance().publish(source).await {
            Ok(publication) => publication,
            Err(refused) => {
                if let Refused::Refusal(refusal) = &refused {
                    warn!("channel {name}: RTMP from {}: {refusal}", self.peer);
                }
                channel.figures.refused.add(1);
                return Err(refused.into());
            }
        };
        let listed = channel.list(Publisher {
            protocol: "RTMP",
            address: self.peer,
            name: target.path.join("/"),
            since: Instant::now(),
        });
        Ok(Stream { channel, publication, cut, _listed: listed })
    }

    /// An encoder that reads nothing is given a while, and no memory.
    async fn write(&mut self, stream: &mut TcpStream) -> Result<(), End> {
        while let Some(bytes) = self.protocol.poll_output() {
            tokio::time::timeout(limits::RTMP_HANDSHAKE_TIMEOUT, stream.write_all(&bytes))
                .await
                .map_err(|_| End::Stuck)??;
        }
        Ok(())
    }
}

/// When one of the channels that are published to wants nobody any longer.
async fn cut(streams: &mut BTreeMap<StreamId, Stream>) {
    let waiting = streams.values_mut().map(|stream| Box::pin(stream.cut.changed()));
    let mut waiting: Vec<_> = waiting.collect();
    std::future::poll_fn(|context| match waiting.iter_mut().any(|one| one.as_mut().poll(context).is_ready()) {
        true => std::task::Poll::Ready(()),
        false => std::task::Poll::Pending,
    })
    .await;
}

/// `live/{channel}` and `live/{channel}/{rendition}`.
fn place(path: &[String]) -> Option<(&str, SourceName)> {
    match path {
        [app, channel] if app == "live" => Some((channel, SourceName::Main)),
        [app, channel, rendition] if app == "live" => Some((channel, SourceName::Rendition(rendition.clone()))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        for (path, want) in [
            (&["live", "news"][..], Some(("news", SourceName::Main))),
            (&["live", "news", "720p"], Some(("news", SourceName::Rendition("720p".to_owned())))),
            (&["live"], None),
            (&["vod", "news"], None),
            (&["live", "a", "b", "c"], None),
            (&[], None),
        ] {
            let path: Vec<String> = path.iter().map(|part| (*part).to_owned()).collect();
            assert_eq!(place(&path), want, "{path:?}");
        }
    }
}
