//! Loudspeaker layouts: ChannelConfiguration of ISO/IEC 23091-3.

/// The layout without a configuration of its own.
pub const NONE: u8 = 0;

/// The configuration with so many loudspeakers in front, at the sides, at the back, and low-frequency channels, where the
/// sides and the back of 5.1 and smaller are one thing; 0 if there is none.
pub fn configuration(front: u32, side: u32, back: u32, low: u32) -> u8 {
    match (front, side, back, low) {
        (1, 0, 0, 0) => 1,
        (2, 0, 0, 0) => 2,
        (3, 0, 0, 0) => 3,
        (3, 0, 1, 0) => 4,
        (3, 0, 2, 0) | (3, 2, 0, 0) => 5,
        (3, 0, 2, 1) | (3, 2, 0, 1) => 6,
        (5, 0, 2, 1) | (5, 2, 0, 1) => 7,
        (2, 0, 1, 0) => 9,
        (2, 0, 2, 0) | (2, 2, 0, 0) => 10,
        (3, 0, 3, 1) | (3, 2, 1, 1) => 11,
        (3, 2, 2, 1) | (3, 0, 4, 1) => 12,
        _ => NONE,
    }
}

/// The order of Vorbis, which Opus (RFC 7845 §5.1.1.2) and FLAC (RFC 9639 §9.1.3) share: by the number of channels alone.
pub fn vorbis_configuration(channels: u16) -> u8 {
    match channels {
        1 => 1,
        2 => 2,
        3 => 3,
        4 => 10,
        5 => 5,
        6 => 6,
        7 => 11,
        8 => 12,
        _ => NONE,
    }
}
