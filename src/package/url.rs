//! The relative URLs that manifests link to and the service routes: one set of names for every format.
//!
//! Below `/vod/{asset}/`:
//!
//! | URL | what |
//! | --- | --- |
//! | `index.m3u8`, `index.mpd` | unversioned manifests |
//! | `{version}/{track}.m3u8` | HLS media playlist |
//! | `{version}/{track}/init.mp4` | CMAF header |
//! | `{version}/{track}/{time}.m4s` | CMAF segment, by decode time of its first sample in track ticks |
//! | `{version}/{track}/{time}.vtt` | WebVTT segment, by presentation time of its start in track ticks |
//! | `{version}/{track}.vtt` | a whole subtitle file |
