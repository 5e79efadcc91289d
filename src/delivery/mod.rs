//! The delivery plane: pinned workers that answer players and CDNs.
