//! What a publisher wants to publish as.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// Application and stream name, taken apart.
///
/// Encoders divide a URL between the two as they like: `live` and `news`, `live/news` and `v1`, `live` and `news/v1`; and
/// the query may stand with either, or in `tcUrl` alone. So they are joined, and who reads this decides what the pieces
/// mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Decoded pieces of the path, none of them empty: `live`, `news`, `v1`. May be of any characters otherwise.
    pub path: Vec<String>,
    /// Decoded parameters: those of the stream name first, then those of the application, then those of `tcUrl`.
    pub query: Vec<(String, String)>,
}

impl Target {
    pub fn new(tc_url: &str, app: &str, stream: &str) -> Target {
        let mut target = Target { path: Vec::new(), query: Vec::new() };
        let (app, app_query) = split(app);
        let (stream, stream_query) = split(stream);
        for part in [app, stream] {
            target
                .path
                .extend(part.split('/').filter(|piece| !piece.is_empty()).map(|piece| decode(piece).into_owned()));
        }
        let mut queries = vec![stream_query, app_query, split(tc_url).1];
        // What stands in the application stands in tcUrl too.
        queries.dedup();
        for query in queries {
            for pair in query.split('&').filter(|pair| !pair.is_empty()) {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                target.query.push((decode(name).into_owned(), decode(value).into_owned()));
            }
        }
        target
    }

    /// The first parameter of that name.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// A path and its query.
fn split(text: &str) -> (&str, &str) {
    text.split_once('?').unwrap_or((text, ""))
}

/// Text whose escapes are not UTF-8 stays as it is. A plus sign is one: nothing here comes from an HTML form.
fn decode(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8().unwrap_or(Cow::Borrowed(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_as_encoders_divide_them() {
        for (tc_url, app, stream, path, key) in [
            ("rtmp://h/live", "live", "news?key=s3cret", &["live", "news"][..], Some("s3cret")),
            ("rtmp://h:1935/live/", "live/", "news", &["live", "news"], None),
            ("rtmp://h/live/news", "live/news", "v1?a&key=x%2Fy+z", &["live", "news", "v1"], Some("x/y+z")),
            ("rtmp://h/live", "live", "/news/v1", &["live", "news", "v1"], None),
            ("rtmp://h/live?key=k", "live?key=k", "news", &["live", "news"], Some("k")),
            ("rtmp://h/live?key=k", "live", "news", &["live", "news"], Some("k")),
            ("rtmp://h/live?key=old", "live?key=old", "news?key=new", &["live", "news"], Some("new")),
            ("", "live", "n%C3%A9ws%20%zz%ff", &["live", "n%C3%A9ws%20%zz%ff"], None),
            ("", "live", "n%C3%A9ws%20?key", &["live", "néws "], Some("")),
            ("", "", "", &[], None),
        ] {
            let target = Target::new(tc_url, app, stream);
            assert_eq!(target.path, path, "{app} {stream}");
            assert_eq!(target.parameter("key"), key, "{app} {stream}");
        }
    }
}
