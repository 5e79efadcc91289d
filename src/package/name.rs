//! What a viewer reads in a menu.

use crate::media::track::{Kind, Role, Track};

/// The track's own name, or one made of its language and role.
pub(super) fn display(track: &Track) -> String {
    if let Some(name) = track.name.as_deref().map(str::trim).filter(|name| !name.is_empty()) {
        return name.to_owned();
    }
    let base = match (language(&track.language), track.kind()) {
        (Some(language), _) => language.to_owned(),
        (None, _) if track.language != "und" && !track.language.is_empty() => track.language.clone(),
        (None, Kind::Video) => "Video".to_owned(),
        (None, Kind::Audio) => "Audio".to_owned(),
        (None, Kind::Text) => "Subtitles".to_owned(),
    };
    match track.role {
        Role::Main => base,
        Role::Alternate => base + " (alternate)",
        Role::Commentary => base + " (commentary)",
        Role::Description => base + " (audio description)",
        Role::Forced => base + " (forced)",
        Role::Caption => base + " (captions)",
    }
}

/// `name`, or `name 2`, `name 3`… so that it is none of `taken`.
pub(super) fn unique(name: String, taken: &[String]) -> String {
    if !taken.contains(&name) {
        return name;
    }
    let numbered = (2..).map(|count: u32| format!("{name} {count}"));
    numbered.into_iter().find(|candidate| !taken.contains(candidate)).unwrap_or(name)
}

/// What its speakers call it, or the tag.
pub(super) fn of_language(tag: &str) -> &str {
    language(tag).unwrap_or(tag)
}

/// What its speakers call it. A region or script stays visible: `Português (pt-BR)` would be said by `name` instead.
fn language(tag: &str) -> Option<&'static str> {
    let found = LANGUAGES.binary_search_by(|(code, _)| (*code).cmp(tag));
    found.ok().map(|at| LANGUAGES[at].1)
}

/// Ordered by tag (ISO 639-1).
const LANGUAGES: [(&str, &str); 42] = [
    ("ar", "العربية"),
    ("bg", "Български"),
    ("bn", "বাংলা"),
    ("ca", "Català"),
    ("cs", "Čeština"),
    ("da", "Dansk"),
    ("de", "Deutsch"),
    ("el", "Ελληνικά"),
    ("en", "English"),
    ("es", "Español"),
    ("et", "Eesti"),
    ("fa", "فارسی"),
    ("fi", "Suomi"),
    ("fr", "Français"),
    ("he", "עברית"),
    ("hi", "हिन्दी"),
    ("hr", "Hrvatski"),
    ("hu", "Magyar"),
    ("id", "Bahasa Indonesia"),
    ("is", "Íslenska"),
    ("it", "Italiano"),
    ("ja", "日本語"),
    ("ko", "한국어"),
    ("lt", "Lietuvių"),
    ("lv", "Latviešu"),
    ("ms", "Bahasa Melayu"),
    ("nb", "Norsk bokmål"),
    ("nl", "Nederlands"),
    ("no", "Norsk"),
    ("pl", "Polski"),
    ("pt", "Português"),
    ("ro", "Română"),
    ("ru", "Русский"),
    ("sk", "Slovenčina"),
    ("sl", "Slovenščina"),
    ("sr", "Српски"),
    ("sv", "Svenska"),
    ("th", "ไทย"),
    ("tr", "Türkçe"),
    ("uk", "Українська"),
    ("vi", "Tiếng Việt"),
    ("zh", "中文"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_ordered_and_names_are_unique() {
        assert!(LANGUAGES.is_sorted_by(|a, b| a.0 < b.0));
        assert_eq!(language("sv"), Some("Svenska"));
        assert_eq!(language("pt-BR"), None);
        let taken = ["English".to_owned(), "English 2".to_owned()];
        assert_eq!(unique("English".to_owned(), &taken), "English 3");
        assert_eq!(unique("Deutsch".to_owned(), &taken), "Deutsch");
    }
}
