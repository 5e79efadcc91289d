//! Smooth Streaming ([MS-SSTR] in comments).
//!
//! A client manifest lists streams, each with its quality levels and one list of fragments for all of them. A fragment is
//! asked for by bit rate, stream and time; its `moof` is made here, as its times are in the manifest's timescale, and the media
//! are extents. There are no headers: clients make them of what the manifest says of the codec. Text is TTML, a document for
//! each fragment.

mod fragment;
mod live;
mod live_fragment;
mod manifest;
mod stream;
mod time;

pub use fragment::{fragment, sample_rows, text_fragment};
pub use live::{
    LiveFound, LiveFragment, live_find, live_inits, live_level, live_manifest, live_refusal, live_tracks, newest_init,
};
pub use live_fragment::live_fragment;
pub use manifest::{headers, manifest};
pub use stream::{Content, find};

use crate::base::Timescale;

/// Ticks of 100 ns: what clients assume where nothing else is stated.
const TIMESCALE: Timescale = Timescale::SMOOTH;
