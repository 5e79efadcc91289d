//! Bodies of answers that are read from files as they are sent: objects at the intake listener, where few ask.

use std::io;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::{Notify, mpsc};

use crate::base::growing::End;
use crate::base::limits::FOLLOW_SILENCE_MAX;
use crate::base::watch::Listener;
use crate::base::{Extent, Growing, Payload, Piece, Stored};

/// What a task reads for it.
pub struct FileBody {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    /// `None`: it is still being written.
    left: Option<u64>,
}

/// Read at a time, and held for a client that is slow.
const CHUNK_BYTES: u64 = 256 * 1024;
const CHUNKS_AHEAD: usize = 2;

impl FileBody {
    pub fn of(payload: Payload) -> FileBody {
        let (sender, pieces) = mpsc::channel(CHUNKS_AHEAD);
        let left = Some(payload.len());
        tokio_uring::spawn(async move {
            for piece in payload.pieces() {
                let sent = match piece {
                    Piece::Inline(bytes) => sender.send(Ok(bytes.clone())).await.is_ok(),
                    Piece::Extent(extent) => send(extent, &sender).await,
                };
                if !sent {
                    return;
                }
            }
        });
        FileBody { pieces, left }
    }

    /// Goes on as long as the run grows; ends in an error if that is given up.
    pub fn following(growing: Growing) -> FileBody {
        let (sender, pieces) = mpsc::channel(CHUNKS_AHEAD);
        tokio_uring::spawn(async move {
            let told = Arc::new(Told(Notify::new()));
            let listener: Arc<dyn Listener> = told.clone();
            let watch = growing.progress.watch();
            watch.subscribe(listener.clone(), 0);
            follow(&growing, &told.0, &sender).await;
            watch.unsubscribe(&listener, 0);
        });
        FileBody { pieces, left: None }
    }
}

struct Told(Notify);

impl Listener for Told {
    fn moved(&self, _: u64) {
        self.0.notify_one();
    }
}

async fn follow(growing: &Growing, told: &Notify, sender: &mpsc::Sender<io::Result<Bytes>>) {
    let mut at = growing.start;
    loop {
        let (reached, end) = growing.progress.reached();
        if end == Some(End::Broken) {
            let _ = sender.send(Err(io::ErrorKind::ConnectionReset.into())).await;
            return;
        }
        if reached > at {
            let extent = Extent { file: growing.file.clone(), offset: at, len: reached - at };
            if !send(&extent, sender).await {
                return;
            }
            at = reached;
        } else if end.is_some() {
            return;
        } else {
            tokio::select! {
                waited = tokio::time::timeout(FOLLOW_SILENCE_MAX, told.notified()) => if waited.is_err() {
                    let _ = sender.send(Err(io::ErrorKind::TimedOut.into())).await;
                    return;
                },
                () = sender.closed() => return,
            }
        }
    }
}

/// Whether the client still wants more.
async fn send(extent: &Extent, sender: &mpsc::Sender<io::Result<Bytes>>) -> bool {
    let mut at = extent.offset;
    while at < extent.end() {
        let len = (extent.end() - at).min(CHUNK_BYTES);
        let file = extent.file.clone();
        let read = tokio::task::spawn_blocking(move || read(&*file, at, len)).await;
        let read = read.unwrap_or_else(|panic| Err(io::Error::other(panic)));
        at += len;
        let is_broken = read.is_err();
        if sender.send(read).await.is_err() || is_broken {
            return false;
        }
    }
    true
}

fn read(file: &dyn Stored, at: u64, len: u64) -> io::Result<Bytes> {
    let file_at = std::fs::File::from(file.fd().try_clone_to_owned()?);
    let mut bytes = vec![0; len as usize];
    file_at.read_exact_at(&mut bytes, at).inspect_err(|_| {
        if file.mark_damaged() {
            tracing::error!(file = file.name(), "a file is shorter than it has to be");
        }
    })?;
    Ok(Bytes::from(bytes))
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.pieces.poll_recv(context).map(|piece| {
            piece.map(|piece| {
                piece.map(|bytes| {
                    if let Some(left) = &mut self.left {
                        *left = left.saturating_sub(bytes.len() as u64);
                    }
                    Frame::data(bytes)
                })
            })
        })
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }

    fn is_end_stream(&self) -> bool {
        self.left == Some(0)
    }
}
