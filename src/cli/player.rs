//! The player page: one HTML file without a foreign script, put together from the parts in `player/`.

pub const CONTENT_TYPE: &str = "text/html; charset=utf-8";

const PARTS: [(&str, &str); 7] = [
    ("/*{style.css}*/", include_str!("player/style.css")),
    ("/*{presentation.js}*/", include_str!("player/presentation.js")),
    ("/*{channel.js}*/", include_str!("player/channel.js")),
    ("/*{stream.js}*/", include_str!("player/stream.js")),
    ("/*{preview.js}*/", include_str!("player/preview.js")),
    ("/*{player.js}*/", include_str!("player/player.js")),
    ("/*{page.js}*/", include_str!("player/page.js")),
];

pub fn page() -> String {
    let page = include_str!("player/page.html").to_owned();
    PARTS.iter().fold(page, |page, (place, part)| page.replacen(place, part, 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_whole_and_needs_nobody_else() {
        let page = page();
        for (place, _) in PARTS {
            assert!(!page.contains(place), "{place} was not filled in");
        }
        for foreign in ["<script src", "<link rel=\"stylesheet\"", "@import", "https://"] {
            assert!(!page.contains(foreign), "{foreign}");
        }
        // Only names of namespaces may look like foreign addresses.
        for (at, _) in page.match_indices("http://") {
            assert!(page[at..].starts_with("http://www.w3.org/2000/svg"), "{}", &page[at..at + 60]);
        }
        assert_eq!(page.matches("<script").count(), 1);
        // What `service` lists assets and channels under, relative to the page.
        assert!(page.contains("loadNames(\"assets\"") && page.contains("loadNames(\"channels\""));
    }
}
