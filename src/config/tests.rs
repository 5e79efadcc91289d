use super::*;
use crate::media::captions::{Caption, CaptionChannel};
use crate::store::objects::Container;

#[test]
fn the_reference_states_the_defaults() {
    assert_eq!(parse(REFERENCE), Ok(Config::default()));
}

#[test]
fn the_reference_names_every_key() {
    let notes = Notes::new("");
    read(&notes, "");
    let known = notes.known.into_inner();
    assert!(known.len() > 20, "{known:?}");
    let reference = with_the_example();
    for key in known {
        let (section, name) = key.rsplit_once('.').unwrap_or(("", &key));
        let here = reference
            .split("\n[")
            .map(|part| part.trim_start_matches('['))
            .find(|part| part.starts_with(&format!("{section}]")));
        match section {
            "" => assert!(
                reference.contains(&format!("[{name}]")) || reference.contains(&format!("[[{name}]]")),
                "section {name} is not in the reference"
            ),
            _ => assert!(
                here.is_some_and(|part| part.lines().any(|line| line.starts_with(&format!("{name} = "))))
                    || reference.contains(&format!("\n[[{section}.{name}]]\n")),
                "{key} is not in the reference"
            ),
        }
    }
}

/// The reference with its store and its channel, which are only examples, made real.
fn with_the_example() -> String {
    let (before, example) = REFERENCE.split_once("# [store]\n").unwrap();
    let line = |line: &str| {
        let text = line.strip_prefix("# ").unwrap_or("");
        let is_section = text.starts_with('[') && text.ends_with(']');
        let is_key = |(key, _): (&str, &str)| key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        if is_section || text.split_once(" = ").is_some_and(is_key) { text.to_owned() } else { line.to_owned() }
    };
    format!("{before}[store]\n{}", example.lines().map(line).collect::<Vec<_>>().join("\n"))
}

#[test]
fn the_examples_state_the_defaults() {
    let config = parse(&with_the_example()).unwrap();
    let least = parse(
        "[store]\n[[store.credentials]]\naccess_key_id = 'ENCODER'\nsecret_access_key = 'choose-a-long-one'\n\
         [[channel]]\nname = 'news'\npublish_key = 'choose-a-long-one'",
    )
    .unwrap();
    let (stated, default) = (config.store.clone().unwrap(), least.store.clone().unwrap());
    assert_eq!(Config { store: None, ..config.clone() }, Config { store: None, ..least });
    assert_eq!(config.channels.len(), 1);
    // What lists rules shows what they look like.
    let plain = |store: &Store| {
        let containers = store.containers.iter().map(|container| Container::new(&container.name)).collect();
        Store { containers, ..store.clone() }
    };
    assert_eq!(plain(&stated), plain(&default));
    assert_eq!((stated.containers[0].lifecycle.len(), stated.containers[0].statements.len()), (1, 2));
    assert_eq!(stated.containers[0].manifests, default.containers[0].manifests);
}

#[test]
fn every_key_is_read() {
    let config = parse(
        r#"
        [server]
        workers = "2-3"
        connections_max = 20_000
        head_timeout = "5s"
        idle_timeout = "1m30s"
        stop_timeout = "0s"
        read_rate_min = "2 KiB"
        congestion_control = "bbr"
        access_log = "/var/log/headwater/access.log"
        page = "player"
        state = "/run/headwater"
        [[listen]]
        address = "[::]:80"
        [[listen]]
        address = "10.0.0.1:8080"
        [intake]
        address = "10.0.0.1:8081"
        rtmp = "off"
        connections_max = 5
        idle_timeout = "10s"
        [admin]
        address = "10.0.0.1:8082"
        token = "0123456789abcdef"
        [library]
        path = "/srv/library"
        segment = "6s"
        grace = "1h"
        open_assets_max = 10
        manifest_cache = "64 MiB"
        derived_cache = "1 GiB"
        derived_path = "/srv/derived"
        manifest_age = "2.9s"
        missing_age = "0s"
        [live]
        path = "/srv/live"
        sync = "500ms"
        [[channel]]
        name = "news"
        publish_key = "K-1_x"
        segment = "4s"
        part = "1s"
        window = "24h"
        takeover = true
        standby = false
        end = true
        anchor = "1767225600"
        cue_tags = true
        captions = "SERVICE1=pt-BR CC1=en"
        enabled = false
        "#,
    );
    let want = Config {
        server: Server {
            workers: Workers::Cpus(vec![2, 3]),
            connections_max: 20_000,
            head_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(90),
            stop_timeout: Duration::ZERO,
            read_rate_min: 2048,
            congestion_control: Some("bbr".to_owned()),
            access_log: AccessLog::File("/var/log/headwater/access.log".into()),
            page: Page::Player,
            state: "/run/headwater".into(),
        },
        listen: vec!["[::]:80".parse().unwrap(), "10.0.0.1:8080".parse().unwrap()],
        intake: Intake {
            address: Some("10.0.0.1:8081".parse().unwrap()),
            rtmp: None,
            connections_max: 5,
            idle_timeout: Duration::from_secs(10),
        },
        admin: Admin { address: "10.0.0.1:8082".parse().unwrap(), token: Some("0123456789abcdef".to_owned()) },
        library: Library {
            path: "/srv/library".into(),
            segment: Duration::from_secs(6),
            grace: Duration::from_secs(3600),
            open_assets_max: 10,
            manifest_cache: 64 << 20,
            derived_path: "/srv/derived".into(),
            derived_cache: 1 << 30,
            manifest_age: Duration::from_secs(2),
            missing_age: Duration::ZERO,
        },
        live: Live { path: "/srv/live".into(), sync: Duration::from_millis(500) },
        channels: vec![ChannelSetup {
            name: "news".to_owned(),
            publish_key: "K-1_x".to_owned(),
            enabled: false,
            segment: Duration::from_secs(4),
            part: Some(Duration::from_secs(1)),
            window: Duration::from_secs(86_400),
            takeover: true,
            standby: false,
            end: true,
            anchor: Some(Duration::from_secs(1_767_225_600)),
            cue_tags: true,
            captions: vec![
                Caption { channel: CaptionChannel::Cc(1), language: "en".to_owned() },
                Caption { channel: CaptionChannel::Service(1), language: "pt-BR".to_owned() },
            ],
        }],
        store: None,
    };
    assert_eq!(config, Ok(want));
}

#[test]
fn the_state_directory_is_the_library_unless_it_is_named() {
    for (text, want) in [
        ("", "/var/lib/headwater/library"),
        ("[library]\npath = '/srv/media/library'", "/srv/media/library"),
        ("[library]\npath = '/'", "/"),
        ("[library]\npath = '/srv/library'\n[server]\nstate = '/run/x'", "/run/x"),
    ] {
        assert_eq!(parse(text).unwrap().server.state, Path::new(want), "{text}");
    }
}

#[test]
fn mistakes_name_line_key_found_and_allowed() {
    for (text, want) in [
        (
            "[server]\nworkers = \"some\"",
            "line 2: server.workers: found \"some\", expected \"all\", a number from 1 to 1024, or a CPU list such as \"2-7,10\"",
        ),
        (
            "[server]\n\nconnections_max = 1",
            "line 3: server.connections_max: found 1, expected a whole number from 16 to 10000000",
        ),
        (
            "[server]\nconnections_max = -4",
            "line 2: server.connections_max: found -4, expected a whole number from 16 to 10000000",
        ),
        (
            "[library]\nsegment = 4",
            "line 2: library.segment: found 4, expected a duration from 500ms to 1m such as \"4s\"",
        ),
        (
            "[library]\nsegment = \"1h\"",
            "line 2: library.segment: found \"1h\", expected a duration from 500ms to 1m such as \"4s\"",
        ),
        (
            "[library]\nmanifest_cache = \"12\"",
            "line 2: library.manifest_cache: found \"12\", expected a size from 1 MiB to 1 TiB such as \"64 MiB\"",
        ),
        ("[library]\npath = \"library\"", "line 2: library.path: found \"library\", expected an absolute path"),
        ("[libary]\npath = \"/x\"", "line 1: libary: unknown key; did you mean \"library\"?"),
        ("[server]\nwrokers = 1", "line 2: server.wrokers: unknown key; did you mean \"server.workers\"?"),
        ("[admin]\ncolour = 1", "line 2: admin.colour: unknown key; known here: address, token"),
        ("server = 1", "line 1: server: found 1, expected a section [server]"),
        ("listen = 1", "line 1: listen: found 1, expected sections [[listen]]"),
        ("listen = [1]", "line 1: listen: found 1, expected sections [[listen]]"),
        (
            "[[listen]]\n",
            "line 1: listen.address: missing, expected an address and a port such as \"0.0.0.0:8080\" or \"[::]:8080\"",
        ),
        (
            "[[listen]]\naddress = \"8080\"",
            "line 2: listen.address: found \"8080\", expected an address and a port such as \"0.0.0.0:8080\" or \"[::]:8080\"",
        ),
        (
            "[[listen]]\naddress = \"0.0.0.0:1\"\n[[listen]]\naddress = \"0.0.0.0:1\"",
            "line 4: listen[1].address: 0.0.0.0:1 is listened on twice",
        ),
        (
            "[[listen]]\naddress = \"127.0.0.1:8082\"\n[admin]\naddress = \"127.0.0.1:8082\"",
            "line 4: admin.address: 127.0.0.1:8082 is also an address of [[listen]]",
        ),
        (
            "[admin]\naddress = \"0.0.0.0:8082\"",
            "line 2: admin.address: 0.0.0.0:8082 is not a loopback address, so admin.token has to be set",
        ),
        (
            "[admin]\naddress = \"0.0.0.0:8082\"\ntoken = \"\"",
            "line 3: admin.token: none, but 0.0.0.0:8082 is not a loopback address: expected a token",
        ),
        (
            "[admin]\ntoken = \"short\"",
            "line 2: admin.token: found \"short\", expected \"\" (none) or 16 to 256 of A-Z a-z 0-9 - . _ ~ + / =",
        ),
        (
            "[intake]\naddress = \"8081\"",
            "line 2: intake.address: found \"8081\", expected \"off\", or an address and a port such as \"0.0.0.0:8080\" or \"[::]:8080\"",
        ),
        ("[intake]\nrtmp = \"0.0.0.0:8081\"", "line 2: intake.rtmp: 0.0.0.0:8081 is also intake.address"),
        (
            "[intake]\naddress = \"0.0.0.0:8080\"",
            "line 2: intake.address: 0.0.0.0:8080 is also an address of [[listen]]",
        ),
        (
            "[admin]\naddress = \"127.0.0.1:1935\"\n[intake]\nrtmp = \"127.0.0.1:1935\"",
            "line 2: admin.address: 127.0.0.1:1935 is also an address of [intake]",
        ),
        ("[[channel]]\nname = \"a\"", "line 1: channel.publish_key: missing, expected 1 to 128 of A-Z a-z 0-9 _ -"),
        (
            "[[channel]]\nname = \"a\"\npublish_key = \"k\"\n[[channel]]\nname = \"a\"\npublish_key = \"l\"",
            "line 5: channel[1].name: there is another channel \"a\"",
        ),
        ("[live]\npath = \"live\"", "line 2: live.path: found \"live\", expected an absolute path"),
    ] {
        let problems = parse(text).unwrap_err();
        assert_eq!(problems.iter().map(Problem::to_string).collect::<Vec<_>>(), [want], "{text}");
    }
}

#[test]
fn every_mistake_is_reported_in_the_order_of_the_file() {
    let text =
        "[server]\nworkers = 0\nidle_timeout = 75\n[library]\ngrace = \"soon\"\nnope = 1\n[[listen]]\nport = 80\n";
    let keys: Vec<(usize, String)> = parse(text).unwrap_err().into_iter().map(|p| (p.line, p.key)).collect();
    let want = [
        (2, "server.workers"),
        (3, "server.idle_timeout"),
        (5, "library.grace"),
        (6, "library.nope"),
        (7, "listen.address"),
        (8, "listen.port"),
    ];
    assert_eq!(keys, want.map(|(line, key)| (line, key.to_owned())));
}

#[test]
fn text_that_is_not_toml_is_refused_with_its_line() {
    for text in ["[server]\nworkers = \n", "[server\n", "a = 1\na = 2\n", "\u{0}", "workers = \"all"] {
        let problems = parse(text).unwrap_err();
        assert!(
            problems.iter().any(|problem| problem.what.starts_with("not TOML: ") && problem.line > 0),
            "{problems:?}"
        );
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = load(Path::new("/nonexistent/headwater.toml")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "/nonexistent/headwater.toml: No such file or directory (os error 2); --config names another file"
    );
}

proptest::proptest! {
    #[test]
    fn nothing_panics(text in "(\\[?\\[?(server|listen|library|admin|intake|live|channel|store|store.container)\\]?\\]?\n|[a-z_]{1,8} = (\"[0-9a-z]{0,4}\"|[0-9]{1,20}|\\{|\\[|true)\n|.{0,10}){0,8}") {
        let _ = parse(&text);
    }
}
