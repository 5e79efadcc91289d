//! What an operator says of a container: who may do what, scripts of which origins, when objects end.

use std::net::IpAddr;

use ipnet::IpNet;

use super::lifecycle::Rule;
use super::path::ObjectPath;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// `*`: every container that has no settings of its own.
    pub name: String,
    pub statements: Vec<Statement>,
    pub cors: Vec<CorsRule>,
    pub lifecycle: Vec<Rule>,
    pub manifests: ManifestLife,
}

/// What is done to objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Read,
    Write,
    Delete,
    List,
}

impl Action {
    pub const ALL: [Action; 4] = [Action::Read, Action::Write, Action::Delete, Action::List];

    pub fn name(self) -> &'static str {
        match self {
            Action::Read => "read",
            Action::Write => "write",
            Action::Delete => "delete",
            Action::List => "list",
        }
    }
}

/// One statement of a container's policy: these may do this, from there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    pub allow: Vec<Action>,
    pub to: Vec<Principal>,
    /// Empty: from everywhere.
    pub from: Vec<IpNet>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// Anybody: also who presents nothing, at the delivery listeners.
    Anybody,
    /// Whoever presents any of the store's credentials.
    Credentials,
    /// Whoever presents these.
    Key(String),
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// The access key id, if one was proved.
    pub key: Option<&'a str>,
    pub address: Option<IpAddr>,
}

/// How long playlists and manifests last after they were written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ManifestLife {
    /// As other objects.
    #[default]
    Unlimited,
    /// One and a half of the segment duration they state; for ever if they say that they are complete.
    OneAndAHalfSegments,
}

/// What scripts of other origins may do (Fetch §3.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CorsRule {
    /// As in an `Origin` field, each with at most one asterisk.
    pub origins: Vec<String>,
    /// `GET`, `HEAD`, `PUT`, `DELETE`.
    pub methods: Vec<String>,
    /// Names of fields that a request may have, each with at most one asterisk.
    pub headers: Vec<String>,
    /// Names of fields of answers that a script may see.
    pub expose: Vec<String>,
    /// For how many seconds a browser may keep the answer to a preflight request.
    pub max_age: u32,
}

impl Container {
    /// What holds where nothing was configured.
    pub fn new(name: &str) -> Container {
        Container {
            name: name.to_owned(),
            statements: Container::default_statements(),
            cors: Vec::new(),
            lifecycle: Vec::new(),
            manifests: ManifestLife::default(),
        }
    }

    /// Anybody reads at delivery; whoever has credentials does everything.
    pub fn default_statements() -> Vec<Statement> {
        vec![
            Statement { allow: vec![Action::Read], to: vec![Principal::Anybody], from: Vec::new() },
            Statement { allow: Action::ALL.to_vec(), to: vec![Principal::Credentials], from: Vec::new() },
        ]
    }

    pub fn allows(&self, action: Action, caller: Caller<'_>) -> bool {
        self.statements.iter().any(|statement| {
            statement.allow.contains(&action)
                && statement.to.iter().any(|principal| match principal {
                    Principal::Anybody => true,
                    Principal::Credentials => caller.key.is_some(),
                    Principal::Key(id) => caller.key == Some(id),
                })
                && (statement.from.is_empty() || caller.address.is_some_and(|address| statement.covers(address)))
        })
    }

    /// The rule for a request with that method, from a script of that origin.
    pub fn cors_rule(&self, origin: &str, method: &str) -> Option<&CorsRule> {
        self.cors.iter().find(|rule| {
            rule.origins.iter().any(|pattern| matches(pattern, origin))
                && rule.methods.iter().any(|name| name == method)
        })
    }

    /// In milliseconds since 1970; `written` of an object that lasts `lifetime` milliseconds (0: for ever) after it.
    pub fn expires(&self, path: &ObjectPath, written: u64, lifetime: u32) -> u64 {
        let rule = super::lifecycle::lasts(&self.lifecycle, path.within()).map(|after| after.as_millis() as u64);
        let lifetime = (lifetime > 0).then_some(u64::from(lifetime));
        [rule, lifetime].into_iter().flatten().min().map_or(super::object::NEVER, |after| written.saturating_add(after))
    }
}

impl Container {
    /// Whether any object may end by itself.
    pub fn expires_any(&self) -> bool {
        !self.lifecycle.is_empty() || self.manifests != ManifestLife::Unlimited
    }
}

impl Statement {
    fn covers(&self, address: IpAddr) -> bool {
        // An IPv4 address may come mapped into IPv6.
        let address = address.to_canonical();
        self.from.iter().any(|network| network.contains(&address))
    }
}

impl CorsRule {
    /// Whether every field of a preflight's list may be sent.
    pub fn allows_headers(&self, list: &str) -> bool {
        list.split(',').map(str::trim).filter(|name| !name.is_empty()).all(|name| {
            let name = name.to_ascii_lowercase();
            self.headers.iter().any(|pattern| matches(&pattern.to_ascii_lowercase(), &name))
        })
    }
}

/// With at most one asterisk, which stands for anything.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, end)) => text.len() >= start.len() + end.len() && text.starts_with(start) && text.ends_with(end),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::objects::lifecycle::Pattern;
    use crate::store::objects::object::NEVER;
    use std::time::Duration;

    fn caller<'a>(key: Option<&'a str>, address: &str) -> Caller<'a> {
        Caller { key, address: address.parse().ok() }
    }

    #[test]
    fn policies() {
        let open = Container::new("c");
        let statement = |allow: &[Action], to: Principal, from: &[&str]| Statement {
            allow: allow.to_vec(),
            to: vec![to],
            from: from.iter().map(|network| network.parse().unwrap()).collect(),
        };
        let closed = Container {
            statements: vec![
                statement(&[Action::Read], Principal::Anybody, &["10.0.0.0/8", "2001:db8::/32"]),
                statement(&[Action::Write, Action::Delete], Principal::Key("ENCODER".into()), &[]),
                statement(&[Action::List], Principal::Credentials, &[]),
            ],
            ..Container::new("c")
        };
        for (container, action, key, address, want) in [
            (&open, Action::Read, None, "1.2.3.4", true),
            (&open, Action::List, None, "1.2.3.4", false),
            (&open, Action::Write, None, "1.2.3.4", false),
            (&open, Action::Write, Some("ANY"), "1.2.3.4", true),
            (&closed, Action::Read, None, "1.2.3.4", false),
            (&closed, Action::Read, None, "10.2.3.4", true),
            (&closed, Action::Read, None, "::ffff:10.2.3.4", true),
            (&closed, Action::Read, None, "2001:db8::1", true),
            (&closed, Action::Read, Some("ENCODER"), "unknown", false),
            (&closed, Action::Write, Some("ENCODER"), "1.2.3.4", true),
            (&closed, Action::Write, Some("OTHER"), "1.2.3.4", false),
            (&closed, Action::List, Some("OTHER"), "1.2.3.4", true),
        ] {
            assert_eq!(container.allows(action, caller(key, address)), want, "{action:?} {key:?} {address}");
        }
    }

    #[test]
    fn cors() {
        let rule = |origin: &str, methods: &[&str]| CorsRule {
            origins: vec![origin.to_owned()],
            methods: methods.iter().map(ToString::to_string).collect(),
            headers: vec!["Range".into(), "x-*".into()],
            expose: Vec::new(),
            max_age: 60,
        };
        let container = Container {
            cors: vec![rule("https://*.example.com", &["GET"]), rule("*", &["HEAD"])],
            ..Container::new("c")
        };
        for (origin, method, want) in [
            ("https://www.example.com", "GET", Some(0)),
            ("https://www.example.com", "HEAD", Some(1)),
            ("https://example.com", "GET", None),
            ("https://www.example.com.evil.net", "GET", None),
            ("null", "HEAD", Some(1)),
        ] {
            let found = container.cors_rule(origin, method);
            assert_eq!(found, want.map(|number: usize| &container.cors[number]), "{origin} {method}");
        }
        for (list, want) in [("", true), ("range, X-Any", true), ("range,authorization", false)] {
            assert_eq!(container.cors[0].allows_headers(list), want, "{list}");
        }
    }

    #[test]
    fn what_ends_first_counts() {
        let rule =
            |pattern, seconds| Rule { pattern: Pattern::new(pattern).unwrap(), after: Duration::from_secs(seconds) };
        let container = Container { lifecycle: vec![rule("a/*.ts", 2)], ..Container::new("c") };
        for (path, lifetime, want) in
            [("c/a/b.ts", 0, 3_000), ("c/a/b.ts", 500, 1_500), ("c/b.ts", 0, NEVER), ("c/b.ts", 9_000, 10_000)]
        {
            let path = ObjectPath::parse(path).unwrap();
            assert_eq!(container.expires(&path, 1_000, lifetime), want, "{path}");
        }
    }
}
