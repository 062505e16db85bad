//! Where a model lies: a folder, or a name of the Hugging Face Hub that is looked up in its cache.
//!
//! The cache is the one that the Hub's own libraries keep: `models--org--name/refs/main` holds a commit,
//! `snapshots/<commit>/` its files. What is there is used as it is, without asking the network.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use nissl_core::Progress;

use crate::checkpoint;
use crate::error::LoadError;

/// The address that models are downloaded from.
const ENDPOINT: &str = "https://huggingface.co";

/// A model's folder, and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelFiles {
    /// The folder with `config.json` and the weights.
    pub folder: PathBuf,
    /// What the user called it.
    pub name: String,
    /// The commit of the Hub repository; `None` for a folder.
    pub commit: Option<String>,
}

/// How the Hub is reached.
#[derive(Clone, Debug)]
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

impl Hub {
    /// As the environment says: `HF_HUB_CACHE`, `HF_HOME`, `HF_ENDPOINT`, `HF_HUB_OFFLINE`, `HF_TOKEN`.
    pub fn from_env() -> Self {
        let var = |name: &str| env::var(name).ok().filter(|value| !value.trim().is_empty());
        let home = var("HF_HOME").map(PathBuf::from).unwrap_or_else(|| {
            let cache = var("XDG_CACHE_HOME").map(PathBuf::from);
            let cache = cache.or_else(|| env::home_dir().map(|home| home.join(".cache")));
            cache.unwrap_or_else(|| PathBuf::from(".cache")).join("huggingface")
        });
        let offline = var("HF_HUB_OFFLINE").or_else(|| var("TRANSFORMERS_OFFLINE"));
        Self {
            cache: var("HF_HUB_CACHE").map_or_else(|| home.join("hub"), PathBuf::from),
            endpoint: var("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.to_owned()),
            offline: offline.is_some_and(|value| matches!(value.to_lowercase().as_str(), "1" | "on" | "yes" | "true")),
            token: var("HF_TOKEN"),
        }
    }

    /// The folder of a model: `source` itself if it is a folder, else that of a Hub name such as `org/name` or
    /// `org/name@revision`, from the cache or downloaded into it.
    ///
    /// # Errors
    /// If there is no such folder, if it is no model, if a name is not in the cache and cannot be downloaded.
    pub fn resolve(&self, source: &str, progress: &dyn Progress) -> Result<ModelFiles, LoadError> {
        let path = Path::new(source);
        if path.exists() {
            check_folder(path)?;
            return Ok(ModelFiles { folder: path.to_owned(), name: source.to_owned(), commit: None });
        }
        let Some(name) = HubName::parse(source) else {
            let got = "nothing at this path".to_owned();
            let expected = "a model folder, or a Hub name such as org/name".to_owned();
            return Err(LoadError::NotAModel { path: path.to_owned(), expected, got });
        };
        if let Some((folder, commit)) = self.cached(&name) {
            return Ok(ModelFiles { folder, name: source.to_owned(), commit: Some(commit) });
        }
        let _ = progress;
        Err(name.error(format!("not in the cache {}", self.repo_folder(&name).display())))
    }

    /// The snapshot of a name that is complete in the cache, and its commit.
    fn cached(&self, name: &HubName) -> Option<(PathBuf, String)> {
        let repo = self.repo_folder(name);
        let named = fs::read_to_string(repo.join("refs").join(&name.revision));
        let commit = named.map_or_else(|_| name.revision.clone(), |text| text.trim().to_owned());
        let folder = repo.join("snapshots").join(&commit);
        let complete = !commit.is_empty() && is_plain(&commit) && check_folder(&folder).is_ok();
        complete.then_some((folder, commit))
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

/// Whether a part of a Hub name can be a part of a path without leading elsewhere.
fn is_plain(part: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !part.is_empty() && !part.starts_with(['.', '-']) && part.chars().all(allowed)
}

/// Checks that a folder has a config and weights.
fn check_folder(folder: &Path) -> Result<(), LoadError> {
    let io = |source| LoadError::Io { path: folder.to_owned(), source };
    if !fs::metadata(folder).map_err(io)?.is_dir() {
        let expected = "a folder with config.json and model.safetensors".to_owned();
        return Err(LoadError::NotAModel { path: folder.to_owned(), expected, got: "a file".to_owned() });
    }
    if !folder.join("config.json").exists() {
        let got = checkpoint::describe_folder(folder)?;
        return Err(LoadError::NotAModel { path: folder.to_owned(), expected: "config.json".to_owned(), got });
    }
    checkpoint::find_weights(folder)
}

#[cfg(test)]
#[path = "hub_tests.rs"]
mod tests;
