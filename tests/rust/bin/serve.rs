//! `meanflow serve` as a browser meets it: real requests over the loopback.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cli::{Place, fails, succeeds};

/// A server that ends with the test.
struct Served {
    child: Child,
    port: u16,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What came back: the status, the headers in lower case, the body.
struct Answer {
    status: u16,
    headers: String,
    body: Vec<u8>,
}

impl Answer {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Served {
    fn start(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_meanflow"));
        command.arg("serve").args(arguments).args(["--port", "0"]).envs(environment.iter().copied());
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the program starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("it is piped")).read_line(&mut line).expect("a line");
        let port = line.split("http://localhost:").nth(1).and_then(|rest| rest.split('/').next()?.parse().ok());
        Self { child, port: port.unwrap_or_else(|| panic!("no address in `{line}`")) }
    }

    fn send(&self, request: &str) -> Answer {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a time");
        stream.write_all(request.as_bytes()).expect("it is sent");
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("an answer");
        let end = bytes.windows(4).position(|part| part == b"\r\n\r\n").expect("headers");
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        Answer { status, headers: head, body: bytes[end + 4..].to_vec() }
    }

    fn get(&self, path: &str) -> Answer {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: localhost:{}\r\nConnection: close\r\n\r\n", self.port))
    }

    fn state(&self) -> Value {
        let answer = self.get("/state.json");
        assert_eq!(answer.status, 200, "{}", answer.text());
        serde_json::from_slice(&answer.body).expect("JSON")
    }
}

/// A built page, as far as a server has to do with it.
fn site(place: &Place) -> String {
    fs::create_dir_all(place.dir.path().join("dist/web/engine/pkg")).expect("a folder");
    place.file("dist/web/mean-flow.js", "export {};\n");
    place.file("dist/web/engine/pkg/meanflow_bg.wasm", b"\0asm");
    place.path("dist")
}

/// A run of six steps, with the built page.
fn run(place: &Place) -> (String, String) {
    let (images, config) = place.images();
    let run = place.path("run");
    succeeds(&["train", "--data", &images, "--config", &config, "--out", &run]);
    (run, site(place))
}

#[test]
fn a_weights_file_is_shown_with_the_element_and_its_engines() {
    let place = Place::new();
    let (run, site) = run(&place);
    let weights = place.path("tiny.safetensors");
    succeeds(&["export", &run, "--out", &weights]);
    let served = Served::start(&[&weights, "--site", &site], &[]);
    let page = served.get("/?seed=7");
    assert_eq!(page.status, 200);
    assert!(page.text().contains("<mean-flow src=\"tiny.safetensors\""), "{}", page.text());
    assert!(page.text().contains("http-equiv=\"Content-Security-Policy\" content=\"default-src 'self'"));
    assert!(page.headers.contains("content-security-policy: frame-ancestors 'self'"), "{}", page.headers);
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/page.css", "text/css; charset=utf-8"),
        ("/poster.png", "image/png"),
        ("/web/mean-flow.js", "text/javascript; charset=utf-8"),
        ("/web/engine/pkg/meanflow_bg.wasm", "application/wasm"),
        ("/tiny.safetensors", "application/octet-stream"),
    ] {
        let answer = served.get(path);
        assert_eq!(answer.status, 200, "{path}");
        for header in [format!("content-type: {kind}\r\n"), format!("content-length: {}\r\n", answer.body.len())] {
            assert!(format!("{}\r\n", answer.headers).contains(&header), "{path}: {}", answer.headers);
        }
        assert!(answer.headers.contains("x-content-type-options: nosniff"), "{}", answer.headers);
        assert!(!answer.headers.contains("access-control-allow-origin"), "other sites may not read what is served");
    }
    assert_eq!(served.get("/tiny.safetensors").body, fs::read(&weights).expect("it is there"));
    let head = served.send("HEAD /tiny.safetensors HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(served.get("/missing.js").status, 404);
    assert_eq!(
        served.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").status,
        405
    );
    // A name that somebody else points at this machine.
    let other = served.send("GET /tiny.safetensors HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n");
    assert_eq!(other.status, 403);
}

/// Browsers open connections before they need them, and keep them.
#[test]
fn connections_on_which_nobody_asks_hold_up_no_other() {
    let place = Place::new();
    fs::create_dir(place.dir.path().join("page")).expect("a folder");
    place.file("page/index.html", "<!doctype html>\n");
    let served = Served::start(&[&place.path("page")], &[]);
    let connect = || TcpStream::connect(("127.0.0.1", served.port)).expect("it listens");
    for _ in 0..4 {
        // Many at once: each must be answered, however many wait.
        let idle: Vec<TcpStream> = (0..40).map(|_| connect()).collect();
        let asking: Vec<Answer> = std::thread::scope(|scope| {
            let asked: Vec<_> = (0..12).map(|_| scope.spawn(|| served.get("/"))).collect();
            asked.into_iter().map(|thread| thread.join().expect("an answer")).collect()
        });
        assert!(asking.iter().all(|answer| answer.status == 200));
        drop(idle);
    }
}

#[test]
fn an_exported_folder_is_shown_and_nothing_outside_it() {
    let place = Place::new();
    let (run, site) = run(&place);
    let page = place.path("page");
    succeeds(&["export", &run, "--web", &page, "--site", &site]);
    place.file("secret.txt", "nobody's business");
    place.file("page/.hidden", "the host's");
    #[cfg(unix)]
    std::os::unix::fs::symlink(place.path("secret.txt"), place.path("page/link.txt")).expect("a link");
    let served = Served::start(&[&page], &[]);
    assert!(served.get("/").text().contains("<mean-flow src=\"tiny.safetensors\""));
    assert_eq!(served.get("/web/engine/pkg/meanflow_bg.wasm").body, b"\0asm");
    for path in [
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/web/../../secret.txt",
        "/..%2fsecret.txt",
        "/..%5csecret.txt",
        "//etc/passwd",
        "/link.txt",
        "/.hidden",
        "/web",
        "/none.html",
    ] {
        let answer = served.get(path);
        assert_eq!(answer.status, 404, "{path}");
        assert!(!answer.text().contains("nobody"), "{path}");
    }
}

/// The page follows a run: state, samples and weights of the newest checkpoint, from before the first one on.
#[test]
fn a_run_is_shown_with_its_newest_weights_while_it_trains() {
    let place = Place::new();
    let (run, site) = run(&place);
    let served = Served::start(&[&run, "--site", &site], &[]);
    let page = served.get("/").text();
    assert!(page.contains("<title>tiny</title>") && page.contains("src=\"run.js\""), "{page}");
    assert!(served.get("/run.js").text().contains("state.json"));
    let before = served.state();
    assert_eq!((&before["name"], &before["step"], &before["steps"]), (&"tiny".into(), &6.into(), &6.into()));
    assert_eq!((&before["training"], &before["problem"]), (&false.into(), &Value::Null));
    assert_eq!(before["weights"]["step"], 6);
    let address = |state: &Value, of: &str| format!("/{}", state[of]["address"].as_str().expect("an address"));
    let old = served.get(&address(&before, "weights"));
    let file = place.file("served.safetensors", &old.body);
    let info: Value = serde_json::from_str(&succeeds(&["inspect", &file])).expect("JSON");
    assert_eq!(info["training"]["step"], 6);
    let samples = served.get(&address(&before, "samples"));
    assert!(samples.headers.contains("content-type: image/png") && samples.body.starts_with(b"\x89PNG"));
    assert_eq!(served.state(), before, "nothing changed");
    for path in ["/config.toml", "/log.jsonl", "/samples/../config.toml", "/samples/captions.txt", "/checkpoints/"] {
        assert_eq!(served.get(path).status, 404, "{path}");
    }

    // It goes on, for so long that it is seen training.
    let (images, _) = place.images();
    let mut training = Command::new(env!("CARGO_BIN_EXE_meanflow"))
        .args(["train", "--data", &images, "--out", &run, "--resume", "--steps", "100000"])
        .stdout(Stdio::null())
        .spawn()
        .expect("it starts");
    let began = Instant::now();
    let now = loop {
        let state = served.state();
        let newer = state["weights"]["step"].as_u64().is_some_and(|step| step > 6);
        if newer && state["training"] == true && state["steps"] == 100_000 {
            break state;
        }
        assert!(began.elapsed() < Duration::from_secs(120), "no newer weights: {state}");
        std::thread::sleep(Duration::from_millis(50));
    };
    let new = served.get(&address(&now, "weights"));
    assert!(new.status == 200 && new.body != old.body);
    training.kill().expect("it is ended");
    training.wait().expect("it ends");
    let began = Instant::now();
    while served.state()["training"] == true {
        assert!(began.elapsed() < Duration::from_secs(60), "a run that was killed is not training");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_run_without_a_checkpoint_and_one_whose_checkpoint_is_damaged_are_shown_as_such() {
    let place = Place::new();
    let (run, site) = run(&place);
    let checkpoints = Path::new(&run).join("checkpoints");
    let aside = place.dir.path().join("aside");
    fs::rename(&checkpoints, &aside).expect("it moves");
    let served = Served::start(&[&run, "--site", &site], &[]);
    let state = served.state();
    assert_eq!((&state["weights"], &state["problem"]), (&Value::Null, &Value::Null));
    for step in fs::read_dir(&aside).expect("checkpoints") {
        fs::write(step.expect("an entry").path().join("ema.bpk"), "damaged").expect("it writes");
    }
    fs::rename(&aside, &checkpoints).expect("it moves");
    let state = served.state();
    assert!(state["problem"].as_str().is_some_and(|text| text.contains("no usable checkpoint")), "{state}");
}

#[test]
fn what_cannot_be_served_is_named() {
    let place = Place::new();
    let site = site(&place);
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    fails(&["serve", "x.safetensors", "--port", &port], &[&format!("port {port} is in use"), "--port 0"]);
    fs::create_dir(place.path("empty")).expect("a folder");
    let serve = |path: &str, words: &[&str]| {
        fails(&["serve", &place.path(path), "--port", "0", "--site", &site], words);
    };
    serve("empty", &["neither a run nor a page"]);
    serve("missing.safetensors", &["missing.safetensors"]);
    place.file("text.safetensors", "no weights");
    serve("text.safetensors", &["text.safetensors"]);
    let (run, _) = run(&place);
    fails(&["serve", &run, "--port", "0", "--site", &place.path("no-site")], &["holds no built page", "make build"]);
}

/// The page that `make build` packs for the program has all that a folder for the web takes from the built site.
#[test]
fn an_archive_of_the_page_serves_as_well_as_its_folder() {
    let place = Place::new();
    let (run, site) = run(&place);
    let archive = place.path("page.tar.br");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../web/tools/page-archive.mjs");
    let packed = Command::new("node").arg(script).args([&site, &archive]).output().expect("Node.js starts");
    assert!(packed.status.success(), "{}", String::from_utf8_lossy(&packed.stderr));
    let [folder, unpacked] = ["folder", "unpacked"].map(|name| place.path(name));
    succeeds(&["export", &run, "--web", &folder, "--site", &site]);
    succeeds(&["export", &run, "--web", &unpacked, "--site", &archive]);
    for file in ["index.html", "poster.png", "web/mean-flow.js", "web/engine/pkg/meanflow_bg.wasm"] {
        let [a, b] = [&folder, &unpacked].map(|place| fs::read(Path::new(place).join(file)).expect("it is there"));
        assert!(a == b, "{file}");
    }
    let served = Served::start(&[&run, "--site", &archive], &[]);
    assert_eq!(served.get("/web/engine/pkg/meanflow_bg.wasm").body, b"\0asm");
}

#[cfg(unix)]
#[test]
fn ctrl_c_and_sigterm_end_it_with_their_code() {
    let place = Place::new();
    let (run, site) = run(&place);
    for signal in ["INT", "TERM"] {
        let mut served = Served::start(&[&run, "--site", &site], &[]);
        assert_eq!(served.get("/").status, 200);
        let sent = Command::new("kill").args([&format!("-{signal}"), &served.child.id().to_string()]).status();
        assert!(sent.expect("kill starts").success());
        assert_eq!(served.child.wait().expect("it ends").code(), Some(130), "{signal}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn the_browser_is_opened_on_demand() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new();
    let (run, site) = run(&place);
    let opened = place.path("opened");
    let program =
        place.file("xdg-open", format!("#!/bin/sh\necho \"$1\" > '{opened}.new' && mv '{opened}.new' '{opened}'\n"));
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("it is made a program");
    let path = format!("{}:{}", place.dir.path().display(), std::env::var("PATH").unwrap_or_default());
    let served = Served::start(&[&run, "--site", &site, "--open"], &[("PATH", &path)]);
    let began = Instant::now();
    while !Path::new(&opened).exists() {
        assert!(began.elapsed() < Duration::from_secs(30), "nothing was opened");
        std::thread::sleep(Duration::from_millis(20));
    }
    let address = fs::read_to_string(opened).expect("an address");
    assert_eq!(address.trim(), format!("http://localhost:{}/", served.port));
}
