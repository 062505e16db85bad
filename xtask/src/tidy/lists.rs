//! One more of a kind is one file and one list line: the two agree.

use super::Problem;
use crate::tree::Tree;

/// A folder of files of one kind, and the list that must name each of them.
struct Kind {
    /// The folder.
    folder: &'static str,
    /// Where the list is: the first of these that is there.
    lists: &'static [&'static str],
    /// How the list begins: `const METHODS:`.
    begins: &'static str,
    /// Files that are shared by the kind, not one of it.
    shared: &'static [&'static str],
}

const KINDS: &[Kind] = &[
    Kind {
        folder: "crates/nissl-methods/src/rankers",
        lists: &["crates/nissl-methods/src/catalog.rs"],
        begins: "const METHODS:",
        shared: &[],
    },
    Kind {
        folder: "crates/nissl-methods/src/profilers",
        lists: &["crates/nissl-methods/src/catalog.rs"],
        begins: "const METHODS:",
        shared: &[],
    },
    Kind {
        folder: "crates/nissl-model/src/arch",
        lists: &["crates/nissl-model/src/arch.rs", "crates/nissl-model/src/arch/mod.rs"],
        begins: "const FAMILIES:",
        shared: &[
            "config",
            "encoder",
            "encoder_decoder",
            "harmless",
            "head",
            "outline",
            "positions",
            "recurrent",
            "relative",
            "rwkv",
            "state_space",
            "transformer",
        ],
    },
    Kind {
        folder: "crates/nissl-model/src/tokenizer",
        lists: &["crates/nissl-model/src/tokenizer/kinds.rs"],
        begins: "const KINDS:",
        shared: &["charsmap", "check", "folder", "held", "kinds", "longest", "numbers", "older_tests", "tokens"],
    },
    Kind {
        folder: "crates/nissl-data/src/formats",
        lists: &["crates/nissl-data/src/formats.rs"],
        begins: "const FORMATS:",
        shared: &[],
    },
    Kind {
        folder: "crates/nissl-tasks/src/claims",
        lists: &["crates/nissl-tasks/src/claims.rs"],
        begins: "const CLAIMS:",
        shared: &[],
    },
    Kind {
        folder: "crates/nissl-tasks/src/judges",
        lists: &["crates/nissl-tasks/src/judges.rs"],
        begins: "const JUDGES:",
        shared: &[],
    },
    Kind {
        folder: "crates/nissl-tasks/src/tasks",
        lists: &["crates/nissl-tasks/src/tasks.rs"],
        begins: "const TASKS:",
        shared: &[],
    },
    Kind {
        folder: "crates/nissl-cli/src/commands",
        lists: &["crates/nissl-cli/src/commands.rs"],
        begins: "fn run(",
        shared: &["ask", "read"],
    },
];

/// Every file of a kind has a `mod` line and a list line.
pub(super) fn every_file_is_listed(tree: &Tree, problems: &mut Vec<Problem>) {
    for kind in KINDS {
        let members: Vec<&str> = members(tree, kind).collect();
        if members.is_empty() {
            continue; // a room is made when its first code is
        }
        if kind.begins == "const TASKS:" {
            every_task_has_a_command(tree, &members, problems);
        }
        let [module, inner] = [format!("{}.rs", kind.folder), format!("{}/mod.rs", kind.folder)];
        let module = if tree.text(&module).is_some() { module } else { inner };
        let modules = tree.text(&module).unwrap_or_default();
        let listed = kind.lists.iter().find_map(|path| list(tree.text(path)?, kind.begins));
        let Some(list) = listed else {
            problems.push(Problem::new(kind.lists[0], 0, format!("has no `{}`", kind.begins)));
            continue;
        };
        for member in members {
            let path = format!("{}/{member}.rs", kind.folder);
            if !modules.lines().any(|line| line.ends_with(&format!("mod {member};"))) {
                problems.push(Problem::new(&path, 0, format!("has no `mod {member};` line in {module}")));
            }
            if !names(list, member) {
                let what = format!("has no line in the list `{}`", kind.begins);
                problems.push(Problem::new(&path, 0, what));
            }
        }
    }
}

/// What can be done at all can be done from the command line.
fn every_task_has_a_command(tree: &Tree, tasks: &[&str], problems: &mut Vec<Problem>) {
    for task in tasks {
        let command = format!("crates/nissl-cli/src/commands/{task}.rs");
        if tree.text(&command).is_none() {
            problems.push(Problem::new(&command, 0, "is missing: each task has a command"));
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

/// The text of a list: of a constant up to `];`, of a function up to its closing brace.
fn list<'a>(text: &'a str, begins: &str) -> Option<&'a str> {
    let text = &text[text.find(begins)?..];
    let end = ["];\n", "\n}\n"].iter().filter_map(|end| text.find(end)).min();
    Some(&text[..end.unwrap_or(text.len())])
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
