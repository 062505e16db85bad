//! Claims of planted neurons are judged as they were planted.

use std::path::Path;

use nissl_core::NoProgress;
use nissl_testing::PlantedActivations;
use nissl_testing::planted::key;
use tempfile::TempDir;

use super::*;
use crate::testing::planted_store;

fn planted(column: usize, claim: Claim) -> (TempDir, Config) {
    let folder = tempfile::tempdir().unwrap();
    let store = planted_store(folder.path(), &PlantedActivations::new(7, 0.0));
    let neurons = vec![PlantedActivations::neuron(column)];
    (folder, Config { store, neurons, claim, theta: 0.5, draws: 50, ..Config::default() })
}

fn concept(text: &str) -> Claim {
    Claim { concept: Some(text.to_owned()), ..Claim::default() }
}

fn formula(text: &str) -> Claim {
    Claim { formula: Some(text.to_owned()), ..Claim::default() }
}

fn f1(column: usize, claim: Claim) -> f64 {
    let (_folder, config) = planted(column, claim);
    run(&config, &NoProgress).unwrap().neurons[0].firing.f1.unwrap().value
}

#[test]
fn true_claims_are_true_in_every_notation() {
    for claim in [
        concept("tag: VERB"),
        concept("tag=VERB"),
        concept("/^(eats?|ate|sees?|saw|likes?|liked|runs?|ran)$/"),
        formula("tag=VERB"),
        formula("NOT (tag=NOUN OR tag=DET OR tag=PREP OR tag=PUNCT OR tag=ADJ OR tag=ADV)"),
    ] {
        assert!((f1(key::VERB, claim.clone()) - 1.0).abs() < 1e-12, "{claim:?}");
    }
    assert!((f1(key::MODIFIER, formula("(tag=ADJ OR tag=ADV) AND NOT 'very'")) - 1.0).abs() < 1e-12);
}

#[test]
fn errors_are_told_by_their_kind_with_their_contexts() {
    let (_folder, config) = planted(key::MODIFIER, concept("tag: ADJ"));
    let report = run(&config, &NoProgress).unwrap();
    let neuron = &report.neurons[0];
    assert_eq!((neuron.judgement().missed, neuron.missed.len(), neuron.spurious.len()), (0, 0, 5));
    assert!(neuron.judgement().spurious > 5);
    for passage in &neuron.spurious {
        assert!(["quickly", "often", "never"].contains(&passage.word.as_str()), "{}", passage.word);
    }
    let (_folder, config) = planted(key::MODIFIER, formula("tag=ADJ OR tag=ADV"));
    let report = run(&config, &NoProgress).unwrap();
    let neuron = &report.neurons[0];
    assert!(neuron.missed.iter().all(|passage| passage.word == "very") && neuron.spurious.is_empty());
    let random = neuron.random.unwrap();
    assert!(random.value < neuron.firing.f1.unwrap().low, "random neurons fire elsewhere: {random:?}");
    let saved = serde_json::to_value(&report).unwrap();
    assert_eq!(serde_json::from_value::<Report>(saved).unwrap(), report);
}

#[test]
fn a_quantile_is_the_neurons_own_threshold() {
    let (_folder, mut config) = planted(key::VERB_NEGATED, concept("tag: VERB"));
    config.quantile = Some(0.5);
    let report = run(&config, &NoProgress).unwrap();
    assert!(report.neurons[0].theta.abs() < 1e-6, "the neuron is -1 or 0: {}", report.neurons[0].theta);
}

#[test]
fn tables_come_from_a_file_or_from_other_text() {
    let (folder, mut config) = planted(key::VERB, Claim::default());
    let file = folder.path().join("table.json");
    std::fs::write(&file, r#"{"eats": 1, "ate": 0.9, "dog": 0.2}"#).unwrap();
    config.claim.table = Some(file.clone());
    let of_file = run(&config, &NoProgress).unwrap();
    let firing = &of_file.neurons[0].firing;
    assert!(firing.recall.unwrap().value > 0.999 && firing.precision.unwrap().value < 0.999);
    config.claim.table = Some(config.store.clone());
    assert!(run(&config, &NoProgress).unwrap_err().to_string().contains("a store of other text"));
    let other = folder.path().join("other");
    std::fs::create_dir(&other).unwrap();
    config.claim.table = Some(planted_store(&other, &PlantedActivations::new(8, 0.0)));
    assert!((run(&config, &NoProgress).unwrap().neurons[0].firing.f1.unwrap().value - 1.0).abs() < 1e-12);
    std::fs::write(&file, "[]").unwrap();
    config.claim.table = Some(file);
    assert!(run(&config, &NoProgress).unwrap_err().to_string().contains("table.json"));
}

#[test]
fn claims_that_say_nothing_or_too_much_are_refused() {
    let refused = |claim: Claim| {
        let (_folder, config) = planted(key::VERB, claim);
        run(&config, &NoProgress).unwrap_err().to_string()
    };
    assert!(refused(Claim::default()).contains("none of them"));
    assert!(refused(Claim { formula: Some("'a'".to_owned()), ..concept("tag: VERB") }).contains("several"));
    assert!(refused(concept("tag")).contains("7 by 'tag'"), "{}", refused(concept("tag")));
    assert!(refused(formula("tag=VREB")).contains("such as tag=VERB"), "{}", refused(formula("tag=VREB")));
}

#[test]
fn the_demo_carries_what_its_whole_residual_stream_does() {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo/model").display().to_string();
    let prompts = [
        ("They", "are", None, "It"),
        ("We", "have", Some("is"), "It"),
        ("She looked at him and", "she", None, "The house of him and"),
        ("They", "is", Some("are"), "It"),
    ];
    let pair = |(text, target, foil, other): (&str, &str, Option<&str>, &str)| TextPrompt {
        text: text.to_owned(),
        target: target.to_owned(),
        foil: foil.map(str::to_owned),
        other: Some(other.to_owned()),
        concept: String::new(),
    };
    let sets = vec!["1.resid_post".to_owned()];
    let inside = Inside { model: Some(model), prompts: prompts.map(pair).to_vec(), sets, ..Inside::default() };
    let neurons = vec!["1.mlp_post[443]".parse().unwrap()];
    let report = run(&Config { neurons, inside, ..Config::default() }, &NoProgress).unwrap();
    let inside = report.inside.unwrap();
    assert!(report.neurons.is_empty());
    assert_eq!((inside.pairs, inside.left_out), (3, 1), "one says the opposite of what the model does");
    let [one, all] = [0, 1].map(|idx| &inside.sets[idx]);
    assert_eq!((one.name.as_str(), one.found.neurons, all.found.neurons), ("1.mlp_post[443]", 1, 192));
    assert!((all.found.success.value - 1.0).abs() < 1e-12 && (all.found.share.value - 1.0).abs() < 1e-4);
    assert!(one.found.share.value.abs() < 0.5, "a neuron of many: {:?}", one.found);
}
