//! The second thread of an import: it hashes what was written, and sees to it that the kernel writes it back.

use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use crate::store::track_file::Writeback;

/// What is read, written and hashed at a time. A page of the page cache becomes as large as the write that makes it, and
/// 2 MiB is the largest: sending such a file takes two thirds of the CPU that pages of 4 KiB take.
pub const BUFFER_BYTES: usize = 2 * 1024 * 1024;
/// Buffers on their way to the follower. One more per track is being filled: 64 tracks and these are 136 MiB.
const QUEUE: usize = 4;

/// Bytes of one track file, in order.
pub struct Chunk {
    /// Which track file.
    pub output: usize,
    pub bytes: Vec<u8>,
    pub writeback: Option<Writeback>,
}

/// The end of the queue that is held by who writes.
pub struct Follower {
    chunks: SyncSender<Chunk>,
    /// Buffers to be used again.
    free: Receiver<Vec<u8>>,
}

/// The end that the thread works at.
pub struct Following {
    chunks: Receiver<Chunk>,
    free: Sender<Vec<u8>>,
}

pub fn follower() -> (Follower, Following) {
    let (send, receive) = sync_channel(QUEUE);
    let (give_back, free) = channel();
    (Follower { chunks: send, free }, Following { chunks: receive, free: give_back })
}

impl Follower {
    /// A buffer of [`BUFFER_BYTES`], with whatever it held before.
    pub fn buffer(&self) -> Vec<u8> {
        // Memory that nobody writes to is not taken: most tracks of many are small.
        let mut buffer = self.free.try_recv().unwrap_or_else(|_| vec![0; BUFFER_BYTES]);
        buffer.resize(BUFFER_BYTES, 0);
        buffer
    }

    /// Waits if the follower is far behind.
    pub fn send(&self, chunk: Chunk) {
        // It stops listening before its queue ends only if it panicked, which who joins it finds out.
        let _ = self.chunks.send(chunk);
    }
}

impl Following {
    /// Works until the other end is dropped. Returns the BLAKE3 of each of `count` track files.
    pub fn run(self, count: usize) -> Vec<[u8; 32]> {
        let mut hashes = vec![blake3::Hasher::new(); count];
        thread::scope(|scope| {
            let (due, dues) = channel::<Writeback>();
            // Starting a write-back waits where the disk's queue is full; hashing goes on meanwhile.
            scope.spawn(move || dues.into_iter().for_each(Writeback::start));
            for Chunk { output, bytes, writeback } in self.chunks {
                if let Some(hash) = hashes.get_mut(output) {
                    hash.update(&bytes);
                }
                // Neither fails before the other ends have done their work.
                let _ = self.free.send(bytes);
                writeback.map(|writeback| due.send(writeback));
            }
        });
        hashes.into_iter().map(|hash| hash.finalize().into()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_of_each_file_in_order() {
        let (follower, following) = follower();
        let thread = std::thread::spawn(move || following.run(2));
        for number in 0..100_u8 {
            let mut bytes = follower.buffer();
            assert_eq!(bytes.len(), BUFFER_BYTES);
            bytes.truncate(100);
            bytes.fill(number);
            follower.send(Chunk { output: usize::from(number % 2), bytes, writeback: None });
        }
        drop(follower);
        let digests = thread.join().unwrap();
        for (number, digest) in digests.into_iter().enumerate() {
            let bytes: Vec<u8> =
                (0..100).filter(|value| value % 2 == number as u8).flat_map(|value| [value; 100]).collect();
            assert_eq!(digest, <[u8; 32]>::from(blake3::hash(&bytes)));
        }
    }
}
