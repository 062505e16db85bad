//! Ctrl-C, and plain progress where there is no terminal.

use std::fs;
use std::io::{BufRead, BufReader, Read};
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
