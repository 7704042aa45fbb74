//! `meanflow serve`: a model, an exported page or a run in a browser, by a small server on this machine.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use meanflow::train::RunFolder;
use meanflow::{device, io};

use crate::model::{read_generator, read_weights};
use crate::site::{self, Files, Site};

mod live;

use live::LiveRun;

/// Show a model or a run in a browser on this machine, until Ctrl-C.
///
/// A run is shown while it trains: its newest weights draw in the page, beside its newest samples. A program without
/// the page needs the dist folder that `make build` leaves. Ctrl-C and SIGTERM end it with the exit code 130.
#[derive(clap::Args)]
pub struct Args {
    /// Weights file, folder of a run, or folder that `export --web` wrote
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// Port to listen on; 0 takes any free one
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    port: u16,
    /// Address to listen on; 0.0.0.0 lets the whole network read what is served, without WebGPU, which browsers keep to
    /// secure connections
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    host: IpAddr,
    /// Open the page in the browser
    #[arg(long)]
    open: bool,
    /// The built page: a dist folder, as `make build` leaves it, or its archive. The one that the program carries, or
    /// else dist, if not given
    #[arg(long, value_name = "DIST")]
    site: Option<PathBuf>,
}

/// How long to wait where the system gives no more connections.
const PAUSE: Duration = Duration::from_millis(50);

/// What is served.
enum Content {
    /// Files in memory.
    Files(Files),
    /// A folder, as it is.
    Folder(PathBuf),
    /// A run, whose weights may change.
    Run(Box<LiveRun>),
}

impl Content {
    /// What a path holds.
    ///
    /// # Errors
    /// What is not a model, nor a page, nor a run.
    fn open(args: &Args) -> Result<Self> {
        let path = &args.path;
        if path.join("config.toml").is_file() {
            let (run, config) = RunFolder::open(path)?;
            let site = Site::open(args.site.as_deref())?;
            return Ok(Self::Run(Box::new(LiveRun::new(path, run, &config, site))));
        }
        if path.join("index.html").is_file() {
            return Ok(Self::Folder(path.canonicalize().with_context(|| path.display().to_string())?));
        }
        if path.is_dir() {
            bail!("{} holds neither a run nor a page of `meanflow export --web`", path.display());
        }
        let weights = read_weights(path)?;
        let generator = read_generator(path, &device::cpu())?;
        site::check_model(generator.info())?;
        Ok(Self::Files(site::files(Site::open(args.site.as_deref())?, &generator, weights)?))
    }

    /// The file of a path that [`path_of`] allows.
    fn file(&self, path: &str) -> Option<Vec<u8>> {
        match self {
            Self::Files(files) => find(files, path),
            Self::Folder(folder) => read_inside(folder, path),
            Self::Run(run) => run.file(path),
        }
    }
}

fn find(files: &Files, path: &str) -> Option<Vec<u8>> {
    files.iter().find(|(name, _)| name == path).map(|(_, bytes)| bytes.clone())
}

/// A file in a folder, and nothing that a link in it leads out to.
fn read_inside(folder: &Path, path: &str) -> Option<Vec<u8>> {
    let file = folder.join(path);
    (file.is_file() && io::lies_in(&file, folder)).then(|| io::read_whole(&file).ok())?
}

/// Runs the command; only a signal ends it.
pub fn run(args: &Args) -> Result<()> {
    // Where the port is taken, nothing is read for nothing.
    let listener = listen(args)?;
    let content = Arc::new(Content::open(args)?);
    let at = listener.local_addr()?;
    let name = if at.ip().is_unspecified() || at.ip().is_loopback() { "localhost".into() } else { at.ip().to_string() };
    let address = format!("http://{name}:{}/", at.port());
    say!("{}: open {address} (Ctrl-C stops)", args.path.display());
    if args.open
        && let Err(error) = open_browser(&address)
    {
        note!("no browser could be opened ({error}); open {address} yourself");
    }
    let is_private = at.ip().is_loopback();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().context("cannot serve")?;
    runtime.block_on(serve(listener, content, is_private)).context("cannot serve")
}

/// Answers all who ask, each connection on its own: one on which nobody asks holds up no other.
async fn serve(listener: TcpListener, content: Arc<Content>, is_private: bool) -> std::io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(_) => {
                std::thread::sleep(PAUSE);
                continue;
            }
        };
        let content = content.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let (content, (head, _)) = (content.clone(), request.into_parts());
            // Files are read, and weights made of checkpoints.
            tokio::task::spawn_blocking(move || answer(&content, &head, is_private))
        });
        // A visitor who left needs no answer.
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

fn listen(args: &Args) -> Result<TcpListener> {
    TcpListener::bind((args.host, args.port)).map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => {
            anyhow!("port {} is in use; choose another with --port, or --port 0 for any that is free", args.port)
        }
        ErrorKind::PermissionDenied => {
            anyhow!("port {} may not be used by this user ({error}); choose another with --port", args.port)
        }
        _ => anyhow!("cannot listen on {}, port {}: {error}", args.host, args.port),
    })
}

/// Has the system open an address in the user's browser.
fn open_browser(address: &str) -> std::io::Result<()> {
    let mut command = match std::env::consts::OS {
        "macos" => Command::new("open"),
        "windows" => {
            let mut command = Command::new("cmd");
            command.args(["/C", "start", ""]);
            command
        }
        _ => Command::new("xdg-open"),
    };
    command.arg(address).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().map(drop)
}

type Answer = Response<Full<Bytes>>;

/// The answer to a request. `is_private`: whether only this machine may ask; then a page of another site must not read
/// what is served by pointing its own name here.
fn answer(content: &Content, head: &Parts, is_private: bool) -> Answer {
    if is_private && !head.headers.get_all(header::HOST).iter().all(is_this_machine) {
        return refusal(StatusCode::FORBIDDEN, "this server answers to localhost only\n");
    }
    if ![Method::GET, Method::HEAD].contains(&head.method) {
        return with(refusal(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n"), header::ALLOW, "GET, HEAD");
    }
    match path_of(head.uri.path()).and_then(|path| Some((content.file(&path)?, path))) {
        Some((bytes, path)) => {
            let answer = plain(bytes.into(), content_type(&path));
            // The one part of a page's policy that only a header can hold.
            match path.ends_with(".html") {
                true => with(answer, header::CONTENT_SECURITY_POLICY, "frame-ancestors 'self'"),
                false => answer,
            }
        }
        None => refusal(StatusCode::NOT_FOUND, "not found\n"),
    }
}

fn refusal(status: StatusCode, text: &'static str) -> Answer {
    let mut answer = plain(text.into(), "text/plain; charset=utf-8");
    *answer.status_mut() = status;
    answer
}

/// What every answer has: its type, and nothing for the browser to guess or to keep.
fn plain(body: Bytes, content_type: &'static str) -> Answer {
    let answer = with(Response::new(Full::new(body)), header::CONTENT_TYPE, content_type);
    with(with(answer, header::X_CONTENT_TYPE_OPTIONS, "nosniff"), header::CACHE_CONTROL, "no-cache")
}

fn with(mut answer: Answer, name: HeaderName, value: &'static str) -> Answer {
    answer.headers_mut().insert(name, HeaderValue::from_static(value));
    answer
}

/// Whether a `Host` header names this machine.
fn is_this_machine(host: &HeaderValue) -> bool {
    let Ok(host) = host.to_str() else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    name.eq_ignore_ascii_case("localhost")
        || name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The path of a file that an address means. None leads out of a folder, on any system, or to what is hidden.
fn path_of(url: &str) -> Option<String> {
    let path = url.split(['?', '#']).next()?.strip_prefix('/')?;
    let path = decoded(path)?;
    let path = if path.is_empty() || path.ends_with('/') { path + "index.html" } else { path };
    let is_plain =
        |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains(['\\', ':']) && !part.contains('\0');
    path.split('/').all(is_plain).then_some(path)
}

/// Text in which `%2F` and the like stand for bytes.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, ending)| ending) {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" => "application/json",
        "txt" | "md" => "text/plain; charset=utf-8",
        "wasm" => "application/wasm",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_mean_files_inside_and_none_outside() {
        for (url, path) in [
            ("/", "index.html"),
            ("/?seed=7#top", "index.html"),
            ("/web/mean-flow.js?x=/../y", "web/mean-flow.js"),
            ("/a%20b/", "a b/index.html"),
            ("/a..b", "a..b"),
        ] {
            assert_eq!(path_of(url).as_deref(), Some(path), "{url}");
        }
        for url in [
            "",
            "x",
            "/..",
            "/../x",
            "/a/../../x",
            "/%2e%2e/x",
            "/%2E%2E%2Fx",
            "/..%5cx",
            "/a%5C..%5Cx",
            "/C:/x",
            "/c%3A/x",
            "//etc/passwd",
            "/a//b",
            "/./x",
            "/.git/config",
            "/x%00.js",
            "/%",
            "/%4",
            "/%zz",
            "/%ff",
        ] {
            assert_eq!(path_of(url), None, "{url}");
        }
    }

    #[test]
    fn only_names_of_this_machine_are_its_own() {
        let named = |host: &'static str| is_this_machine(&HeaderValue::from_static(host));
        for host in ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "127.0.0.1", "[::1]:80", "[::1]"] {
            assert!(named(host), "{host}");
        }
        for host in ["", "example.com", "localhost.example.com:80", "127.0.0.1.example.com", "10.0.0.1:80"] {
            assert!(!named(host), "{host}");
        }
    }
}
