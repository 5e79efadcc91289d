//! Channels that were made with the admin API: one JSON file, in the words of who made them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::sys::crash;

/// The keys of each channel by its name, as they were accepted; what they leave open means what the build says.
#[derive(Debug)]
pub struct Stored {
    path: PathBuf,
    channels: BTreeMap<String, Map<String, Value>>,
}

/// Hidden, for the directory may be the library's.
const FILE: &str = ".headwater.channels.json";
const NEW_FILE: &str = ".headwater.channels.json.new";
/// A thousand channels are a tenth of it.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

impl Stored {
    /// Reads what is in the directory; nothing yet is no mistake.
    pub fn load(directory: &Path) -> io::Result<Stored> {
        let path = directory.join(FILE);
        let mut stored = Stored { path, channels: BTreeMap::new() };
        let text = match fs::metadata(&stored.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(stored),
            Err(error) => return Err(error),
            Ok(metadata) if metadata.len() > FILE_BYTES_MAX => {
                return Err(malformed("larger than any list of channels"));
            }
            Ok(_) => fs::read(&stored.path)?,
        };
        let found: Value = serde_json::from_slice(&text).map_err(|error| malformed(&error.to_string()))?;
        let rows = found["channels"].as_array().ok_or_else(|| malformed("without a list \"channels\""))?;
        for row in rows {
            let keys = row.as_object().cloned();
            let name = row["name"].as_str().map(str::to_owned);
            let (Some(keys), Some(name)) = (keys, name) else { return Err(malformed("with a channel without a name")) };
            stored.channels.insert(name, keys);
        }
        Ok(stored)
    }

    pub fn channels(&self) -> impl Iterator<Item = (&str, &Map<String, Value>)> {
        self.channels.iter().map(|(name, keys)| (name.as_str(), keys))
    }

    /// Waits until it is on disk, for good.
    pub fn put(&mut self, name: &str, keys: Map<String, Value>) -> io::Result<()> {
        let before = self.channels.insert(name.to_owned(), keys);
        let saved = self.save();
        if saved.is_err() {
            self.restore(name, before);
        }
        saved
    }

    /// As `put`. What is not there is no mistake.
    pub fn remove(&mut self, name: &str) -> io::Result<()> {
        let Some(before) = self.channels.remove(name) else { return Ok(()) };
        let saved = self.save();
        if saved.is_err() {
            self.restore(name, Some(before));
        }
        saved
    }

    fn restore(&mut self, name: &str, before: Option<Map<String, Value>>) {
        match before {
            Some(keys) => self.channels.insert(name.to_owned(), keys),
            None => self.channels.remove(name),
        };
    }

    fn save(&self) -> io::Result<()> {
        let text = json!({ "channels": self.channels.values().collect::<Vec<_>>() }).to_string() + "\n";
        let new = self.path.with_file_name(NEW_FILE);
        // Publish keys are for nobody else to read.
        let mut file = File::options().create(true).write(true).truncate(true).mode(0o600).open(&new)?;
        crash::point("channels created");
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        crash::point("channels written");
        fs::rename(&new, &self.path)?;
        crash::point("channels renamed");
        File::open(self.path.parent().unwrap_or(Path::new("/")))?.sync_all()
    }
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not a list of channels: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn channels_survive() {
        let dir = tempfile::tempdir().unwrap();
        let keys = |name: &str| json!({ "name": name, "window": "1h" }).as_object().unwrap().clone();
        let mut stored = Stored::load(dir.path()).unwrap();
        stored.put("b", keys("b")).unwrap();
        stored.put("a", keys("a")).unwrap();
        stored.remove("none").unwrap();
        let again = Stored::load(dir.path()).unwrap();
        assert_eq!(again.channels().map(|(name, _)| name).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(again.channels().next().unwrap().1, &keys("a"));
        assert_eq!(fs::metadata(&again.path).unwrap().permissions().mode() & 0o777, 0o600);
        stored.remove("a").unwrap();
        assert_eq!(Stored::load(dir.path()).unwrap().channels().count(), 1);
    }

    #[test]
    fn nonsense_is_not_taken_for_no_channels() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["", "[]", "{}", "{\"channels\": 1}", "{\"channels\": [1]}", "{\"channels\": [{\"name\": 1}]}"] {
            fs::write(dir.path().join(FILE), text).unwrap();
            assert_eq!(Stored::load(dir.path()).unwrap_err().kind(), io::ErrorKind::InvalidData, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_saved_is_not_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let mut stored = Stored::load(dir.path()).unwrap();
        fs::create_dir(dir.path().join(NEW_FILE)).unwrap();
        assert!(stored.put("a", Map::new()).is_err());
        assert_eq!(stored.channels().count(), 0);
    }
}
