//! Codec configurations: what the bitstream says a track is.
