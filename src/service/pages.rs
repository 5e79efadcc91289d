//! Pages: a few fixed texts at fixed paths, such as the player.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;

use crate::http::{Kind, uri};

use super::manifest::{Label, Manifest};

/// What is served beside assets, by path.
#[derive(Default)]
pub struct Pages {
    by_path: HashMap<Box<str>, Arc<Manifest>>,
}

impl Pages {
    /// Adds or replaces a page. `path` starts with a slash and is compared once decoded; `content_type` is the value of the
    /// field.
    pub fn add(&mut self, path: &str, content_type: &'static str, text: impl Into<Bytes>) {
        self.by_path.insert(path.into(), Arc::new(page(content_type, text.into())));
    }

    /// With what Silverlight and Flash ask of an origin before they read from it: everything here may be read by any page.
    pub fn with_policies(mut self) -> Pages {
        const POLICIES: [(&str, &str); 2] = [
            (
                "/clientaccesspolicy.xml",
                "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<access-policy>\n <cross-domain-access>\n  <policy>\n   \
                 <allow-from http-request-headers=\"*\">\n    <domain uri=\"*\"/>\n   </allow-from>\n   \
                 <grant-to>\n    <resource path=\"/\" include-subpaths=\"true\"/>\n   </grant-to>\n  </policy>\n \
                 </cross-domain-access>\n</access-policy>\n",
            ),
            (
                "/crossdomain.xml",
                "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<cross-domain-policy>\n <allow-access-from domain=\"*\"/>\n \
                 <allow-http-request-headers-from domain=\"*\" headers=\"*\"/>\n</cross-domain-policy>\n",
            ),
        ];
        for (path, text) in POLICIES {
            if self.find(path).is_none() {
                self.add(path, "text/xml; charset=utf-8", text);
            }
        }
        self
    }

    pub fn find(&self, path: &str) -> Option<&Arc<Manifest>> {
        self.by_path.get(path)
    }
}

/// Fetched again at every visit, and unless it has changed answered with 304.
fn page(content_type: &'static str, text: Bytes) -> Manifest {
    let label = Label {
        kind: Kind::Page,
        content_type,
        source: format!("page-{:x}", text.len()),
        last_modified: None,
        cache_control: "no-cache".into(),
    };
    Manifest::new(label, text)
}

/// What the player page shows: names, and the manifests relative to the page.
pub fn asset_list(names: &[&str]) -> Manifest {
    list("assets", "vod", names)
}

/// The same of channels.
pub fn channel_list(names: &[&str]) -> Manifest {
    list("channels", "live", names)
}

fn list(what: &str, below: &str, names: &[&str]) -> Manifest {
    let rows: Vec<_> = names
        .iter()
        .map(|name| {
            let element = uri::encode_element(name);
            json!({
                "name": name,
                "hls": format!("{below}/{element}/index.m3u8"),
                "dash": format!("{below}/{element}/index.mpd"),
            })
        })
        .collect();
    page("application/json", Bytes::from(json!({ what: rows }).to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Piece;
    use crate::http::{Response, request};

    fn answer(page: &Manifest, fields: &str) -> Response {
        let head = format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
        let (request, _) = request::parse(head.as_bytes()).unwrap().unwrap();
        page.form(&request).expect("small enough to be compressed in place").respond(&request)
    }

    fn text(response: &Response) -> String {
        match response.body.pieces() {
            [Piece::Inline(bytes)] => String::from_utf8(bytes.to_vec()).unwrap(),
            pieces => panic!("{pieces:?}"),
        }
    }

    #[test]
    fn a_page_is_found_at_its_path_and_revalidated() {
        let mut pages = Pages::default();
        pages.add("/", "text/html; charset=utf-8", "<!doctype html>");
        assert!(pages.find("/index.html").is_none());
        let page = pages.find("/").unwrap();
        let whole = answer(page, "");
        assert_eq!((whole.kind, text(&whole).as_str()), (Kind::Page, "<!doctype html>"));
        let fields = String::from_utf8(whole.fields.to_vec()).unwrap();
        assert!(fields.starts_with("Content-Type: text/html; charset=utf-8\r\n"), "{fields}");
        assert!(fields.contains("Cache-Control: no-cache\r\n"), "{fields}");
        let etag = fields.split("\r\n").find_map(|line| line.strip_prefix("ETag: ")).unwrap();
        assert_eq!(answer(page, &format!("If-None-Match: {etag}\r\n")).status.0, 304);
        // Another page at the same place has another tag, even if it is as long.
        pages.add("/", "text/html; charset=utf-8", "<!DOCTYPE HTML>");
        assert_eq!(answer(pages.find("/").unwrap(), &format!("If-None-Match: {etag}\r\n")).status.0, 200);
    }

    #[test]
    fn the_list_links_to_the_manifests() {
        let list = answer(&asset_list(&["big \"buck\"", "film"]), "");
        assert_eq!(
            text(&list),
            r#"{"assets":[{"dash":"vod/big%20%22buck%22/index.mpd","hls":"vod/big%20%22buck%22/index.m3u8","name":"big \"buck\""},{"dash":"vod/film/index.mpd","hls":"vod/film/index.m3u8","name":"film"}]}"#
        );
        let list = answer(&channel_list(&["news"]), "");
        assert_eq!(
            text(&list),
            r#"{"channels":[{"dash":"live/news/index.mpd","hls":"live/news/index.m3u8","name":"news"}]}"#
        );
    }
}
