#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use ndarray::{Array2, array};
use nissl_core::{HookPoint, Labels, Matrix, Site, TextRows, site_columns};
use nissl_testing::planted::key;
use nissl_testing::{PlantedActivations, Tol, assert_close};

use super::*;

fn explain(method: &VarianceReduction, values: Array2<f32>, words: &[&str], labels: &Labels) -> Vec<Vec<Explanation>> {
    let neurons = site_columns(&[(HookPoint::new(0, Site::MlpPost), values.ncols())]);
    let x = Matrix::new(values, neurons).unwrap();
    let text = TextRows::from_words(words.iter().map(|&word| (0, word)));
    let data = TextActivations::new(&x, &text).unwrap().with_labels(labels).unwrap();
    method.profile(data, Context::default()).unwrap().into_iter().map(|profile| profile.explanations).collect()
}

#[test]
fn the_closed_form_and_a_neuron_that_is_its_feature() {
    let labels = Labels::from_names(&[None, None, Some("f"), None, Some("f"), Some("f")]);
    let x = array![[0.0, 0.0], [0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0], [1.0, 1.0]];
    let method = VarianceReduction { words: 0, ..VarianceReduction::default() };
    let found = explain(&method, x, &["w"; 6], &labels);
    assert_close("a ninth", &found[0][0].score, &(1.0 / 9.0), Tol::rel(1e-6));
    assert_close("all of it", &found[1][0].score, &1.0, Tol::rel(1e-6));
    assert_eq!((found[1][0].text.as_str(), found[1].len()), ("f", 1));
}

#[test]
fn features_of_the_row_before_are_found_where_they_are_asked_for() {
    let labels = Labels::from_names(&[Option::<&str>::None; 8]);
    let words = ["a", "b", "a", "c", "b", "c", "a", "b"];
    // 1 after "a".
    let x = array![[0.0], [1.0], [0.0], [1.0], [0.0], [0.0], [0.0], [1.0]];
    let method = VarianceReduction { scope: Scope::Previous, ..VarianceReduction::default() };
    let best = explain(&method, x.clone(), &words, &labels).remove(0).remove(0);
    assert_eq!((best.text.as_str(), best.score), ("after 'a'", 1.0));
    let best = explain(&VarianceReduction::default(), x, &words, &labels).remove(0).remove(0);
    assert!(best.score < 0.7 && !best.text.starts_with("after"), "{best:?}");
}

#[test]
fn a_large_mean_costs_no_precision() {
    let labels = Labels::from_names(&[None, None, Some("f"), None, Some("f"), Some("f")]);
    let x = array![[0.0], [0.0], [0.0], [1.0], [1.0], [1.0]].mapv(|value: f32| value + 4096.0);
    let method = VarianceReduction { words: 0, ..VarianceReduction::default() };
    assert_close("a ninth", &explain(&method, x, &["w"; 6], &labels)[0][0].score, &(1.0 / 9.0), Tol::rel(1e-5));
}

#[test]
fn the_verb_neuron_is_explained_by_the_verb_label() {
    let planted = PlantedActivations::new(5, 0.1);
    let data = TextActivations::new(&planted.x, &planted.text).unwrap().with_labels(&planted.tag).unwrap();
    let profiles = VarianceReduction::default().profile(data, Context::default()).unwrap();
    let best = &profiles[key::VERB].explanations[0];
    let p = planted.tag.mask(planted.tag.concepts().iter().position(|c| c.name == "VERB").unwrap());
    let p = p.iter().filter(|&&has| has).count() as f64 / p.len() as f64;
    assert_eq!(best.text, "VERB");
    assert_close("share", &best.score, &(p * (1.0 - p) / (p * (1.0 - p) + 0.01)), Tol::rel(0.01));
    assert!(profiles[key::DEAD].explanations.is_empty());
}
