//! Where a model lies: a folder, or a name of the Hugging Face Hub that is looked up in its cache or downloaded.
//!
//! The cache is the one that the Hub's own libraries keep: `models--org--name/refs/main` holds a commit,
//! `snapshots/<commit>/` its files, as links into `blobs/`. What is there is used as it is, without asking the network.

#[cfg(feature = "download")]
mod download;

use std::env;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use nissl_core::Progress;

use crate::arch::Found;
use crate::checkpoint::{Checkpoint, source};
use crate::error::LoadError;

/// The address that models are downloaded from.
const ENDPOINT: &str = "https://huggingface.co";

/// A model's folder, and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelFiles {
    /// The folder with `config.json` and the weights, or a file that has all in it, such as GGUF.
    pub folder: PathBuf,
    /// What the user called it.
    pub name: String,
    /// The commit of the Hub repository; `None` for a folder.
    pub commit: Option<String>,
}

/// How the Hub is reached.
#[derive(Clone)]
pub struct Hub {
    /// The cache folder, that with `models--org--name` in it.
    pub cache: PathBuf,
    /// The address of the Hub.
    pub endpoint: String,
    /// Whether only the cache is looked at.
    pub offline: bool,
    /// What is sent to the endpoint, and to nobody else, for models that are not public.
    pub token: Option<String>,
}

impl fmt::Debug for Hub {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cache, endpoint, offline, token } = self;
        let token = token.as_ref().map(|_| "…");
        f.debug_struct("Hub")
            .field("cache", cache)
            .field("endpoint", endpoint)
            .field("offline", offline)
            .field("token", &token)
            .finish()
    }
}

impl Hub {
    /// As the environment says: `HF_HUB_CACHE`, `HF_HOME`, `HF_ENDPOINT`, `HF_HUB_OFFLINE`, `HF_TOKEN` (or the file
    /// `token` of `HF_HOME`). Downloads also heed the usual proxy variables and `SSL_CERT_FILE`.
    pub fn from_env() -> Self {
        Self::from_vars(|name| env::var(name).ok().filter(|value| !value.trim().is_empty()))
    }

    fn from_vars(var: impl Fn(&str) -> Option<String>) -> Self {
        let home = var("HF_HOME").map(PathBuf::from).or_else(|| {
            let cache = var("XDG_CACHE_HOME").map(PathBuf::from);
            let cache = cache.or_else(|| env::home_dir().map(|home| home.join(".cache")));
            cache.map(|cache| cache.join("huggingface"))
        });
        let home = home.unwrap_or_else(|| PathBuf::from(".cache/huggingface"));
        let offline = var("HF_HUB_OFFLINE").or_else(|| var("TRANSFORMERS_OFFLINE"));
        let kept = || fs::read_to_string(home.join("token")).ok().map(|token| token.trim().to_owned());
        Self {
            cache: var("HF_HUB_CACHE").map_or_else(|| home.join("hub"), PathBuf::from),
            endpoint: var("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.to_owned()),
            offline: offline.is_some_and(|value| matches!(value.to_lowercase().as_str(), "1" | "on" | "yes" | "true")),
            token: var("HF_TOKEN").or_else(kept).filter(|token| !token.is_empty()),
        }
    }

    /// The folder of a model: `source` itself if it is a folder or a file that is a model by itself, else that of a Hub name such as
    /// `org/name` or `org/name@revision`, from the cache or downloaded into it.
    ///
    /// A cached revision is used without looking for a newer one. A download that was cut off goes on where it was.
    ///
    /// # Errors
    /// If there is no such folder, if it is no model, if a name is not in the cache and cannot be downloaded, if the
    /// user stops it.
    pub fn resolve(&self, source: &str, progress: &dyn Progress) -> Result<ModelFiles, LoadError> {
        let path = Path::new(source);
        if path.exists() {
            check(path)?;
            return Ok(ModelFiles { folder: path.to_owned(), name: source.to_owned(), commit: None });
        }
        let Some(name) = HubName::parse(source) else {
            let got = "nothing at this path".to_owned();
            let expected = "a model folder, or a Hub name such as org/name".to_owned();
            return Err(LoadError::NotAModel { path: path.to_owned(), expected, got });
        };
        let repo = self.repo_folder(&name);
        let (folder, commit) = match cached(&repo, &name) {
            Some(found) => found,
            None if self.offline => {
                let cache = self.cache.display();
                return Err(name.error(format!("no such folder, and not in the cache {cache}; downloads are off")));
            }
            None => {
                let commit = self.download(&name, &repo, progress)?;
                (snapshot(&repo, &commit), commit)
            }
        };
        check(&folder)?;
        Ok(ModelFiles { folder, name: source.to_owned(), commit: Some(commit) })
    }

    #[cfg(not(feature = "download"))]
    fn download(&self, name: &HubName, _repo: &Path, _progress: &dyn Progress) -> Result<String, LoadError> {
        let cache = self.cache.display();
        let what = format!("no such folder, and not in the cache {cache}; this build cannot download");
        Err(name.error(what))
    }

    fn repo_folder(&self, name: &HubName) -> PathBuf {
        self.cache.join(format!("models--{}", name.repo.replace('/', "--")))
    }
}

/// The folder of a model, with the Hub as the environment says; see [`Hub::resolve`].
///
/// # Errors
/// As [`Hub::resolve`].
pub fn resolve(source: &str, progress: &dyn Progress) -> Result<ModelFiles, LoadError> {
    Hub::from_env().resolve(source, progress)
}

/// The snapshot of a name that is complete in the cache, and its commit.
fn cached(repo: &Path, name: &HubName) -> Option<(PathBuf, String)> {
    let named = fs::read_to_string(repo.join("refs").join(&name.revision));
    let commit = named.map_or_else(|_| name.revision.clone(), |text| text.trim().to_owned());
    let folder = snapshot(repo, &commit);
    (is_plain(&commit) && check(&folder).is_ok()).then_some((folder, commit))
}

fn snapshot(repo: &Path, commit: &str) -> PathBuf {
    repo.join("snapshots").join(commit)
}

/// A name of the Hub.
#[derive(Clone, Debug, PartialEq, Eq)]
struct HubName {
    repo: String,
    revision: String,
}

impl HubName {
    /// Reads `org/name`, `name`, `org/name@revision`; `None` if it cannot be a Hub name.
    fn parse(source: &str) -> Option<Self> {
        let (repo, revision) = source.split_once('@').unwrap_or((source, "main"));
        let parts: Vec<&str> = repo.split('/').collect();
        let revision_ok = revision.split('/').all(is_plain);
        if parts.len() > 2 || !parts.iter().all(|part| is_plain(part)) || !revision_ok {
            return None;
        }
        Some(Self { repo: repo.to_owned(), revision: revision.to_owned() })
    }

    fn error(&self, what: String) -> LoadError {
        LoadError::Hub { repo: self.repo.clone(), revision: self.revision.clone(), what }
    }
}

/// Whether a part of a Hub name, a commit or a digest can be a part of a path without leading elsewhere.
fn is_plain(part: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !part.is_empty() && !part.starts_with(['.', '-']) && part.chars().all(allowed)
}

/// Checks that a path is that of a model in one file, or of a folder with a config and weights, or with weights of a
/// family that needs none.
fn check(path: &Path) -> Result<(), LoadError> {
    if source::whole(path).is_some() {
        return Ok(());
    }
    let io = |source| LoadError::Io { path: path.to_owned(), source };
    if !fs::metadata(path).map_err(io)?.is_dir() {
        let expected = "a folder with config.json and weights, or a file that is a model by itself".to_owned();
        return Err(LoadError::NotAModel { path: path.to_owned(), expected, got: "a file".to_owned() });
    }
    let speaks = || Checkpoint::open(path).is_ok_and(|weights| Found::by_weights(&weights).is_some());
    if !path.join("config.json").exists() && !speaks() {
        let (expected, got) = match &source::wholes(path)[..] {
            [] => ("config.json", source::describe(&source::list(path)?)),
            several => ("a folder of one model, or the path of one", several.join(", ")),
        };
        return Err(LoadError::NotAModel { path: path.to_owned(), expected: expected.to_owned(), got });
    }
    source::find(path).map(drop)
}

#[cfg(test)]
mod tests;
