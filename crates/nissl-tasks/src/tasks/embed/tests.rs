#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::fs;

use nissl_core::NoProgress;

use super::*;

/// The golden BERT with a tokenizer of words and the library's files beside it.
fn folder() -> tempfile::TempDir {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/models/bert");
    let folder = tempfile::tempdir().unwrap();
    for name in ["config.json", "model.safetensors"] {
        fs::copy(golden.join(name), folder.path().join(name)).unwrap();
    }
    let words = ["[UNK]", "the", "cat", "dog", "sees", "an", "old", "man", "."];
    let vocab: serde_json::Map<_, _> = (0..).zip(words).map(|(id, word)| (word.to_owned(), id.into())).collect();
    let files = [
        (
            "tokenizer.json",
            serde_json::json!({
                "version": "1.0", "added_tokens": [], "pre_tokenizer": { "type": "Whitespace" },
                "model": { "type": "WordLevel", "unk_token": "[UNK]", "vocab": vocab },
            }),
        ),
        (
            "modules.json",
            serde_json::json!([
                { "path": "", "type": "sentence_transformers.models.Transformer" },
                { "path": "1_Pooling", "type": "sentence_transformers.models.Pooling" },
            ]),
        ),
        ("1_Pooling/config.json", serde_json::json!({ "pooling_mode_mean_tokens": true })),
        ("sentence_bert_config.json", serde_json::json!({ "max_seq_length": 5 })),
    ];
    fs::create_dir(folder.path().join("1_Pooling")).unwrap();
    for (name, content) in files {
        fs::write(folder.path().join(name), content.to_string()).unwrap();
    }
    folder
}

fn config(folder: &Path, texts: &[&str]) -> Config {
    Config {
        model: folder.display().to_string(),
        texts: texts.iter().map(|text| (*text).to_owned()).collect(),
        ..Config::default()
    }
}

#[test]
fn texts_have_vectors_cosines_and_a_length() {
    let folder = folder();
    let texts = ["the cat", "the cat", "an old man sees the old dog .", "dog"];
    let report = run(&config(folder.path(), &texts), &NoProgress).unwrap();
    assert_eq!((report.width, report.texts.len()), (36, 4));
    assert_eq!(report.poolings, ["mean"]);
    let lengths: Vec<(usize, usize)> = report.texts.iter().map(|text| (text.tokens, text.cut)).collect();
    assert_eq!(lengths, [(2, 0), (2, 0), (8, 3), (1, 0)]);
    let cosines = report.cosines.unwrap();
    let vector = |text: usize| report.texts[text].vector.clone().unwrap();
    let by_hand = |a: usize, b: usize| {
        let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
        let (x, y) = (vector(a), vector(b));
        dot(&x, &y) / (dot(&x, &x) * dot(&y, &y)).sqrt()
    };
    for (a, row) in cosines.iter().enumerate() {
        for (b, cosine) in row.iter().enumerate() {
            assert!((cosine - by_hand(a, b)).abs() < 1e-9, "{a} {b}");
        }
    }
    assert!((cosines[0][1] - 1.0).abs() < 1e-9 && cosines[0][2] < 0.999);
}

#[test]
fn a_batch_at_a_time_gives_the_vectors_of_one_text_alone() {
    let folder = folder();
    let texts: Vec<&str> = ["the cat sees an old", "dog", "an old man ."].into_iter().cycle().take(3000).collect();
    let many = run(&config(folder.path(), &texts), &NoProgress).unwrap();
    assert!(many.cosines.is_none(), "too many pairs");
    let one = run(&config(folder.path(), &texts[2..3]), &NoProgress).unwrap();
    assert_eq!(many.texts[2999], one.texts[0]);
}

#[test]
fn the_file_is_numpys() {
    let folder = folder();
    let out = folder.path().join("v.npy");
    let mut config = config(folder.path(), &["the cat", "dog"]);
    let plain = run(&config, &NoProgress).unwrap();
    config.out = Some(out.clone());
    let report = run(&config, &NoProgress).unwrap();
    assert!(report.texts.iter().all(|text| text.vector.is_none()));
    let bytes = fs::read(out).unwrap();
    let length = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    assert_eq!((10 + length) % 64, 0);
    let header = std::str::from_utf8(&bytes[10..10 + length]).unwrap();
    assert!(
        header.starts_with("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 36), }") && header.ends_with('\n')
    );
    let values: Vec<f32> =
        bytes[10 + length..].chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    let expected: Vec<f32> = plain.texts.iter().flat_map(|text| text.vector.clone().unwrap()).collect();
    assert_eq!(values, expected);
}

#[test]
fn what_cannot_be_done_is_refused_by_name() {
    let folder = folder();
    let said = |config: &Config| run(config, &NoProgress).unwrap_err().to_string();
    assert!(said(&config(folder.path(), &[])).contains("texts"));
    let csv = Config { out: Some("v.csv".into()), ..config(folder.path(), &["dog"]) };
    assert!(said(&csv).contains(".npy"));
    fs::remove_file(folder.path().join("modules.json")).unwrap();
    assert!(said(&config(folder.path(), &["dog"])).contains("modules.json"));
}
