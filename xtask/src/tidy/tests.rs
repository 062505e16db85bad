//! Every check finds what it is for, and the tree itself is in order.

use super::*;

const DOC: &str = "//! A file.\n";

/// What one check says of a tree of `(path, text)`.
fn check(check: Check, files: &[(&str, &str)]) -> Vec<String> {
    let mut problems = Vec::new();
    check(&Tree::of(files), &mut problems);
    problems.iter().map(ToString::to_string).collect()
}

/// Asserts that a check finds one problem, with these words in it.
fn finds(checked: Check, files: &[(&str, &str)], words: &str) {
    let found = check(checked, files);
    assert!(found.len() == 1 && found[0].contains(words), "expected one problem with {words:?}, got {found:#?}");
}

#[test]
fn the_tree_is_tidy() {
    let tree = Tree::read(&crate::root()).expect("the source tree can be read");
    let problems: Vec<String> = problems(&tree).iter().map(ToString::to_string).collect();
    assert!(tree.files.len() > 40, "only {} files were found", tree.files.len());
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn a_forbidden_dependency_is_found_in_every_form() {
    for (text, line) in [
        ("[dependencies]\nnissl-store.workspace = true\n", 2),
        ("[dependencies.nissl-store]\nworkspace = true\n", 1),
        ("[target.'cfg(unix)'.dependencies]\nnissl-store = { workspace = true }\n", 2),
        ("[dev-dependencies]\n# a note\nnissl-store.workspace = true\n", 3),
        ("[dependencies]\nclap.workspace = true\n", 2),
        ("[dependencies]\nparquet.workspace = true\n", 2),
    ] {
        let path = "crates/nissl-methods/Cargo.toml";
        finds(manifests::dependency_table, &[(path, text)], &format!("{path}:{line}: nissl-methods must not use"));
    }
}

#[test]
fn allowed_dependencies_pass() {
    let methods = "[dependencies]\nnissl-core.workspace = true\nndarray.workspace = true\n[dev-dependencies]\n\
                   nissl-testing.workspace = true\nparquet.workspace = true\n";
    let cli = "[dependencies]\nclap.workspace = true\nnissl-tasks.workspace = true\n";
    let files = [("crates/nissl-methods/Cargo.toml", methods), ("crates/nissl-cli/Cargo.toml", cli)];
    assert_eq!(check(manifests::dependency_table, &files), Vec::<String>::new());
}

#[test]
fn a_crate_without_a_row_is_found() {
    finds(manifests::dependency_table, &[("crates/nissl-new/Cargo.toml", "")], "no row in the dependency table");
}

#[test]
fn a_version_outside_the_workspace_table_is_found() {
    let text = "[package]\nversion.workspace = true\nedition.workspace = true\nlicense.workspace = true\n\
                [dependencies]\nrayon = \"1.0\"\n\n[lints]\nworkspace = true\n";
    finds(manifests::inheritance, &[("crates/nissl-data/Cargo.toml", text)], "rayon: take the version");
}

#[test]
fn a_file_without_list_line_is_found() {
    let catalog = "pub const METHODS: &[MethodEntry] = &[ranker::<rankers::Probeless>()];\n";
    let files = |module, list| {
        [
            ("crates/nissl-methods/src/rankers/mod.rs", module),
            ("crates/nissl-methods/src/rankers/probeless.rs", DOC),
            ("crates/nissl-methods/src/rankers/average_precision.rs", DOC),
            ("crates/nissl-methods/src/rankers/probeless/tests.rs", DOC),
            ("crates/nissl-methods/src/catalog.rs", list),
        ]
    };
    let both = "mod average_precision;\npub mod probeless;\n";
    finds(
        lists::every_file_is_listed,
        &files(both, catalog),
        "average_precision.rs: has no line in the list `const METHODS:`",
    );
    let full = "pub const METHODS: &[MethodEntry] = &[a::<Probeless>(), a::<AveragePrecision>()];\n";
    finds(lists::every_file_is_listed, &files("mod probeless;\n", full), "has no `mod average_precision;` line");
    assert_eq!(check(lists::every_file_is_listed, &files(both, full)), Vec::<String>::new());
}

#[test]
fn a_family_is_listed_by_its_module() {
    let listed = "mod bert;\npub const FAMILIES: &[&Family] = &[&bert::FAMILY];\n";
    let unlisted = "mod bert;\npub const FAMILIES: &[&Family] = &[];\nfn f() { bert::new() }\n";
    let files = |text| [("crates/nissl-model/src/arch/mod.rs", text), ("crates/nissl-model/src/arch/bert.rs", DOC)];
    assert_eq!(check(lists::every_file_is_listed, &files(listed)), Vec::<String>::new());
    finds(lists::every_file_is_listed, &files(unlisted), "bert.rs: has no line in the list `const FAMILIES:`");
}

#[test]
fn a_task_without_command_is_found() {
    let files = [
        ("crates/nissl-tasks/src/tasks.rs", "mod rank;\npub const TASKS: &[TaskEntry] = &[entry(rank::run)];\n"),
        ("crates/nissl-tasks/src/tasks/rank.rs", DOC),
        ("crates/nissl-cli/src/commands/rank.rs", DOC),
        ("crates/nissl-cli/src/commands.rs", "mod rank;\nfn run() {\n    rank::run()\n}\n"),
    ];
    assert_eq!(check(lists::every_file_is_listed, &files), Vec::<String>::new());
    finds(lists::every_file_is_listed, &files[..2], "commands/rank.rs: is missing");
}

#[test]
fn a_method_without_headings_is_found() {
    let path = "crates/nissl-methods/src/rankers/x.rs";
    let full = "//! X: does x.\n//!\n//! ## Computes x\n//! ## Input a\n//! ## Output b\n//! ## Parameters\n//! ## Cost c\n\
                //! ## Errors\n//! ## Differs\n//! ## Source s\n";
    assert_eq!(check(documents::method_headings, &[(path, full)]), Vec::<String>::new());
    finds(documents::method_headings, &[(path, &full.replace("//! ## Cost c\n", ""))], "expected [\"Computes\"");
}

#[test]
fn long_files_count_without_their_tests() {
    let code = "fn f() {}\n".repeat(590);
    let tests = format!("{code}#[cfg(test)]\nmod tests {{\n{}}}\n", "// a line\n".repeat(50));
    assert_eq!(check(sizes::source_files, &[("crates/a/src/a.rs", &tests)]), Vec::<String>::new());
    finds(sizes::source_files, &[("crates/a/src/a.rs", &"fn f() {}\n".repeat(601))], "601 lines");
    assert_eq!(check(sizes::source_files, &[("crates/a/src/a/tests.rs", &code.repeat(2))]), Vec::<String>::new());
}

#[test]
fn large_files_and_stale_exceptions_are_found() {
    let mut tree = Tree::of(&[("a.bin", "")]);
    tree.files.get_mut("a.bin").expect("just made").len = 1_500_001;
    let mut found = Vec::new();
    sizes::large_files(&tree, &mut found);
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found[0].what.contains("1500001 bytes") && found[1].what.contains("list of exceptions"), "{found:#?}");
}

#[test]
fn sources_without_docs_or_reasons_are_found() {
    let path = "crates/a/src/a.rs";
    finds(sources::file_docs, &[(path, "use std::fmt;\n")], "a.rs:1: begins with");
    assert!(check(sources::file_docs, &[("crates/a/src/a/tests.rs", "use super::*;\n")]).is_empty());
    finds(sources::attributes, &[(path, "#![allow(dead_code)]\n")], "says why");
    finds(sources::attributes, &[(path, "#[expect(dead_code)]\nfn f() {}\n")], "says why");
    finds(sources::attributes, &[(path, "    #[ignore = \"slow\"]\n")], "no test is ignored");
    assert!(check(sources::attributes, &[(path, "#[expect(dead_code, reason = \"r\")]\n")]).is_empty());
}

#[test]
fn unlisted_unsafe_code_is_found_and_words_about_it_are_not() {
    let block = concat!("fn f() { un", "safe { g() } }\n", "fn f() { un", "safe { g() } }\n");
    let about = concat!("// nothing un", "safe here\nlet a = un", "safe_code;\n");
    let found = check(sources::unsafe_code, &[("crates/a/src/a.rs", block)]);
    let of_file = found.iter().filter(|problem| problem.starts_with("crates/a/src/a.rs:1: ")).count();
    assert_eq!(of_file, 1, "the first of the file: {found:#?}");
    let found = check(sources::unsafe_code, &[("crates/a/src/a.rs", about)]);
    assert!(!found.iter().any(|problem| problem.starts_with("crates/a/src/a.rs")), "{found:#?}");
}

#[test]
fn sleeping_tests_are_found_and_sleeping_code_is_not() {
    let sleep = concat!("std::thread::", "sleep(d);\n");
    let inline = format!("fn f() {{ {sleep} }}\n#[cfg(test)]\nmod tests {{\n    {sleep}}}\n");
    finds(sources::waiting_tests, &[("crates/a/src/a.rs", &inline)], "a.rs:5: a test that sleeps");
    finds(sources::waiting_tests, &[("crates/a/tests/it.rs", sleep)], "it.rs:1: ");
}

#[test]
fn stray_blanks_unfinished_work_and_machine_paths_are_found() {
    finds(words::whitespace, &[("a.md", "a \nb\n")], "a.md:1: trailing blank");
    finds(words::whitespace, &[("a.md", "\ta\n")], "a.md:1: tab");
    finds(words::whitespace, &[("a.md", "a")], "the last line has no end");
    finds(words::unwanted, &[("a.py", concat!("# TO", "DO: later\n"))], "finish it");
    finds(words::unwanted, &[("a.rs", concat!("fn f() { to", "do!() }\n"))], "finish it");
    finds(words::unwanted, &[("a.toml", concat!("path = \"/wo", "rk/a\"\n"))], "one machine alone");
    assert!(check(words::unwanted, &[("a.json", concat!("\"TO", "DO\"\n"))]).is_empty(), "data may hold any word");
}

#[test]
fn missing_pages_are_found() {
    let found = check(documents::licenses_and_pages, &[("README.md", "MIT OR Apache-2.0\n")]);
    assert_eq!(found.len(), 6, "{found:#?}");
}

#[test]
fn architecture_names_every_crate_and_is_short() {
    let manifest = ("crates/nissl-core/Cargo.toml", "");
    finds(documents::architecture, &[manifest, ("ARCHITECTURE.md", "nothing\n")], "does not name `nissl-core`");
    let long = format!("`nissl-core`\n{}", "a line\n".repeat(200));
    finds(documents::architecture, &[manifest, ("ARCHITECTURE.md", &long)], "201 lines");
}

#[test]
fn a_page_that_names_a_file_that_is_gone_is_found() {
    let text = "`rankers/probeless.rs`, `rankers/`, `a b/`, `rankers/NAME.rs` and `rankers/old.rs`\n";
    let files = [("ARCHITECTURE.md", text), ("crates/nissl-methods/src/rankers/probeless.rs", DOC)];
    finds(documents::named_files, &files, "ARCHITECTURE.md:1: names `rankers/old.rs`");
}

#[test]
fn the_readme_and_the_ci_script_call_the_same_command() {
    let readme = ("README.md", "    cargo xtask ci\n");
    assert!(check(documents::commands_of_the_readme, &[readme, (".ci/run", "exec cargo xtask ci\n")]).is_empty());
    finds(documents::commands_of_the_readme, &[readme, (".ci/run", "cargo test\n")], ".ci/run: does not call");
}
