//! What `--help` says, and what shells complete.

use crate::nissl::{Place, assert_shown};

const COMMANDS: &[&str] = &[
    "demo",
    "models",
    "sites",
    "extract",
    "rank",
    "attribute",
    "ablate",
    "patch",
    "mediate",
    "factor",
    "cluster",
    "compare",
    "evaluate",
    "probe",
    "report",
    "inspect",
    "explain",
    "claim",
    "judge",
    "sheet",
    "view",
    "lens",
    "generate",
    "generate-input",
    "perplexity",
    "embed",
    "methods",
    "check",
    "bench",
    "bench methods",
    "convert",
    "train",
    "completions",
];

#[test]
fn help_of_every_command_has_an_example() {
    let place = Place::new();
    assert_shown("help", &place.succeed(["--help"]));
    for command in COMMANDS {
        let help = place.succeed(command.split(' ').chain(["--help"]));
        let example = help.split_once("Example").map_or("", |(_, rest)| rest);
        assert!(example.contains(&format!("nissl {command}")), "{command}: {help}");
        assert_shown(&format!("help-{}", command.replace(' ', "-")), &help);
    }
}

#[test]
fn every_task_is_a_command() {
    for task in nissl_tasks::TASKS {
        let is = |command: &&str| command.replace(' ', "-") == task.name;
        assert!(COMMANDS.iter().any(is), "{} has no command", task.name);
    }
}

#[test]
fn completions_know_every_command() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = place.succeed(["completions", shell]);
        for command in COMMANDS {
            assert!(command.split(' ').all(|word| script.contains(word)), "{shell}: {command}");
        }
    }
}

#[test]
fn version_is_one_line() {
    let version = Place::new().succeed(["--version"]);
    assert_eq!(version, format!("nissl {}\n", env!("CARGO_PKG_VERSION")));
}
