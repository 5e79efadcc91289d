//! Text in XML.

use std::borrow::Cow;

use quick_xml::escape::escape;

/// For content and for values of attributes. What XML 1.0 has no way to say (§2.2) becomes U+FFFD.
pub fn escaped(text: &str) -> Cow<'_, str> {
    let bad = |char: char| matches!(char, '\0'..='\x08' | '\x0b' | '\x0c' | '\x0e'..='\x1f' | '\u{fffe}' | '\u{ffff}');
    match text.contains(bad) {
        true => Cow::Owned(escape(text.replace(bad, "\u{fffd}").as_str()).into_owned()),
        false => escape(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_always_well_formed() {
        for (text, want) in [
            ("plain", "plain"),
            ("<a> & \"b\"", "&lt;a&gt; &amp; &quot;b&quot;"),
            ("a\x01b\u{ffff}🎬\tc", "a\u{fffd}b\u{fffd}🎬\tc"),
        ] {
            assert_eq!(escaped(text), want);
        }
    }
}
