//! From the Hub into its cache: the config, the tokenizer and the weights of a model, nothing else.
//!
//! A file is written beside its place, checked, and moved there; a snapshot's name is written last. So a reader never
//! sees half a file, and what was cut off goes on where it was. The server is not trusted: no name of its own becomes
//! a path, and every size, and every digest that it states, is checked.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nissl_core::Progress;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use ureq::http::Response;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body, Proxy};

use super::{Hub, HubName, is_plain, snapshot};
use crate::checkpoint::{FORMATS, source};
use crate::error::LoadError;

/// How often a transfer that breaks is taken up again without a byte gained.
const ATTEMPTS: usize = 3;
/// What is fetched beside the weights, where it is there; the last three say how sentence vectors are made.
const FILES: [&str; 6] = [
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "modules.json",
    "sentence_bert_config.json",
    "1_Pooling/config.json",
];
/// How many addresses of its own the Hub may send us on to, for a model that was renamed.
const REDIRECTS: usize = 5;
/// Bytes between two looks at whether to stop.
const BLOCK: usize = 1 << 20;
/// Digits of a SHA-256 digest, by which the Hub names large files.
const SHA256_DIGITS: usize = 64;

impl Hub {
    /// Downloads what a model needs and returns the commit of its snapshot.
    pub(super) fn download(&self, name: &HubName, repo: &Path, progress: &dyn Progress) -> Result<String, LoadError> {
        let transfer = Transfer { hub: self, name, agent: agent(&self.endpoint), repo, progress };
        let info = transfer.info()?;
        let has = |file: &str| info.siblings.iter().any(|sibling| sibling.rfilename == file);
        if !has("config.json") {
            return Err(name.error("no config.json in the repository, so it is no model".to_owned()));
        }
        for file in FILES {
            if has(file) {
                transfer.fetch(&info.sha, file)?;
            }
        }
        let named = |name: Option<&'static str>| name.filter(|name| has(name));
        let found = FORMATS.iter().find_map(|format| match (named(format.single), named(format.index)) {
            (Some(single), _) => Some((single, false)),
            (None, index) => Some((index?, true)),
        });
        let Some((file, is_index)) = found else {
            return Err(name.error(format!("no {} in the repository; other formats are not read", source::expected())));
        };
        let path = transfer.fetch(&info.sha, file)?;
        if is_index {
            for shard in source::shards(&source::read_index(&path)?) {
                if !is_plain(&shard) {
                    return Err(name.error(format!("{file} names the file '{shard}'")));
                }
                transfer.fetch(&info.sha, &shard)?;
            }
        }
        transfer.name_snapshot(&info.sha)?;
        Ok(info.sha)
    }
}

/// What the Hub says of a revision.
#[derive(Deserialize)]
struct RepoInfo {
    sha: String,
    #[serde(default)]
    siblings: Vec<Sibling>,
}

/// A file of a repository.
#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
}

/// What the Hub says of a file.
struct FileInfo {
    /// Where it is, after the Hub's own redirections.
    url: String,
    /// Its digest, under which the cache keeps it.
    etag: String,
    size: u64,
}

/// A download into a repository's folder of the cache.
struct Transfer<'a> {
    hub: &'a Hub,
    name: &'a HubName,
    agent: Agent,
    repo: &'a Path,
    progress: &'a dyn Progress,
}

impl Transfer<'_> {
    fn info(&self) -> Result<RepoInfo, LoadError> {
        let (repo, revision) = (&self.name.repo, self.name.revision.replace('/', "%2F"));
        let url = format!("{}/api/models/{repo}/revision/{revision}", self.endpoint());
        let request = self.authorized(self.agent.get(&url));
        let unreached = |err: ureq::Error| {
            self.name.error(format!("no such folder, not in the cache, and {url} cannot be reached: {err}"))
        };
        let mut response = request.call().map_err(unreached)?;
        self.check_status(&url, &response)?;
        let text = response.body_mut().read_to_string().map_err(|err| self.failed(&url, &err))?;
        let info: RepoInfo = serde_json::from_str(&text).map_err(|err| self.failed(&url, &err))?;
        if is_plain(&info.sha) { Ok(info) } else { Err(self.failed(&url, &format!("strange commit '{}'", info.sha))) }
    }

    /// Brings a file into the cache, if it is not there, and returns its path in the snapshot.
    fn fetch(&self, commit: &str, file: &str) -> Result<PathBuf, LoadError> {
        let info = self.file_info(commit, file)?;
        let blob = self.repo.join("blobs").join(&info.etag);
        if fs::metadata(&blob).ok().map(|found| found.len()) != Some(info.size) {
            self.fetch_blob(&info, &blob, file)?;
        }
        let link = snapshot(self.repo, commit).join(file);
        if !link.exists() {
            make_parent(&link)?;
            let up = "../".repeat(2 + file.matches('/').count());
            place(&blob, &Path::new(&up).join("blobs").join(&info.etag), &link)
                .map_err(|source| LoadError::Io { path: link.clone(), source })?;
        }
        Ok(link)
    }

    fn file_info(&self, commit: &str, file: &str) -> Result<FileInfo, LoadError> {
        let mut url = format!("{}/{}/resolve/{commit}/{file}", self.endpoint(), self.name.repo);
        for _ in 0..REDIRECTS {
            // Not followed by the agent: the headers that count are those of the Hub, not of its storage.
            let request = self.authorized(self.agent.head(&url)).config().max_redirects(0).build();
            let response = request.call().map_err(|err| self.failed(&url, &err))?;
            let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
            if let Some(own) = header("location").filter(|to| to.starts_with('/') && !to.starts_with("//")) {
                url = format!("{}{own}", self.endpoint());
                continue;
            }
            if !response.status().is_redirection() {
                self.check_status(&url, &response)?;
            }
            let etag = header("x-linked-etag").or_else(|| header("etag")).unwrap_or_default();
            let etag = etag.trim_start_matches("W/").trim_matches('"').to_owned();
            let size = header("x-linked-size").or_else(|| header("content-length")).and_then(|size| size.parse().ok());
            return match size {
                Some(size) if is_plain(&etag) => Ok(FileInfo { url, etag, size }),
                Some(_) => Err(self.failed(&url, &format!("strange etag '{etag}'"))),
                None => Err(self.failed(&url, &"no size")),
            };
        }
        Err(self.failed(&url, &"sent on too often"))
    }

    /// Downloads into `<blob>.incomplete`, checks, and moves it to `blob`.
    fn fetch_blob(&self, info: &FileInfo, blob: &Path, label: &str) -> Result<(), LoadError> {
        let partial = blob.with_file_name(format!("{}.incomplete", info.etag));
        let io = |source| LoadError::Io { path: partial.clone(), source };
        make_parent(&partial)?;
        let mut options = OpenOptions::new();
        let mut file = options.read(true).write(true).create(true).truncate(false).open(&partial).map_err(io)?;
        // Another process may be at the same file: wait for it, then see whether anything is left to do.
        file.lock().map_err(io)?;
        if fs::metadata(blob).ok().map(|found| found.len()) == Some(info.size) {
            return fs::remove_file(&partial).or_else(gone_already).map_err(io);
        }
        self.progress.stage(&format!("downloading {}/{label}", self.name.repo), Some(info.size), "bytes");
        let mut without_gain = 0;
        loop {
            let before = file.metadata().map_err(io)?.len();
            if before > info.size {
                file.set_len(0).map_err(io)?;
            } else if before == info.size {
                break;
            }
            let broken = match self.receive(info, &mut file, &partial) {
                Err(Broken::Off(what)) => what,
                Err(Broken::Failed(err)) => return Err(err),
                Ok(()) => "the server sent less than it said".to_owned(),
            };
            let gained = file.metadata().map_err(io)?.len() > before;
            without_gain = if gained { 0 } else { without_gain + 1 };
            if without_gain == ATTEMPTS {
                return Err(self.failed(&info.url, &broken));
            }
        }
        if info.etag.len() == SHA256_DIGITS && info.etag.chars().all(|c| c.is_ascii_hexdigit()) {
            let got = sha256(&mut file).map_err(io)?;
            if got != info.etag.to_lowercase() {
                fs::remove_file(&partial).map_err(io)?;
                return Err(self.failed(&info.url, &format!("digest: expected {}, got {got}", info.etag)));
            }
        }
        file.sync_all().map_err(io)?;
        fs::rename(&partial, blob).map_err(io)
    }

    /// Asks for what is missing and appends what comes.
    fn receive(&self, info: &FileInfo, file: &mut File, path: &Path) -> Result<(), Broken> {
        let io = |source| Broken::Failed(LoadError::Io { path: path.to_owned(), source });
        let mut have = file.metadata().map_err(io)?.len();
        let mut request = self.authorized(self.agent.get(&info.url));
        if have > 0 {
            request = request.header("Range", format!("bytes={have}-"));
        }
        let response = request.call().map_err(|err| Broken::Off(err.to_string()))?;
        match response.status().as_u16() {
            206 => {}
            200..300 => {
                file.set_len(0).map_err(io)?;
                have = 0;
            }
            416 => {
                file.set_len(0).map_err(io)?;
                return Err(Broken::Off("the part that was there does not fit".to_owned()));
            }
            500.. => return Err(Broken::Off(format!("status {}", response.status()))),
            _ => return Err(Broken::Failed(self.refused(&info.url, &response))),
        }
        file.seek(SeekFrom::End(0)).map_err(io)?;
        let mut body = response.into_body().into_reader();
        let mut block = vec![0; BLOCK];
        loop {
            if self.progress.cancelled() {
                return Err(Broken::Failed(LoadError::Cancelled));
            }
            let n = body.read(&mut block).map_err(|err| Broken::Off(err.to_string()))?;
            if n == 0 {
                return Ok(());
            }
            have += n as u64;
            if have > info.size {
                file.set_len(0).map_err(io)?;
                return Err(Broken::Off(format!("more than the {} bytes it said", info.size)));
            }
            file.write_all(&block[..n]).map_err(io)?;
            self.progress.step(have);
        }
    }

    /// Writes the commit under the revision's name, so that the next run finds the snapshot without asking.
    fn name_snapshot(&self, commit: &str) -> Result<(), LoadError> {
        if self.name.revision == commit {
            return Ok(());
        }
        let path = self.repo.join("refs").join(&self.name.revision);
        make_parent(&path)?;
        let beside = beside(&path);
        let written = fs::write(&beside, commit).and_then(|()| fs::rename(&beside, &path));
        written.map_err(|source| LoadError::Io { path, source })
    }

    fn endpoint(&self) -> &str {
        self.hub.endpoint.trim_end_matches('/')
    }

    /// With the token; the agent does not send it on to whom the Hub redirects.
    fn authorized<B>(&self, request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
        match &self.hub.token {
            Some(token) => request.header("Authorization", format!("Bearer {token}")),
            None => request,
        }
    }

    fn check_status(&self, url: &str, response: &Response<Body>) -> Result<(), LoadError> {
        if response.status().is_success() { Ok(()) } else { Err(self.refused(url, response)) }
    }

    fn refused(&self, url: &str, response: &Response<Body>) -> LoadError {
        match response.status().as_u16() {
            401 | 403 | 404 => {
                let what = "no such model or revision, or one that needs a token (HF_TOKEN)";
                self.name.error(format!("no such folder, not in the cache, and {url}: {what}"))
            }
            _ => self.failed(url, &format!("status {}", response.status())),
        }
    }

    fn failed(&self, url: &str, what: &dyn std::fmt::Display) -> LoadError {
        self.name.error(format!("{url}: {what}"))
    }
}

/// Why a transfer ended early.
enum Broken {
    /// The connection: worth another try.
    Off(String),
    /// Anything else.
    Failed(LoadError),
}

fn agent(endpoint: &str) -> Agent {
    let seconds = |n| Some(Duration::from_secs(n));
    // A mirror on this machine is not reached through a proxy, whatever the environment forgets to say.
    let local = ["://localhost", "://127.0.0.1", "://[::1]"].iter().any(|host| endpoint.contains(host));
    let proxy = if local { None } else { Proxy::try_from_env() };
    Agent::config_builder()
        .proxy(proxy)
        .http_status_as_error(false)
        .max_redirects_will_error(false)
        .timeout_connect(seconds(20))
        .timeout_recv_response(seconds(60))
        .tls_config(TlsConfig::builder().root_certs(root_certs()).build())
        .user_agent(concat!("nissl/", env!("CARGO_PKG_VERSION")))
        .build()
        .new_agent()
}

/// The authorities that are believed: those of `SSL_CERT_FILE`, as other programs read it, else Mozilla's.
fn root_certs() -> RootCerts {
    let Some(pem) = env::var_os("SSL_CERT_FILE").and_then(|path| fs::read(path).ok()) else {
        return RootCerts::WebPki;
    };
    let items = parse_pem(&pem).filter_map(Result::ok);
    let certs = items.filter_map(|item| if let PemItem::Certificate(cert) = item { Some(cert) } else { None });
    certs.collect::<Vec<_>>().into()
}

fn make_parent(path: &Path) -> Result<(), LoadError> {
    let parent = path.parent().unwrap_or(path);
    fs::create_dir_all(parent).map_err(|source| LoadError::Io { path: parent.to_owned(), source })
}

fn gone_already(err: io::Error) -> io::Result<()> {
    if err.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(err) }
}

/// A name beside `path` that nobody else uses, to write under before moving.
fn beside(path: &Path) -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let unique = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}-{unique}.incomplete", process::id()))
}

/// Links `link` to the blob, relatively; where the system has no such links, by a second name or a copy.
fn place(blob: &Path, relative: &Path, link: &Path) -> io::Result<()> {
    let beside = beside(link);
    #[cfg(unix)]
    let linked = std::os::unix::fs::symlink(relative, &beside);
    #[cfg(not(unix))]
    let linked = io::Result::Err(io::Error::other(relative.display().to_string()));
    linked.or_else(|_| fs::hard_link(blob, &beside)).or_else(|_| fs::copy(blob, &beside).map(drop))?;
    fs::rename(&beside, link)
}

fn sha256(file: &mut File) -> io::Result<String> {
    file.seek(SeekFrom::Start(0))?;
    let mut hasher = Sha256::new();
    let mut block = vec![0; BLOCK];
    loop {
        let n = file.read(&mut block)?;
        if n == 0 {
            return Ok(hex(&hasher.finalize()));
        }
        hasher.update(&block[..n]);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}
