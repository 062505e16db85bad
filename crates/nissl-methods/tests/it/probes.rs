//! What each probe must find in the planted activations.

use nissl_core::{Context, LabeledActivations, Labels, Ranker, Scores};
use nissl_methods::probes::{Criterion, Loss, Prior};
use nissl_methods::rankers::{GaussianProbe, Lca, LinearProbe, SparseProbe, SparseScore};
use nissl_testing::conformance::check_ranker;
use nissl_testing::planted::key;
use nissl_testing::{PlantedActivations, Random};

fn score(ranker: &dyn Ranker, planted: &PlantedActivations, labels: &Labels) -> Scores {
    let data = LabeledActivations::new(&planted.x, labels).expect("a label for each row");
    let data = data.with_text(&planted.text).expect("a word for each row");
    ranker.score(data, Context::default()).expect("planted data can be scored")
}

fn best(scores: &Scores, concept: &str, k: usize) -> Vec<usize> {
    let concept = scores.concept(concept).expect("the concept was scored");
    PlantedActivations::idx(scores.ranking(concept).top(k))
}

fn sorted(mut neurons: Vec<usize>) -> Vec<usize> {
    neurons.sort_unstable();
    neurons
}

#[test]
fn linear_probes_conform_with_their_options() {
    check_ranker("linear-probe, sigmoid", &LinearProbe { loss: Loss::Sigmoid, ..LinearProbe::default() });
    let hinge = LinearProbe { loss: Loss::SquaredHinge, balanced: true, ..LinearProbe::default() };
    check_ranker("linear-probe, squared hinge", &hinge);
    check_ranker("linear-probe, balanced", &LinearProbe { balanced: true, lambda1: 1e-2, ..LinearProbe::default() });
}

#[test]
fn the_linear_probe_finds_the_neurons_of_each_concept() {
    for (seed, sigma) in [(0, 0.1), (1, 0.1), (2, 0.0)] {
        let planted = PlantedActivations::new(seed, sigma);
        let elastic = LinearProbe { lambda1: 1e-2, lambda2: 1e-2, ..LinearProbe::default() };
        let scores = score(&elastic, &planted, &planted.verb);
        assert_eq!(sorted(best(&scores, "verb", 4)), key::VERBS);
        let sign = scores.sign().expect("a linear probe has signs").row(0).to_vec();
        assert_eq!(key::VERBS.map(|neuron| sign[neuron]), [1, 1, -1, 1]);
        for (labels, concept, neuron) in [
            (&planted.tense, "past", key::TENSE),
            (&planted.number, "plural", key::NUMBER),
            (&planted.topic, "food", key::TOPIC),
            (&planted.quote, "inside", key::QUOTE),
        ] {
            assert_eq!(best(&score(&elastic, &planted, labels), concept, 1), [neuron], "{concept}");
        }
    }
}

#[test]
fn lca_ranks_the_four_verb_neurons_first_and_says_its_penalties() {
    let planted = PlantedActivations::new(0, 0.1);
    let scores = score(&Lca::default(), &planted, &planted.verb);
    assert_eq!(sorted(best(&scores, "verb", 4)), key::VERBS);
    let chosen = &scores.provenance.params["chosen"];
    assert!(chosen["lambda1"].as_f64() > Some(0.0) && chosen["lambda2"].as_f64() > Some(0.0), "{chosen}");
    let total: f32 = scores.values().row(0).sum();
    assert!((total - 1.0).abs() < 1e-5, "shares sum up to {total}");
}

#[test]
fn gaussian_probes_conform_with_their_options() {
    let accuracy = GaussianProbe { criterion: Criterion::Accuracy, diagonal: true, ..GaussianProbe::default() };
    check_ranker("gaussian-probe, accuracy of independent neurons", &accuracy);
    check_ranker("gaussian-probe, published prior", &GaussianProbe { prior: Prior::All, ..GaussianProbe::default() });
}

#[test]
fn the_gaussian_probe_picks_the_planted_neurons() {
    let planted = PlantedActivations::new(0, 0.1);
    let scores = score(&GaussianProbe::default(), &planted, &planted.verb);
    assert!(key::VERBS.contains(&best(&scores, "verb", 1)[0]));
    let told = &scores.provenance.params["picked"]["curve"][0];
    assert!(told["normalized"].as_f64() > Some(0.99), "{told}");
    for (labels, concept, neuron) in [
        (&planted.tense, "past", key::TENSE),
        (&planted.number, "plural", key::NUMBER),
        (&planted.topic, "food", key::TOPIC),
    ] {
        assert_eq!(best(&score(&GaussianProbe::default(), &planted, labels), concept, 1), [neuron], "{concept}");
    }
}

#[test]
fn sparse_probes_conform_with_their_options() {
    // Not `lr` and `svm`: their published penalties are so weak that labels without meaning get weights too, and that
    // weights are no better known than the gap at which a fit stops.
    for by in [SparseScore::FStat, SparseScore::Mi] {
        check_ranker(&format!("sparse-probe, {by:?}"), &SparseProbe { by, ..SparseProbe::default() });
    }
}

/// Activations with a shift in 8 of 200 neurons, through a smooth rectifier.
#[test]
fn the_planted_neurons_of_a_sparse_concept_are_found() {
    let mut random = Random::new(3);
    let (n, d, k, shift) = (4000, 200, 8, 1.0);
    let has: Vec<bool> = (0..n).map(|_| random.chance(0.5)).collect();
    let x = ndarray::Array2::from_shape_fn((n, d), |(row, neuron)| {
        let side = if has[row] { 1.0 } else { -1.0 };
        let value = random.normal() + if neuron % 25 == 3 { shift * side } else { 0.0 };
        (value / (1.0 + (-1.702 * value).exp())) as f32
    });
    let columns = nissl_core::site_columns(&[(PlantedActivations::neuron(0).point, d)]);
    let x = nissl_core::Matrix::new(x, columns).expect("a neuron for each column");
    let names: Vec<Option<&str>> = has.iter().map(|&has| has.then_some("concept")).collect();
    let labels = Labels::from_names(&names);
    for by in [SparseScore::MeanDif, SparseScore::FStat, SparseScore::Mi, SparseScore::Lr, SparseScore::Svm] {
        let data = LabeledActivations::new(&x, &labels).expect("a label for each row");
        let scores = SparseProbe { by, ..SparseProbe::default() }.score(data, Context::default());
        let top = best(&scores.expect("it can be scored"), "concept", k);
        assert!(top.iter().all(|neuron| neuron % 25 == 3), "{by:?}: {top:?}");
    }
}

#[test]
fn a_single_concept_is_told_from_the_rest() {
    let planted = PlantedActivations::new(0, 0.1);
    let rows = planted.verb.mask(0).into_iter().map(|verb| verb.then_some(0));
    let alone = Labels::single(planted.verb.concepts()[..1].to_vec(), rows);
    let scores = score(&LinearProbe { lambda1: 1e-2, lambda2: 1e-2, ..LinearProbe::default() }, &planted, &alone);
    assert_eq!(scores.concepts().len(), 1);
    assert_eq!(sorted(best(&scores, "verb", 4)), key::VERBS);
}
