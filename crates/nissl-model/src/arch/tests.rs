#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::path::Path;

use serde_json::{Map, Value, json};

use super::{Config, FAMILIES, Found};
use crate::checkpoint::Checkpoint;
use crate::error::LoadError;

/// What a family says of a config, whatever the weights.
fn read(config: &Value, allowed: &[&str]) -> Result<(), LoadError> {
    let mut found = Found::by_config(Path::new("config.json"), config.to_string().as_bytes())?;
    found.allow_unknown(&allowed.iter().map(|field| (*field).to_owned()).collect::<Vec<_>>());
    let mut nothing = Checkpoint::in_memory(Path::new("config.json"), Vec::new());
    found.architecture(&mut nothing).map(drop)
}

fn golden(path: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(path)).unwrap()
}

/// The config that transformers gives a new model, by its `model_type`.
fn defaults() -> Map<String, Value> {
    serde_json::from_slice(&golden("configs/default.json")).unwrap()
}

#[test]
fn no_config_of_transformers_is_refused() {
    let defaults = defaults();
    assert!(defaults.len() > 30);
    for (model_type, config) in &defaults {
        assert!(FAMILIES.iter().any(|family| family.model_types.contains(&model_type.as_str())), "{model_type}");
        read(config, &[]).unwrap_or_else(|err| panic!("{model_type}: {err}"));
    }
}

#[test]
fn an_option_that_a_family_does_not_know_is_refused_unless_it_is_allowed() {
    for (model_type, mut config) in defaults() {
        config["attention_sinks_per_layer"] = json!(4);
        let said = read(&config, &[]).unwrap_err().to_string();
        assert!(said.starts_with("config.json: field attention_sinks_per_layer: "), "{model_type}: {said}");
        assert!(said.contains("to go on without it, allow attention_sinks_per_layer"), "{said}");
        read(&config, &["attention_sinks_per_layer"]).unwrap();
        assert!(read(&config, &["attention_sinks"]).is_err(), "another field is not allowed with it");
    }
}

#[test]
fn every_family_can_be_asked_for_a_model_that_stands_for_it() {
    let failed = FAMILIES.iter().filter_map(|family| {
        let said = family.sample(&Config::sample()).err()?;
        Some(format!("{}: {said}", family.name))
    });
    assert_eq!(failed.collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn a_misspelled_option_is_told_from_the_known_one() {
    let mut config = defaults()["llama"].clone();
    config["num_key_value_head"] = json!(8);
    let said = read(&config, &[]).unwrap_err().to_string();
    assert!(
        said.contains("got 8; to go on without it, allow num_key_value_head; did you mean num_key_value_heads?"),
        "{said}"
    );
}

#[test]
fn what_says_nothing_or_changes_no_number_is_passed_over() {
    let mut config = defaults()["bert"].clone();
    for (field, value) in [
        ("attention_sinks", json!(null)),
        ("wide_heads", json!(false)),
        ("pruned_heads", json!({})),
        ("some_layers", json!([])),
        ("mlp_dropout", json!(0.3)),
        ("cls_token_id", json!(3)),
        ("_commit_hash", json!("a1")),
        ("max_length", json!(20)),
        ("gradient_checkpointing", json!(true)),
    ] {
        config[field] = value;
    }
    read(&config, &[]).unwrap();
    for (field, value) in [("quantization_config", json!({"bits": 4})), ("dropless", json!(true)), ("labels", json!(2))]
    {
        let mut config = config.clone();
        config[field] = value;
        assert!(read(&config, &[]).is_err(), "{field}");
    }
}
