//! The names of versions: one on disk, from the content; one in URLs, which also holds how the content is served.

use std::fmt;
use std::time::Duration;

use crate::package;

/// 16 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version([u8; 16]);

impl Version {
    /// The first 64 bits of a hash.
    pub fn of(digest: &[u8; 32]) -> Version {
        let mut text = [0; 16];
        for (pair, byte) in text.chunks_exact_mut(2).zip(digest) {
            pair[0] = b"0123456789abcdef"[usize::from(byte >> 4)];
            pair[1] = b"0123456789abcdef"[usize::from(byte & 15)];
        }
        Version(text)
    }

    pub fn parse(text: &str) -> Option<Version> {
        let bytes: [u8; 16] = text.as_bytes().try_into().ok()?;
        bytes.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')).then_some(Version(bytes))
    }

    /// What URLs name: content, segment length and packager revision, so that none of them changes under a URL.
    pub fn served(self, segment: Duration) -> Version {
        let mut hash = blake3::Hasher::new();
        hash.update(&self.0);
        hash.update(&(segment.as_millis() as u64).to_le_bytes());
        hash.update(&package::REVISION.to_le_bytes());
        Version::of(&hash.finalize().into())
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_hexadecimal_and_change_with_what_is_served() {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&[0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef]);
        let version = Version::of(&digest);
        assert_eq!(version.as_str(), "0123456789abcdef");
        assert_eq!(Version::parse("0123456789abcdef"), Some(version));
        for bad in ["", "0123456789ABCDEF", "0123456789abcde", "0123456789abcdef0", "../../../../../x"] {
            assert_eq!(Version::parse(bad), None, "{bad}");
        }
        let four = version.served(Duration::from_secs(4));
        assert_ne!(four, version);
        assert_ne!(four, version.served(Duration::from_secs(2)));
        assert_eq!(four, version.served(Duration::from_millis(4_000)));
    }
}
