//! The URL space: what a path names, before anybody looks whether it is there.

pub use crate::package::url::Resource;

use crate::package::{live_url, url};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route<'a> {
    Vod {
        asset: &'a str,
        resource: Resource<'a>,
    },
    Live {
        channel: &'a str,
        resource: live_url::Resource<'a>,
    },
    /// A container and the path of an object in it.
    Store {
        below: &'a str,
    },
    /// What the player page asks for.
    AssetList,
    ChannelList,
}

impl<'a> Route<'a> {
    /// `path` is decoded: it has no dot segments, and every slash in it separates elements.
    pub fn of(path: &'a str) -> Option<Route<'a>> {
        if path == "/assets.json" {
            return Some(Route::AssetList);
        }
        if path == "/channels.json" {
            return Some(Route::ChannelList);
        }
        if let Some(below) = path.strip_prefix("/store/") {
            return Some(Route::Store { below });
        }
        if let Some(below) = path.strip_prefix("/live/") {
            let (channel, rest) = below.split_once('/').filter(|(channel, _)| !channel.is_empty())?;
            return Some(Route::Live { channel, resource: live_url::parse(rest)? });
        }
        let (asset, rest) = path.strip_prefix("/vod/")?.split_once('/')?;
        if asset.is_empty() {
            return None;
        }
        Some(Route::Vod { asset, resource: url::parse(rest)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Ticks;
    use proptest::prelude::*;

    #[test]
    fn routes() {
        let vod = |asset, resource| Some(Route::Vod { asset, resource });
        let live = |channel, resource| Some(Route::Live { channel, resource });
        let (version, track) = ("0123456789abcdef", "v1");
        for (path, want) in [
            ("/vod/big/index.m3u8", vod("big", Resource::Multivariant)),
            ("/vod/big buck/index.mpd", vod("big buck", Resource::Mpd)),
            ("/vod/a/0123456789abcdef/v1.m3u8", vod("a", Resource::MediaPlaylist { version, track })),
            ("/vod/a/0123456789abcdef/v1/init.mp4", vod("a", Resource::Init { version, track })),
            ("/vod/a/0123456789abcdef/v1/90.m4s", vod("a", Resource::Segment { version, track, time: Ticks(90) })),
            ("/vod/a/0123456789abcdef/v1/0.vtt", vod("a", Resource::TextSegment { version, track, time: Ticks(0) })),
            ("/vod/a/0123456789abcdef/v1.vtt", vod("a", Resource::Text { version, track })),
            ("/assets.json", Some(Route::AssetList)),
            ("/channels.json", Some(Route::ChannelList)),
            ("/live/news/index.m3u8", live("news", live_url::Resource::Multivariant)),
            ("/live/news/v1/7.0.m4s", live("news", live_url::Resource::Part { track, number: 7, part: 0 })),
            ("/store/live/a/b.ts", Some(Route::Store { below: "live/a/b.ts" })),
            ("/store/", Some(Route::Store { below: "" })),
            ("/store", None),
            ("/live//index.m3u8", None),
            ("/live/index.m3u8", None),
            ("/live/news/", None),
            ("/vod/a/0123456789abcdef/v1/090.m4s", None),
            ("/vod/a/0123456789abcdef/v1/-1.m4s", None),
            ("/vod/a/b/c/d/index.m3u8", None),
            ("/vod//index.m3u8", None),
            ("/vod/index.m3u8", None),
            ("/vod/a/", None),
            ("/vod/a", None),
            ("/vod", None),
            ("/VOD/a/index.m3u8", None),
            ("//vod/a/index.m3u8", None),
            ("/", None),
        ] {
            assert_eq!(Route::of(path), want, "{path}");
        }
    }

    proptest! {
        #[test]
        fn anything_may_come(path in "/(vod/|live/|store/)?\\PC{0,60}") {
            let _ = Route::of(&path);
        }
    }
}
