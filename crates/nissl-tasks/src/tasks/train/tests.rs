use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use nissl_core::NoProgress;
use nissl_model::LanguageModel;

use super::*;

/// A text in which every character follows from the one before.
fn write_text(folder: &Path) -> PathBuf {
    let path = folder.join("text.txt");
    let line = "the cat sat on the mat and the dog ran up the hill\n";
    fs::write(&path, line.repeat(60)).unwrap();
    path
}

fn config(folder: &Path, out: &str) -> Config {
    Config {
        text: vec![write_text(folder)],
        out: folder.join(out),
        tokenizer: "characters".to_owned(),
        sizes: Sizes { n_layers: 1, d_model: 16, n_heads: 2, d_mlp: Some(32), n_ctx: 24 },
        steps: 24,
        batch: 4,
        schedule: Schedule { learning_rate: 2e-2, warmup: 4, ..Schedule::default() },
        eval_every: 8,
        eval_windows: 4,
        save_every: 5,
        ..Config::default()
    }
}

/// Asks to stop after so many steps of the training.
struct StopAfter(AtomicU64);

impl Progress for StopAfter {
    fn stage(&self, _: &str, _: Option<u64>, _: &str) {}
    fn step(&self, _: u64) {
        let left = self.0.load(Ordering::Relaxed);
        self.0.store(left.saturating_sub(1), Ordering::Relaxed);
    }
    fn note(&self, _: &str) {}
    fn cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}

fn weights(out: &Path) -> Vec<u8> {
    fs::read(out.join("model/model.safetensors")).unwrap()
}

#[test]
fn a_training_learns_and_its_model_loads() {
    let folder = tempfile::tempdir().unwrap();
    let report = run(&config(folder.path(), "out"), &NoProgress).unwrap();
    let (first, last) = (report.history.points[0], *report.history.points.last().unwrap());
    assert!(first.loss > 2.5 && last.loss < first.loss - 0.5, "{first:?} {last:?}");
    assert_eq!(report.history.points.len(), 24);
    assert_eq!(report.history.held_out.iter().map(|e| e.step).collect::<Vec<_>>(), [8, 16, 24]);
    assert!(report.bits_per_byte.unwrap() > 0.0);
    let model = LanguageModel::open(&report.model.display().to_string()).unwrap();
    assert!(model.tokenizer().is_ok());
    assert!(fs::read_to_string(&report.page).unwrap().contains("<polyline"));
}

#[test]
fn a_stopped_training_goes_on_and_ends_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let whole = config(folder.path(), "whole");
    let want = run(&whole, &NoProgress).unwrap();
    let cut = config(folder.path(), "cut");
    // The first of the counted steps are those of the tokenizing.
    for n in [9, 8] {
        let err = run(&cut, &StopAfter(AtomicU64::new(n))).unwrap_err();
        assert!(err.to_string().contains("the same command goes on"), "{err}");
    }
    let got = run(&cut, &NoProgress).unwrap();
    assert!(got.resumed_at.is_some_and(|step| step > 9), "{:?}", got.resumed_at);
    assert_eq!(got.history, want.history);
    assert!(weights(&cut.out) == weights(&whole.out), "the same bytes");
    let left: Vec<_> = fs::read_dir(&cut.out).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("step-")), "{left:?}");
}

#[test]
fn a_training_does_not_depend_on_what_was_saved_when() {
    let folder = tempfile::tempdir().unwrap();
    let one = config(folder.path(), "one");
    let other = Config { save_every: 7, keep_all: true, ..config(folder.path(), "other") };
    run(&one, &NoProgress).unwrap();
    run(&other, &NoProgress).unwrap();
    assert!(weights(&one.out) == weights(&other.out), "the same bytes");
    for step in [0, 7, 14, 21] {
        LanguageModel::open(&other.out.join(format!("step-{step:08}")).display().to_string()).unwrap();
    }
}

#[test]
fn accumulated_batches_are_one_larger_batch() {
    let folder = tempfile::tempdir().unwrap();
    let whole = run(&config(folder.path(), "whole"), &NoProgress).unwrap();
    let parts = Config { batch: 2, accumulate: 2, ..config(folder.path(), "parts") };
    let parts = run(&parts, &NoProgress).unwrap();
    for (a, b) in whole.history.points.iter().zip(&parts.history.points) {
        assert!((a.loss - b.loss).abs() < 1e-4 * a.loss, "{a:?} {b:?}");
    }
}

#[test]
fn a_model_is_trained_on_and_a_masked_one_learns() {
    let folder = tempfile::tempdir().unwrap();
    let first = run(&config(folder.path(), "first"), &NoProgress).unwrap();
    let on = Config {
        model: first.model.display().to_string(),
        schedule: Schedule { learning_rate: 1e-3, ..Schedule::default() },
        ..config(folder.path(), "on")
    };
    let on = run(&on, &NoProgress).unwrap();
    assert!(on.history.points[0].loss < first.history.points[0].loss - 0.5, "it begins where the first one ended");
    let masked = Config {
        family: "bert".to_owned(),
        tokenizer: "bpe:270".to_owned(),
        steps: 40,
        ..config(folder.path(), "masked")
    };
    let masked = run(&masked, &NoProgress).unwrap();
    let (first, last) = (masked.history.points[0], masked.history.points.last().unwrap());
    assert!(last.loss < first.loss - 0.5, "{first:?} {last:?}");
    assert_eq!(masked.bits_per_byte, None);
}

#[test]
fn another_config_over_a_training_is_refused_until_forced() {
    let folder = tempfile::tempdir().unwrap();
    let first = config(folder.path(), "out");
    run(&first, &NoProgress).unwrap();
    let again = run(&first, &NoProgress).unwrap();
    assert_eq!(again.resumed_at, Some(24), "nothing is left to do");
    let other = Config { seed: 7, ..first };
    let err = run(&other, &NoProgress).unwrap_err();
    assert!(err.to_string().contains("another seed: it has 1, the config has 7"), "{err}");
    run(&Config { force: true, ..other }, &NoProgress).unwrap();
}

#[test]
fn what_cannot_be_trained_on_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |config: Config| run(&config, &NoProgress).unwrap_err().to_string();
    let plain = || config(folder.path(), "out");
    let latin = folder.path().join("latin.txt");
    fs::write(&latin, b"one\ntwo\nthr\xe9e\n").unwrap();
    let err = refused(Config { text: vec![latin], ..plain() });
    assert!(err.ends_with("latin.txt: expected text in UTF-8, got byte 0xe9 in line 3"), "{err}");
    let short = folder.path().join("short.txt");
    fs::write(&short, "abc").unwrap();
    let err = refused(Config { text: vec![short], ..plain() });
    assert!(err.ends_with("expected at least 25 tokens, for one window, got 3 tokens"), "{err}");
    for (config, expected) in [
        (Config { text: Vec::new(), ..plain() }, "text: expected one or more plain text files, got nothing"),
        (Config { steps: 0, ..plain() }, "steps: expected 1 or more, got 0"),
        (Config { context: Some(25), ..plain() }, "context: expected 2 to 24 tokens, got 25"),
        (Config { held_out: 1, ..plain() }, "held_out: expected 2 or more, or 0 for none, got 1: all windows"),
        (Config { tokenizer: "bpe:12".to_owned(), ..plain() }, "expected a vocabulary of 257 or more, got 12"),
        (Config { tokenizer: "none".to_owned(), ..plain() }, "tokenizer: expected bpe:N, characters"),
        (Config { family: "gtp2".to_owned(), ..plain() }, "did you mean gpt2?"),
    ] {
        let err = refused(config);
        assert!(err.contains(expected), "{err}");
    }
    let wild = Config { schedule: Schedule { learning_rate: 1e30, warmup: 0, ..Schedule::default() }, ..plain() };
    let err = refused(Config { steps: 50, ..wild });
    assert!(err.contains("learning_rate: expected one at which the loss stays a number"), "{err}");
}
