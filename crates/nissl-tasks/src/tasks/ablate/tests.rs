use std::path::Path;

use nissl_core::NoProgress;
use nissl_methods::ablating::Replacement;

use super::*;
use crate::tasks::attribute;

fn prompt(text: &str, target: &str, foil: &str, concept: &str) -> TextPrompt {
    let [text, target, concept] = [text, target, concept].map(str::to_owned);
    TextPrompt { text, target, foil: Some(foil.to_owned()), other: None, concept }
}

fn config() -> Config {
    let prompts = vec![
        prompt("She looked at him and", "said", "was", "past"),
        prompt("There was no possibility of taking a", "walk", "day", "noun"),
    ];
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo/model").display().to_string();
    Config { model, prompts, ..Config::default() }
}

#[test]
fn sets_of_every_kind_are_removed_and_compared_with_random_ones() {
    let sets = ["2.mlp_post[3,5-6]", "1.mlp_post[7] + 3.attn_z[h0]"].map(str::to_owned).to_vec();
    let asked = Config { sets, layers: vec!["mlp_post".to_owned()], heads: true, random: 3, ..config() };
    let report = run(&asked, &NoProgress).unwrap();
    let sizes: Vec<(String, usize)> = report.sets.iter().map(|set| (set.name.clone(), set.neurons)).collect();
    assert_eq!(sizes[0].1, 3);
    assert_eq!(sizes[1].1, 1 + 192 / 4);
    assert_eq!((sizes[2].0.as_str(), sizes[2].1), ("0.mlp_post", 768));
    assert_eq!(report.sets.len(), 2 + 4 + 4 * 4);
    let set = &report.sets[1];
    assert_eq!(set.concepts.iter().map(|concept| concept.name.as_str()).collect::<Vec<_>>(), ["past", "noun"]);
    let mean = set.concepts.iter().map(|concept| concept.effect.loss.mean).sum::<f64>() / 2.0;
    assert!((mean - set.effect.loss.mean).abs() < 1e-12);
    let random = set.random.unwrap();
    assert!(random.low <= random.loss && random.loss <= random.high && (0.25..=1.0).contains(&random.p));
    let layers = report.sets[2..6].iter();
    assert!(layers.clone().all(|set| set.effect.divergence.mean > 0.0), "a layer without effect");
    assert_eq!(run(&asked, &NoProgress).unwrap(), report, "the same twice");
}

#[test]
fn the_top_of_a_ranking_costs_more_than_its_bottom() {
    let folder = tempfile::tempdir().unwrap();
    let Config { model, mut prompts, .. } = config();
    for prompt in &mut prompts {
        prompt.concept = String::new();
    }
    let out = Some(folder.path().to_owned());
    let ranked = attribute::Config { model, prompts: prompts.clone(), out, ..attribute::Config::default() };
    attribute::run(&ranked, &NoProgress).unwrap();
    let ranking = Some(folder.path().join("integrated-gradients.parquet"));
    let report = folder.path().join("ablate.json");
    let asked = Config { prompts, ranking, top: vec![10], steps: 4, random: 2, out: Some(report.clone()), ..config() };
    let got = run(&asked, &NoProgress).unwrap();
    assert_eq!((got.sets[0].name.as_str(), got.sets[0].neurons), ("top 10 of prompts", 10));
    let curve = got.curve.as_ref().unwrap();
    let (first, last) = (curve.steps[0], curve.steps[4]);
    assert_eq!((first.neurons, last.neurons, curve.steps.len()), (0, 4 * 768, 5));
    assert_eq!((first.top, first.bottom), (got.whole, got.whole));
    assert_eq!(last.top, last.bottom);
    assert!(curve.steps[1].top.loss.mean > curve.steps[1].bottom.loss.mean, "{curve:?}");
    let again: Report = serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
    assert_eq!(again, got);
}

#[test]
fn a_removal_to_the_mean_does_less_than_to_zero_where_neurons_are_never_zero() {
    let of = |value| {
        let how = Removal { value, ..Removal::default() };
        let asked = Config { sets: vec!["0.resid_post".to_owned()], how, ..config() };
        run(&asked, &NoProgress).unwrap().sets[0].effect.divergence.mean
    };
    assert!(of(Replacement::Mean) < of(Replacement::Zero));
    assert!(of(Replacement::Resample) > 0.0);
}

#[test]
fn what_cannot_be_removed_is_said() {
    let refused = |config: Config| run(&config, &NoProgress).unwrap_err().to_string();
    assert!(refused(config()).starts_with("sets: expected sets of neurons"));
    let sets = |text: &str| Config { sets: vec![text.to_owned()], ..config() };
    assert!(refused(sets("2.mlp_post[900]")).contains("900"));
    assert!(refused(sets("2.mlp_pst[3]")).contains("mlp_post"));
    assert!(refused(sets("2.mlp_post[3]=0")).contains("the end"));
    assert!(refused(Config { ranking: Some("nowhere".into()), ..config() }).contains("nowhere"));
}

#[test]
fn clusters_are_sets_and_those_that_cost_most_are_joined() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clusters.json");
    let cluster = |layer: usize, units: &[usize]| {
        let members: Vec<String> = units.iter().map(|unit| format!("blocks.{layer}.mlp.hook_post[{unit}]")).collect();
        serde_json::json!({ "name": members[0], "members": members })
    };
    let clusters = [cluster(0, &[1]), cluster(1, &[2, 3]), cluster(2, &[4, 5, 6, 7]), cluster(3, &[8, 9, 10])];
    std::fs::write(&path, serde_json::json!({ "neurons": [], "clusters": clusters }).to_string()).unwrap();
    let asked = Config { clusters: Some(path.clone()), most_clusters: 3, grow: 2, beam: 3, ..config() };
    let report = run(&asked, &NoProgress).unwrap();
    let names: Vec<&str> = report.sets.iter().map(|set| set.name.as_str()).collect();
    assert_eq!(names, ["cluster of 2.mlp_post[4]", "cluster of 3.mlp_post[8]", "cluster of 1.mlp_post[2]"]);
    // All pairs are tried, as every set is kept after the first step.
    let union = |a: &str, b: &str| {
        let sets = vec![format!("{a} + {b}")];
        run(&Config { sets, ..config() }, &NoProgress).unwrap().sets[0].effect.loss.mean
    };
    let units = ["2.mlp_post[4-7]", "3.mlp_post[8-10]", "1.mlp_post[2-3]"];
    let pairs = [(0, 1), (0, 2), (1, 2)].map(|(a, b)| union(units[a], units[b]));
    let joined = report.joined.unwrap();
    let most = pairs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    assert!((joined.steps[1].loss - most).abs() < 1e-9, "{joined:?} {pairs:?}");
    let alone = report.sets.iter().map(|set| set.effect.loss.mean).fold(f64::NEG_INFINITY, f64::max);
    assert!((joined.steps[0].loss - alone).abs() < 1e-9 && joined.loss >= alone.max(most) - 1e-12);
    std::fs::write(&path, serde_json::json!({ "clusters": [cluster(9, &[1, 2])] }).to_string()).unwrap();
    assert!(run(&asked, &NoProgress).unwrap_err().to_string().contains("blocks.9"));
    std::fs::write(&path, "[1").unwrap();
    assert!(run(&asked, &NoProgress).unwrap_err().to_string().contains("nissl cluster --out"));
}
