//! `meanflow serve`: a model, an exported page or a run in a browser, by a small server on this machine.

use std::io::{Cursor, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use meanflow::train::RunFolder;
use meanflow::{device, io};
use tiny_http::{Header, Method, Request, Response, Server};

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

/// Requests that are answered at once.
const THREADS: usize = 4;

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
    let server = Server::from_listener(listener, None).map_err(|e| anyhow!("cannot serve: {e}"))?;
    say!("{}: open {address} (Ctrl-C stops)", args.path.display());
    if args.open
        && let Err(error) = open_browser(&address)
    {
        note!("no browser could be opened ({error}); open {address} yourself");
    }
    let is_private = at.ip().is_loopback();
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for request in server.incoming_requests() {
                    let response = answer(&content, &request, is_private);
                    // A visitor who left needs no answer.
                    let _ = request.respond(response);
                }
            });
        }
    });
    Ok(())
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

type Answer = Response<Cursor<Vec<u8>>>;

/// The answer to a request. `is_private`: whether only this machine may ask; then a page of another site must not read
/// what is served by pointing its own name here.
fn answer(content: &Content, request: &Request, is_private: bool) -> Answer {
    if is_private && !request.headers().iter().filter(|header| header.field.equiv("Host")).all(is_this_machine) {
        return refusal(403, "this server answers to localhost only\n");
    }
    if !matches!(request.method(), Method::Get | Method::Head) {
        return with(refusal(405, "only GET and HEAD\n"), "Allow", "GET, HEAD");
    }
    match path_of(request.url()).and_then(|path| Some((content.file(&path)?, path))) {
        Some((bytes, path)) => {
            let answer = with(Response::from_data(bytes), "Content-Type", content_type(&path));
            // The one part of a page's policy that only a header can hold.
            let framed = path.ends_with(".html");
            if framed {
                with(plain(answer), "Content-Security-Policy", "frame-ancestors 'self'")
            } else {
                plain(answer)
            }
        }
        None => refusal(404, "not found\n"),
    }
}

fn refusal(code: u16, text: &str) -> Answer {
    let answer = Response::from_data(text).with_status_code(code);
    plain(with(answer, "Content-Type", "text/plain; charset=utf-8"))
}

/// What every answer has: its length, whatever that is, and nothing for the browser to guess or to keep.
fn plain(answer: Answer) -> Answer {
    let answer = answer.with_chunked_threshold(usize::MAX);
    with(with(answer, "X-Content-Type-Options", "nosniff"), "Cache-Control", "no-cache")
}

fn with(answer: Answer, name: &str, value: &str) -> Answer {
    match Header::from_bytes(name, value) {
        Ok(header) => answer.with_header(header),
        Err(()) => answer,
    }
}

/// Whether a `Host` header names this machine.
fn is_this_machine(host: &Header) -> bool {
    let host = host.value.as_str();
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
        let named = |host: &str| is_this_machine(&Header::from_bytes("Host", host).expect("a header"));
        for host in ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "127.0.0.1", "[::1]:80", "[::1]"] {
            assert!(named(host), "{host}");
        }
        for host in ["", "example.com", "localhost.example.com:80", "127.0.0.1.example.com", "10.0.0.1:80"] {
            assert!(!named(host), "{host}");
        }
    }
}
