use std::path::Path;

use nissl_core::{HookPlan, NoProgress, Output};
use tempfile::TempDir;

use super::*;

const TEXT: &str = "It was a dark night.\nShe looked at him and said nothing, for there was nothing to be said.\n\
                    The finches of the islands differ in the form of their beaks.\n";

fn demo() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo/model").display().to_string()
}

fn written(text: &str) -> (TempDir, Config) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("text.txt");
    std::fs::write(&path, text).unwrap();
    (folder, Config { model: demo(), text: vec![path], ..Config::default() })
}

/// The sum of the losses of a sentence's tokens but the first, and their number, by the definition.
fn by_hand(model: &LanguageModel, tokens: &[u32]) -> (f64, u64) {
    let plan = HookPlan { output: Output::All, ..HookPlan::default() };
    let logits = model.run(&Batch::from_sentences([tokens]), &plan).unwrap().logits.unwrap();
    let loss = |(row, &token): (usize, &u32)| {
        let row: Vec<f64> = logits.row(row).iter().map(|&logit| f64::from(logit)).collect();
        row.iter().map(|logit| logit.exp()).sum::<f64>().ln() - row[token as usize]
    };
    (tokens[1..].iter().enumerate().map(loss).sum(), tokens.len() as u64 - 1)
}

#[test]
fn the_loss_is_that_of_the_definition_in_one_window_or_many() {
    let (_folder, config) = written(TEXT);
    let model = LanguageModel::open(&demo()).unwrap();
    let tokenizer = model.tokenizer().unwrap();
    assert!(tokenizer.special_prefix().is_empty(), "else the windows below are others");
    let tokens = tokenizer.encode_plain(TEXT).unwrap().ids;
    for (window, overlap) in [(None, 0), (Some(10), 0), (Some(10), 4), (Some(10), 9), (Some(2), 1)] {
        let report = run(&Config { window, overlap, ..config.clone() }, &NoProgress).unwrap();
        let (mut sum, mut n) = (0.0, 0);
        let window = window.unwrap_or(tokens.len());
        let mut first = 0;
        loop {
            let sentence = &tokens[first..tokens.len().min(first + window)];
            let (all, count) = by_hand(&model, sentence);
            // What the window before has counted; it does not depend on the tokens behind.
            let again = if first > 0 && overlap > 0 { by_hand(&model, &sentence[..overlap]) } else { (0.0, 0) };
            sum += all - again.0;
            n += count - again.1;
            if first + window >= tokens.len() {
                break;
            }
            first += window - overlap;
        }
        assert_eq!(report.text.tokens, n, "{window} {overlap}");
        assert!((report.whole.loss.mean / (sum / n as f64) - 1.0).abs() < 1e-6, "{window} {overlap}");
        assert!((report.whole.perplexity.ln() / report.whole.loss.mean - 1.0).abs() < 1e-12);
    }
}

#[test]
fn every_character_is_counted_once_but_those_of_the_first_token() {
    let text = format!("{TEXT}  Größe, 日本 🐢 \n");
    let (_folder, config) = written(&text);
    let report = run(&config, &NoProgress).unwrap();
    let model = LanguageModel::open(&demo()).unwrap();
    let first = model.tokenizer().unwrap().encode_plain(&text).unwrap().offsets[0].end as u64;
    assert_eq!(report.text.bytes, text.len() as u64 - first);
    assert_eq!(report.text.characters, text.chars().count() as u64 - first);
    let bits = report.whole.loss.mean * report.text.tokens as f64 / std::f64::consts::LN_2;
    assert!((report.whole.bits_per_byte * report.text.bytes as f64 / bits - 1.0).abs() < 1e-12);
    let windows = run(&Config { window: Some(16), overlap: 8, ..config }, &NoProgress).unwrap();
    assert_eq!((windows.text.bytes, windows.text.characters), (report.text.bytes, report.text.characters));
}

#[test]
fn a_share_of_the_text_is_passed_over_up_to_a_line() {
    let (_folder, config) = written(TEXT);
    let half = run(&Config { skip: 0.5, ..config }, &NoProgress).unwrap();
    let (_other, rest) = written(TEXT.split_inclusive('\n').next_back().unwrap());
    let rest = run(&rest, &NoProgress).unwrap();
    assert_eq!((half.text, half.whole), (rest.text, rest.whole));
}

#[test]
fn line_ends_of_any_kind_are_line_feeds() {
    let measured = |text: &str| {
        let (_folder, config) = written(text);
        let report = run(&Config { skip: 0.5, ..config }, &NoProgress).unwrap();
        (report.text, report.whole)
    };
    assert_eq!(measured(&TEXT.replace('\n', "\r\n")), measured(TEXT));
}

#[test]
fn edits_are_measured_on_the_same_windows() {
    let (_folder, config) = written(TEXT);
    let config = Config { window: Some(16), ..config };
    let plain = run(&config, &NoProgress).unwrap();
    assert_eq!((plain.edited, plain.rise), (None, None));
    let same = run(&Config { edits: vec!["1.mlp_post*=1".to_owned()], ..config.clone() }, &NoProgress).unwrap();
    assert_eq!((same.whole, same.edited), (plain.whole, Some(plain.whole)));
    assert_eq!(same.rise, Some(Mean { mean: 0.0, error: 0.0 }));
    let cut = run(&Config { edits: vec!["0.mlp_out=0".to_owned()], ..config }, &NoProgress).unwrap();
    let (rise, edited) = (cut.rise.unwrap(), cut.edited.unwrap());
    assert!(rise.mean > 0.1 && rise.error > 0.0, "{rise:?}");
    assert!((edited.loss.mean - plain.whole.loss.mean - rise.mean).abs() < 1e-12);
}

#[test]
fn characters_that_the_vocabulary_lacks_are_left_out_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/models/char-rnn");
    std::fs::copy(golden.join("model.safetensors"), folder.path().join("model.safetensors")).unwrap();
    let model = folder.path().display().to_string();
    let d_vocab = LanguageModel::open(&model).unwrap().info().d_vocab;
    let known: String = (' '..).take(d_vocab).collect();
    let vocab: serde_json::Map<String, serde_json::Value> =
        known.chars().enumerate().map(|(id, c)| (c.to_string(), id.into())).collect();
    std::fs::write(folder.path().join("vocab.json"), serde_json::Value::Object(vocab).to_string()).unwrap();
    let measured = |text: &str| {
        let (_folder, config) = written(text);
        run(&Config { model: model.clone(), window: Some(5), ..config }, &NoProgress).unwrap()
    };
    let with = measured(&format!("\u{1F422}{known}\u{1F422}\u{1F422}{known}"));
    let without = measured(&format!("{known}{known}"));
    assert_eq!(with.whole, without.whole);
    assert_eq!((with.text.left_out, without.text.left_out), (3, 0));
}

#[test]
fn what_cannot_be_measured_is_an_error() {
    let (folder, config) = written(TEXT);
    let n_ctx = LanguageModel::open(&demo()).unwrap().info().n_ctx;
    let cases = [
        (Config { model: String::new(), ..config.clone() }, "model: expected".to_owned()),
        (Config { text: Vec::new(), ..config.clone() }, "text: expected".to_owned()),
        (Config { skip: 1.0, ..config.clone() }, "skip: expected 0 to below 1, got 1".to_owned()),
        (Config { window: Some(1), ..config.clone() }, format!("window: expected 2 to {n_ctx} tokens, got 1")),
        (
            Config { window: Some(8), overlap: 8, ..config.clone() },
            "overlap: expected at most 7 tokens, for windows of 8, got 8".to_owned(),
        ),
        (Config { edits: vec!["9.mlp_post=0".to_owned()], ..config.clone() }, "9.mlp_post".to_owned()),
        (Config { text: vec![folder.path().join("none")], ..config.clone() }, "none".to_owned()),
    ];
    for (config, expected) in cases {
        let err = run(&config, &NoProgress).unwrap_err().to_string();
        assert!(err.contains(&expected), "{err}, expected {expected}");
    }
    std::fs::write(&config.text[0], "").unwrap();
    let err = run(&config, &NoProgress).unwrap_err().to_string();
    assert!(err.contains("text: expected two tokens or more"), "{err}");
}
