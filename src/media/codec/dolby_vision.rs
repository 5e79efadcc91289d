//! Dolby Vision configuration boxes (Dolby Vision Streams Within the ISO Base Media File Format, §3).

use super::Fault;
use super::entry::Entry;

/// What is used of a `DOVIDecoderConfigurationRecord`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Configuration {
    pub profile: u8,
    pub level: u8,
    /// dv_bl_signal_compatibility_id: what a decoder without Dolby Vision sees. 0 is nothing usable.
    pub compatibility: u8,
}

impl Configuration {
    /// `dvcC`, `dvvC` or `dvwC`, by profile; `None` if there is none.
    pub fn of(entry: &Entry<'_>) -> Result<Option<Configuration>, Fault> {
        let atom = entry.atoms.iter().find(|atom| matches!(&atom.kind, b"dvcC" | b"dvvC" | b"dvwC"));
        let Some(atom) = atom else { return Ok(None) };
        let mut cursor = atom.cursor();
        let mut read = || {
            cursor.skip(2)?; // version
            let (numbers, compatibility) = (cursor.u16()?, cursor.u8()?);
            Ok(Configuration {
                profile: (numbers >> 9) as u8,
                level: (numbers >> 3) as u8 & 0x3F,
                compatibility: compatibility >> 4,
            })
        };
        read().map(Some).map_err(|fault: Fault| fault.within(&atom.kind))
    }

    /// `dvh1.05.06`.
    pub fn codec(&self, name: &str) -> String {
        format!("{name}.{:02}.{:02}", self.profile, self.level)
    }

    /// What goes beside the codec of a base layer that others can play: HLS Authoring Specification for Apple Devices
    /// §appendix "Dolby Vision", brands of ISO/IEC 14496-12 as Dolby registered them.
    pub fn supplemental(&self, base: &str) -> Option<String> {
        let name = match base {
            "hvc1" => "dvh1",
            "hev1" => "dvhe",
            "avc1" => "dva1",
            "avc3" => "dvav",
            "av01" => "dav1",
            _ => return None,
        };
        let brand = match self.compatibility {
            1 => "db1p",
            2 => "db2g",
            4 => "db4h",
            _ => return None,
        };
        Some(format!("{}/{brand}", self.codec(name)))
    }
}
