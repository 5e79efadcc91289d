//! Pure media: what tracks, samples and timelines are, and how container formats and codecs spell them. Nothing here
//! opens a file or reads a clock.

pub mod breaks;
pub mod broadcast;
pub mod captions;
pub mod codec;
pub mod feed;
#[doc(hidden)]
pub mod fixture;
pub mod flv;
pub mod fragment;
pub mod isobmff;
pub mod jpeg;
pub mod matroska;
pub mod mpegts;
pub mod presentation;
pub mod scte35;
pub mod subtitles;
pub mod thumbnails;
pub mod track;
pub mod webvtt;

pub use fragment::{Cue, Fragment, Sample};
pub use presentation::{Presentation, Segment, TrackView};
pub use thumbnails::Thumbnails;
pub use track::{Kind, Track};
