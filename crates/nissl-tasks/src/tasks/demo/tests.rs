//! The demo finds what is there, and can be repeated.

use nissl_core::NoProgress;

use super::*;
use crate::ranking_file::load_ranking;

#[test]
fn the_demo_finds_words_of_a_kind_and_leaves_a_page() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config { out: folder.path().join("demo"), ..Config::default() };
    let report = run(&config, &NoProgress).unwrap();
    assert!(is_written(&config.out));

    let finding = |name: &str| report.findings.iter().find(|finding| finding.name == name).unwrap();
    let article = finding("article");
    assert!(article.score > 0.9 && article.words.iter().any(|word| word == "the"), "{article:?}");
    let comma = finding("comma");
    assert!(comma.score > 0.9 && comma.words[0] == ",", "{comma:?}");
    assert!(report.findings.is_sorted_by(|a, b| a.score >= b.score));

    let html = std::fs::read_to_string(&report.page).unwrap();
    assert!(html.contains("Where the concepts are") && html.contains(&article.neuron.to_string()));
    let scores = load_ranking(&config.out.join("rankings/average-precision.parquet")).unwrap();
    let idx = scores.concept("article").unwrap();
    assert_eq!(scores.ranking(idx).neurons[0], article.neuron);

    let saved = std::fs::read_to_string(config.out.join("demo.json")).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&saved).unwrap(), report);
}

#[test]
fn paths_are_quoted_as_a_shell_reads_them() {
    let cases = [("nissl-demo/a.b", "nissl-demo/a.b"), ("my demo", "'my demo'"), ("it's", "'it'\\''s'")];
    for (path, expected) in cases {
        assert_eq!(quoted(Path::new(path)), expected);
    }
}
