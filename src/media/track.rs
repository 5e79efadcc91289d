//! What a track is, as far as manifests and headers need to know.

use crate::base::{Ticks, Timescale};

use super::captions::Caption;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Video,
    Audio,
    Text,
}

/// One track of a presentation.
#[derive(Clone, Debug, PartialEq)]
pub struct Track {
    /// Name within the asset, in URLs, on disk and as DASH Representation id: `v1`, `a2`, `t1`.
    pub id: String,
    /// Of every time in the track's fragments and samples.
    pub timescale: Timescale,
    /// The `codecs` parameter: RFC 6381 and the codec's own specification. `wvtt` for WebVTT.
    pub codec: String,
    /// BCP 47, `und` if unknown.
    pub language: String,
    /// What a viewer picks from a menu ("English", "Director's commentary"), if the source or the command line names it.
    pub name: Option<String>,
    pub role: Role,
    /// Presentation time of the track file's time 0, in track ticks: negative by the encoder delay where the track begins
    /// with priming (`elst` `media_time` of the initialisation segment, negated). Presentation time = decode time +
    /// composition offset + this.
    pub presentation_offset: Ticks,
    pub details: Details,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Role {
    #[default]
    Main,
    Alternate,
    Commentary,
    /// Descriptions for the visually impaired (HLS `public.accessibility.describes-video`, DASH role `description`).
    Description,
    /// Subtitles that are to be shown where the viewer's language is not spoken (HLS `FORCED=YES`).
    Forced,
    /// For the hard of hearing (DASH role `caption`).
    Caption,
}

impl Role {
    /// Of a value of the scheme `urn:mpeg:dash:role:2011` (ISO/IEC 23009-1 §5.8.5.5), if it is one that is told apart here.
    pub fn of_dash(value: &str) -> Option<Role> {
        match value {
            "main" => Some(Role::Main),
            "alternate" | "supplementary" | "dub" => Some(Role::Alternate),
            "commentary" => Some(Role::Commentary),
            "description" => Some(Role::Description),
            "forced-subtitle" | "forced_subtitle" => Some(Role::Forced),
            "caption" => Some(Role::Caption),
            _ => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Details {
    Video(Video),
    Audio(Audio),
    Text,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Video {
    /// Coded picture after cropping, in pixels, and turned as it is shown (`tkhd` of the header says by how much).
    pub width: u32,
    pub height: u32,
    /// Sample aspect ratio, 1:1 if square or unknown.
    pub pixel_aspect: (u32, u32),
    /// Frames a second as a fraction in lowest terms; for a variable rate the average, rounded to 1/1000.
    pub frame_rate: (u32, u32),
    pub range: VideoRange,
    pub bit_depth: u8,
    /// ITU-T H.273 colour primaries, transfer characteristics, matrix coefficients; 2 where unspecified.
    pub colour: (u8, u8, u8),
    /// HLS `SUPPLEMENTAL-CODECS` and DASH `scte214:supplementalCodecs`: `dvh1.08.07/db4h`.
    pub supplemental_codec: Option<String>,
    /// Found in the pictures when they were imported.
    pub captions: Vec<Caption>,
}

/// HLS `VIDEO-RANGE` (RFC 8216bis §4.4.6.2), from the transfer characteristics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum VideoRange {
    #[default]
    Sdr,
    Hlg,
    Pq,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Audio {
    /// In Hz, of the decoder's output (for HE-AAC with SBR the doubled rate).
    pub sample_rate: u32,
    pub channels: u16,
    /// ISO/IEC 23091-3 ChannelConfiguration, 0 if the layout has none.
    pub channel_configuration: u8,
    /// Dolby: the `chan` word for DASH, AC-3 and E-AC-3 only (ETSI TS 102 366 annex I.1.2.1), 16 bits.
    pub dolby_channels: Option<u16>,
    /// E-AC-3 with joint object coding: the complexity index (HLS `CHANNELS="16/JOC"`).
    pub joint_objects: Option<u8>,
}

impl Track {
    pub fn kind(&self) -> Kind {
        match self.details {
            Details::Video(_) => Kind::Video,
            Details::Audio(_) => Kind::Audio,
            Details::Text => Kind::Text,
        }
    }

    pub fn video(&self) -> Option<&Video> {
        match &self.details {
            Details::Video(video) => Some(video),
            _ => None,
        }
    }

    pub fn audio(&self) -> Option<&Audio> {
        match &self.details {
            Details::Audio(audio) => Some(audio),
            _ => None,
        }
    }
}
