//! Checks of the source tree and the one command that runs everything: `cargo xtask ci`, `tidy`, `docgen`.

mod ci;
mod docgen;
mod tidy;
mod tree;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::tree::Tree;

const USAGE: &str = "\
Usage: cargo xtask COMMAND

Commands:
  ci      format, lints, tests, documents: everything that must pass, with a summary
  tidy    the checks of the source tree alone (they are also tests of xtask)
  docgen  write the documents that are made from the code
";

fn main() -> ExitCode {
    let command = std::env::args().nth(1).unwrap_or_default();
    let done = match command.as_str() {
        "ci" => ci::run(&root()),
        "tidy" => run_tidy(),
        "docgen" => docgen::run(&root()),
        _ => {
            say(USAGE);
            return if matches!(command.as_str(), "" | "help" | "--help" | "-h") {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            };
        }
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(err) => {
            say(&format!("error: {err:#}\n"));
            ExitCode::FAILURE
        }
    }
}

/// Prints the problems of the tree; true if there are none.
fn run_tidy() -> Result<bool> {
    let tree = Tree::read(&root()).context("cannot read the source tree")?;
    let problems = tidy::problems(&tree);
    for problem in &problems {
        say(&format!("{problem}\n"));
    }
    let checks = tidy::CHECKS.len();
    let files = tree.files.len();
    say(&format!("tidy: {checks} checks over {files} files, {} problems\n", problems.len()));
    Ok(problems.is_empty())
}

/// The folder of the workspace.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// Writes to the terminal; nobody is there to tell if that fails.
fn say(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}
