//! Downloads from a server of our own on the loopback interface.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use nissl_core::Progress;
use sha2::{Digest, Sha256};

use super::*;

/// What a client asked: method and path, and two of its headers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Request {
    line: String,
    range: Option<u64>,
    authorized: bool,
}

/// What it gets: a status, headers, and a body that may break off.
struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// Bytes sent before the connection breaks.
    cut: Option<usize>,
}

impl Reply {
    fn new(status: u16) -> Self {
        Self { status, headers: vec![], body: vec![], cut: None }
    }
}

/// A server that answers with `answer` until it is dropped.
struct Server {
    address: String,
    seen: Arc<Mutex<Vec<Request>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start(answer: impl Fn(&Request) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(vec![]));
        let stop = Arc::new(AtomicBool::new(false));
        let (log, stopped) = (Arc::clone(&seen), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let mut stream = stream.unwrap();
                let Some(request) = read_request(&stream) else { continue };
                log.lock().unwrap().push(request.clone());
                // A client that has seen enough may hang up: that is its right.
                drop(send(&mut stream, &request, &answer(&request)));
            }
        });
        Self { address, seen, stop, thread: Some(thread) }
    }

    fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address.trim_start_matches("http://")));
        self.thread.take().unwrap().join().unwrap();
    }
}

fn read_request(stream: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines();
    let line = lines.next()?.ok()?;
    let mut request = Request { line: line.trim_end_matches(" HTTP/1.1").to_owned(), ..Request::default() };
    while let Some(Ok(header)) = lines.next().filter(|line| !matches!(line, Ok(line) if line.is_empty())) {
        let (name, value) = header.split_once(": ").unwrap();
        match name.to_lowercase().as_str() {
            "range" => request.range = value.trim_start_matches("bytes=").trim_end_matches('-').parse().ok(),
            "authorization" => request.authorized = value == "Bearer secret",
            _ => {}
        }
    }
    Some(request)
}

fn send(stream: &mut TcpStream, request: &Request, reply: &Reply) -> std::io::Result<()> {
    write!(stream, "HTTP/1.1 {} x\r\nConnection: close\r\n", reply.status)?;
    if !reply.headers.iter().any(|(name, _)| *name == "Content-Length") {
        write!(stream, "Content-Length: {}\r\n", reply.body.len())?;
    }
    for (name, value) in &reply.headers {
        write!(stream, "{name}: {value}\r\n")?;
    }
    stream.write_all(b"\r\n")?;
    if !request.line.starts_with("HEAD") {
        stream.write_all(&reply.body[..reply.cut.unwrap_or(reply.body.len())])?;
    }
    stream.flush()
}

/// The files of a repository, answered as the Hub does: large ones under the digest of their bytes.
fn repository(files: Vec<(&'static str, Vec<u8>)>) -> impl Fn(&Request) -> Reply + Send + 'static {
    move |request| {
        let path = request.line.split_once(' ').unwrap().1;
        if path.starts_with("/api/models/org/name/revision/") {
            let siblings: Vec<String> = files.iter().map(|(name, _)| format!(r#"{{"rfilename":"{name}"}}"#)).collect();
            let body = format!(r#"{{"sha":"c0ffee","siblings":[{}],"private":false}}"#, siblings.join(","));
            return Reply { body: body.into_bytes(), ..Reply::new(200) };
        }
        let name = path.trim_start_matches("/org/name/resolve/c0ffee/");
        let Some((_, bytes)) = files.iter().find(|(known, _)| *known == name) else {
            return Reply::new(404);
        };
        let etag = if name.ends_with("safetensors") { digest(bytes) } else { format!("git-{name}") };
        let from = request.range.unwrap_or(0) as usize;
        let status = if request.range.is_some() { 206 } else { 200 };
        Reply { headers: vec![("ETag", format!("\"{etag}\""))], body: bytes[from..].to_vec(), ..Reply::new(status) }
    }
}

fn digest(bytes: &[u8]) -> String {
    blake3::Hash::from_bytes(Sha256::digest(bytes).into()).to_hex().to_string()
}

fn weights() -> Vec<u8> {
    (0..100_000u32).flat_map(u32::to_le_bytes).collect()
}

fn small_model() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("README.md", b"read me".to_vec()),
        ("config.json", b"{\"a\": 1}".to_vec()),
        ("tokenizer.json", b"{}".to_vec()),
        ("model.safetensors", weights()),
        ("pytorch_model.bin", b"pickle".to_vec()),
    ]
}

fn online(server: &Server, cache: &TempDir) -> Hub {
    Hub { endpoint: format!("{}/", server.address), offline: false, ..hub(cache.path()) }
}

fn resolve(server: &Server, cache: &TempDir) -> Result<ModelFiles, LoadError> {
    online(server, cache).resolve("org/name", &NoProgress)
}

#[test]
fn a_model_is_downloaded_once_into_the_layout_of_the_cache() {
    let server = Server::start(repository(small_model()));
    let cache = TempDir::new().unwrap();
    let found = resolve(&server, &cache).unwrap();
    let repo = cache.path().join("models--org--name");
    assert_eq!(found.folder, repo.join("snapshots/c0ffee"));
    assert_eq!(found.commit.as_deref(), Some("c0ffee"));
    assert_eq!(fs::read(found.folder.join("model.safetensors")).unwrap(), weights());
    assert_eq!(fs::read(repo.join("blobs").join(digest(&weights()))).unwrap(), weights());
    assert_eq!(fs::read_to_string(repo.join("refs/main")).unwrap(), "c0ffee");
    assert_eq!(source::list(&found.folder).unwrap(), ["config.json", "model.safetensors", "tokenizer.json"]);
    assert_eq!(source::list(&repo.join("blobs")).unwrap().len(), 3);
    let n_requests = server.seen().len();
    assert_eq!(resolve(&server, &cache).unwrap(), found);
    assert_eq!(hub(cache.path()).resolve("org/name@c0ffee", &NoProgress).unwrap().folder, found.folder);
    assert_eq!(server.seen().len(), n_requests, "what is cached is not asked for");
}

#[test]
fn shards_are_downloaded_as_their_index_says() {
    let index = br#"{"weight_map":{"a":"m-2.safetensors","b":"m-1.safetensors","c":"m-2.safetensors"}}"#.to_vec();
    let files = vec![
        ("config.json", b"{}".to_vec()),
        ("model.safetensors.index.json", index),
        ("m-1.safetensors", b"one".to_vec()),
        ("m-2.safetensors", b"two".to_vec()),
        ("m-3.safetensors", b"not named".to_vec()),
    ];
    let server = Server::start(repository(files));
    let cache = TempDir::new().unwrap();
    let folder = resolve(&server, &cache).unwrap().folder;
    assert_eq!(fs::read(folder.join("m-1.safetensors")).unwrap(), b"one");
    assert_eq!(fs::read(folder.join("m-2.safetensors")).unwrap(), b"two");
    assert!(!folder.join("m-3.safetensors").exists());
}

#[test]
fn a_transfer_that_breaks_goes_on_where_it_was() {
    let breaks = AtomicUsize::new(0);
    let whole = repository(small_model());
    let server = Server::start(move |request| {
        let mut reply = whole(request);
        if request.line.starts_with("GET") && reply.body.len() > 150_000 && breaks.fetch_add(1, Ordering::SeqCst) < 2 {
            reply.cut = Some(150_000);
        }
        reply
    });
    let cache = TempDir::new().unwrap();
    let folder = resolve(&server, &cache).unwrap().folder;
    assert_eq!(fs::read(folder.join("model.safetensors")).unwrap(), weights());
    let starts: Vec<u64> = server.seen().into_iter().filter_map(|request| request.range).collect();
    assert_eq!(starts, [150_000, 300_000]);
}

#[test]
fn a_file_that_is_not_what_it_claims_never_reaches_the_cache() {
    type Change = fn(&Request, &mut Reply);
    let cases: [(&str, Change); 5] = [
        ("digest: expected", |_, reply| reply.body[5] ^= 1),
        ("less than it said", |_, reply| reply.headers.push(("X-Linked-Size", (reply.body.len() + 1).to_string()))),
        ("more than the 9 bytes", |_, reply| reply.headers.push(("X-Linked-Size", "9".to_owned()))),
        ("strange etag '../../evil'", |_, reply| reply.headers = vec![("ETag", "\"../../evil\"".to_owned())]),
        ("status 503", |request, reply| {
            if request.line.starts_with("GET") {
                reply.status = 503;
            }
        }),
    ];
    for (expected, change) in cases {
        let good = repository(small_model());
        let server = Server::start(move |request| {
            let mut reply = good(request);
            if request.line.ends_with("model.safetensors") {
                change(request, &mut reply);
            }
            reply
        });
        let cache = TempDir::new().unwrap();
        let message = resolve(&server, &cache).unwrap_err().to_string();
        assert!(message.contains(expected) && message.contains("model.safetensors"), "{expected}: {message}");
        let repo = cache.path().join("models--org--name");
        assert!(!repo.join("snapshots/c0ffee/model.safetensors").exists(), "{expected}");
        assert!(!repo.join("refs/main").exists(), "{expected}");
        let names = source::list(&repo.join("blobs")).unwrap();
        assert!(names.iter().all(|name| name.starts_with("git-") || name.ends_with(".incomplete")), "{names:?}");
    }
}

#[test]
fn a_repository_that_is_no_model_or_no_repository_is_refused() {
    let cases = [
        (vec![("README.md", vec![])], "no config.json in the repository"),
        (vec![("config.json", vec![]), ("model.onnx", vec![])], "no model.safetensors or"),
    ];
    for (files, expected) in cases {
        let server = Server::start(repository(files));
        let message = resolve(&server, &TempDir::new().unwrap()).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
    let server = Server::start(|_| Reply::new(404));
    let message = resolve(&server, &TempDir::new().unwrap()).unwrap_err().to_string();
    assert!(message.starts_with("org/name@main: no such folder, not in the cache, and http://127.0.0.1"), "{message}");
    let server = Server::start(|_| Reply { body: br#"{"sha":"../x"}"#.to_vec(), ..Reply::new(200) });
    let message = resolve(&server, &TempDir::new().unwrap()).unwrap_err().to_string();
    assert!(message.contains("strange commit '../x'"), "{message}");
}

#[test]
fn the_token_goes_to_the_hub_and_not_to_its_storage() {
    let storage = Server::start(|_| Reply { body: weights(), ..Reply::new(200) });
    let (elsewhere, hub_files) = (storage.address.clone(), repository(small_model()));
    let server = Server::start(move |request| {
        let mut reply = hub_files(request);
        if request.line.ends_with("c0ffee/model.safetensors") {
            let sizes = [("X-Linked-Size", weights().len().to_string()), ("X-Linked-ETag", digest(&weights()))];
            reply = Reply::new(302);
            reply.headers.push(("Location", format!("{elsewhere}/signed")));
            reply.headers.extend(sizes);
        } else if request.line.ends_with("c0ffee/config.json") {
            reply = Reply::new(307);
            reply.headers.push(("Location", "/org/name/resolve/c0ffee/tokenizer.json".to_owned()));
        }
        reply
    });
    let cache = TempDir::new().unwrap();
    let hub = Hub { token: Some("secret".to_owned()), ..online(&server, &cache) };
    let folder = hub.resolve("org/name", &NoProgress).unwrap().folder;
    assert_eq!(fs::read(folder.join("model.safetensors")).unwrap(), weights());
    assert_eq!(fs::read(folder.join("config.json")).unwrap(), b"{}", "our own address is followed");
    assert!(server.seen().iter().all(|request| request.authorized), "{:?}", server.seen());
    assert_eq!(storage.seen(), [Request { line: "GET /signed".to_owned(), ..Request::default() }]);
}

#[test]
fn a_download_that_is_stopped_leaves_a_part_to_go_on_from() {
    struct Stop;
    impl Progress for Stop {
        fn stage(&self, _name: &str, _total: Option<u64>, _unit: &str) {}
        fn step(&self, _done: u64) {}
        fn note(&self, _line: &str) {}
        fn cancelled(&self) -> bool {
            true
        }
    }
    let server = Server::start(repository(small_model()));
    let cache = TempDir::new().unwrap();
    let hub = online(&server, &cache);
    assert!(matches!(hub.resolve("org/name", &Stop), Err(LoadError::Cancelled)));
    assert!(!cache.path().join("models--org--name/refs").exists());
    hub.resolve("org/name", &NoProgress).unwrap();
}

#[test]
fn two_downloads_at_once_share_the_work() {
    let server = Server::start(repository(small_model()));
    let cache = TempDir::new().unwrap();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| resolve(&server, &cache).unwrap())).collect();
        for thread in threads {
            assert_eq!(fs::read(thread.join().unwrap().folder.join("model.safetensors")).unwrap(), weights());
        }
    });
    let blobs = source::list(&cache.path().join("models--org--name/blobs")).unwrap();
    assert!(!blobs.iter().any(|name| name.ends_with(".incomplete")), "{blobs:?}");
}
