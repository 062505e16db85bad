//! What each probe must find in the planted activations.

use nissl_core::{Context, LabeledActivations, Labels, Ranker, Scores};
use nissl_methods::probes::{ChosenNeurons, Criterion, LinearOptions, Loss, Masks, Prior, TrainOptions, train};
use nissl_methods::rankers::{
    GaussianProbe, GreedyRegression, LatentProbe, Lca, LinearProbe, SparseProbe, SparseScore,
};
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
fn lca_with_penalties_of_zero_finds_them_too() {
    let planted = PlantedActivations::new(1, 0.1);
    let lca = Lca { lambda_max: 1e-2, lambda_min: 1e-2, zero: true, ..Lca::default() };
    assert_eq!(sorted(best(&score(&lca, &planted, &planted.verb), "verb", 4)), key::VERBS);
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
    for by in [SparseScore::FStat, SparseScore::Mi, SparseScore::Lr, SparseScore::Svm] {
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
fn the_place_in_a_sentence_is_told_by_its_counter_and_the_relative_one_by_its_own_neuron() {
    for seed in 0..3 {
        let planted = PlantedActivations::new(seed, 0.1);
        for (of, neuron) in [(&planted.position, key::COUNTER), (&planted.relative_position, key::POSITION)] {
            let names: Vec<Option<String>> = of.iter().map(|value| Some(format!("place={value}"))).collect();
            let scores = score(&GreedyRegression::default(), &planted, &Labels::from_names(&names));
            assert_eq!(best(&scores, "place", 1), [neuron]);
            assert_eq!(scores.sign().expect("a correlation has a sign")[[0, neuron]], 1);
            let told = &scores.provenance.params["picked"][0]["explained"][0];
            assert!(told["dev"].as_f64() > Some(0.9), "{told}");
        }
        let names: Vec<Option<String>> = planted.frequency.iter().map(|value| Some(format!("log={value}"))).collect();
        let scores = score(&GreedyRegression::default(), &planted, &Labels::from_names(&names));
        assert_eq!(best(&scores, "log", 1), [key::FREQUENCY]);
    }
}

/// Accuracy on held-out sentences of a probe on some neurons, and the neurons in the order of its weights.
fn reached(planted: &PlantedActivations, labels: &Labels, neurons: &[usize]) -> (f64, f64, Vec<usize>) {
    let few = ChosenNeurons::new(&planted.x, neurons);
    let data = LabeledActivations::new(&few, labels).expect("a label for each row");
    let data = data.with_text(&planted.text).expect("a word for each row");
    let linear = LinearOptions { lambda1: 1e-3, lambda2: 1e-2, tolerance: 1e-3, ..LinearOptions::default() };
    let options =
        TrainOptions { linear, controls: 0, k: vec![], draws: 0, minimal_loss: -1.0, ..TrainOptions::default() };
    let trained = train(data, &options, Context::default()).expect("a probe can be fitted");
    let order = trained.ordering.order.iter().map(|&place| neurons[place]).collect();
    (trained.evaluation.accuracy.value, trained.evaluation.majority, order)
}

#[test]
fn what_k_carriers_of_a_distributed_concept_reach_follows_the_closed_form() {
    let planted = PlantedActivations::new(0, 0.1);
    let carriers: Vec<usize> = key::REGISTER.collect();
    for (k, want) in [(1, 0.598_706), (5, 0.711_925), (10, 0.785_402), (25, 0.894_350), (50, 0.961_450)] {
        let (accuracy, _, _) = reached(&planted, &planted.register, &carriers[..k]);
        // Three standard errors of a fifth of the rows.
        let error = (want * (1.0 - want) / (0.2 * planted.register.n_tokens() as f64)).sqrt();
        assert!((accuracy - want).abs() < 3.0 * error, "{k}: {accuracy}, want {want} ± {error}");
    }
}

#[test]
fn without_the_first_four_neurons_a_probe_is_worse_and_without_the_next_it_knows_nothing() {
    let planted = PlantedActivations::new(0, 0.1);
    let mut left: Vec<usize> = (0..128).collect();
    let mut steps = Vec::new();
    for _ in 0..3 {
        let (accuracy, majority, order) = reached(&planted, &planted.verb, &left);
        left.retain(|neuron| !order[..4].contains(neuron));
        steps.push((accuracy, majority, sorted(order[..4].to_vec())));
    }
    assert!(steps[0].0 > 0.999 && steps[0].2 == key::VERBS, "{steps:?}");
    assert!(steps[1].0 < 0.97 && steps[1].0 > steps[1].1, "{steps:?}");
    assert!((steps[2].0 - steps[2].1).abs() < 0.015, "{steps:?}");
}

#[test]
fn the_latent_probe_picks_a_planted_neuron_that_tells_all() {
    for (seed, masks) in [(0, Masks::Poisson), (1, Masks::Poisson), (0, Masks::ConditionalPoisson)] {
        let planted = PlantedActivations::new(seed, 0.1);
        let scores = score(&LatentProbe { masks, ..LatentProbe::default() }, &planted, &planted.verb);
        assert!(key::VERBS.contains(&best(&scores, "verb", 1)[0]), "{masks:?}");
        let told = &scores.provenance.params["picked"]["curve"][0];
        assert!(told["accuracy"].as_f64() > Some(0.99), "{masks:?}: {told}");
    }
}

#[test]
fn latent_probes_conform_with_their_options() {
    let sizes = LatentProbe { masks: Masks::ConditionalPoisson, steps: 100, ..LatentProbe::default() };
    check_ranker("latent-probe, sets of each size", &sizes);
    let all = LatentProbe { masks: Masks::All, candidates: 20, steps: 100, ..LatentProbe::default() };
    check_ranker("latent-probe, all of a few neurons", &all);
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
