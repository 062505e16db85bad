use std::path::Path;

use nissl_core::NoProgress;
use nissl_testing::PlantedActivations;

use super::*;
use crate::tasks::{extract, rank};
use crate::testing::planted_store;

fn planted(folder: &Path, name: &str, seed: u64) -> PathBuf {
    let path = folder.join(name);
    std::fs::create_dir_all(&path).unwrap();
    planted_store(&path, &PlantedActivations::new(seed, 0.1))
}

/// Ranks a store by some methods; the tables.
fn ranked(folder: &Path, store: &Path, methods: &[&str]) -> Vec<PathBuf> {
    let out = folder.join("ranks");
    let config = rank::Config {
        store: store.to_owned(),
        methods: methods.iter().map(|name| (*name).to_owned()).collect(),
        concepts: vec!["tag".to_owned()],
        out: Some(out.clone()),
        ..rank::Config::default()
    };
    let report = rank::run(&config, &NoProgress).unwrap();
    report.methods.iter().map(|method| method.file.clone().unwrap()).collect()
}

#[test]
fn rankings_are_judged_on_other_text_beside_random_neurons() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (planted(folder.path(), "first", 3), planted(folder.path(), "second", 4));
    let rankings = ranked(folder.path(), &first, &["probeless", "average-precision"]);
    let out = folder.path().join("judged");
    let config = Config {
        store: second,
        rankings: rankings.clone(),
        concepts: vec!["tag".to_owned()],
        judging: Judging { k: vec![1, 4, 16], description: 4, ..Judging::default() },
        out: Some(out.clone()),
        plots: true,
        ..Config::default()
    };
    let report = run(&config, &NoProgress).unwrap();
    assert!(report.judged.concepts.len() >= 4, "{:?}", report.judged.left_out);
    let verb = report.judged.concepts.iter().find(|concept| concept.name.contains("VERB")).unwrap();
    for (idx, ranking) in report.judged.rankings.iter().enumerate() {
        assert!(!ranking.same_text && ranking.area > 0.0, "{ranking:?}");
        assert!(verb.curves.rankings[idx].best[1].value > 0.99, "{:?}", verb.curves.rankings[idx]);
        assert!(verb.compression.as_ref().unwrap()[idx] > 10.0, "{:?}", verb.compression);
        assert_eq!(ranking.agreement.len(), 3);
    }
    // Both begin with the four verb neurons: more than chance, for this concept.
    let pair = verb.pairs[0];
    assert!(pair.significant && pair.shared >= 4 && pair.p < 1e-2, "{pair:?}");
    let again: Report = serde_json::from_slice(&std::fs::read(out.join(REPORT)).unwrap()).unwrap();
    assert_eq!(run(&again.head.config, &NoProgress).unwrap(), report, "a report's config repeats it");
    let page = std::fs::read_to_string(out.join(PAGE)).unwrap();
    assert!(page.contains("average-precision") && page.contains("random neurons"), "{page}");
    // Together, by area, two ways to compare rankings, and every concept by itself; each in the page and as two files.
    let n_figures = 4 + report.judged.concepts.len();
    assert_eq!(page.matches("<svg ").count(), n_figures);
    assert!(page.contains("nissl evaluate --config evaluate.json") && !page.contains("src="));
    let bytes = |name: &str| std::fs::read(out.join(PLOTS).join(name)).unwrap();
    assert_eq!(std::fs::read_dir(out.join(PLOTS)).unwrap().count(), 2 * n_figures);
    let svg = String::from_utf8(bytes("accuracy.svg")).unwrap();
    assert!(svg.starts_with("<svg xmlns=") && page.contains(&svg));
    assert!(bytes("overlap.png").starts_with(b"\x89PNG"));
    let same = run(&Config { store: first, out: None, plots: false, ..config.clone() }, &NoProgress).unwrap();
    let nowhere = run(&Config { out: None, ..config }, &NoProgress).unwrap_err().to_string();
    assert!(nowhere.contains("for the plots"), "{nowhere}");
    assert!(same.judged.rankings.iter().all(|ranking| ranking.same_text));
}

#[test]
fn what_cannot_be_judged_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let store = planted(folder.path(), "first", 3);
    let rankings = ranked(folder.path(), &store, &["probeless"]);
    let refused = |config: Config| run(&config, &NoProgress).unwrap_err().to_string();
    let config = Config { store, rankings, concepts: vec!["number".to_owned()], ..Config::default() };
    let err = refused(config.clone());
    assert!(err.contains("that the store and every ranking have") && err.contains("not in"), "{err}");
    let err = refused(Config { rankings: Vec::new(), ..config });
    assert!(err.contains("rankings: expected at least one"), "{err}");
}

/// The demo's text as the demo's model sees it, and the folder of the model.
fn demo_store(folder: &Path) -> (PathBuf, String) {
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo");
    let (model, out) = (assets.join("model").display().to_string(), folder.join("demo.nissl"));
    let config = extract::Config {
        model: model.clone(),
        text: assets.join("demo.jsonl"),
        sites: vec!["1-2.mlp_post".to_owned()],
        read: nissl_data::ReadOptions { limit: Some(150), ..nissl_data::ReadOptions::default() },
        out: out.clone(),
        ..extract::Config::default()
    };
    extract::run(&config, &NoProgress).unwrap();
    (out, model)
}

#[test]
fn a_decoder_predicts_a_word_from_what_stands_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let (path, model) = demo_store(folder.path());
    let store = open_store(&path).unwrap();
    let config = Inside { model: Some(model), ..Inside::default() };
    let recorded = Recorded::open(&config, &store, &NoProgress).unwrap().unwrap();
    let (rows, sentences) = (store.rows().unwrap(), store.sentences().unwrap());
    for row in [0, 3, 40] {
        let (prompt, text) = (recorded.prompt(row), &sentences.text[rows.sentence[row] as usize]);
        assert_eq!(prompt.target, rows.word[row]);
        let before = prompt.text.strip_suffix(nissl_data::BLANK).unwrap();
        assert!(text.starts_with(&format!("{before}{}", prompt.target)), "{prompt:?} of {text}");
    }
}

#[test]
fn neurons_are_removed_inside_the_model_that_was_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let (store, model) = demo_store(folder.path());
    let concepts = vec!["article:={the, a, an}".to_owned()];
    let rank = rank::Config {
        store: store.clone(),
        methods: vec!["probeless".to_owned()],
        concepts: concepts.clone(),
        out: Some(folder.path().join("ranks")),
        ..rank::Config::default()
    };
    let rankings = rank::run(&rank, &NoProgress).unwrap().methods.iter().filter_map(|m| m.file.clone()).collect();
    let inside = Inside { model: Some(model), words: 8, k: vec![200, 1], ..Inside::default() };
    let judging = Judging { k: vec![4], random_sets: 2, ..Judging::default() };
    let config = Config { store, rankings, concepts, judging, inside, ..Config::default() };
    let report = run(&config, &NoProgress).unwrap();
    let damage = report.judged.concepts[0].inside.as_ref().unwrap();
    assert_eq!((damage.words, damage.k.clone()), ([8, 8], vec![1, 200]));
    let curve = &damage.rankings[0];
    assert!(curve.own[1].mean.abs() > curve.own[0].mean.abs(), "200 neurons do more than one: {curve:?}");
    let inside = report.judged.rankings[0].inside.as_ref().unwrap();
    assert_eq!((inside.concepts, inside.own[1], inside.area), (1, curve.own[1].mean, curve.area));
    // The loss is that of the model on these words: what ablating nothing finds.
    let [own, _] = damage.loss.map(|loss| loss.mean);
    assert!(own > 0.1 && own < 9.0, "{damage:?}");
    assert_eq!(run(&config, &NoProgress).unwrap(), report, "the same twice");

    let other = planted(folder.path(), "other", 3);
    let err = run(&Config { store: other, ..config.clone() }, &NoProgress).unwrap_err().to_string();
    assert!(err.contains("neurons of recorded sites"), "{err}");
    let changed = folder.path().join("changed");
    std::fs::create_dir(&changed).unwrap();
    for file in ["config.json", "tokenizer.json"] {
        std::fs::copy(Path::new(config.inside.model.as_ref().unwrap()).join(file), changed.join(file)).unwrap();
    }
    let weights = Path::new(config.inside.model.as_ref().unwrap()).join("model.safetensors");
    let mut bytes = std::fs::read(weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(changed.join("model.safetensors"), bytes).unwrap();
    let inside = Inside { model: Some(changed.display().to_string()), ..config.inside.clone() };
    let err = run(&Config { inside, ..config }, &NoProgress).unwrap_err().to_string();
    assert!(err.contains("the model whose activations are in the store") && err.contains("other weights"), "{err}");
}
