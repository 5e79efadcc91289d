//! Languages as files state them, as BCP 47 tags.

/// The tag of `mdhd`'s 16 bits (ISO/IEC 14496-12 §8.4.2.3): three letters of ISO 639-2, or in QuickTime files a
/// Macintosh language code. `und` if it is neither.
pub(super) fn from_mdhd(code: u16, quicktime: bool) -> String {
    // Letters are five bits each, never 0, so three of them are 0x400 or more; QuickTime's codes are below.
    if code < 0x400 {
        let tag = if quicktime { MACINTOSH.get(usize::from(code)).copied() } else { None };
        return tag.filter(|tag| !tag.is_empty()).unwrap_or("und").to_owned();
    }
    let letter = |shift: u16| char::from(((code >> shift) & 31) as u8 + 0x60);
    let letters = [letter(10), letter(5), letter(0)];
    if code >> 15 != 0 || !letters.iter().all(char::is_ascii_lowercase) {
        return "und".to_owned();
    }
    let code: String = letters.iter().collect();
    shortest(&code).to_owned()
}

/// A tag of `elng` (§8.4.6), if it is one: subtags of 1 to 8 letters or digits. Its language is made the shortest.
pub fn from_elng(text: &str) -> Option<String> {
    let (language, rest) = text.split_once('-').unwrap_or((text, ""));
    let subtag = |part: &str| (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if text.len() > 64 || !text.split('-').all(subtag) || !language.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return None;
    }
    let lower = language.to_ascii_lowercase();
    let language = shortest(&lower);
    Some(if rest.is_empty() { language.to_owned() } else { format!("{language}-{rest}") })
}

/// RFC 5646 §2.2.1: the two-letter code where there is one.
fn shortest(code: &str) -> &str {
    let found = ISO_639.binary_search_by_key(&code, |(three, _)| three);
    found.ok().and_then(|at| ISO_639.get(at)).map_or(code, |(_, two)| two)
}

/// ISO 639-2, terminological and bibliographic codes, to ISO 639-1; sorted.
#[rustfmt::skip]
const ISO_639: [(&str, &str); 204] = [
    ("aar", "aa"), ("abk", "ab"), ("afr", "af"), ("aka", "ak"), ("alb", "sq"), ("amh", "am"), ("ara", "ar"), ("arg", "an"),
    ("arm", "hy"), ("asm", "as"), ("ava", "av"), ("ave", "ae"), ("aym", "ay"), ("aze", "az"), ("bak", "ba"), ("bam", "bm"),
    ("baq", "eu"), ("bel", "be"), ("ben", "bn"), ("bih", "bh"), ("bis", "bi"), ("bod", "bo"), ("bos", "bs"), ("bre", "br"),
    ("bul", "bg"), ("bur", "my"), ("cat", "ca"), ("ces", "cs"), ("cha", "ch"), ("che", "ce"), ("chi", "zh"), ("chu", "cu"),
    ("chv", "cv"), ("cor", "kw"), ("cos", "co"), ("cre", "cr"), ("cym", "cy"), ("cze", "cs"), ("dan", "da"), ("deu", "de"),
    ("div", "dv"), ("dut", "nl"), ("dzo", "dz"), ("ell", "el"), ("eng", "en"), ("epo", "eo"), ("est", "et"), ("eus", "eu"),
    ("ewe", "ee"), ("fao", "fo"), ("fas", "fa"), ("fij", "fj"), ("fin", "fi"), ("fra", "fr"), ("fre", "fr"), ("fry", "fy"),
    ("ful", "ff"), ("geo", "ka"), ("ger", "de"), ("gla", "gd"), ("gle", "ga"), ("glg", "gl"), ("glv", "gv"), ("gre", "el"),
    ("grn", "gn"), ("guj", "gu"), ("hat", "ht"), ("hau", "ha"), ("hbs", "sh"), ("heb", "he"), ("her", "hz"), ("hin", "hi"),
    ("hmo", "ho"), ("hrv", "hr"), ("hun", "hu"), ("hye", "hy"), ("ibo", "ig"), ("ice", "is"), ("ido", "io"), ("iii", "ii"),
    ("iku", "iu"), ("ile", "ie"), ("ina", "ia"), ("ind", "id"), ("ipk", "ik"), ("isl", "is"), ("ita", "it"), ("jav", "jv"),
    ("jpn", "ja"), ("kal", "kl"), ("kan", "kn"), ("kas", "ks"), ("kat", "ka"), ("kau", "kr"), ("kaz", "kk"), ("khm", "km"),
    ("kik", "ki"), ("kin", "rw"), ("kir", "ky"), ("kom", "kv"), ("kon", "kg"), ("kor", "ko"), ("kua", "kj"), ("kur", "ku"),
    ("lao", "lo"), ("lat", "la"), ("lav", "lv"), ("lim", "li"), ("lin", "ln"), ("lit", "lt"), ("ltz", "lb"), ("lub", "lu"),
    ("lug", "lg"), ("mac", "mk"), ("mah", "mh"), ("mal", "ml"), ("mao", "mi"), ("mar", "mr"), ("may", "ms"), ("mkd", "mk"),
    ("mlg", "mg"), ("mlt", "mt"), ("mon", "mn"), ("mri", "mi"), ("msa", "ms"), ("mya", "my"), ("nau", "na"), ("nav", "nv"),
    ("nbl", "nr"), ("nde", "nd"), ("ndo", "ng"), ("nep", "ne"), ("nld", "nl"), ("nno", "nn"), ("nob", "nb"), ("nor", "no"),
    ("nya", "ny"), ("oci", "oc"), ("oji", "oj"), ("ori", "or"), ("orm", "om"), ("oss", "os"), ("pan", "pa"), ("per", "fa"),
    ("pli", "pi"), ("pol", "pl"), ("por", "pt"), ("pus", "ps"), ("que", "qu"), ("roh", "rm"), ("ron", "ro"), ("rum", "ro"),
    ("run", "rn"), ("rus", "ru"), ("sag", "sg"), ("san", "sa"), ("sin", "si"), ("slk", "sk"), ("slo", "sk"), ("slv", "sl"),
    ("sme", "se"), ("smo", "sm"), ("sna", "sn"), ("snd", "sd"), ("som", "so"), ("sot", "st"), ("spa", "es"), ("sqi", "sq"),
    ("srd", "sc"), ("srp", "sr"), ("ssw", "ss"), ("sun", "su"), ("swa", "sw"), ("swe", "sv"), ("tah", "ty"), ("tam", "ta"),
    ("tat", "tt"), ("tel", "te"), ("tgk", "tg"), ("tgl", "tl"), ("tha", "th"), ("tib", "bo"), ("tir", "ti"), ("ton", "to"),
    ("tsn", "tn"), ("tso", "ts"), ("tuk", "tk"), ("tur", "tr"), ("twi", "tw"), ("uig", "ug"), ("ukr", "uk"), ("urd", "ur"),
    ("uzb", "uz"), ("ven", "ve"), ("vie", "vi"), ("vol", "vo"), ("wel", "cy"), ("wln", "wa"), ("wol", "wo"), ("xho", "xh"),
    ("yid", "yi"), ("yor", "yo"), ("zha", "za"), ("zho", "zh"),
];

/// QuickTime File Format, language code values, by code.
#[rustfmt::skip]
const MACINTOSH: [&str; 95] = [
    "en", "fr", "de", "it", "nl", "sv", "es", "da", "pt", "no", "he", "ja", "ar", "fi", "el", "is", "mt", "tr", "hr",
    "zh-Hant", "ur", "hi", "th", "ko", "lt", "pl", "hu", "et", "lv", "se", "fo", "fa", "ru", "zh-Hans", "nl-BE", "ga",
    "sq", "ro", "cs", "sk", "sl", "yi", "sr", "mk", "bg", "uk", "be", "uz", "kk", "az", "az-Arab", "hy", "ka", "ro-MD",
    "ky", "tg", "tk", "mn", "mn-Cyrl", "ps", "ku", "ks", "sd", "bo", "ne", "sa", "mr", "bn", "as", "gu", "pa", "or", "ml",
    "kn", "ta", "te", "si", "my", "km", "lo", "vi", "id", "tl", "ms", "ms-Arab", "am", "ti", "om", "so", "sw", "rw", "rn",
    "ny", "mg", "eo",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(code: &str) -> u16 {
        code.bytes().fold(0, |packed, letter| packed << 5 | u16::from(letter - 0x60))
    }

    #[test]
    fn languages_become_the_shortest_tag() {
        assert!(ISO_639.is_sorted_by(|a, b| a.0 < b.0));
        for (code, quicktime, want) in [
            (packed("eng"), false, "en"),
            (packed("ger"), false, "de"),
            (packed("deu"), true, "de"),
            (packed("gsw"), false, "gsw"),
            (packed("und"), false, "und"),
            (0x7fff, true, "und"),
            (0xffff, false, "und"),
            (0, true, "en"),
            (0, false, "und"),
            (94, true, "eo"),
            (300, true, "und"),
        ] {
            assert_eq!(from_mdhd(code, quicktime), want, "{code:#x}");
        }
        for (text, want) in [
            ("en-GB", Some("en-GB")),
            ("deu-CH", Some("de-CH")),
            ("zh-Hant-TW", Some("zh-Hant-TW")),
            ("EN", Some("en")),
            ("", None),
            ("en-", None),
            ("en\n", None),
            ("1", None),
        ] {
            assert_eq!(from_elng(text).as_deref(), want, "{text}");
        }
    }
}
