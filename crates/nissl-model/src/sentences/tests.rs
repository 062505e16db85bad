#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::fs;

use super::*;

/// The golden BERT with files of the library beside it.
fn folder(modules: &str, pooling: &str) -> tempfile::TempDir {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/models/bert");
    let folder = tempfile::tempdir().unwrap();
    for name in ["config.json", "model.safetensors"] {
        fs::copy(golden.join(name), folder.path().join(name)).unwrap();
    }
    fs::write(folder.path().join("modules.json"), modules).unwrap();
    fs::create_dir(folder.path().join("1_Pooling")).unwrap();
    fs::write(folder.path().join("1_Pooling/config.json"), pooling).unwrap();
    folder
}

fn modules(kinds: &[&str]) -> String {
    let paths = ["", "1_Pooling", "2_Normalize"];
    let module =
        |(kind, path): (&&str, &str)| format!(r#"{{"path": "{path}", "type": "sentence_transformers.models.{kind}"}}"#);
    format!("[{}]", kinds.iter().zip(paths).map(module).collect::<Vec<_>>().join(","))
}

#[test]
fn vectors_are_pooled_and_normalized_as_the_folder_says() {
    let folder = folder(
        &modules(&["Transformer", "Pooling", "Normalize"]),
        r#"{"word_embedding_dimension": 36, "pooling_mode_cls_token": true, "pooling_mode_mean_tokens": true,
            "pooling_mode_max_tokens": false, "include_prompt": true}"#,
    );
    fs::write(folder.path().join("sentence_bert_config.json"), r#"{"max_seq_length": 4, "do_lower_case": false}"#)
        .unwrap();
    let vectors = SentenceVectors::from_folder(folder.path()).unwrap().unwrap();
    assert_eq!(
        vectors,
        SentenceVectors { poolings: vec![Pooling::First, Pooling::Mean], normalized: true, max_tokens: Some(4) }
    );
    let model = LanguageModel::from_folder(folder.path(), "bert").unwrap();
    let text = |n: u32| Encoding {
        ids: (0..n).collect(),
        offsets: vec![0..0; n as usize],
        special: (0..n).map(|token| token == 0 || token + 1 == n).collect(),
    };
    assert_eq!(vectors.tokens(&model, &text(4)), [0, 1, 2, 3]);
    assert_eq!(vectors.tokens(&model, &text(9)), [0, 1, 2, 8], "the special token at the end stays");
    let batch = Batch::from_sentences([&[5, 2, 9][..], &[], &[40]]);
    let got = vectors.of(&model, &batch).unwrap();
    assert_eq!(got.dim(), (3, 72));
    let point = HookPoint::new(1, Site::ResidPost);
    let tokens = &model.run(&batch, &HookPlan::capture([point])).unwrap().sites[&point];
    for (sentence, rows) in [(0, 0..3), (2, 3..4)] {
        let rows = tokens.slice(s![rows, ..]);
        let mean = rows.mean_axis(Axis(0)).unwrap();
        let whole: Vec<f32> = rows.row(0).iter().chain(&mean).copied().collect();
        let length = whole.iter().map(|value| value * value).sum::<f32>().sqrt();
        for (got, want) in got.row(sentence).iter().zip(whole) {
            assert!((got - want / length).abs() < 1e-6, "{got}, want {}", want / length);
        }
    }
    assert!(got.row(1).iter().all(|value| *value == 0.0), "an empty sentence has no direction");
}

#[test]
fn every_pooling_is_what_its_name_says() {
    let tokens = ndarray::array![[1.0, -2.0], [3.0, 4.0], [-1.0, 1.0], [5.0, 5.0]];
    let of = |pooling: Pooling| pooling.of(&tokens.view()).to_vec();
    assert_eq!(of(Pooling::First), [1.0, -2.0]);
    assert_eq!(of(Pooling::Last), [5.0, 5.0]);
    assert_eq!(of(Pooling::Mean), [2.0, 2.0]);
    assert_eq!(of(Pooling::MeanSqrtLen), [4.0, 4.0]);
    assert_eq!(of(Pooling::Max), [5.0, 5.0]);
}

#[test]
fn what_is_not_known_is_refused_by_name() {
    let said = |modules: &str, pooling: &str| {
        let folder = folder(modules, pooling);
        SentenceVectors::from_folder(folder.path()).unwrap_err().to_string()
    };
    let mean = r#"{"pooling_mode_mean_tokens": true}"#;
    let dense = said(&modules(&["Transformer", "Pooling", "Dense"]), mean);
    assert!(
        dense.contains(
            "expected Transformer, then Pooling, then perhaps Normalize, got sentence_transformers.models.Dense"
        ),
        "{dense}"
    );
    let weighted = said(&modules(&["Transformer", "Pooling"]), r#"{"pooling_mode_weightedmean_tokens": true}"#);
    assert!(weighted.contains("got pooling_mode_weightedmean_tokens"), "{weighted}");
    assert!(said(&modules(&["Transformer"]), mean).contains("expected a Pooling, got none"));
    assert!(said("{}", mean).contains("modules.json"));
    let none = tempfile::tempdir().unwrap();
    assert_eq!(SentenceVectors::from_folder(none.path()).unwrap(), None);
}
