//! Colors say what was planted; what is drawn is escaped.

use std::path::Path;

use nissl_core::NoProgress;
use nissl_testing::PlantedActivations;
use nissl_testing::planted::key;
use tempfile::TempDir;

use super::*;
use crate::testing::planted_store;

fn planted() -> (TempDir, PlantedActivations, Config) {
    let folder = tempfile::tempdir().unwrap();
    let planted = PlantedActivations::new(7, 0.0);
    let store = planted_store(folder.path(), &planted);
    (folder, planted, Config { source: store.display().to_string(), ..Config::default() })
}

fn demo(text: &str) -> Config {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo/model");
    Config { source: model.display().to_string(), text: Some(text.to_owned()), ..Config::default() }
}

#[test]
fn the_quote_neuron_colors_what_stands_between_quotation_marks() {
    let (_folder, planted, mut config) = planted();
    config.neurons = vec![PlantedActivations::neuron(key::QUOTE)];
    config.sentences = 50;
    let report = run(&config, &NoProgress).unwrap();
    let view = &report.views[0];
    assert_eq!((view.sentences.len(), view.scale, view.dead), (50, Scale::Zscore, false));
    let mut row = 0;
    let inside = planted.quote.mask(0);
    for sentence in &view.sentences {
        for word in &sentence.words {
            assert_eq!(word.name, planted.text.word(row));
            assert_eq!(word.share > 0.0, inside[row], "row {row}: {word:?}");
            row += 1;
        }
    }
    assert!(inside[..row].iter().any(|&inside| inside));
}

#[test]
fn scales_are_what_they_say() {
    let (_folder, _, mut config) = planted();
    config.neurons = vec![PlantedActivations::neuron(key::VERB_TWICE)];
    for (scale, verb, other) in
        [(Scale::Minmax, 1.0, 0.0), (Scale::Tanh, 2.0_f32.tanh(), 0.0), (Scale::Zscore, 1.0, -0.1)]
    {
        config.scale = Some(scale);
        config.clip = 2.0;
        let report = run(&config, &NoProgress).unwrap();
        for word in report.views[0].sentences.iter().flat_map(|sentence| &sentence.words) {
            let want = if word.value == Some(2.0) { verb } else { other };
            assert!((word.share - want).abs() < 0.1, "{scale:?}: {word:?}");
        }
    }
}

#[test]
fn a_dead_neuron_has_no_colors_and_says_so() {
    let (folder, _, mut config) = planted();
    config.neurons = vec![PlantedActivations::neuron(key::DEAD), PlantedActivations::neuron(key::CONSTANT)];
    config.svg = Some(folder.path().join("view.svg"));
    let report = run(&config, &NoProgress).unwrap();
    assert!(report.views.iter().all(|view| view.dead));
    let words = report.views.iter().flat_map(|view| &view.sentences).flat_map(|sentence| &sentence.words);
    assert!(words.clone().count() > 0 && words.clone().all(|word| word.share.abs() < 1e-9));
    let svg = std::fs::read_to_string(folder.path().join("view.svg")).unwrap();
    assert!(svg.contains("the same value everywhere: 1.00") && svg.ends_with("</svg>\n"), "{svg}");
}

#[test]
fn a_text_is_colored_token_by_token_and_nothing_of_it_is_lost() {
    let text = "I was “not” at home & she <b>was</b>.";
    let mut config = demo(text);
    let folder = tempfile::tempdir().unwrap();
    config.html = Some(folder.path().join("view.html"));
    for (saliency, site) in [
        (Saliency::Derivative, "hook_embed"),
        (Saliency::Variance, "hook_embed"),
        (Saliency::Omission, "blocks.3.hook_resid_post"),
    ] {
        config.saliency = saliency;
        let report = run(&config, &NoProgress).unwrap();
        let [view] = &report.views[..] else { panic!("one view: {:?}", report.views) };
        assert!(view.name.ends_with(site), "{}", view.name);
        let words = &view.sentences[0].words;
        let shown: String = words.iter().flat_map(|word| [word.before.as_str(), word.name.as_str()]).collect();
        assert_eq!(shown, text);
        assert!(words.iter().all(|word| word.value.is_some_and(|value| value >= -1e-6)), "{words:?}");
        assert!(view.stats.max > view.stats.min, "{saliency:?} tells the tokens apart");
    }
    let html = std::fs::read_to_string(folder.path().join("view.html")).unwrap();
    assert!(!html.contains("<b>") && html.contains("&lt;"), "{html}");
}

#[test]
fn a_target_is_a_token_by_its_text_or_number() {
    let mut config = demo("I was at");
    config.target = Some("the".to_owned());
    let by_text = run(&config, &NoProgress).unwrap();
    config.target = Some("zzzz no token zzzz".to_owned());
    let err = run(&config, &NoProgress).unwrap_err().to_string();
    assert!(err.starts_with("no single token is called 'zzzz no token zzzz'"), "{err}");
    config.target = None;
    assert_ne!(run(&config, &NoProgress).unwrap().views[0].stats, by_text.views[0].stats);
}

#[test]
fn neurons_of_a_running_model_are_shown_and_those_it_has_not_are_named() {
    let mut config = demo("I was at home");
    config.neurons = vec!["1.mlp_post[443]".parse().unwrap(), "0.resid_post[3]".parse().unwrap()];
    let report = run(&config, &NoProgress).unwrap();
    let names: Vec<&str> = report.views.iter().map(|view| view.name.as_str()).collect();
    assert_eq!(names, ["blocks.1.mlp.hook_post[443]", "blocks.0.hook_resid_post[3]"]);
    assert!(report.views.iter().all(|view| view.stats.rows == view.sentences[0].words.len()));
    config.neurons = vec!["1.mlp_post[99999]".parse().unwrap()];
    assert!(run(&config, &NoProgress).unwrap_err().to_string().contains("99999"));
}

#[test]
fn what_is_missing_is_said() {
    let (_folder, _, config) = planted();
    let error = |config: Config| run(&config, &NoProgress).unwrap_err().to_string();
    assert!(error(config.clone()).starts_with("neurons: expected a neuron"), "{}", error(config.clone()));
    assert!(error(Config::default()).starts_with("source: expected"));
    let neurons = vec![PlantedActivations::neuron(0)];
    assert!(error(Config { first: 600, neurons, ..config.clone() }).contains("a sentence from 0 to 599, got 600"));
    assert!(error(Config { clip: 0.0, ..config }).starts_with("clip: expected a number above 0"));
}
