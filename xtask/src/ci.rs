//! Everything that must pass, in the order in which a failure is cheapest to see.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::say;

/// A command of the run.
struct Step {
    name: &'static str,
    args: &'static [&'static str],
    env: &'static [(&'static str, &'static str)],
}

const STEPS: &[Step] = &[
    Step { name: "format", args: &["fmt", "--all", "--check"], env: &[] },
    Step {
        name: "lints",
        args: &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"],
        env: &[],
    },
    Step { name: "tests", args: &["test", "--workspace", "--locked"], env: &[] },
    Step {
        name: "documents",
        args: &["doc", "--no-deps", "--workspace", "--locked"],
        env: &[("RUSTDOCFLAGS", "-D warnings")],
    },
];

/// Names under which a browser that runs without a window may be installed.
const BROWSERS: &[&str] = &["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// Runs every step, also after one has failed, and prints a summary; true if all passed.
pub(crate) fn run(root: &Path) -> Result<bool> {
    let mut lines = Vec::new();
    let mut all_passed = true;
    install_components(root)?;
    let browser = browser();
    if browser.is_none() {
        lines.push(
            "note: no browser was found or installed, so the test of the report in a browser was left out".into(),
        );
    }
    for step in STEPS {
        say(&format!("\n== {}: cargo {}\n", step.name, step.args.join(" ")));
        let start = Instant::now();
        let mut command = cargo(root);
        command.args(step.args).envs(step.env.iter().copied());
        if let Some(browser) = &browser {
            command.env("NISSL_BROWSER", browser);
        }
        let status = command.status().with_context(|| format!("cannot start cargo for {}", step.name))?;
        let outcome = if status.success() { "passed" } else { "FAILED" };
        all_passed &= status.success();
        lines.push(format!("{outcome}  {:<10} {}", step.name, seconds(start.elapsed())));
    }
    say(&format!("\n== summary\n{}\n", lines.join("\n")));
    say(if all_passed { "everything passed\n" } else { "something failed: see above\n" });
    Ok(all_passed)
}

/// The cargo that runs this.
fn cargo(root: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root);
    command
}

/// Makes sure that `cargo fmt` and `cargo clippy` are there.
fn install_components(root: &Path) -> Result<()> {
    let mut missing = Vec::new();
    for (subcommand, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        let probe = cargo(root).args([subcommand, "--version"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !probe.is_ok_and(|status| status.success()) {
            missing.push(component);
        }
    }
    if !missing.is_empty() {
        say(&format!("installing {}\n", missing.join(", ")));
        let status = Command::new("rustup").args(["component", "add"]).args(&missing).status();
        let status = status.with_context(|| format!("{} missing, and no rustup to add it", missing.join(", ")))?;
        anyhow::ensure!(status.success(), "rustup could not add {}", missing.join(", "));
    }
    Ok(())
}

/// A browser for the test of the report: one that is there, or one that `apt-get` installs.
fn browser() -> Option<PathBuf> {
    let find = || BROWSERS.iter().find_map(|name| in_path(name));
    find().or_else(|| {
        in_path("apt-get")?;
        say("installing chromium for the test of the report\n");
        let installed = apt(&["install", "-y", "--no-install-recommends", "chromium"])
            || (apt(&["update"]) && apt(&["install", "-y", "--no-install-recommends", "chromium"]));
        if installed { find() } else { None }
    })
}

/// Runs `apt-get`, through `sudo` where that is needed; true if it worked.
fn apt(args: &[&str]) -> bool {
    let uid = Command::new("id").arg("-u").output().map(|output| output.stdout).unwrap_or_default();
    let mut command = if uid.trim_ascii() == b"0" {
        Command::new("apt-get")
    } else {
        let mut sudo = Command::new("sudo");
        sudo.args(["-n", "apt-get"]);
        sudo
    };
    command.args(args).env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Where in `PATH` a program lies.
fn in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// `75 s` or `2 min 05 s`.
fn seconds(time: Duration) -> String {
    match time.as_secs() {
        s if s < 100 => format!("{s} s"),
        s => format!("{} min {:02} s", s / 60, s % 60),
    }
}
