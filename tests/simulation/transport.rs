//! Who plays a channel's transport streams, and who skips through its key frames: these playlists keep to the same rules, and say
//! the same as those beside them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use headwater::http::Status;
use headwater::media::Kind;
use headwater::package::hls::rules::{self, Checked, Segment};
use headwater::service::live::Outcome;

use super::books::frames;
use super::viewer::{KEY_FRAMES, Stage, ask, bytes_of, media_playlists, playlists, text_of};

/// Looks again and again, as players that know nothing of parts and of waiting do.
#[derive(Default)]
pub struct Old {
    again: Duration,
    listed: BTreeMap<String, Arc<Checked>>,
}

/// Rarely enough to cost little; segments stay listed for much longer.
const EVERY: Duration = Duration::from_secs(5);

impl Old {
    /// What was known may be gone.
    pub fn forget(&mut self) {
        self.listed.clear();
    }

    pub fn turn(&mut self, stage: &mut Stage<'_>) {
        if stage.now < self.again {
            return;
        }
        self.again = stage.now + EVERY;
        let text = match ask("ts/index.m3u8", stage) {
            Outcome::Ready(response) => text_of(&response),
            _ => {
                let snapshot = stage.channel.snapshot();
                let broadcast = snapshot.broadcast(None);
                let mut tracks = broadcast.iter().flat_map(|broadcast| &broadcast.tracks);
                let is_text = tracks.all(|live| live.track.kind() == Kind::Text);
                assert!(is_text, "no transport streams: {}", stage.describe());
                return;
            }
        };
        let names = media_playlists(&text);
        assert!(!names.is_empty(), "{text}");
        for name in names {
            self.look(name, stage);
        }
        self.skip("ts/", &text, stage);
        if let Outcome::Ready(response) = ask("index.m3u8", stage) {
            self.skip("", &text_of(&response), stage);
        }
    }

    /// Looks at the key frames of each track.
    fn skip(&mut self, base: &str, text: &str, stage: &mut Stage<'_>) {
        for name in playlists(text) {
            let Some(track) = name.strip_suffix(KEY_FRAMES) else { continue };
            let name = format!("{base}{name}");
            let listed = playlist(&format!("{name}.m3u8"), stage);
            assert!(listed.is_of_key_frames && listed.server_control.is_empty(), "{name}");
            if let Some(before) = self.listed.get(&name).filter(|before| !stage.is_lossy && !before.is_ended) {
                rules::check_update(before, &listed).unwrap_or_else(|wrong| panic!("{name}: {wrong}"));
            }
            stage.books.verified.playlists += 1;
            let beside = playlist(&format!("{track}.m3u8"), stage);
            assert_eq!(about(&listed), about(&beside), "{name}: {}", stage.describe());
            assert_eq!(listed.segments.len(), beside.segments.len(), "{name}: {}", stage.describe());
            let snapshot = stage.channel.snapshot();
            let entries = (listed.media_sequence..).zip(listed.segments.iter().zip(&beside.segments));
            let mut newest = None;
            for (number, (key, segment)) in entries {
                assert_eq!(told(key), told(segment), "{}: {}", key.uri, stage.describe());
                let found = snapshot.described(track, number);
                let is_key = found.is_some_and(|found| found.is_independent);
                assert_eq!(key.is_gap, segment.is_gap || !is_key, "{}: {}", key.uri, stage.describe());
                newest = Some((number, key, segment)).filter(|_| !key.is_gap).or(newest);
            }
            match newest {
                Some((number, key, _)) if !base.is_empty() => make(&format!("{base}{}", key.uri), number, stage),
                Some((number, key, segment)) => take(number, key, &segment.uri, stage),
                None => {}
            }
            self.listed.insert(name, listed);
        }
    }

    fn look(&mut self, name: String, stage: &mut Stage<'_>) {
        let listed = playlist(&format!("ts/{name}.m3u8"), stage);
        assert!(listed.part_target.is_none() && listed.hint.is_none() && listed.server_control.is_empty(), "{name}");
        // One that had ended may have begun again.
        if let Some(before) = self.listed.get(&name).filter(|before| !stage.is_lossy && !before.is_ended) {
            rules::check_update(before, &listed).unwrap_or_else(|wrong| panic!("ts/{name}: {wrong}"));
        }
        stage.books.verified.playlists += 1;
        let beside: Vec<_> = name.split('.').map(|track| playlist(&format!("{track}.m3u8"), stage)).collect();
        for other in &beside {
            assert_eq!(about(&listed), about(other), "ts/{name}: {}", stage.describe());
        }
        // Of pictures and sound, what both have or have passed; a gap is where neither has anything.
        let ends = beside.iter().map(|other| other.segments.len()).min();
        assert_eq!(Some(listed.segments.len()), ends, "ts/{name}: {}", stage.describe());
        for (at, segment) in listed.segments.iter().enumerate() {
            assert_eq!(told(segment), told(&beside[0].segments[at]), "ts/{}: {}", segment.uri, stage.describe());
            let is_gap = beside.iter().all(|other| other.segments[at].is_gap);
            assert_eq!(segment.is_gap, is_gap, "ts/{}: {}", segment.uri, stage.describe());
        }
        let newest = (listed.media_sequence..).zip(&listed.segments).filter(|(_, segment)| !segment.is_gap).last();
        if let Some((number, segment)) = newest.filter(|(_, segment)| !segment.uri.ends_with(".vtt")) {
            make(&format!("ts/{}", segment.uri), number, stage);
        }
        self.listed.insert(name, listed);
    }
}

fn about(checked: &Checked) -> (u64, u64, u64, bool) {
    (checked.target, checked.media_sequence, checked.discontinuity_sequence, checked.is_ended)
}

fn told(segment: &Segment) -> (u64, u64, Option<String>) {
    (segment.duration, segment.discontinuities, segment.date.clone())
}

/// A key frame is the first picture of its segment, and no other.
fn take(number: u64, key: &Segment, segment: &str, stage: &mut Stage<'_>) {
    let [init, picture, media] =
        [key.map.as_deref().expect("an initialisation segment"), &key.uri, segment].map(|uri| match ask(uri, stage) {
            Outcome::Ready(response) if response.status == Status::OK => bytes_of(&response),
            _ => panic!("{uri} is listed, and is not there"),
        });
    stage.books.body(&key.uri, &picture, number);
    let [found, all] = [&picture, &media].map(|bytes| frames(Kind::Video, &init, bytes, &key.uri));
    assert_eq!(found, all[..1], "{}", key.uri);
}

fn playlist(path: &str, stage: &mut Stage<'_>) -> Arc<Checked> {
    match ask(path, stage) {
        Outcome::Ready(response) if response.status == Status::OK => stage.books.playlist(&text_of(&response), path),
        _ => panic!("{path} is listed, and is not there"),
    }
}

/// What is listed can be made at once, and is the same whenever it is.
fn make(uri: &str, number: u64, stage: &mut Stage<'_>) {
    let Outcome::Make(wanted) = ask(uri, stage) else { panic!("{uri} is listed, and cannot be made") };
    let mut making = wanted.making().unwrap_or_else(|error| panic!("{uri}: {error}"));
    let mut bytes = Vec::new();
    while making.advance(&mut bytes) {}
    assert!(!bytes.is_empty(), "{uri} is empty");
    // ISO/IEC 13818-1 §2.4.3.2.
    let is_whole = bytes.chunks(188).all(|packet| packet.len() == 188 && packet[0] == 0x47);
    assert!(is_whole || !uri.ends_with(".ts"), "{uri} is no transport stream");
    stage.books.body(uri, &bytes, number);
}
