//! The manifests: who may see whom, and what every crate inherits.

use super::Problem;
use crate::tree::Tree;

/// What a crate may use of the workspace, and what it must never use of the world.
struct Row {
    name: &'static str,
    may: &'static [&'static str],
    never: &'static [&'static str],
}

const ALL: &[&str] = &["nissl-core", "nissl-model", "nissl-data", "nissl-store", "nissl-methods"];
const TENSORS: &[&str] = &["candle-core", "candle-nn", "gemm", "faer", "tokenizers", "safetensors"];
const FILES: &[&str] = &["memmap2", "tempfile", "parquet", "arrow"];
const DOORS: &[&str] = &["clap", "axum", "pyo3", "indicatif", "anstream", "anyhow"];

/// The table of ARCHITECTURE.md. `never` holds for the crates outside the workspace; [`DOORS`] are added to it
/// wherever the crate is not a door.
const TABLE: &[Row] = &[
    Row { name: "nissl-core", may: &[], never: &["rayon", "memmap2", "tempfile", "candle-core", "gemm", "faer"] },
    Row { name: "nissl-model", may: &["nissl-core"], never: &["parquet", "arrow"] },
    Row { name: "nissl-data", may: &["nissl-core"], never: TENSORS },
    Row { name: "nissl-store", may: &["nissl-core"], never: TENSORS },
    Row { name: "nissl-methods", may: &["nissl-core"], never: FILES },
    Row { name: "nissl-testing", may: &["nissl-core"], never: FILES },
    Row { name: "nissl-tasks", may: ALL, never: &[] },
    Row { name: "nissl-cli", may: &["nissl-tasks", "nissl-core"], never: TENSORS },
    Row { name: "xtask", may: &["nissl-core", "nissl-methods"], never: TENSORS },
];

/// The crates that talk to people.
const DOOR_CRATES: &[&str] = &["nissl-cli", "xtask"];

/// Dependencies go as the table says.
pub(super) fn dependency_table(tree: &Tree, problems: &mut Vec<Problem>) {
    for (name, text) in tree.manifests() {
        let path = manifest_path(name);
        let Some(row) = TABLE.iter().find(|row| row.name == name) else {
            problems.push(Problem::new(&path, 0, "has no row in the dependency table (xtask/src/tidy/manifests.rs)"));
            continue;
        };
        for dependency in dependencies(text) {
            let Dependency { line, kind, name: used } = dependency;
            let ours = used.starts_with("nissl-") || used == "xtask";
            let dev = kind == "dev-dependencies";
            let refused = if ours {
                !(row.may.contains(&used) || (dev && used == "nissl-testing"))
            } else {
                let door = DOORS.contains(&used) && !DOOR_CRATES.contains(&name);
                !dev && (row.never.contains(&used) || door)
            };
            if refused {
                let may = if row.may.is_empty() { "none".to_owned() } else { row.may.join(", ") };
                let what = format!("{name} must not use {used}; of the workspace it may use: {may}");
                problems.push(Problem::new(&path, line, what));
            }
        }
    }
}

/// Versions, lints and license are written once, in the workspace.
pub(super) fn inheritance(tree: &Tree, problems: &mut Vec<Problem>) {
    for (name, text) in tree.manifests() {
        let path = manifest_path(name);
        for line in ["version.workspace = true", "edition.workspace = true", "license.workspace = true"] {
            if !text.lines().any(|l| l.trim() == line) {
                problems.push(Problem::new(&path, 0, format!("lacks `{line}`")));
            }
        }
        if !text.contains("[lints]\nworkspace = true") {
            problems.push(Problem::new(&path, 0, "lacks `[lints]` with `workspace = true`"));
        }
        for dependency in dependencies(text) {
            let line = text.lines().nth(dependency.line - 1).unwrap_or_default();
            if !line.contains("workspace = true") {
                let what = format!("{}: take the version from the workspace table", dependency.name);
                problems.push(Problem::new(&path, dependency.line, what));
            }
        }
    }
}

fn manifest_path(name: &str) -> String {
    if name == "xtask" { "xtask/Cargo.toml".to_owned() } else { format!("crates/{name}/Cargo.toml") }
}

/// A line of a manifest that names a dependency.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Dependency<'a> {
    /// The line, from 1.
    pub(super) line: usize,
    /// `dependencies`, `dev-dependencies` or `build-dependencies`.
    pub(super) kind: &'a str,
    pub(super) name: &'a str,
}

/// The dependencies of a manifest. Of TOML this knows sections and keys, which is all that manifests here are made of.
pub(super) fn dependencies(manifest: &str) -> Vec<Dependency<'_>> {
    let mut found = Vec::new();
    let mut section = "";
    for (i, line) in manifest.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if let Some(header) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = header;
            // `[dependencies.NAME]` names its dependency in the header.
            if let Some((kind, name)) =
                dependency_kind(header).and_then(|kind| Some((kind, header.split_once(kind)?.1)))
                && let Some(name) = name.strip_prefix('.')
            {
                found.push(Dependency { line: i + 1, kind, name });
                section = "";
            }
        } else if let Some(kind) = dependency_kind(section)
            && let Some((key, _)) = line.split_once('=')
        {
            let name = key.split('.').next().unwrap_or_default().trim();
            found.push(Dependency { line: i + 1, kind, name });
        }
    }
    found
}

/// `dev-dependencies` of `target.'cfg(unix)'.dev-dependencies`; `None` for sections of other things.
fn dependency_kind(section: &str) -> Option<&'static str> {
    let kinds = ["dev-dependencies", "build-dependencies", "dependencies"];
    kinds.into_iter().find(|kind| {
        section == *kind
            || section.starts_with(&format!("{kind}."))
            || (section.starts_with("target.") && section.contains(&format!(".{kind}")))
    })
}
