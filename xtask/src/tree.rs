//! The files of the source tree, read once.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

/// One file of the project.
pub(crate) struct File {
    /// Size in bytes.
    pub(crate) len: u64,
    /// The text; `None` for binary files and for large ones.
    pub(crate) text: Option<String>,
}

/// Every file that belongs to the project, by its path from the root, with `/` between folders.
pub(crate) struct Tree {
    pub(crate) files: BTreeMap<String, File>,
}

/// Files larger than this are not read as text.
const READ_LIMIT: u64 = 1 << 20;

/// Folders that never belong to the project; asked only where there is no git.
const IGNORED: &[&str] = &[".git", "target", "__pycache__", "nissl-demo"];

impl Tree {
    /// Reads what git tracks or would track; without git, all but [`IGNORED`].
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let paths = match git_files(root) {
            Some(paths) => paths,
            None => walk(root, "")?,
        };
        let mut files = BTreeMap::new();
        for path in paths {
            let full = root.join(&path);
            let Ok(meta) = full.symlink_metadata() else { continue }; // removed, but still in git's index
            if !meta.is_file() {
                continue;
            }
            let text = if meta.len() > READ_LIMIT {
                None
            } else {
                let bytes = std::fs::read(&full).with_context(|| format!("cannot read {path}"))?;
                String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
            };
            files.insert(path, File { len: meta.len(), text });
        }
        Ok(Self { files })
    }

    /// A tree made of texts, for tests.
    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let file = |text: &str| File { len: text.len() as u64, text: Some(text.to_owned()) };
        Self { files: files.iter().map(|&(path, text)| (path.to_owned(), file(text))).collect() }
    }

    /// The text of a file; `None` if there is no such file or it is not text.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path)?.text.as_deref()
    }

    /// All text files, by path.
    pub(crate) fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().filter_map(|(path, file)| Some((path.as_str(), file.text.as_deref()?)))
    }

    /// The Rust files, by path.
    pub(crate) fn rust(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts().filter(|(path, _)| has_extension(path, "rs"))
    }

    /// The manifests of the crates: name of the folder and text.
    pub(crate) fn manifests(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts().filter_map(|(path, text)| {
            let folder = path.strip_suffix("/Cargo.toml")?;
            // The fuzzers are a workspace of their own.
            let name = folder.strip_prefix("crates/").or((folder == "xtask").then_some(folder))?;
            (!name.contains('/')).then_some((name, text))
        })
    }
}

/// Whether a path ends in `.extension`.
pub(crate) fn has_extension(path: &str, extension: &str) -> bool {
    path.rsplit_once('.').is_some_and(|(_, e)| e == extension)
}

fn git_files(root: &Path) -> Option<Vec<String>> {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let paths = String::from_utf8(listed.stdout).ok()?;
    let paths: Vec<String> = paths.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect();
    (!paths.is_empty()).then_some(paths)
}

fn walk(root: &Path, folder: &str) -> Result<Vec<String>> {
    let mut paths = Vec::new();
    for entry in root.join(folder).read_dir().with_context(|| format!("cannot list {folder}"))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
        if entry.file_type()?.is_dir() {
            if !IGNORED.contains(&name.as_str()) {
                paths.extend(walk(root, &path)?);
            }
        } else {
            paths.push(path);
        }
    }
    Ok(paths)
}
