//! MPEG-DASH (ISO/IEC 23009-1).

use crate::media::Presentation;

pub fn mpd(_: &Presentation<'_>) -> String {
    todo!()
}
