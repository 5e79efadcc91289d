//! Captions that are carried in the pictures themselves: CEA-608 and CEA-708 (ANSI/CTA-708-E), in messages of H.264 and HEVC
//! (ATSC A/72 part 1 §6.4.2, SCTE 128-1 §8.1; SCTE 215-1).

use std::collections::BTreeSet;

use super::codec::Bits;

/// One line of captions, and the language of what is said in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caption {
    pub channel: CaptionChannel,
    /// BCP 47, `und` if unknown.
    pub language: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CaptionChannel {
    /// CEA-608: 1 to 4.
    Cc(u8),
    /// CEA-708: 1 to 63.
    Service(u8),
}

impl CaptionChannel {
    /// As HLS calls them: `CC1` to `CC4`, `SERVICE1` to `SERVICE63` (RFC 8216bis §4.4.6.1, INSTREAM-ID).
    pub fn read(name: &str) -> Option<CaptionChannel> {
        let number = |digits: &str, max: u8| {
            let canonical = !digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse::<u8>().ok().filter(|number| canonical && (1..=max).contains(number))
        };
        match name.strip_prefix("CC") {
            Some(digits) => Some(CaptionChannel::Cc(number(digits, 4)?)),
            None => Some(CaptionChannel::Service(number(name.strip_prefix("SERVICE")?, 63)?)),
        }
    }
}

impl std::fmt::Display for CaptionChannel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            CaptionChannel::Cc(number) => write!(f, "CC{number}"),
            CaptionChannel::Service(number) => write!(f, "SERVICE{number}"),
        }
    }
}

/// `CC1=en CC3=es SERVICE1=en`: each channel once, with its language.
pub fn read(text: &str) -> Option<Vec<Caption>> {
    let mut captions: Vec<Caption> = Vec::new();
    for word in text.split_ascii_whitespace() {
        let (channel, language) = word.split_once('=')?;
        let channel = CaptionChannel::read(channel)?;
        let is_tag =
            |part: &str| (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let is_known = captions.iter().any(|caption| caption.channel == channel);
        if is_known || language.len() > LANGUAGE_BYTES_MAX || !language.split('-').all(is_tag) {
            return None;
        }
        captions.push(Caption { channel, language: language.to_owned() });
    }
    captions.sort_by_key(|caption| caption.channel);
    Some(captions)
}

/// As [`read`] reads it.
pub fn write(captions: &[Caption]) -> String {
    let words = captions.iter().map(|caption| format!("{}={}", caption.channel, caption.language));
    words.collect::<Vec<_>>().join(" ")
}

/// RFC 5646 §4.4.1.
const LANGUAGE_BYTES_MAX: usize = 35;

/// What captions are found in pictures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    channels: BTreeSet<CaptionChannel>,
}

impl Found {
    /// In order. Nothing in the pictures says in which language.
    pub fn captions(&self) -> Vec<Caption> {
        self.channels.iter().map(|&channel| Caption { channel, language: "und".to_owned() }).collect()
    }

    /// Reads a message of type `user_data_registered_itu_t_t35` (H.264 §D.1.6, H.265 §D.2.6). Others than those of captions are
    /// passed over, and so is what does not fit: pictures are shown whatever is in it.
    pub(crate) fn read(&mut self, message: Bits<'_>) {
        // It ends early where the data does.
        let _ = self.read_message(message);
    }

    fn read_message(&mut self, mut bits: Bits<'_>) -> Option<()> {
        // itu_t_t35_country_code of the United States, the provider code of ATSC, `GA94`, user_data_type_code of cc_data.
        if (bits.byte()?, bits.take(16)?, bits.take(32)?, bits.byte()?) != (0xB5, 0x31, 0x4741_3934, 3) {
            return None;
        }
        bits.skip(1)?;
        let has_data = bits.flag()?;
        bits.skip(1)?;
        let count = bits.take(5)?;
        bits.skip(8)?;
        if !has_data {
            return None;
        }
        let mut packet: Vec<u8> = Vec::new();
        for _ in 0..count {
            bits.skip(5)?; // marker bits
            let valid = bits.flag()?;
            let (kind, first, second) = (bits.take(2)?, bits.byte()?, bits.byte()?);
            match (valid, kind) {
                (true, 0 | 1) => self.read_pair(kind, first & 0x7F, second & 0x7F),
                (true, 3) => {
                    self.read_packet(&packet);
                    packet = vec![first, second];
                }
                (true, 2) if !packet.is_empty() => packet.extend([first, second]),
                _ => {}
            }
        }
        self.read_packet(&packet);
        Some(())
    }

    /// Two bytes of CEA-608, without parity. Control codes say for which channel of the field they are; those that begin or show
    /// captions are what tells that there are any (CTA-608-E §8.4, tables 52 and 53), and text mode and what is said of the programme are not captions.
    fn read_pair(&mut self, field: u32, first: u8, second: u8) {
        let is_command = matches!(first & 0x77, 0x14 | 0x15) && matches!(second, 0x20 | 0x25..=0x27 | 0x29 | 0x2F);
        let is_place = matches!(first, 0x10..=0x1F) && matches!(second, 0x40..=0x7F);
        if is_command || is_place {
            let second_channel = u8::from(first & 0x08 != 0);
            self.channels.insert(CaptionChannel::Cc(1 + field as u8 * 2 + second_channel));
        }
    }

    /// As much of a packet of CEA-708 as one picture has (CTA-708-E §5, §6.2): service blocks, each with the number of its service
    /// and how many bytes follow. The first stands right behind the packet's header, so that it is never missed.
    fn read_packet(&mut self, packet: &[u8]) {
        let Some((&head, mut rest)) = packet.split_first() else { return };
        let len = match head & 0x3F {
            0 => 127,
            code => usize::from(code) * 2 - 1,
        };
        rest = rest.get(..len).unwrap_or(rest);
        while let Some((&head, behind)) = rest.split_first() {
            let (number, size) = (head >> 5, usize::from(head & 0x1F));
            // A null block is the end of what is said.
            if number == 0 {
                return;
            }
            let (number, behind) = match (number, behind.split_first()) {
                (7, Some((&extended, behind))) if size > 0 => (extended & 0x3F, behind),
                (7, _) => return,
                (number, _) => (number, behind),
            };
            if size > 0 && number > 0 && !behind.is_empty() {
                self.channels.insert(CaptionChannel::Service(number));
            }
            rest = behind.get(size..).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A message of triples.
    fn message(triples: &[(bool, u8, u8, u8)]) -> Vec<u8> {
        let mut out = vec![0xB5, 0, 0x31];
        out.extend_from_slice(b"GA94\x03");
        out.extend([0x40 | triples.len() as u8, 0xFF]);
        for (valid, kind, first, second) in triples {
            out.extend([0xF8 | u8::from(*valid) << 2 | kind, *first, *second]);
        }
        out.push(0xFF);
        out
    }

    fn found(message: &[u8]) -> String {
        let mut found = Found::default();
        found.read(Bits::new(message));
        write(&found.captions()).replace("=und", "")
    }

    #[test]
    fn channels_are_told_by_what_is_sent() {
        let pair = |kind, first, second| (true, kind, first, second);
        for (name, triples, want) in [
            ("roll-up", vec![pair(0, 0x94, 0x25)], "CC1"),
            ("both fields, with parity", vec![pair(0, 0x1C | 0x80, 0x20), pair(1, 0x15, 0x2F)], "CC2 CC3"),
            ("a place", vec![pair(1, 0x9E, 0x70)], "CC4"),
            ("nothing", vec![pair(0, 0x80, 0x80), pair(1, 0x80, 0x80)], ""),
            ("words alone", vec![pair(0, 0xC1, 0xC2)], ""),
            ("text mode", vec![pair(0, 0x14, 0x2A)], ""),
            ("of the programme", vec![pair(1, 0x01, 0x03)], ""),
            ("erased", vec![pair(0, 0x14, 0x2C)], ""),
            ("not valid", vec![(false, 0, 0x94, 0x25), (false, 3, 0x02, 0x22)], ""),
            ("a service", vec![pair(3, 0x02, 0x22), pair(2, 0x41, 0x42)], "SERVICE1"),
            (
                "two services",
                vec![pair(3, 0xC4, 0x22), pair(2, 0x41, 0x42), pair(2, 0x41, 0x00), pair(2, 0, 0)],
                "SERVICE1 SERVICE2",
            ),
            ("an extended service", vec![pair(3, 0x03, 0xE1), pair(2, 0x0A, 0x41)], "SERVICE10"),
            ("empty blocks", vec![pair(3, 0x02, 0x20), pair(2, 0x00, 0x00)], ""),
            ("a packet's rest", vec![pair(2, 0x22, 0x41)], ""),
            ("longer than the picture's share", vec![pair(3, 0x3F, 0x3F), pair(2, 0x41, 0x41)], "SERVICE1"),
        ] {
            assert_eq!(found(&message(&triples)), want, "{name}");
        }
        let mut other = message(&[(true, 0, 0x94, 0x25)]);
        other[2] = 0x3C;
        assert_eq!(found(&other), "", "another provider");
        let whole = message(&[(true, 0, 0x94, 0x25), (true, 1, 0x15, 0x2F)]);
        assert_eq!(found(&whole[..14]), "CC1", "cut");
    }

    #[test]
    fn captions_have_a_channel_and_a_language() {
        for (text, want) in [
            ("", Some("")),
            ("CC1=en", Some("CC1=en")),
            (" SERVICE63=pt-BR  CC3=es CC1=eng ", Some("CC1=eng CC3=es SERVICE63=pt-BR")),
            ("CC0=en", None),
            ("CC5=en", None),
            ("CC01=en", None),
            ("cc1=en", None),
            ("SERVICE64=en", None),
            ("SERVICE=en", None),
            ("CC1", None),
            ("CC1=", None),
            ("CC1=e\"n", None),
            ("CC1=en;CC3=es", None),
            ("CC1=en CC1=es", None),
        ] {
            assert_eq!(read(text).map(|captions| write(&captions)).as_deref(), want, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn anything_may_come(data in prop::collection::vec(any::<u8>(), 0..120), triples in prop::collection::vec(any::<(bool, u8, u8, u8)>(), 0..31)) {
            let mut found = Found::default();
            found.read(Bits::of_nal(&data));
            let triples: Vec<_> = triples.into_iter().map(|(valid, kind, first, second)| (valid, kind & 3, first, second)).collect();
            found.read(Bits::new(&message(&triples)));
            let text = write(&found.captions());
            prop_assert_eq!(read(&text), Some(found.captions()));
        }
    }
}
