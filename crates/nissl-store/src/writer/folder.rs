//! The folder of a store before and after a writer: claimed, prepared, cleaned.

use std::path::Path;

use crate::error::StoreError;
use crate::files::{self, Lock};
use crate::layout::site_dir;
use crate::manifest::{self, Manifest, Run};
use crate::tables::{ROWS, SENTENCES, STATS};
use crate::zarr;

/// Makes the folder of a new store and locks it. One that an earlier writer made and was killed in before it wrote a
/// manifest will do.
pub(super) fn claim(root: &Path) -> Result<Lock, StoreError> {
    files::create_dir(root)?;
    let ours = ["acts", ROWS, SENTENCES, STATS, zarr::FILE];
    let unknown = |name: &String| !ours.contains(&name.as_str()) && !Lock::is_lock(name) && !files::is_temporary(name);
    let check = || {
        let found = files::list(root)?.iter().any(unknown);
        if found { Err(StoreError::Exists { path: root.to_owned() }) } else { Ok(()) }
    };
    check()?;
    let lock = Lock::take(root)?;
    check()?;
    Ok(lock)
}

/// Makes the folders and the metadata of the arrays; does nothing where they are right already.
pub(super) fn prepare(root: &Path, manifest: &Manifest) -> Result<(), StoreError> {
    for table in [ROWS, SENTENCES, STATS] {
        files::create_dir(&root.join(table))?;
    }
    for site in &manifest.run.sites {
        files::create_dir(&site_dir(root, site.point))?;
    }
    zarr::create_groups(root)?;
    zarr::update(root, manifest)?;
    files::sync_dir(root)
}

/// Undoes, as well as it can be done, a commit that failed. The next writer does it again and reports what fails.
pub(super) fn tidy(root: &Path, manifest: &Manifest) {
    let _ = zarr::update(root, manifest);
    let _ = clean(root, manifest);
}

/// Removes what a writer that was killed left behind: temporary files, and shards and parts that are not committed.
/// The metadata of the arrays has been set back before.
pub(super) fn clean(root: &Path, manifest: &Manifest) -> Result<(), StoreError> {
    let n_parts = manifest.parts.len();
    let n_shards = manifest.shards().count();
    for site in &manifest.run.sites {
        let number = |name: &str| name.strip_prefix("c.")?.strip_suffix(".0")?.parse().ok();
        clean_dir(&site_dir(root, site.point), |name| number(name).is_some_and(|shard: usize| shard >= n_shards))?;
    }
    for table in [ROWS, SENTENCES, STATS] {
        let number = |name: &str| name.strip_prefix("part-")?.strip_suffix(".parquet")?.parse().ok();
        clean_dir(&root.join(table), |name| number(name).is_some_and(|part: usize| part >= n_parts))?;
    }
    clean_dir(&root.join("acts"), |_| false)?;
    clean_dir(root, |_| false)
}

fn clean_dir(dir: &Path, is_left: impl Fn(&str) -> bool) -> Result<(), StoreError> {
    for name in files::list(dir)? {
        if files::is_temporary(&name) || is_left(&name) {
            files::remove(&dir.join(name))?;
        }
    }
    Ok(())
}

/// Refuses to go on with a run that is not the one the store was begun with.
pub(super) fn check_same_run(root: &Path, manifest: &Manifest, run: &Run) -> Result<(), StoreError> {
    let as_json = |run: &Run| serde_json::to_value(run).map_err(|e| StoreError::input("run", "a JSON value", e));
    let (old, new) = (as_json(&manifest.run)?, as_json(run)?);
    let fields =
        ["model", "tokenizer", "corpus", "aggregation", "dtype", "sites", "word_columns", "sentence_columns", "extra"];
    let other = |what, expected: String, got: String| {
        Err(StoreError::OtherRun { path: root.join(manifest::FILE), what, expected, got })
    };
    for field in fields {
        if old[field] != new[field] {
            return other(field, old[field].to_string(), new[field].to_string());
        }
    }
    let version = env!("CARGO_PKG_VERSION");
    if manifest.nissl_version != version {
        return other("version of nissl", manifest.nissl_version.clone(), version.to_owned());
    }
    Ok(())
}
