//! Headwater: a video origin and edge server for dedicated Linux machines.
//!
//! One sentence holds it together: **whatever comes in becomes an extent of a file, and whatever goes out is a few inline
//! bytes and extents of files** ([`base::Payload`]). Packagers describe; the delivery plane moves.
//!
//! This page is the map: the two planes, the way of a request, of an import and of an ingest, what lies on disk, and who may
//! know whom.
//!
//! # Two planes
//!
//! | plane | runtime | threads | may | never |
//! | --- | --- | --- | --- | --- |
//! | [`delivery`] | monoio, an io_uring per thread, each with its own `SO_REUSEPORT` listeners, pinned to its CPU | one per CPU | read snapshots, describe answers, move bytes with sendfile | write to disk, wait for the disk, take a lock that a writer may hold for long |
//! | [`intake`] | tokio-uring, with tokio's sockets, so that hyper works as it is; plain threads for what only waits | few | wait for the disk, keep the catalog up to date, serve the admin API | answer viewers |
//!
//! The planes share snapshots: immutable values that are swapped in whole. A request reads one [`library::Catalog`] and sees
//! one consistent state, whatever an import does meanwhile. `cli::appliance` starts both planes, watches over them and stops
//! them; `cli::status` is all that one plane's admin API learns of the other.
//!
//! # The way of a request
//!
//! ```text
//! delivery::listener    accepts, on the worker whose queue the kernel chose
//! delivery::connection  waits for bytes without holding a buffer, then takes one and reads
//! http::request         checks and parses the head
//! service::answer       routes: a pure function of the request, the snapshots and the time
//!     library::Catalog      which asset, which version, is it open?
//!     package::{hls,dash}   manifests, rendered once and kept (service::playback)
//!     package::cmaf         a segment is a run of fragments: one extent of a track file
//!     package::ts           one that has to be made is made on a helper (service::Job), and kept (store::derived)
//!     http::{conditional,range}, service::representation
//!                           what of it was asked for
//! service::Answer       Ready: a head and a Payload.  Load: a helper has to open something first, then ask again
//! http::response        the head, in wire form
//! delivery::send        inline bytes and small extents in one send; large ones by sendfile, a stretch at a time, after
//!                       sys::residency said that the stretch is in memory (if not, a helper reads it in)
//! sys::transfer         the system calls
//! ```
//!
//! All policy runs in tests without a socket, a disk or a clock. A worker never waits for the disk: whatever might goes to
//! `delivery::helpers`, and comes back through the worker's inbox.
//!
//! # The way of an import
//!
//! ```text
//! cli::import → library::import            what belongs together, when it is presented, where it may be cut
//!     manifest, gather, rewrite            HLS, DASH, SMIL to files; MPEG-TS, Matroska and segments to fragmented MP4
//!     media::mpegts, media::matroska       their tracks and samples, as media::feed events
//!     media::isobmff, media::codec         tracks, samples and parameter sets of the source files
//!     media::isobmff::write                CMAF headers and fragments
//!     thumbnails                           key frames to ffmpeg through a pipe, sheets of JPEG back (media::jpeg)
//!     store::{track_file,index_writer}     one file per track, and the index of all of them
//! → fsync → rename → fsync                 published whole, or not at all
//! → library::watcher                       a running server sees it within a second
//! ```
//!
//! # The way of an ingest
//!
//! ```text
//! intake::{ingest,rtmp}    sockets of encoders; who is let in, and to which channel
//!     ingest::*                RTMP, CMAF ingest, HLS push, DASH push: bytes to media::feed::Event, without sockets
//! intake::recorder         a task for each channel, fed through a bounded queue
//!     live::ChannelWriter      media time, grid, segments and parts, window: events to operations, without files or clocks
//!     intake::recorder::disk   does them: append, row of the journal, delete (store::{channel_dir,journal,scan})
//! → live::Snapshot         swapped in once its bytes are written
//! → base::Watch            wakes the requests that wait for it: service answers again, delivery sends
//! ```
//!
//! # The way of an object
//!
//! ```text
//! intake::objects          /store/{container}/{path}: who may, SigV4 (http::sigv4), what may be said of an object
//!     put                      gathers what is small; what is not, and what is read while it comes, goes to a growing file
//!     writer                   a thread: batches of changes, synced together (store::objects::Objects::commit)
//! → store::objects         files by id, a journal of what is where, checkpoints; a table in shards (Table)
//! → service::objects       the same to readers at delivery and at intake: open files, policies, CORS
//! ```
//!
//! # On disk
//!
//! ```text
//! {library}/{asset}/current -> {version}/      switched by rename; old versions are kept for a grace time
//! {library}/{asset}/{version}/v1.cmfv …        one CMAF track file per track: ftyp moov (moof mdat)*
//! {library}/{asset}/{version}/i1.jpgs          sheets of thumbnails, one JPEG after the other
//! {library}/{asset}/{version}/index            the mapped index of all its tracks and sheets (store::index draws its layout)
//! {live}/{channel}/{track}/{first}.cmfv …      the same track files, growing; harvest links them into an asset
//! {live}/{channel}/{track}/{first}.idx         a row for each segment that is complete (store::journal draws its layout)
//! {library}/.derived/{number}.made             what was made of stored media, for this process (store::derived)
//! {store}/objects/{id / 4096}/{id}             the bytes of an object; {store}/journal says what is where (store::objects)
//! ```
//!
//! Every track is normalised at import: one fragment per closed group of pictures, audio and text cut at the same instants.
//! A segment is a run of consecutive fragments, so HLS and DASH name the same URLs and no media byte is touched per
//! request. Files never change once they are published; versioned URLs ([`package::url`]) never change their bytes.
//!
//! # Layers
//!
//! Modules import only from lower rows; siblings in a row do not import each other (`sys` may import `base`). `unsafe`
//! stands under [`sys`] alone, and clocks are read only in [`delivery`], [`intake`] and [`cli`]. `tests/layers.rs` checks
//! all of it.
//!
//! | row | modules | what lives there |
//! | --- | --- | --- |
//! | 0 | [`base`], [`sys`] | units, payloads, bounded reading, limits, counters; everything unsafe or Linux |
//! | 1 | [`http`], [`media`] | HTTP/1.1 without sockets; tracks, samples, timelines, containers and codecs without files |
//! | 2 | [`package`], [`ingest`] | formats, described: HLS, DASH, CMAF, Smooth Streaming, progressive MP4; protocols that bring media in, without sockets |
//! | 3 | [`store`] | track files and their index, objects |
//! | 4 | [`library`] | assets: catalog, import, grace time |
//! | 4 | [`live`] | channels: media time, segments, window, without sockets or files |
//! | 5 | [`service`] | request → answer |
//! | 6 | [`delivery`], [`intake`] | the two planes |
//! | 7 | [`config`] | one TOML file → checked options |
//! | 8 | [`cli`] | commands; `main.rs` is a few lines |
//!
//! Every limit stands in [`base::limits`], with the configuration's defaults.

pub mod base;
pub mod cli;
pub mod config;
pub mod delivery;
pub mod http;
pub mod ingest;
pub mod intake;
pub mod library;
pub mod live;
pub mod media;
pub mod package;
pub mod service;
pub mod store;
pub mod sys;
