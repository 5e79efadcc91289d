//! What readers of the object store are told, without sockets.

use std::sync::Arc;

use super::objects::{Options as ReadOptions, StoreReads};
use super::{Answer, Load, Now, Options, Service};
use crate::base::growing::{End, Progress};
use crate::base::{Growing, Payload, Piece};
use crate::http::{Response, request};
use crate::library::{self, Library};
use crate::store::objects::container::{Action, Container, CorsRule, Principal, Statement};
use crate::store::objects::disk::FileSystem;
use crate::store::objects::{
    Change, Digest, Durability, Meta, ObjectPath, Objects, Settings, Upload, WhenFull, Written,
};

struct Store {
    service: Service,
    objects: Arc<Objects>,
    _directory: tempfile::TempDir,
}

const NOW: Now = Now { unix: 1_000, millis: 500 };

impl Store {
    fn new(containers: Vec<Container>) -> Store {
        let directory = tempfile::tempdir().unwrap();
        let settings = Settings::new(None, WhenFull::Refuse, containers);
        let options = crate::store::objects::Options { durability: Durability::None, settings };
        let objects = Arc::new(Objects::open(Arc::new(FileSystem), directory.path(), options).unwrap());
        let library = Library::open(directory.path(), library::Options::default()).unwrap();
        let reads = StoreReads::new(objects.clone(), ReadOptions::default());
        let service = Service::new(Arc::new(library), Options::default()).with_store(Arc::new(reads));
        Store { service, objects, _directory: directory }
    }

    fn put(&self, path: &str, bytes: &[u8], meta: Meta) {
        let id = self.objects.allot();
        let file = self.objects.create(id).unwrap();
        file.write_at(bytes, 0).unwrap();
        let path = ObjectPath::parse(path).unwrap();
        let (len, meta) = (bytes.len() as u64, self.objects.meta(meta));
        let written = Written { id, path, len, modified: 999_000, digest: Digest([7; 32]), meta, lifetime: 0 };
        let object = self.objects.object(written);
        assert!(self.objects.commit(&[&Change::Put(object, file)])[0].is_ok());
    }

    /// Asks again after whatever has to be loaded.
    fn ask(&self, line: &str, fields: &str) -> Response {
        let head = format!("{line} HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
        let (mut request, _) = request::parse(head.as_bytes()).unwrap().unwrap();
        request.peer = Some("192.0.2.1".parse().unwrap());
        for _ in 0..2 {
            match self.service.answer(&request, NOW) {
                Answer::Ready(response) => return response,
                Answer::Load(load @ Load::Object(_)) => self.service.load(load),
                Answer::Load(_) | Answer::Wait(_) => panic!("{line} waits"),
            }
        }
        panic!("{line} is never loaded")
    }
}

fn text(response: &Response) -> String {
    let mut bytes = Vec::new();
    for piece in response.body.pieces() {
        match piece {
            Piece::Inline(inline) => bytes.extend_from_slice(inline),
            Piece::Extent(extent) => bytes.extend(format!("<{}..{}>", extent.offset, extent.end()).bytes()),
        }
    }
    String::from_utf8(bytes).unwrap()
}

fn field(response: &Response, name: &str) -> Option<String> {
    let lines = String::from_utf8(response.fields.to_vec()).unwrap();
    let mut found = lines.split("\r\n").filter_map(|line| line.split_once(": ")).filter(|(key, _)| *key == name);
    let value = found.next().map(|(_, value)| value.to_owned());
    assert!(found.next().is_none(), "{name} twice in {lines}");
    value
}

#[test]
fn objects_are_read_as_they_were_described() {
    let store = Store::new(vec![Container::new("*")]);
    let said = Meta { content_type: "x/y".into(), cache_control: "max-age=9".into() };
    store.put("c/a.ts", b"small", said);
    store.put("c/b/index.m3u8", b"#EXTM3U\n", Meta::default());
    store.put("c/large.m4s", &[1; 20_000], Meta::default());
    for (line, fields, status, body) in [
        ("GET /store/c/a.ts", "", 200, "small"),
        ("GET /store/c/%61.ts", "", 200, "small"),
        ("HEAD /store/c/a.ts", "", 200, "small"),
        ("GET /store/c/a.ts", "Range: bytes=1-2\r\n", 206, "ma"),
        ("GET /store/c/a.ts", "Range: bytes=9-\r\n", 416, "the range asked for lies outside\n"),
        ("GET /store/c/large.m4s", "", 200, "<0..20000>"),
        ("GET /store/c/large.m4s", "Range: bytes=100-\r\n", 206, "<100..20000>"),
        ("GET /store/c/a.ts", "If-None-Match: *\r\n", 304, ""),
        ("GET /store/c/a.ts/", "", 404, "nothing is here\n"),
        ("GET /store/c/b", "", 404, "nothing is here\n"),
        ("GET /store/c", "", 404, "nothing is here\n"),
        ("GET /store/c%2Fa.ts", "", 404, "nothing is here\n"),
        ("GET /store/d/a.ts", "", 404, "nothing is here\n"),
        (
            "PUT /store/c/a.ts",
            "Content-Length: 0\r\n",
            405,
            "this server reads requests of method GET, HEAD and OPTIONS\n",
        ),
    ] {
        let response = store.ask(line, fields);
        assert_eq!((response.status.0, text(&response).as_str()), (status, body), "{line} {fields}");
        assert_eq!(field(&response, "Access-Control-Allow-Origin").as_deref(), Some("*"), "{line}");
    }
    let response = store.ask("GET /store/c/a.ts", "");
    assert_eq!(field(&response, "Content-Type").as_deref(), Some("x/y"));
    assert_eq!(field(&response, "Cache-Control").as_deref(), Some("max-age=9"));
    assert_eq!(field(&response, "ETag"), Some(format!("\"{}\"", "07".repeat(32))));
    assert_eq!(field(&response, "Last-Modified").as_deref(), Some("Thu, 01 Jan 1970 00:16:39 GMT"));
    let response = store.ask("GET /store/c/b/index.m3u8", "");
    assert_eq!(field(&response, "Content-Type").as_deref(), Some("application/vnd.apple.mpegurl"));
    assert_eq!(field(&response, "Cache-Control").as_deref(), Some("max-age=1"));
}

#[test]
fn what_is_being_uploaded_is_followed() {
    let store = Store::new(vec![Container::new("*")]);
    store.put("c/other", b"x", Meta::default());
    let id = store.objects.allot();
    let file = store.objects.create(id).unwrap().stored(0).unwrap();
    let growing = Growing { file, start: 0, progress: Arc::new(Progress::new(0)) };
    let path = ObjectPath::parse("c/new.m4s").unwrap();
    let upload = Arc::new(Upload { id, path, meta: Arc::default(), growing });
    assert!(store.objects.table().show(upload.clone()));
    assert!(!store.objects.table().show(upload.clone()), "one at a time");
    let response = store.ask("GET /store/c/new.m4s", "Range: bytes=5-\r\n");
    assert_eq!(response.status.0, 200, "a range of what nobody knows the length of");
    let followed = response.growing.unwrap();
    upload.growing.progress.finish(End::Complete(3));
    assert_eq!(followed.progress.reached(), (3, Some(End::Complete(3))));
    assert_eq!(field(&store.ask("HEAD /store/c/new.m4s", ""), "Content-Type").as_deref(), Some("video/mp4"));
    store.objects.table().hide(&upload);
    assert_eq!(store.ask("GET /store/c/new.m4s", "").status.0, 404);
}

#[test]
fn containers_say_who_may_read_and_whose_scripts() {
    let from = |network: &str| Container {
        statements: vec![Statement {
            allow: vec![Action::Read],
            to: vec![Principal::Anybody],
            from: vec![network.parse().unwrap()],
        }],
        ..Container::new("*")
    };
    for (network, status) in [("192.0.2.0/24", 200), ("198.51.100.0/24", 403)] {
        let store = Store::new(vec![from(network)]);
        store.put("c/a", b"x", Meta::default());
        assert_eq!(store.ask("GET /store/c/a", "").status.0, status, "{network}");
    }
    let rule = CorsRule {
        origins: vec!["https://www.example.com".into()],
        methods: vec!["GET".into()],
        headers: vec!["Range".into()],
        expose: vec!["ETag".into()],
        max_age: 60,
    };
    let store = Store::new(vec![Container { cors: vec![rule], ..Container::new("c") }]);
    store.put("c/a", b"x", Meta::default());
    for (line, fields, status, origin) in [
        ("GET /store/c/a", "", 200, None),
        ("GET /store/c/a", "Origin: https://www.example.com\r\n", 200, Some("https://www.example.com")),
        ("GET /store/c/none", "Origin: https://www.example.com\r\n", 404, Some("https://www.example.com")),
        ("GET /store/c/a", "Origin: https://example.com\r\n", 200, None),
        (
            "OPTIONS /store/c/a",
            "Origin: https://www.example.com\r\nAccess-Control-Request-Method: GET\r\n",
            204,
            Some("https://www.example.com"),
        ),
        ("OPTIONS /store/c/a", "Origin: https://www.example.com\r\nAccess-Control-Request-Method: PUT\r\n", 403, None),
        (
            "OPTIONS /store/c/a",
            "Origin: https://www.example.com\r\nAccess-Control-Request-Method: GET\r\nAccess-Control-Request-Headers: x-a\r\n",
            403,
            None,
        ),
    ] {
        let response = store.ask(line, fields);
        let found = field(&response, "Access-Control-Allow-Origin");
        assert_eq!((response.status.0, found.as_deref()), (status, origin), "{line} {fields}");
        assert_eq!(field(&response, "Vary").as_deref(), Some("Origin"), "{line} {fields}");
    }
    assert_eq!(store.ask("GET /store/d/a", "").status.0, 404, "a container that there is not");
}

#[test]
fn a_file_that_is_not_what_it_was_is_500() {
    let store = Store::new(vec![Container::new("*")]);
    store.put("c/a", &[1; 20_000], Meta::default());
    let Some(crate::store::objects::Found::Object(object)) = store.objects.find(&ObjectPath::parse("c/a").unwrap(), 0)
    else {
        panic!("it is not there");
    };
    std::fs::write(store.objects.file(object.id), b"short").unwrap();
    assert_eq!(store.ask("GET /store/c/a", "").status.0, 500);
    store.put("c/a", b"again", Meta::default());
    assert_eq!(text(&store.ask("GET /store/c/a", "")), "again");
    assert!(matches!(store.ask("GET /store/c/a", "").body, Payload::One(Piece::Inline(_))));
}
