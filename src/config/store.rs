//! `[store]`: the object store, its credentials and its containers.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use toml::de::DeValue;

use super::section::Section;
use super::{days, millis};
use crate::base::limits;
use crate::intake::objects::Credential;
use crate::store::objects::container::{Action, Container, CorsRule, ManifestLife, Principal, Statement};
use crate::store::objects::lifecycle::{Pattern, Rule};
use crate::store::objects::path::check_container;
use crate::store::objects::{Durability, EVERY_CONTAINER, WhenFull};

/// There is a store if the section stands in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    pub path: PathBuf,
    /// No two of the same id.
    pub credentials: Vec<Credential>,
    pub durability: Durability,
    /// Bytes of all objects.
    pub capacity: Option<u64>,
    pub when_full: WhenFull,
    /// Bytes.
    pub object_max: u64,
    /// Bytes a second; 0: none.
    pub write_rate_min: u64,
    /// Whether chunked uploads can be read while they come, if they do not say.
    pub is_streaming_default: bool,
    pub open_max: usize,
    /// In whole seconds.
    pub manifest_age: Duration,
    pub object_age: Duration,
    /// At least one, no two of the same name.
    pub containers: Vec<Container>,
}

const ID: &str = "1 to 128 of A-Z a-z 0-9 _ - . +";
const SECRET: &str = "8 to 256 visible ASCII characters";
const CONTAINER: &str = "\"*\" (every other), or 1 to 255 of A-Z a-z 0-9 - _";
const ORIGIN: &str = "origins such as \"https://www.example.com\", with at most one asterisk each";
const METHODS: [&str; 4] = ["GET", "HEAD", "PUT", "DELETE"];
const FIELDS: &str = "names of header fields, with at most one asterisk each";

pub fn store(root: &mut Section<'_, '_>) -> Option<Store> {
    let mut section = root.section("store");
    let path = section.path("path").unwrap_or_else(|| PathBuf::from("/var/lib/headwater/store"));
    let sync =
        section.text("sync", "\"each\", \"none\", or a duration from 1ms to 1s such as \"5ms\"", |text| match text {
            "each" => Some(Durability::Each),
            "none" => Some(Durability::None),
            text => super::value::duration(text)
                .filter(|sync| (millis(1)..=millis(1_000)).contains(sync))
                .map(Durability::Batched),
        });
    let capacity = section.value("capacity", "\"off\", or a size from 1 MiB to 1 PiB such as \"2 TiB\"", |value| {
        let text = match value {
            DeValue::String(text) => text,
            _ => return None,
        };
        match &**text {
            "off" => Some(None),
            text => super::value::size(text).filter(|size| (1 << 20..=1 << 50).contains(size)).map(Some),
        }
    });
    let when_full = section.text("when_full", "\"refuse\" or \"expire-oldest\"", |text| match text {
        "refuse" => Some(WhenFull::Refuse),
        "expire-oldest" => Some(WhenFull::ExpireOldest),
        _ => None,
    });
    let object_max = section.size("object_max", limits::STORE_OBJECT_BYTES_DEFAULT, 1 << 10..=1 << 40);
    let write_rate_min = section.size("write_rate_min", limits::STORE_WRITE_RATE_MIN_DEFAULT, 0..=1 << 30);
    let availability = section.text("availability", "\"streaming\" or \"standard\"", |text| match text {
        "streaming" => Some(true),
        "standard" => Some(false),
        _ => None,
    });
    let open_max = section.count("open_objects_max", limits::STORE_OPEN_DEFAULT, 16..=1_000_000);
    let age = |section: &mut Section<'_, '_>, key, default| {
        Duration::from_secs(section.duration(key, default, Duration::ZERO..=days(365)).as_secs())
    };
    let manifest_age = age(&mut section, "manifest_age", limits::STORE_MANIFEST_AGE_DEFAULT);
    let object_age = age(&mut section, "object_age", limits::STORE_OBJECT_AGE_DEFAULT);
    let credentials = credentials(&mut section);
    let containers = containers(&mut section, &credentials);
    let is_present = section.is_present();
    section.finish();
    is_present.then_some(Store {
        path,
        credentials,
        durability: sync.unwrap_or(Durability::Batched(limits::STORE_SYNC_DEFAULT)),
        capacity: capacity.flatten(),
        when_full: when_full.unwrap_or_default(),
        object_max,
        write_rate_min,
        is_streaming_default: availability.unwrap_or(true),
        open_max,
        manifest_age,
        object_age,
        containers,
    })
}

fn credentials(section: &mut Section<'_, '_>) -> Vec<Credential> {
    let mut credentials: Vec<Credential> = Vec::new();
    section.sections("credentials", |mut row| {
        let id = row.text("access_key_id", ID, |text| is_key_id(text).then(|| text.to_owned()));
        let secret = row.text("secret_access_key", SECRET, |text| {
            let is_sound = (8..=256).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
            is_sound.then(|| text.to_owned())
        });
        for (key, expected) in [("access_key_id", ID), ("secret_access_key", SECRET)] {
            if row.is_present() && !row.has(key) {
                row.problem(key, format!("missing, expected {expected}"));
            }
        }
        if let (Some(access_key_id), Some(secret_access_key)) = (id, secret) {
            match credentials.iter().any(|other| other.access_key_id == access_key_id) {
                true => row.problem("access_key_id", format!("there is another {access_key_id:?}")),
                false => credentials.push(Credential { access_key_id, secret_access_key }),
            }
        }
        row.finish();
    });
    credentials
}

fn is_key_id(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.+".contains(&byte);
    (1..=128).contains(&text.len()) && text.bytes().all(allowed)
}

fn containers(section: &mut Section<'_, '_>, credentials: &[Credential]) -> Vec<Container> {
    let mut containers: Vec<Container> = Vec::new();
    section.sections("container", |mut row| {
        let name = row.text("name", CONTAINER, |text| {
            (text == EVERY_CONTAINER || check_container(text).is_ok()).then(|| text.to_owned())
        });
        if row.is_present() && !row.has("name") {
            row.problem("name", format!("missing, expected {CONTAINER}"));
        }
        let manifests = row.text("manifests", "\"keep\" or \"expire\"", |text| match text {
            "keep" => Some(ManifestLife::Unlimited),
            "expire" => Some(ManifestLife::OneAndAHalfSegments),
            _ => None,
        });
        let statements = row.sections("policy", |row| statement(row, credentials));
        let cors = row.sections("cors", cors);
        let lifecycle = row.sections("lifecycle", lifecycle);
        for (key, count) in [("policy", statements.len()), ("cors", cors.len()), ("lifecycle", lifecycle.len())] {
            if count > limits::STORE_RULES_MAX {
                row.problem(key, format!("found {count}, expected at most {}", limits::STORE_RULES_MAX));
            }
        }
        if let Some(name) = name {
            let statements: Vec<Statement> = statements.into_iter().flatten().collect();
            if containers.iter().any(|other| other.name == name) {
                row.problem("name", format!("there is another container {name:?}"));
            } else if containers.len() == limits::STORE_CONTAINERS_MAX {
                row.problem("name", format!("one too many, expected at most {}", limits::STORE_CONTAINERS_MAX));
            } else {
                containers.push(Container {
                    statements: if statements.is_empty() { Container::default_statements() } else { statements },
                    cors: cors.into_iter().flatten().collect(),
                    lifecycle: lifecycle.into_iter().flatten().collect(),
                    manifests: manifests.unwrap_or_default(),
                    name,
                });
            }
        }
        row.finish();
    });
    if containers.is_empty() {
        containers.push(Container::new(EVERY_CONTAINER));
    }
    containers
}

fn statement(mut row: Section<'_, '_>, credentials: &[Credential]) -> Option<Statement> {
    let actions = Action::ALL.map(Action::name);
    let allow = list(&mut row, "allow", &format!("a list of {}", actions.join(", ")), |text| {
        Action::ALL.into_iter().find(|action| action.name() == text)
    });
    let to = list(
        &mut row,
        "to",
        "a list of \"anybody\", \"credentials\", or access key ids of [[store.credentials]]",
        |text| match text {
            "anybody" => Some(Principal::Anybody),
            "credentials" => Some(Principal::Credentials),
            id => credentials
                .iter()
                .any(|credential| credential.access_key_id == id)
                .then(|| Principal::Key(id.to_owned())),
        },
    );
    let from = list(&mut row, "from", "a list of networks such as \"10.0.0.0/8\" or addresses", |text| {
        text.parse::<IpNet>().ok().or_else(|| text.parse::<std::net::IpAddr>().ok().map(IpNet::from))
    });
    required(&row, &["allow", "to"]);
    row.finish();
    Some(Statement { allow: allow?, to: to?, from: from.unwrap_or_default() })
}

fn cors(mut row: Section<'_, '_>) -> Option<CorsRule> {
    let pattern = |text: &str| is_pattern(text).then(|| text.to_owned());
    let origins = list(&mut row, "origins", &format!("a list of {ORIGIN}"), pattern);
    let methods = list(&mut row, "methods", &format!("a list of {}", METHODS.join(", ")), |text| {
        METHODS.contains(&text).then(|| text.to_owned())
    });
    let headers = list(&mut row, "headers", &format!("a list of {FIELDS}"), pattern);
    let expose = list(&mut row, "expose", &format!("a list of {FIELDS}"), pattern);
    let max_age = row.duration("max_age", Duration::from_secs(3_600), Duration::ZERO..=days(1));
    required(&row, &["origins"]);
    row.finish();
    Some(CorsRule {
        origins: origins?,
        methods: methods.unwrap_or_else(|| vec!["GET".to_owned(), "HEAD".to_owned()]),
        headers: headers.unwrap_or_else(|| vec!["*".to_owned()]),
        expose: expose.unwrap_or_default(),
        max_age: max_age.as_secs() as u32,
    })
}

/// What may stand in a header field, with at most one asterisk.
fn is_pattern(text: &str) -> bool {
    let is_sound = |byte: u8| byte.is_ascii_graphic() && byte != b',';
    (1..=255).contains(&text.len()) && text.bytes().all(is_sound) && text.matches('*').count() <= 1
}

fn lifecycle(mut row: Section<'_, '_>) -> Option<Rule> {
    let expected = "a path within the container: what it begins with, or with asterisks for any characters";
    let pattern = row.text("path", expected, Pattern::new);
    let after = row.duration("expire", Duration::ZERO, Duration::from_secs(1)..=days(36_500));
    required(&row, &["path", "expire"]);
    let is_whole = row.has("expire") && !after.is_zero();
    row.finish();
    pattern.filter(|_| is_whole).map(|pattern| Rule { pattern, after })
}

fn required(row: &Section<'_, '_>, keys: &[&'static str]) {
    for key in keys {
        if row.is_present() && !row.has(key) {
            row.problem(key, "missing".to_owned());
        }
    }
}

/// A list of strings, each of which `parse` understands.
fn list<T>(
    row: &mut Section<'_, '_>,
    key: &'static str,
    expected: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Option<Vec<T>> {
    row.value(key, expected, |value| match value {
        DeValue::Array(items) if (1..=limits::STORE_RULES_MAX).contains(&items.len()) => items
            .iter()
            .map(|item| match item.get_ref() {
                DeValue::String(text) => parse(text),
                _ => None,
            })
            .collect(),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use crate::config::parse;
    use crate::store::objects::{Durability, WhenFull};
    use std::time::Duration;

    #[test]
    fn a_store_is_read_whole() {
        let text = r#"
            [store]
            path = "/srv/store"
            sync = "10ms"
            capacity = "2 GiB"
            when_full = "expire-oldest"
            availability = "standard"
            [[store.credentials]]
            access_key_id = "ENCODER"
            secret_access_key = "long-enough"
        "#;
        let container = r#"
            [[store.container]]
            name = "live"
            manifests = "expire"
            [[store.container.policy]]
            allow = ["read"]
            to = ["anybody"]
            from = ["10.0.0.0/8", "::1"]
            [[store.container.policy]]
            allow = ["write", "delete"]
            to = ["ENCODER"]
            [[store.container.cors]]
            origins = ["https://*.example.com"]
            [[store.container.lifecycle]]
            path = "*.ts"
            expire = "5m"
        "#;
        let store = parse(&[text, container].concat()).unwrap().store.unwrap();
        assert_eq!((store.durability, store.capacity), (Durability::Batched(Duration::from_millis(10)), Some(2 << 30)));
        assert_eq!((store.when_full, store.is_streaming_default), (WhenFull::ExpireOldest, false));
        let live = &store.containers[0];
        assert_eq!((live.statements.len(), live.cors.len(), live.lifecycle.len()), (2, 1, 1));
        assert_eq!(live.statements[0].from.len(), 2);
        assert_eq!(live.cors[0].methods, ["GET", "HEAD"]);
        assert_eq!(parse(text).unwrap().store.unwrap().containers[0].name, "*");
        assert_eq!(parse("").unwrap().store, None);
    }

    #[test]
    fn mistakes_are_named() {
        for (text, want) in [
            ("[store]\nsync = \"2s\"", "store.sync"),
            ("[store]\ncapacity = \"1 KiB\"", "store.capacity"),
            ("[store]\nwhen_full = \"wait\"", "store.when_full"),
            ("[store]\nkey = 1", "store.key"),
            ("[[store.credentials]]\naccess_key_id = \"A\"", "store.credentials.secret_access_key"),
            (
                "[[store.credentials]]\naccess_key_id = \"A:B\"\nsecret_access_key = \"12345678\"",
                "store.credentials.access_key_id",
            ),
            ("[[store.container]]\nname = \"a.b\"", "store.container.name"),
            ("[[store.container]]\nmanifests = \"keep\"", "store.container.name"),
            ("[[store.container]]\nname = \"a\"\n[[store.container]]\nname = \"a\"", "store.container[1].name"),
            (
                "[[store.container]]\nname = \"a\"\n[[store.container.policy]]\nallow = [\"read\"]\nto = [\"NOBODY\"]",
                "store.container.policy.to",
            ),
            (
                "[[store.container]]\nname = \"a\"\n[[store.container.policy]]\nallow = [\"fly\"]\nto = [\"anybody\"]",
                "store.container.policy.allow",
            ),
            (
                "[[store.container]]\nname = \"a\"\n[[store.container.cors]]\norigins = [\"a*b*\"]",
                "store.container.cors.origins",
            ),
            (
                "[[store.container]]\nname = \"a\"\n[[store.container.lifecycle]]\npath = \"a\"",
                "store.container.lifecycle.expire",
            ),
        ] {
            let problems = parse(text).unwrap_err();
            assert_eq!(problems[0].key, want, "{text}: {problems:?}");
        }
    }
}
