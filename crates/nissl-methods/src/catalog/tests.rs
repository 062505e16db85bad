#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use nissl_core::{Context, MethodError, Model, Prompt, Scope, Scores};
use serde::Deserialize;
use serde_json::json;

use super::*;

fn error(method: &str, params: &Value) -> String {
    let Err(err) = find(method).unwrap().build(params) else { panic!("{method} was made from {params}") };
    err.to_string()
}

#[test]
fn names_are_found_and_misspelt_ones_get_the_nearest() {
    assert_eq!(find("probeless").unwrap().kind, MethodKind::Ranker);
    assert_eq!(find("top-words").unwrap().kind, MethodKind::Profiler);
    let text = |name| find(name).unwrap_err().to_string();
    assert_eq!(text("probless"), "no method is called 'probless'; did you mean probeless?");
    assert_eq!(text("average_precision"), "no method is called 'average_precision'; did you mean average-precision?");
    assert_eq!(text("banana"), "no method is called 'banana'");
}

#[test]
fn names_are_distinct_lower_case_words_joined_by_hyphens() {
    let mut names: Vec<&str> = METHODS.iter().map(|entry| entry.name).collect();
    assert!(names.iter().all(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '-')), "{names:?}");
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), METHODS.len());
    assert!(METHODS.iter().all(|entry| entry.summary.ends_with('.') && !entry.source.is_empty()));
}

#[test]
fn parameters_go_through_json_and_come_back_the_same() {
    for entry in METHODS {
        let defaults = entry.defaults();
        assert_eq!(entry.complete(&json!({})).unwrap(), defaults, "{}", entry.name);
        assert_eq!(entry.complete(&Value::Null).unwrap(), defaults, "{}", entry.name);
        let text = serde_json::to_string(&defaults).unwrap();
        let back: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(entry.complete(&back).unwrap(), defaults, "{}", entry.name);
    }
    let given = json!({"signed": true, "unlabeled": "skip", "zero_below": 0.05});
    let want = json!({"signed": true, "min_count": 1, "unlabeled": "skip", "zero_below": 0.05, "pool": "none"});
    assert_eq!(find("average-precision").unwrap().complete(&given).unwrap(), want);
}

#[test]
fn an_unknown_parameter_is_refused_by_every_method() {
    for entry in METHODS {
        let Err(err) = entry.build(&json!({"no_such_thing": 1})) else { panic!("{} took it", entry.name) };
        assert!(matches!(err, CatalogError::UnknownParameter { .. }), "{err}");
    }
    assert_eq!(
        error("probeless", &json!({"min_coutn": 5})),
        "probeless has no parameter 'min_coutn'; did you mean min_count?; its parameters: zscore, min_count"
    );
}

#[test]
fn a_value_of_another_type_is_refused_with_what_is_allowed() {
    let cases = [
        ("probeless", json!({"zscore": "yes"}), "zscore = \"yes\": expected true or false"),
        ("probeless", json!({"zscore": true, "min_count": -1}), "min_count = -1: expected a whole number, 1 or more"),
        ("probeless", json!({"min_count": 1.5}), "min_count = 1.5: expected a whole number, 1 or more"),
        ("average-precision", json!({"unlabeled": "drop"}), "unlabeled = \"drop\": expected one of negative, skip"),
        ("average-precision", json!({"zero_below": null}), "zero_below = null: expected a number, 0 or more"),
        ("top-words", json!({"threshold": []}), "threshold = []: expected a number from 0 to 1"),
        ("top-contexts", json!({"dedup": 1}), "dedup = 1: expected one of exact, none"),
    ];
    for (method, params, want) in cases {
        assert_eq!(error(method, &params), format!("{method}: parameter {want}"));
    }
    let want = "parameters of probeless: expected an object such as {\"name\": value}, got [1]";
    assert_eq!(error("probeless", &json!([1])), want);
}

#[test]
fn parameters_are_read_from_text() {
    let entry = find("average-precision").unwrap();
    let params = entry.parse([("signed", "true"), ("unlabeled", "skip"), ("min_count", "7")]).unwrap();
    assert_eq!(params, json!({"signed": true, "unlabeled": "skip", "min_count": 7}));
    let text = entry.parse([("signed", "perhaps")]).unwrap_err().to_string();
    assert_eq!(text, "average-precision: parameter signed = \"perhaps\": expected true or false");
}

#[test]
fn the_schema_describes_every_parameter_and_its_default() {
    for entry in METHODS {
        let schema = entry.schema();
        let properties = schema["properties"].as_object().unwrap();
        let defaults = entry.defaults();
        let defaults = defaults.as_object().unwrap();
        assert_eq!(properties.len(), defaults.len(), "{}", entry.name);
        for (name, default) in defaults {
            let property = &properties[name];
            assert_eq!(&property["default"], default, "{}.{name}", entry.name);
            assert!(property["description"].is_string(), "{}.{name}: {property}", entry.name);
            assert_ne!(expected(property), "another type", "{}.{name}: {property}", entry.name);
        }
        assert_eq!(schema["additionalProperties"], false, "{}", entry.name);
    }
}

/// An attributor that scores nothing, to try that kind of line.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Nothing {}

impl Describe for Nothing {
    const NAME: &'static str = "nothing";
    const SUMMARY: &'static str = "Scores nothing.";
    const SOURCE: &'static str = "none";
    const CARD: MethodCard = MethodCard {
        family: "causal",
        scope: Scope::Both,
        input: "class",
        output: "neurons",
        scalability: "low",
        human_in_the_loop: false,
        supervision: false,
        causal: true,
    };
}

impl Attributor for Nothing {
    fn score(&self, _model: &dyn Model, _prompts: &[Prompt], _ctx: Context<'_>) -> Result<Scores, MethodError> {
        Err(MethodError::Cancelled)
    }
}

#[test]
fn each_kind_of_line_makes_its_kind_of_method() {
    for entry in METHODS.iter().copied().chain([MethodEntry::attributor::<Nothing>()]) {
        let kind = match entry.build(&Value::Null).unwrap() {
            Method::Ranker(_) => MethodKind::Ranker,
            Method::Profiler(_) => MethodKind::Profiler,
            Method::Attributor(_) => MethodKind::Attributor,
        };
        assert_eq!(kind, entry.kind, "{}", entry.name);
    }
}

/// Scope, input, output, scalability, whether a person reads it, whether it needs labels.
type Row = (&'static str, &'static str, &'static str, &'static str, bool, bool);

#[test]
fn corpus_methods_and_probes_have_the_attributes_of_the_survey() {
    const NEURON_SEARCH: Row = ("global", "concept", "neurons", "high", false, true);
    let table: &[(&str, Row)] = &[
        ("gate-saturation", ("global", "neuron", "statistic", "high", false, false)),
        ("top-words", ("global", "neuron", "concept", "high", true, false)),
        ("top-contexts", ("global", "neuron", "concept", "low", true, false)),
        ("tx-ray", ("global", "neuron", "concept", "high", true, false)),
        ("variance-reduction", ("global", "neuron", "concept", "high", false, true)),
        ("compositional", ("global", "concept", "neurons", "low", false, true)),
        ("average-precision", NEURON_SEARCH),
        ("probeless", NEURON_SEARCH),
        ("mean-select", NEURON_SEARCH),
        ("iou", NEURON_SEARCH),
        ("sensitivity", NEURON_SEARCH),
        ("linear-probe", NEURON_SEARCH),
        ("lca", NEURON_SEARCH),
        ("sparse-probe", NEURON_SEARCH),
        ("gaussian-probe", NEURON_SEARCH),
        ("skill-neurons", ("global", "task", "neurons", "high", false, true)),
        ("latent-probe", ("global", "concept", "neurons", "medium", false, true)),
    ];
    for (name, want) in table {
        let card = find(name).unwrap().card;
        let scope = serde_json::to_value(card.scope).unwrap();
        let got = (card.input, card.output, card.scalability, card.human_in_the_loop, card.supervision);
        assert_eq!((scope.as_str(), got), (Some(want.0), (want.1, want.2, want.3, want.4, want.5)), "{name}");
        assert!(!card.causal, "{name}");
    }
}
