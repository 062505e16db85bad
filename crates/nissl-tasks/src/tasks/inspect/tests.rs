//! A planted neuron looks like what was planted.

use nissl_core::NoProgress;
use nissl_testing::PlantedActivations;
use nissl_testing::planted::{PAST_FORMS, PRESENT_FORMS, key};
use tempfile::TempDir;

use super::*;
use crate::tasks::rank;
use crate::testing::planted_store;

fn planted() -> (TempDir, PlantedActivations, Config) {
    let folder = tempfile::tempdir().unwrap();
    let planted = PlantedActivations::new(7, 0.05);
    let store = planted_store(folder.path(), &planted);
    (folder, planted, Config { store, ..Config::default() })
}

#[test]
fn a_verb_neuron_fires_on_verbs() {
    let (_folder, planted, mut config) = planted();
    config.neurons = vec![PlantedActivations::neuron(key::VERB)];
    let report = run(&config, &NoProgress).unwrap();
    let neuron = &report.neurons[0];
    let column = planted.x.values().column(key::VERB).to_vec();
    assert_eq!(neuron.stats, Stats::of(&column, config.bins));
    assert_eq!(neuron.stats.histogram.counts.iter().sum::<u64>(), column.len() as u64);
    let best = &neuron.concepts[0];
    assert_eq!((best.name.as_str(), best.sign), ("tag=VERB", Some(1)));
    assert!(best.score > 0.99 && best.chance.is_some_and(|chance| chance < 0.5), "{best:?}");
    let verbs = [&PAST_FORMS[..], &PRESENT_FORMS[..]].concat();
    assert_eq!(neuron.top.len(), config.contexts);
    for passage in &neuron.top {
        assert!(verbs.contains(&passage.word.as_str()), "{}", passage.word);
        assert_eq!(passage.words[passage.at].name, passage.word);
        assert_eq!(passage.words[passage.at].activation.to_bits(), column[passage.row].to_bits());
        let text: String = passage.words.iter().flat_map(|word| [word.before.as_str(), word.name.as_str()]).collect();
        assert_eq!(text.split(' ').count(), passage.words.len(), "the sentence as it was written: {text}");
    }
    assert!(neuron.words.iter().take(5).all(|word| verbs.contains(&word.name.as_str())), "{:?}", neuron.words);
}

#[test]
fn neurons_come_from_a_ranking_and_their_concepts_are_looked_up_in_it() {
    let (folder, _, mut config) = planted();
    let out = folder.path().join("rankings");
    let rank = rank::Config {
        store: config.store.clone(),
        concepts: vec!["number".to_owned()],
        methods: vec!["average-precision".to_owned()],
        out: Some(out.clone()),
        ..rank::Config::default()
    };
    rank::run(&rank, &NoProgress).unwrap();
    config.rankings = vec![out.join("average-precision.parquet")];
    config.concept = Some("plural".to_owned());
    config.concepts = vec!["number".to_owned()];
    config.best = 2;
    let report = run(&config, &NoProgress).unwrap();
    assert_eq!(report.neurons.len(), 2);
    let neuron = &report.neurons[0];
    assert_eq!(neuron.name, PlantedActivations::neuron(key::NUMBER));
    assert_eq!((neuron.concepts[0].name.as_str(), neuron.concepts[0].rank), ("plural", Some(1)));
    let with = neuron.with_concept.as_ref().unwrap();
    assert_eq!((with.name.as_str(), with.counts.len()), ("plural", neuron.stats.histogram.counts.len()));
    assert!(with.counts.iter().zip(&neuron.stats.histogram.counts).all(|(with, all)| with <= all));

    config.concept = Some("plurl".to_owned());
    let err = run(&config, &NoProgress).unwrap_err().to_string();
    assert!(err.contains("did you mean plural?"), "{err}");
}

#[test]
fn the_page_shows_the_neuron_and_its_sentences() {
    let (folder, _, mut config) = planted();
    config.neurons = vec![PlantedActivations::neuron(key::VERB)];
    config.html = Some(folder.path().join("neuron.html"));
    let report = run(&config, &NoProgress).unwrap();
    let html = std::fs::read_to_string(folder.path().join("neuron.html")).unwrap();
    assert!(html.starts_with("<!doctype html>"));
    for expected in ["blocks.0.", "tag=VERB", report.neurons[0].top[0].word.as_str()] {
        assert!(html.contains(expected), "{expected}");
    }
}

#[test]
fn neurons_that_are_not_there_are_named() {
    let (_folder, planted, mut config) = planted();
    let point = planted.x.neurons()[0].point;
    config.neurons = vec![NeuronId::new(point, 128)];
    let err = run(&config, &NoProgress).unwrap_err().to_string();
    assert_eq!(err, format!("{point}[128]: the site has 128 units, from 0 to 127"));
    config.neurons = vec!["blocks.7.hook_resid_post[0]".parse().unwrap()];
    let err = run(&config, &NoProgress).unwrap_err().to_string();
    assert!(err.contains("blocks.7.hook_resid_post"), "{err}");
    config.neurons = Vec::new();
    assert!(matches!(run(&config, &NoProgress), Err(TaskError::Config { .. })));
}
