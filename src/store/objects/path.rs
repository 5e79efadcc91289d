//! Names of objects: the rules of the MediaStore data API, with a container as the first path element.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use thiserror::Error;

/// `container/folder/…/name`, checked. Ordered by folder and then by name, so that what lies in one folder lies side by side.
#[derive(Clone, PartialEq, Eq)]
pub struct ObjectPath {
    text: Box<str>,
    /// Length of the container's name.
    container: u16,
    /// Length of everything up to and with the last slash.
    folder: u16,
}

/// Why a name is refused; the display is the message of the answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BadName {
    #[error("the container name has {found} characters: 1 to {CONTAINER_BYTES_MAX} are allowed")]
    ContainerLength { found: usize },
    #[error("the container name contains {found:?}: A-Z a-z 0-9 - and _ are allowed")]
    ContainerCharacter { found: char },
    #[error("the path has {found} characters: 1 to {PATH_BYTES_MAX} are allowed")]
    Length { found: usize },
    #[error("the path contains {found:?}: A-Z a-z 0-9 . _ - ~ = and : are allowed")]
    Character { found: char },
    #[error("the path has {found} folders: {FOLDERS_MAX} are allowed")]
    Depth { found: usize },
    #[error("the path has an empty element")]
    Empty,
    #[error("the path has the element {found}")]
    Reserved { found: &'static str },
}

/// Of a path, without its container (the API's `PathNaming`).
pub const PATH_BYTES_MAX: usize = 900;
/// As of MediaStore's control plane.
pub const CONTAINER_BYTES_MAX: usize = 255;
/// Above the name.
pub const FOLDERS_MAX: usize = 10;
const _: () = assert!(CONTAINER_BYTES_MAX + 1 + PATH_BYTES_MAX <= u16::MAX as usize);

impl ObjectPath {
    /// `path` lies within the container, and is decoded.
    pub fn new(container: &str, path: &str) -> Result<ObjectPath, BadName> {
        check_container(container)?;
        check_path(path)?;
        let folder = container.len() + 1 + path.rfind('/').map_or(0, |slash| slash + 1);
        Ok(ObjectPath {
            text: [container, "/", path].concat().into(),
            container: container.len() as u16,
            folder: folder as u16,
        })
    }

    /// As [`ObjectPath::as_str`] wrote it.
    pub fn parse(text: &str) -> Result<ObjectPath, BadName> {
        let (container, path) = text.split_once('/').unwrap_or((text, ""));
        ObjectPath::new(container, path)
    }

    /// As [`ObjectPath::as_str`] wrote it, and a checksum says that it is: not looked at character by character. `None`: there
    /// is no object in it.
    pub(super) fn stored(text: &str) -> Option<ObjectPath> {
        let container = memchr::memchr(b'/', text.as_bytes())?;
        let folder = memchr::memrchr(b'/', text.as_bytes())? + 1;
        let fits = text.len() <= CONTAINER_BYTES_MAX + 1 + PATH_BYTES_MAX && folder < text.len();
        fits.then(|| ObjectPath { text: text.into(), container: container as u16, folder: folder as u16 })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn container(&self) -> &str {
        &self.text[..usize::from(self.container)]
    }

    /// With the container in front and a slash at the end.
    pub fn folder(&self) -> &str {
        &self.text[..usize::from(self.folder)]
    }

    pub fn name(&self) -> &str {
        &self.text[usize::from(self.folder)..]
    }

    /// Within its container.
    pub fn within(&self) -> &str {
        &self.text[usize::from(self.container) + 1..]
    }

    /// Whether what has this name is a playlist or manifest, by its ending.
    pub fn is_manifest(&self) -> bool {
        let ending = self.name().rsplit_once('.').map_or("", |(_, ending)| ending);
        ["m3u8", "m3u", "mpd"].iter().any(|manifest| ending.eq_ignore_ascii_case(manifest))
    }
}

pub fn check_container(name: &str) -> Result<(), BadName> {
    let allowed = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_');
    match name.chars().find(|&character| !allowed(character)) {
        Some(found) => Err(BadName::ContainerCharacter { found }),
        None if !(1..=CONTAINER_BYTES_MAX).contains(&name.len()) => Err(BadName::ContainerLength { found: name.len() }),
        None => Ok(()),
    }
}

/// The API's `PathNaming`, with `=` and `:` as its reference has them, and without the two names that mean another place.
fn check_path(path: &str) -> Result<(), BadName> {
    let allowed =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'~' | b'=' | b':' | b'/');
    if !(1..=PATH_BYTES_MAX).contains(&path.len()) {
        return Err(BadName::Length { found: path.len() });
    }
    if !path.bytes().all(allowed) {
        let found = path.chars().find(|&character| u8::try_from(character).map_or(true, |byte| !allowed(byte)));
        return Err(BadName::Character { found: found.unwrap_or_default() });
    }
    for element in path.split('/') {
        match element {
            "" => return Err(BadName::Empty),
            "." => return Err(BadName::Reserved { found: "." }),
            ".." => return Err(BadName::Reserved { found: ".." }),
            _ => {}
        }
    }
    match path.matches('/').count() {
        found if found > FOLDERS_MAX => Err(BadName::Depth { found }),
        _ => Ok(()),
    }
}

/// A folder to be listed, as the API writes it (`ListPathNaming`): with or without slashes at its ends. With the container in
/// front and a slash at the end.
pub fn folder(container: &str, path: &str) -> Result<String, BadName> {
    check_container(container)?;
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.is_empty() {
        return Ok(format!("{container}/"));
    }
    check_path(path)?;
    Ok(format!("{container}/{path}/"))
}

/// What objects are looked up by: folder and name.
pub trait Place {
    fn place(&self) -> (&str, &str);
}

impl Place for ObjectPath {
    fn place(&self) -> (&str, &str) {
        (self.folder(), self.name())
    }
}

impl Place for (&str, &str) {
    fn place(&self) -> (&str, &str) {
        *self
    }
}

impl PartialEq for dyn Place + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.place() == other.place()
    }
}

impl Eq for dyn Place + '_ {}

impl PartialOrd for dyn Place + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for dyn Place + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        self.place().cmp(&other.place())
    }
}

impl Hash for dyn Place + '_ {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.place().hash(state);
    }
}

impl Hash for ObjectPath {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.place().hash(state);
    }
}

impl<'a> Borrow<dyn Place + 'a> for ObjectPath {
    fn borrow(&self) -> &(dyn Place + 'a) {
        self
    }
}

impl fmt::Display for ObjectPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for ObjectPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names() {
        let long = "a".repeat(900);
        let deep = "a/".repeat(10) + "b";
        for (container, path, want) in [
            ("live", "a.ts", Ok(("live/", "a.ts"))),
            ("live", "premium/canada/mlaw.avi", Ok(("live/premium/canada/", "mlaw.avi"))),
            ("l_-9", "a=b:~._-/c", Ok(("l_-9/a=b:~._-/", "c"))),
            ("live", "...", Ok(("live/", "..."))),
            ("live", &long, Ok(("live/", long.as_str()))),
            ("live", &deep, Ok(("live/a/a/a/a/a/a/a/a/a/a/", "b"))),
            ("live", "", Err(BadName::Length { found: 0 })),
            ("live", &format!("{long}a"), Err(BadName::Length { found: 901 })),
            ("live", &format!("a/{deep}"), Err(BadName::Depth { found: 11 })),
            ("live", "a//b", Err(BadName::Empty)),
            ("live", "/a", Err(BadName::Empty)),
            ("live", "a/", Err(BadName::Empty)),
            ("live", "a/../b", Err(BadName::Reserved { found: ".." })),
            ("live", "./b", Err(BadName::Reserved { found: "." })),
            ("live", "a b", Err(BadName::Character { found: ' ' })),
            ("live", "a\\b", Err(BadName::Character { found: '\\' })),
            ("live", "ä", Err(BadName::Character { found: 'ä' })),
            ("live", "a\0", Err(BadName::Character { found: '\0' })),
            ("", "a", Err(BadName::ContainerLength { found: 0 })),
            ("..", "a", Err(BadName::ContainerCharacter { found: '.' })),
            ("a.b", "a", Err(BadName::ContainerCharacter { found: '.' })),
        ] {
            let path = ObjectPath::new(container, path);
            assert_eq!(path.as_ref().map(|path| (path.folder(), path.name())).map_err(Clone::clone), want, "{path:?}");
        }
        assert!(ObjectPath::new(&"c".repeat(255), "a").is_ok() && ObjectPath::new(&"c".repeat(256), "a").is_err());
    }

    #[test]
    fn manifests_are_known_by_their_endings() {
        for (path, want) in [
            ("a.m3u8", true),
            ("a/b.MPD", true),
            ("a.m3u8.ts", false),
            ("m3u8", false),
            ("mpd/a", false),
            ("a.m4s", false),
        ] {
            assert_eq!(ObjectPath::new("c", path).unwrap().is_manifest(), want, "{path}");
        }
    }

    #[test]
    fn folders() {
        for (path, want) in [
            ("", Some("c/")),
            ("/", Some("c/")),
            ("a", Some("c/a/")),
            ("/a/b/", Some("c/a/b/")),
            ("//", Some("c/")),
            ("a//", None),
            ("..", None),
        ] {
            assert_eq!(folder("c", path).ok().as_deref(), want, "{path:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_found_again(text in "[a-z.]{1,3}(/[a-z.~:=]{0,4}){0,12}") {
            if let Ok(path) = ObjectPath::parse(&text) {
                prop_assert_eq!(path.as_str(), &text);
                prop_assert_eq!([path.folder(), path.name()].concat(), text.clone());
                prop_assert_eq!([path.container(), "/", path.within()].concat(), text.clone());
                prop_assert!(text.split('/').all(|element| !element.is_empty() && element != "." && element != ".."));
            }
        }

        #[test]
        fn anything_may_come(container in "\\PC{0,20}", path in "\\PC{0,60}") {
            let _ = (ObjectPath::new(&container, &path), folder(&container, &path));
        }
    }
}
