//! Ctrl-C, and plain progress where there is no terminal.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::nissl::{Place, demo_asset};

#[test]
fn ctrl_c_stops_cleanly_and_the_same_command_goes_on() {
    let place = Place::new();
    // Long enough that the signal comes in time, whatever the machine: only its beginning is ever run.
    let sentences = fs::read_to_string(demo_asset("demo.jsonl")).unwrap();
    place.file("long.jsonl", sentences.repeat(60));
    let model = demo_asset("model");
    let args = ["extract", model.to_str().unwrap(), "long.jsonl", "--out", "store", "--sites", "0.mlp"];
    let mut child = place.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("read the text") {
        line.clear();
        assert!(stderr.read_line(&mut line).unwrap() > 0, "the run ended by itself");
    }
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{rest}");
    assert!(rest.contains("stopping after the current batch"), "{rest}");
    assert!(
        rest.ends_with("stopped: what is recorded stays in store; the same command goes on from there\n"),
        "{rest}"
    );
    assert_eq!(output.stdout, b"", "no report of a run that has not ended");

    let short = place.file("long.jsonl", sentences);
    let ran = place.run(["extract", "-q", model.to_str().unwrap(), short, "--out", "store", "--sites", "0.mlp"]);
    assert!(ran.stderr.contains("begun with another corpus"), "another text is refused: {}", ran.stderr);
}

/// Whether a run has kept a part of what it did.
fn has_kept(folder: &Path) -> bool {
    let files = fs::read_dir(folder).into_iter().flatten();
    files.flatten().any(|file| file.file_name().to_string_lossy().ends_with(".kept"))
}

#[test]
fn a_killed_attribution_goes_on_and_reports_what_one_that_ran_through_does() {
    let (whole, killed) = (Place::new(), Place::new());
    let prompts: String = (0..30)
        .map(|idx| {
            let name = ["The man", "She then", "He"][idx % 3];
            let text = format!("{name}{}", " and he".repeat(idx % 4));
            serde_json::json!({ "text": text, "target": "said", "concept": format!("set {}", idx % 2) }).to_string()
                + "\n"
        })
        .collect();
    // Room for a prompt or two at a time, so that parts are kept from early on.
    let args = |place: &Place| {
        let model = demo_asset("model").display().to_string();
        let prompts = place.file("prompts.jsonl", &prompts).to_owned();
        ["attribute", &model, &prompts, "--out", "ranks", "--memory", "1MB", "--json"].map(str::to_owned)
    };
    let expected = whole.succeed(args(&whole));

    let mut child = killed.command(args(&killed)).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while !has_kept(&killed.path("ranks")) {
        assert!(child.try_wait().unwrap().is_none(), "the run ended by itself");
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(has_kept(&killed.path("ranks")) && !killed.path("ranks/attribute.json").exists());

    assert_eq!(killed.succeed(args(&killed)), expected);
    assert!(expected.contains("completeness: "), "{expected}");
    for file in ["attribute.json", "integrated-gradients.parquet"] {
        let read = |place: &Place| fs::read(place.path("ranks").join(file)).unwrap();
        assert_eq!(read(&whole), read(&killed), "{file}");
    }
    assert!(!has_kept(&killed.path("ranks")), "what was kept goes when the run is done");
}

#[test]
fn progress_is_plain_lines_without_a_terminal_and_nothing_when_quiet() {
    let place = Place::new();
    let text = place.file("text.txt", "The cat sees the dogs.\n");
    let model = place.model();
    let ran = place.run(["extract", model, text, "--out", "a"]);
    assert!(ran.stderr.contains("run the model: 6 words in "), "{}", ran.stderr);
    assert!(!ran.stderr.contains('\x1b') && !ran.stderr.contains('\r'), "{:?}", ran.stderr);
    let ran = place.run(["extract", "-q", model, text, "--out", "b"]);
    assert_eq!(ran.stderr, "");
    let ran = place.run(["extract", "-q", "-v", model, text, "--out", "c"]);
    assert!(ran.stderr.contains("INFO recording text.txt with model sites=5 neurons=212 words=6"), "{}", ran.stderr);
}
