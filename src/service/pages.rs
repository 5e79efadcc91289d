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
    let assets: Vec<_> = names
        .iter()
        .map(|name| {
            let element = uri::encode_element(name);
            json!({
                "name": name,
                "hls": format!("vod/{element}/index.m3u8"),
                "dash": format!("vod/{element}/index.mpd"),
            })
        })
        .collect();
    page("application/json", Bytes::from(json!({ "assets": assets }).to_string()))
}
