//! Explanations of planted neurons are scored as they were planted.

use nissl_core::NoProgress;
use nissl_testing::PlantedActivations;
use nissl_testing::planted::{PAST_FORMS, PRESENT_FORMS, key};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::testing::planted_store;

fn planted(column: usize) -> (TempDir, Config) {
    let folder = tempfile::tempdir().unwrap();
    let store = planted_store(folder.path(), &PlantedActivations::new(7, 0.0));
    (folder, Config { store, neurons: vec![PlantedActivations::neuron(column)], theta: 0.5, ..Config::default() })
}

fn rule(text: &str) -> Claim {
    Claim { formula: Some(text.to_owned()), ..Claim::default() }
}

#[test]
fn a_true_rule_foretells_everything_and_a_false_one_less() {
    let (_folder, mut config) = planted(key::QUOTE);
    config.claim = rule("quote=inside");
    let report = run(&config, &NoProgress).unwrap();
    let neuron = &report.neurons[0];
    let simulation = neuron.simulation.as_ref().unwrap();
    assert_eq!((simulation.sequences, report.judge.as_deref()), (20, Some("quote=inside")));
    assert!((simulation.plain.correlation.unwrap() - 1.0).abs() < 1e-12);
    for told in [&neuron.detection, &neuron.fuzzing] {
        let told = told.as_ref().unwrap();
        assert_eq!((told.balanced_accuracy, told.auc, told.f1), (Some(1.0), Some(1.0), Some(1.0)));
        assert!(told.judgement.hits == 50 && told.judgement.rejected == 50, "{told:?}");
    }
    assert!(neuron.dropped.is_empty());
    config.claim = rule("tag=ADV");
    let wrong = run(&config, &NoProgress).unwrap().neurons.remove(0);
    assert!(wrong.simulation.unwrap().plain.correlation.unwrap() < 0.3);
    assert!(wrong.detection.unwrap().balanced_accuracy.unwrap() < 0.7);
    assert!(wrong.fuzzing.unwrap().balanced_accuracy.unwrap() < 0.7);
}

#[test]
fn the_table_of_other_text_simulates_a_neuron_of_words_and_a_calibration_finds_its_scale() {
    let (folder, mut config) = planted(key::VERB_HALF);
    config.theta = 1.2;
    let other = folder.path().join("other");
    std::fs::create_dir(&other).unwrap();
    config.claim.table = Some(planted_store(&other, &PlantedActivations::new(8, 0.0)));
    let simulation = run(&config, &NoProgress).unwrap().neurons.remove(0).simulation.unwrap();
    assert!((simulation.plain.correlation.unwrap() - 1.0).abs() < 1e-6, "{simulation:?}");
    // A rule says 0 or the highest; the neuron is 1 or 1.5.
    config.claim = rule("tag=VERB");
    config.calibration = Calibration::Linear;
    let simulation = run(&config, &NoProgress).unwrap().neurons.remove(0).simulation.unwrap();
    assert!(simulation.plain.centered_r2.unwrap() < 0.0);
    assert!((simulation.calibrated.unwrap().centered_r2.unwrap() - 1.0).abs() < 1e-6);
}

#[test]
fn exported_items_say_nothing_of_the_neuron_and_their_answers_are_read_back() {
    let (folder, mut config) = planted(key::VERB);
    (config.explanation, config.each, config.sequences) = (Some("verbs".to_owned()), 10, 4);
    let (items, answers) = (folder.path().join("items.jsonl"), folder.path().join("answers.jsonl"));
    config.export = Some(items.clone());
    let exported = run(&config, &NoProgress).unwrap();
    assert_eq!((exported.judge, exported.neurons.len()), (None, 0));
    let items: Vec<Value> =
        std::fs::read_to_string(items).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(items.len(), exported.items);
    let fields = ["id", "question", "explanation", "words", "marks"];
    assert!(items.iter().all(|item| item.as_object().unwrap().keys().all(|field| fields.contains(&field.as_str()))));
    // Somebody who knows the verbs answers; one line is lost and one has too many numbers.
    let verbs = [&PAST_FORMS[..], &PRESENT_FORMS[..]].concat();
    let is_verb = |word: &Value| verbs.contains(&word.as_str().unwrap());
    let answer = |item: &Value| {
        let words = item["words"].as_array().unwrap();
        let told: Vec<f64> = words.iter().map(|word| f64::from(u8::from(is_verb(word)))).collect();
        let answer = match item["question"].as_str().unwrap() {
            "simulation" => json!(told),
            "detection" => json!(told.iter().copied().fold(0.0, f64::max)),
            _ => {
                let marks = item["marks"].as_array().unwrap();
                json!(f64::from(u8::from(words.iter().zip(marks).all(|(word, mark)| is_verb(word) == (mark == true)))))
            }
        };
        json!({ "id": item["id"], "answer": answer })
    };
    let mut lines: Vec<Value> = items.iter().skip(1).map(answer).collect();
    lines[0]["answer"] = json!([0.5]);
    let write = |lines: &[Value]| {
        std::fs::write(&answers, lines.iter().map(ToString::to_string).collect::<Vec<String>>().join("\n")).unwrap();
    };
    write(&lines);
    (config.export, config.answers) = (None, Some(answers.clone()));
    let neuron = run(&config, &NoProgress).unwrap().neurons.remove(0);
    assert_eq!(neuron.simulation.as_ref().unwrap().sequences, 2);
    assert!((neuron.simulation.unwrap().plain.correlation.unwrap() - 1.0).abs() < 1e-12);
    assert_eq!(neuron.fuzzing.unwrap().balanced_accuracy, Some(1.0));
    let why: Vec<&str> = neuron.dropped.iter().map(|dropped| dropped.why.as_str()).collect();
    assert!(why.len() == 2 && why[0].contains("got 1, in line 1") && why[1] == "no answer in the file", "{why:?}");
    // Answers to other items, or two to one, are refused with their line.
    let refused = |lines: &[Value], config: &Config| {
        write(lines);
        run(config, &NoProgress).unwrap_err().to_string()
    };
    let other = Config { seed: 1, ..config.clone() };
    assert!(refused(&lines, &other).contains("items that this config draws, in line "));
    lines.push(lines[3].clone());
    assert!(refused(&lines, &config).contains("one answer an item"));
    assert!(refused(&[json!({ "id": 3 })], &config).contains("line 1"));
    assert!(refused(&[], &config).contains("none: no answer in the file"));
}

#[test]
fn who_judges_what_must_be_said() {
    let (_folder, config) = planted(key::VERB);
    let refused = |config: &Config| run(config, &NoProgress).unwrap_err().to_string();
    assert!(refused(&config).contains("a rule, an endpoint or a file of answers"));
    let mut both = Config { claim: rule("tag=VERB"), ..config.clone() };
    both.endpoint.url = Some("http://localhost:1/v1".to_owned());
    assert!(refused(&both).contains("several of them"));
    let export = Some(config.store.join("items"));
    assert!(refused(&Config { export, ..config }).contains("explanation: expected a text"));
}

#[test]
fn a_neuron_that_is_never_above_0_and_too_short_sentences_are_refused() {
    let (_folder, mut config) = planted(key::VERB_NEGATED);
    config.claim = rule("tag=VERB");
    let refused = |config: &Config| run(config, &NoProgress).unwrap_err().to_string();
    let never = refused(&config);
    assert!(never.contains(&format!("{}, whose highest activation", config.neurons[0])), "{never}");
    // The shortest sentences of the grammar: two nouns with their articles, a verb and the period.
    (config.neurons, config.longest) = (vec![PlantedActivations::neuron(key::VERB)], 5);
    let short = refused(&config);
    assert!(short.contains("longest: expected at least 6,") && short.ends_with("got 5"), "{short}");
    config.longest = 64;
    assert!(run(&config, &NoProgress).is_ok());
}
