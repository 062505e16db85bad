//! One more of a kind is one file and one list line: the two agree.

use super::Problem;
use crate::tree::Tree;

/// A folder of files of one kind, and the list that must name each of them.
struct Kind {
    /// The folder.
    folder: &'static str,
    /// Where the list is: the first of these that is there.
    lists: &'static [&'static str],
    /// The name of the list's constant.
    name: &'static str,
    /// Files that are shared by the kind, not one of it.
    shared: &'static [&'static str],
}

const KINDS: &[Kind] = &[
    Kind {
        folder: "crates/nissl-methods/src/rankers",
        lists: &["crates/nissl-methods/src/catalog.rs"],
        name: "METHODS",
        shared: &[],
    },
    Kind {
        folder: "crates/nissl-methods/src/profilers",
        lists: &["crates/nissl-methods/src/catalog.rs"],
        name: "METHODS",
        shared: &[],
    },
    Kind {
        folder: "crates/nissl-model/src/arch",
        lists: &["crates/nissl-model/src/arch.rs", "crates/nissl-model/src/arch/mod.rs"],
        name: "FAMILIES",
        shared: &[],
    },
];

/// Every file of a kind has a `mod` line and a list line.
pub(super) fn every_file_is_listed(tree: &Tree, problems: &mut Vec<Problem>) {
    for kind in KINDS {
        let members: Vec<&str> = members(tree, kind).collect();
        if members.is_empty() {
            continue; // a room is made when its first code is
        }
        let [module, inner] = [format!("{}.rs", kind.folder), format!("{}/mod.rs", kind.folder)];
        let module = if tree.text(&module).is_some() { module } else { inner };
        let modules = tree.text(&module).unwrap_or_default();
        let listed = kind.lists.iter().find_map(|path| constant(tree.text(path)?, kind.name));
        let Some(list) = listed else {
            problems.push(Problem::new(kind.lists[0], 0, format!("has no `const {}`", kind.name)));
            continue;
        };
        for member in members {
            let path = format!("{}/{member}.rs", kind.folder);
            if !modules.lines().any(|line| line.trim_start_matches("pub ").trim() == format!("mod {member};")) {
                problems.push(Problem::new(&path, 0, format!("has no `mod {member};` line in {module}")));
            }
            if !names(list, member) {
                let what = format!("has no line in {}", kind.name);
                problems.push(Problem::new(&path, 0, what));
            }
        }
    }
}

/// The stems of the files right in the folder, without `mod.rs`, tests and what is shared.
fn members<'a>(tree: &'a Tree, kind: &'a Kind) -> impl Iterator<Item = &'a str> {
    tree.rust().filter_map(|(path, _)| {
        let stem = path.strip_prefix(kind.folder)?.strip_prefix('/')?.strip_suffix(".rs")?;
        let counts = !stem.contains('/') && stem != "mod" && stem != "tests" && !stem.ends_with("_tests");
        (counts && !kind.shared.contains(&stem)).then_some(stem)
    })
}

/// The text of `const NAME: ... = ...;`.
fn constant<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let start = text.find(&format!("const {name}:"))?;
    let end = text[start..].find(";\n").map_or(text.len(), |end| start + end);
    Some(&text[start..end])
}

/// Whether a list names a module, by its path (`bert::`) or by its type (`AveragePrecision`).
fn names(list: &str, module: &str) -> bool {
    let camel: String = module
        .split('_')
        .map(|part| {
            let mut letters = part.chars();
            letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
        })
        .collect();
    let mut words = list.split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':');
    words.any(|word| word.split("::").any(|part| part == camel || (word.contains("::") && part == module)))
}
