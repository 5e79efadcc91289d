//! Descriptors: a scheme and a value (ISO/IEC 23009-1 §5.8.2).

use crate::media::captions::{Caption, CaptionChannel};
use crate::media::track::{Audio, Kind, Role, Track, Video, VideoRange};

use crate::package::xml::Xml;

const CICP_CHANNELS: &str = "urn:mpeg:mpegB:cicp:ChannelConfiguration";
const MPEG_CHANNELS: &str = "urn:mpeg:dash:23003:3:audio_channel_configuration:2011";
const DOLBY_CHANNELS: &str = "tag:dolby.com,2014:dash:audio_channel_configuration:2011";
const DOLBY_EXTENSION: &str = "tag:dolby.com,2018:dash:EC3_ExtensionType:2018";
const DOLBY_COMPLEXITY: &str = "tag:dolby.com,2018:dash:EC3_ExtensionComplexityIndex:2018";
const PRIMARIES: &str = "urn:mpeg:mpegB:cicp:ColourPrimaries";
const TRANSFER: &str = "urn:mpeg:mpegB:cicp:TransferCharacteristics";
const MATRIX: &str = "urn:mpeg:mpegB:cicp:MatrixCoefficients";
const ROLE: &str = "urn:mpeg:dash:role:2011";
/// TV-Anytime: 1 is for the visually impaired, 2 for the hard of hearing.
const PURPOSE: &str = "urn:tva:metadata:cs:AudioPurposeCS:2007";

const CEA_608: &str = "urn:scte:dash:cc:cea-608:2015";
const CEA_708: &str = "urn:scte:dash:cc:cea-708:2015";

/// ITU-T H.273: unspecified.
const UNSPECIFIED: u8 = 2;
/// ITU-T H.273: hybrid log-gamma.
const TRANSFER_HLG: u8 = 18;

pub(super) fn push_channels(xml: &mut Xml, audio: &Audio) {
    match (audio.dolby_channels, audio.channel_configuration) {
        (Some(word), _) => push(xml, "AudioChannelConfiguration", DOLBY_CHANNELS, &format!("{word:04X}")),
        (None, 0) => push(xml, "AudioChannelConfiguration", MPEG_CHANNELS, &audio.channels.to_string()),
        (None, layout) => push(xml, "AudioChannelConfiguration", CICP_CHANNELS, &layout.to_string()),
    }
}

pub(super) fn push_joint_objects(xml: &mut Xml, audio: &Audio) {
    if let Some(complexity) = audio.joint_objects {
        push(xml, "SupplementalProperty", DOLBY_EXTENSION, "JOC");
        push(xml, "SupplementalProperty", DOLBY_COMPLEXITY, &complexity.to_string());
    }
}

/// What is needed to show the colours right is essential for HDR and wide gamut: a player that does not know it must not show
/// the set (DASH-IF IOP part 7). For the rest it is additional information.
pub(super) fn push_colour(xml: &mut Xml, video: &Video) {
    let (primaries, transfer, matrix) = video.colour;
    let wide = primaries == 9 || video.range != VideoRange::Sdr;
    let element = if wide { "EssentialProperty" } else { "SupplementalProperty" };
    for (scheme, value) in [(PRIMARIES, primaries), (TRANSFER, transfer), (MATRIX, matrix)] {
        if value != UNSPECIFIED {
            push(xml, element, scheme, &value.to_string());
        }
    }
    // Backward-compatible HLG states an SDR transfer in the bitstream (ETSI TS 103 285 §5.2.5).
    if video.range == VideoRange::Hlg && transfer != TRANSFER_HLG {
        push(xml, "SupplementalProperty", TRANSFER, &TRANSFER_HLG.to_string());
    }
}

pub(super) fn push_accessibility(xml: &mut Xml, track: &Track) {
    match track.role {
        Role::Description => push(xml, "Accessibility", PURPOSE, "1"),
        Role::Caption => push(xml, "Accessibility", PURPOSE, "2"),
        _ => {}
    }
}

pub(super) fn push_role(xml: &mut Xml, track: &Track) {
    let text = track.kind() == Kind::Text;
    let value = match track.role {
        Role::Main if text => "subtitle",
        Role::Main => "main",
        Role::Alternate => "alternate",
        Role::Commentary => "commentary",
        Role::Description => "description",
        Role::Forced if text => "forced-subtitle",
        Role::Forced => "main",
        Role::Caption => "caption",
    };
    push(xml, "Role", ROLE, value);
}

/// Captions in the pictures, one descriptor for each standard (SCTE 214-1 §10.2.2, §10.2.3).
pub(super) fn push_captions(xml: &mut Xml, captions: &[Caption]) {
    let (mut cea608, mut cea708) = (Vec::new(), Vec::new());
    for Caption { channel, language } in captions {
        match channel {
            CaptionChannel::Cc(number) => cea608.push(format!("CC{number}={language}")),
            CaptionChannel::Service(number) => cea708.push(format!("{number}=lang:{language}")),
        }
    }
    for (scheme, values) in [(CEA_608, cea608), (CEA_708, cea708)] {
        if !values.is_empty() {
            push(xml, "Accessibility", scheme, &values.join(";"));
        }
    }
}

pub(super) fn push(xml: &mut Xml, element: &str, scheme: &str, value: &str) {
    xml.empty(element, |tag| {
        tag.set("schemeIdUri", scheme).set("value", value);
    });
}
