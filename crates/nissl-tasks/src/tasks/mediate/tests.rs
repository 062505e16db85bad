use std::path::Path;

use nissl_core::NoProgress;

use super::*;

fn config() -> Config {
    let prompt = |text: &str, other: &str| TextPrompt {
        text: text.to_owned(),
        target: "he".to_owned(),
        foil: Some("she".to_owned()),
        other: Some(other.to_owned()),
        concept: String::new(),
    };
    let prompts = vec![prompt("The lady said that", "The man said that"), prompt("The lady was so", "The man was so")];
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo/model").display().to_string();
    Config { model, prompts, min_prob: 0.0, random: 2, ..Config::default() }
}

#[test]
fn shares_layers_and_singles_are_what_moving_them_does() {
    let asked = Config { shares: vec![0.01, 1.0], layers: vec![1, 2], rank: Rank::Single, ..config() };
    let report = run(&asked, &NoProgress).unwrap();
    assert_eq!((report.prompts.used, report.improbable, report.singles.len()), (2, 0, 10));
    let sizes: Vec<usize> = report.shares.iter().map(|share| share.effect.neurons).collect();
    assert_eq!(sizes, [4, 2 * 192]);
    assert!(report.shares[0].random.is_some() && report.shares[1].random.is_none());
    assert_eq!(report.layers.iter().map(|layer| layer.neurons).collect::<Vec<_>>(), [192, 192]);
    let single = |idx: usize| report.singles[idx].indirect.mean;
    assert!((1..10).all(|idx| single(idx) <= single(idx - 1) + 1e-12), "best first");
    let [mean, ..] = report.shares[0].random.unwrap();
    assert!(report.shares[0].effect.share > mean, "the best carry more than others: {report:?}");
}

#[test]
fn a_set_that_grows_carries_at_least_as_much_as_the_best_of_its_size() {
    let folder = tempfile::tempdir().unwrap();
    let out = Some(folder.path().to_owned());
    let asked = Config { grow: 3, candidates: 12, shares: vec![3.0 / 768.0], out, ..config() };
    let report = run(&asked, &NoProgress).unwrap();
    assert_eq!(report.grown.iter().map(|set| set.neurons).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(report.grown[2].share >= report.shares[0].effect.share - 1e-9, "{report:?}");
    assert!(report.grown.windows(2).all(|pair| pair[1].share >= pair[0].share - 1e-9));
    let again: Report = serde_json::from_slice(&std::fs::read(folder.path().join(REPORT)).unwrap()).unwrap();
    assert_eq!(again, report);
    let ranking = Some(folder.path().join(RANKING));
    assert!(run(&Config { ranking, out: None, ..config() }, &NoProgress).is_ok());
}

#[test]
fn what_cannot_be_measured_is_said() {
    let refused = |config: Config| run(&config, &NoProgress).unwrap_err().to_string();
    assert!(refused(Config { shares: vec![2.0], ..config() }).contains("from 0 to 1, got 2"));
    assert!(refused(Config { min_prob: 0.999, ..config() }).contains("0.999 together, got none"));
    let mut asked = config();
    asked.prompts[0].foil = None;
    assert!(refused(asked).contains("a foil for each"));
}
