//! Every limit of the server, in one place. What an operator may change is in the configuration; its default and its
//! range are here too.

use std::time::Duration;

// Requests (delivery).

/// Request line and header fields together. Longer: 431, or 414 when the request line alone is longer.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Request target. Longer: 414.
pub const TARGET_BYTES_MAX: usize = 8 * 1024;
/// Header fields in one request. More: 431.
pub const HEADER_FIELDS_MAX: usize = 100;
/// What a connection reads at a time, taken while it has something to read and given back after the answer.
pub const READ_BUFFER_BYTES: usize = 32 * 1024;
/// Ranges in one request; more and the whole representation is sent (RFC 9110 §14.2 allows ignoring them).
pub const RANGES_MAX: usize = 16;
/// Bytes of a request body that are read and thrown away to keep the connection; a longer body closes it.
pub const DISCARD_BODY_BYTES_MAX: u64 = 64 * 1024;

// Connections (delivery).

pub const CONNECTIONS_DEFAULT: usize = 100_000;
/// Open files kept back from `connections_max` for tracks, indexes, listeners and logs.
pub const DESCRIPTOR_RESERVE: usize = 512;
/// Time for a whole request head, counted from its first byte. Later: 408.
pub const HEAD_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
/// A connection without a request for so long is closed.
pub const IDLE_TIMEOUT_DEFAULT: Duration = Duration::from_secs(75);
/// A client that takes less than `READ_RATE_MIN_DEFAULT` over so long is disconnected.
pub const READ_RATE_WINDOW: Duration = Duration::from_secs(30);
/// Bytes a second.
pub const READ_RATE_MIN_DEFAULT: u64 = 1024;
/// What is in flight at SIGTERM has so long to finish.
pub const STOP_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
/// Bytes one connection may send before its worker turns to the next: what a socket takes at most with the usual
/// `net.ipv4.tcp_wmem`, in about half a millisecond. Less costs more: what is queued at once is passed on as it is
/// acknowledged, and not by the worker (2 MB segments, CPU: 1 MiB 1.2 times, 256 KiB 2.3 times as much).
pub const TURN_BYTES: u64 = 4 * 1024 * 1024;

/// What is left of an extent is a large send above this size: a worker makes one at a time.
pub const BULK_BYTES_MIN: u64 = 256 * 1024;
/// Sent at a time of an extent that is no large send, where the kernel paces packets: what fits the largest packet, with a
/// head. What is queued behind a packet waits for a timer, and that costs more than a second call after other connections
/// have had their turn (100 KB segments under BBR, CPU: 0.8 times as much). For large sends it is the other way round: most
/// of what is queued is passed on as it is acknowledged.
pub const PACED_SEND_BYTES: u64 = 60 * 1024;
/// Extents up to this size are sent from the mapping together with the head, larger ones with sendfile (measured).
pub const MAPPED_SEND_BYTES_MAX: u64 = 16 * 1024;
/// A client that follows something being written is given up when nothing was added for so long.
pub const FOLLOW_SILENCE_MAX: Duration = Duration::from_secs(30);
/// Answers to pipelined requests are gathered up to this size before they are sent.
pub const GATHER_BYTES_MAX: usize = 64 * 1024;
/// An answer in memory up to this size, with its head, is put into one buffer: a send of one part is cheaper for the kernel
/// by more than the copy costs.
pub const ONE_SEND_BYTES_MAX: usize = 8 * 1024;
/// Pipelined requests answered before the worker turns to the next connection.
pub const TURN_REQUESTS_MAX: usize = 64;
/// Requests that waited for the same thing and go on before the worker looks at its ring (2 000 viewers of parts of 40 KB, CPU:
/// 16 and 64 at once cost 0.95 times as much as all at once).
pub const TURN_RELEASED: usize = 32;
/// How far ahead of a client its file is read into the page cache, when it is not there.
pub const READ_AHEAD_BYTES: u64 = 2 * 1024 * 1024;
/// Times one request may have something loaded before it is given up with 500.
pub const LOADS_MAX: u8 = 4;
/// A connection that the server closes is read for so long, so that the client gets its last answer and not a reset.
pub const LINGER: Duration = Duration::from_secs(2);
/// Bytes thrown away while lingering.
pub const LINGER_BYTES_MAX: u64 = 256 * 1024;
/// Connections above the limit that are answered 503 at the same time, over all workers; the rest are closed unanswered.
pub const REFUSALS_MAX: usize = 256;
/// After this the client may try again (`Retry-After` of 503), in seconds.
pub const RETRY_AFTER_SECS: u32 = 5;
/// Connections accepted in a row before the worker turns to those it has.
pub const TURN_ACCEPTS_MAX: usize = 64;
/// Threads that wait for the disk on behalf of the delivery workers.
pub const HELPERS: usize = 4;
/// How long a server that stops waits for those threads.
pub const HELPERS_STOP: Duration = Duration::from_secs(1);
/// Access log lines held back by one worker, in bytes; what comes above is dropped, and counted.
pub const ACCESS_LOG_BYTES_MAX: usize = 1024 * 1024;

// Admin API.

/// Connections served at once; more wait in the backlog. Monitoring needs a handful.
pub const ADMIN_CONNECTIONS_MAX: usize = 64;
/// For a request head, and for the silence before it: a connection that says nothing gives its place to another.
pub const ADMIN_HEAD_TIMEOUT: Duration = Duration::from_secs(3);
/// For a whole connection, however often it is used: no slow reader holds a place for ever.
pub const ADMIN_CONNECTION_TIMEOUT: Duration = Duration::from_secs(300);

// Intake.

/// Connections of encoders, HTTP and RTMP together. More are closed unanswered, or told 503.
pub const INTAKE_CONNECTIONS_DEFAULT: usize = 1_000;
/// An encoder that sends nothing for so long is disconnected.
pub const INTAKE_IDLE_TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);
/// For the handshake of RTMP, up to the name of the channel.
pub const RTMP_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Encoders of one channel that are known by what they send over HTTP.
pub const CHANNEL_ENCODERS_MAX: usize = 64;
/// Wrong keys an address may present at once, and then again one in so long.
pub const INTAKE_WRONG_KEYS_MAX: u32 = 10;
pub const INTAKE_WRONG_KEY_PERIOD: Duration = Duration::from_secs(6);
/// Addresses whose wrong keys are remembered.
pub const INTAKE_ADDRESSES_MAX: usize = 4_096;
/// The body of a request to the admin API.
pub const ADMIN_BODY_BYTES_MAX: usize = 64 * 1024;

// Live channels.

/// Channels of one server.
pub const CHANNELS_MAX: usize = 1_000;
pub const LIVE_SEGMENT_DEFAULT: Duration = Duration::from_secs(2);
pub const LIVE_PART_DEFAULT: Duration = Duration::from_millis(500);
pub const LIVE_WINDOW_DEFAULT: Duration = Duration::from_secs(600);
/// What is older survives a power loss.
pub const LIVE_SYNC_DEFAULT: Duration = Duration::from_secs(1);

// Objects.

/// How long changes are gathered before they are synced together.
pub const STORE_SYNC_DEFAULT: Duration = Duration::from_millis(5);
/// An object.
pub const STORE_OBJECT_BYTES_DEFAULT: u64 = 1 << 30;
/// Bytes a second that an upload has to bring, over [`READ_RATE_WINDOW`].
pub const STORE_WRITE_RATE_MIN_DEFAULT: u64 = 128;
/// Of an upload, held in memory before there is a file: an object that is no longer is written at once.
pub const STORE_GATHER_BYTES_MAX: usize = 256 * 1024;
/// Objects that are open for reading, one descriptor each.
pub const STORE_OPEN_DEFAULT: usize = 4_096;
/// Objects up to this size are held in memory while they are open: their answers are sent in one piece with the head.
pub const STORE_INLINE_BYTES_MAX: u64 = 8 * 1024;
/// Changes that one batch holds.
pub const STORE_BATCH_MAX: usize = 1_024;
/// Changes that wait to be made; whoever brings more waits.
pub const STORE_QUEUE_MAX: usize = 4_096;
/// Combinations of content type and cache control that objects share.
pub const STORE_METAS_MAX: usize = 4_096;
/// Items in a page of a listing, at most and if nothing is said (the API's `ListLimit`).
pub const STORE_LIST_MAX: usize = 1_000;
/// Containers that have settings.
pub const STORE_CONTAINERS_MAX: usize = 1_000;
/// Rules and statements of one container, and what one of them lists.
pub const STORE_RULES_MAX: usize = 100;
/// How far a signature's time may be from the server's.
pub const STORE_CLOCK_SKEW_MAX: Duration = Duration::from_secs(15 * 60);
/// `max-age` of playlists and manifests that came without `Cache-Control`.
pub const STORE_MANIFEST_AGE_DEFAULT: Duration = Duration::from_secs(1);
/// And of all other objects.
pub const STORE_OBJECT_AGE_DEFAULT: Duration = Duration::from_secs(60);

// Library.

pub const SEGMENT_DEFAULT: Duration = Duration::from_secs(4);
pub const GRACE_DEFAULT: Duration = Duration::from_secs(24 * 60 * 60);
/// Assets whose index and track files are open at once; the least recently used are closed.
pub const OPEN_ASSETS_DEFAULT: usize = 1_000;
/// Open track files over all open assets, with one index for each asset.
pub const OPEN_TRACKS_MAX: usize = 8_000;
/// How long an asset may last: what the tables of an import are in proportion to, where media does not bound them.
pub const PRESENTATION_MAX: Duration = Duration::from_secs(31 * 24 * 60 * 60);
/// Samples in one fragment, from one key frame to the next. All of them are in memory at once while they are imported.
pub const FRAGMENT_SAMPLES_MAX: usize = 1 << 20;
/// Tracks in one asset.
pub const TRACKS_MAX: usize = 64;
/// Thumbnails of one asset: a day of them every ten seconds.
pub const THUMBNAILS_MAX: u32 = 10_000;
/// How often there is one, at most and at least.
pub const THUMBNAIL_INTERVAL_MIN: Duration = Duration::from_secs(1);
pub const THUMBNAIL_INTERVAL_MAX: Duration = Duration::from_secs(600);
/// Width and height of a sheet of thumbnails, in pixels.
pub const SHEET_PIXELS_MAX: u32 = 4_096;
/// Files that one track of an asset was recorded to: those of a month by the hour.
pub const TRACK_FILES_MAX: usize = 1_000;
/// An asset name in bytes: one path element, which leaves room for suffixes below the file systems' 255.
pub const ASSET_NAME_BYTES_MAX: usize = 200;
/// Rendered manifests kept, with their compressed forms.
pub const MANIFEST_CACHE_BYTES_DEFAULT: u64 = 256 * 1024 * 1024;
/// Manifests up to this size are compressed where they are rendered; larger ones on the helper pool.
pub const COMPRESS_INLINE_BYTES_MAX: usize = 4 * 1024;
/// The header of a progressive file, as large as it can get: about eleven hours of video and audio.
pub const PROGRESSIVE_HEAD_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Headers of progressive files that are kept.
pub const PROGRESSIVE_CACHE_BYTES: u64 = 128 * 1024 * 1024;
const _: () = assert!(PROGRESSIVE_HEAD_BYTES_MAX < PROGRESSIVE_CACHE_BYTES);
/// Key frames of which the generated head is kept, of about 300 bytes with its name.
pub const KEY_FRAME_HEADS_KEPT: usize = 16 * 1024;
/// How long a cache may keep an unversioned manifest, and a 404.
pub const MANIFEST_AGE_DEFAULT: Duration = Duration::from_secs(5);
pub const MISSING_AGE_DEFAULT: Duration = Duration::from_secs(1);
/// Segments that had to be made, kept on disk.
pub const DERIVED_BYTES_DEFAULT: u64 = 10 * 1024 * 1024 * 1024;
/// Those of them that are open at once, a descriptor each; others are opened when they are asked for.
pub const DERIVED_OPEN_MAX: usize = 2_048;
/// Written at a time, so that the page cache takes it in large pages.
pub const DERIVED_WRITE_BYTES: usize = 2 * 1024 * 1024;
/// Of those that cannot be written to disk, held in memory until they are sent; also the longest of these.
pub const DERIVED_MEMORY_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The same with those that are not held any more and still being sent, to clients that take long.
pub const DERIVED_SENT_MEMORY_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// A subtitle file.
pub const SUBTITLE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Cues that a segment of text is made of where it has to be made: more than anybody reads in one.
pub const SEGMENT_CUES_MAX: usize = 4_096;

/// Cues that are shown at once in such a segment.
pub const CUES_AT_ONCE_MAX: usize = 64;

/// Bytes of such a segment, about: a cue that goes on while others change is repeated with each change.
pub const SEGMENT_TEXT_BYTES_MAX: usize = 4 * 1024 * 1024;

// Live.

/// Segments a snapshot holds with their parts, at least, and whose chunks are looked up after a restart. Parts are listed for
/// three target durations (RFC 8216bis §4.4.4.9) and available for three more (§6.2.2): with slots from 2/3 of a target
/// duration on, nine segments and the open one.
pub const LIVE_TAIL_SEGMENTS: usize = 10;
/// The same at most, of a track whose journal cannot be written: older ones become gaps.
pub const LIVE_TAIL_SEGMENTS_MAX: usize = 256;
/// Publishers of one channel at once, those that stand by included.
pub const LIVE_SESSIONS_MAX: usize = 64;
/// Tracks of one channel, those that are gone but in the window included.
pub const LIVE_TRACKS_MAX: usize = 64;
/// Bytes of samples of one channel that wait: for the grid to be decided, for a part to be complete, for the disk. What
/// comes above is dropped, up to the next key frame.
pub const LIVE_PENDING_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes that a publisher standing by has kept of what it sent last.
pub const LIVE_STANDBY_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Marks of one channel within its window.
pub const LIVE_MARKS_MAX: usize = 1_000;
/// A publisher that sends nothing for so long gives way to another, counted from when what it sent has passed: a packager
/// that pushes segments sends one at once, and then nothing for as long as it lasts.
pub const LIVE_SILENCE: Duration = Duration::from_millis(1_500);
/// Timestamps further from where they were expected than this are a jump; nearer ones are gaps or disorder.
pub const LIVE_JUMP: Duration = Duration::from_secs(10);
/// An encoder whose timestamps are so near to the server's clock counts by the wall clock.
pub const LIVE_WALL_CLOCK: Duration = Duration::from_secs(24 * 60 * 60);
/// Segments in one track file of a channel, which lasts an hour at most.
pub const JOURNAL_ROWS_MAX: usize = 16 * 1024;
/// Bytes after which a track file of a channel is followed by another, with the next segment: an hour of 9.5 Mb/s.
pub const LIVE_FILE_BYTES_MAX: u64 = 4 << 30;
/// Chunks in one track file of a channel.
pub const FILE_CHUNKS_MAX: usize = 1 << 17;
/// A channel's `state.json`.
pub const CHANNEL_STATE_BYTES_MAX: u64 = 4 << 20;

// What encoders send.

/// A box of a stream that is held until it is whole: a header, a `moof`. Those of an hour in one fragment are smaller.
pub const STREAM_BOX_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Samples of all tracks in one fragment that arrives over time: ten minutes of audio, were it sent so.
pub const STREAM_FRAGMENT_SAMPLES_MAX: usize = 1 << 16;
/// One sample that arrives over time: twice a key frame of 8K at 400 Mb/s.
pub const STREAM_SAMPLE_BYTES_MAX: u32 = 16 * 1024 * 1024;
/// An event message, and how many may wait for the fragment that says when they are due.
pub const EVENT_MESSAGE_BYTES_MAX: u64 = 64 * 1024;
pub const EVENT_MESSAGES_MAX: usize = 64;
/// Renditions of one publisher.
pub const PUBLISHER_RENDITIONS_MAX: usize = TRACKS_MAX;
/// A rendition's name, which becomes a file name and a path element.
pub const RENDITION_NAME_BYTES_MAX: usize = 64;
/// Requests of one rendition that wait for the one before, and their bytes together.
pub const WAITING_REQUESTS_MAX: usize = 4;
pub const WAITING_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How long a fragment waits for its header. They are sent at the same time, on connections of their own.
pub const WAITING_AGE_MAX: Duration = Duration::from_secs(10);
/// An access unit of video: at 60 frames a second one of this size would be 8 Gb/s.
pub const ACCESS_UNIT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes searched for transport stream packets before it is said that there are none.
pub const TS_GARBAGE_BYTES_MAX: usize = 64 * 1024;
/// Programs of a transport stream whose maps are looked at.
pub const TS_PROGRAMS_MAX: usize = 64;
/// Timed metadata (ID3) in one PES packet, and the tag that packed audio begins with.
pub const TS_METADATA_BYTES_MAX: usize = 64 * 1024;
/// A manifest that is pushed.
pub const PUSHED_MANIFEST_BYTES_MAX: usize = 1024 * 1024;

const _: () = assert!(EVENT_MESSAGE_BYTES_MAX <= STREAM_BOX_BYTES_MAX);

// RTMP (ingest).

/// One message: the largest key frame. The format allows 16 MiB.
pub const RTMP_MESSAGE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Chunk streams of one connection. Encoders use fewer than ten.
pub const RTMP_CHUNK_STREAMS_MAX: usize = 64;
/// Message streams of one connection, each of which may publish.
pub const RTMP_STREAMS_MAX: usize = 16;
/// A command, and any message before the peer may publish.
pub const RTMP_COMMAND_BYTES_MAX: usize = 64 * 1024;
/// Answers that the peer has not taken. They are a few hundred bytes each.
pub const RTMP_OUTPUT_BYTES_MAX: usize = 64 * 1024;
/// Metadata, or a cue.
pub const FLV_SCRIPT_BYTES_MAX: usize = 64 * 1024;
/// Tracks in one stream (Enhanced RTMP counts them in a byte, for audio and for video).
pub const FLV_TRACKS_MAX: usize = 32;
/// The first pictures of all tracks in one stream, while it is not known when they are decoded.
pub const FLV_OPENING_BYTES_MAX: usize = 8 * 1024 * 1024;

const _: () = assert!(HEAD_BYTES_MAX <= READ_BUFFER_BYTES);
const _: () = assert!(RTMP_COMMAND_BYTES_MAX <= RTMP_MESSAGE_BYTES_MAX);
const _: () = assert!(FLV_TRACKS_MAX <= TRACKS_MAX);
// Refused connections take from the reserve.
const _: () = assert!(REFUSALS_MAX <= DESCRIPTOR_RESERVE / 2);
const _: () = assert!(TARGET_BYTES_MAX <= HEAD_BYTES_MAX);
