use ndarray::Array2;
use nissl_core::{HookPoint, Matrix, NeuronId, Site, site_columns};
use nissl_testing::planted::key;
use nissl_testing::{PlantedActivations, Tol, assert_close};

use super::*;

fn ranking(x: &dyn Activations, first: &[usize]) -> Ranking {
    let mut order: Vec<usize> = first.to_vec();
    order.extend((0..x.neurons().len()).filter(|idx| !first.contains(idx)));
    let scores = (0..order.len()).map(|place| (order.len() - place) as f32).collect();
    Ranking { neurons: order.into_iter().map(|idx| x.neurons()[idx]).collect(), scores }
}

fn planted_curves(planted: &PlantedActivations, first: &[usize], options: &FewOptions) -> FewCurves {
    let has = planted.verb.mask(0);
    let told = ConceptRows { x: &planted.x, text: &planted.text, has: &has };
    let ranking = ranking(&planted.x, first);
    few_curves(told, "verb", &[&ranking], options, Context::default()).expect("both kinds of rows")
}

/// The neurons that carry verbs, then the others; neurons of pure noise last.
#[test]
fn the_neurons_that_carry_a_concept_tell_it_and_the_worst_do_not() {
    let planted = PlantedActivations::new(4, 0.1);
    let curves = planted_curves(&planted, &key::VERBS, &FewOptions { k: vec![1, 4, 8], ..FewOptions::default() });
    let curve = &curves.rankings[0];
    for (idx, best) in curve.best.iter().enumerate() {
        assert!(best.value > 0.99, "{best:?} at {}", curves.k[idx]);
        // Noise tells nothing: within four standard errors of a half on the rows with the concept.
        let error = 0.5 / (curves.positive as f64).sqrt();
        assert!((curve.worst[idx] - 0.5).abs() < 4.0 * error, "{} at {}", curve.worst[idx], curves.k[idx]);
        assert!(curves.random[idx].value < best.value);
    }
    assert!(curve.area > 0.1);
    // The verb neurons know nothing of words; among the four after them is the frequency of the word, by which a
    // control task of a small vocabulary is learned.
    let selectivity = curve.selectivity.as_ref().expect("words are known");
    assert!(selectivity[..2].iter().all(|&of_k| of_k > 0.4) && selectivity[2] < 0.2, "{selectivity:?}");
}

/// k carriers whose means differ by half a deviation: the best classifier is right in Φ(0.25 √k) of the rows.
#[test]
fn accuracy_from_k_weak_carriers_is_that_of_the_best_classifier() {
    let (n, width) = (40_000, 50);
    let mut random = Random::new(11);
    let has: Vec<bool> = (0..n).map(|row| row % 2 == 0).collect();
    // Sums of twelve uniform numbers are normal enough for a mean of ten thousand rows.
    let mut normal = || (0..12).map(|_| random.uniform()).sum::<f64>() - 6.0;
    let values = Array2::from_shape_fn((n, width), |(row, _)| (normal() + if has[row] { 0.25 } else { -0.25 }) as f32);
    let neurons = site_columns(&[(HookPoint::new(0, Site::MlpPost), width)]);
    let x = Matrix::new(values, neurons).expect("a neuron for each column");
    let text = TextRows::from_words((0..n).map(|row| (row as u32, format!("{row}"))));
    let all = ranking(&x, &[]);
    let options = FewOptions { k: vec![1, 5, 10, 25, 50], draws: 0, control: false, ..FewOptions::default() };
    let told = ConceptRows { x: &x, text: &text, has: &has };
    let curves = few_curves(told, "half", &[&all], &options, Context::default()).expect("both kinds");
    let percent = [59.87, 71.19, 78.54, 89.44, 96.15];
    for (best, want) in curves.rankings[0].best.iter().zip(percent.map(|share| share / 100.0)) {
        // Four standard errors of the 8,000 rows to report on.
        let error = (want * (1.0_f64 - want) / 8000.0).sqrt();
        assert!((best.value - want).abs() < 4.0 * error, "{} for {want}", best.value);
    }
}

#[test]
fn a_beginning_of_a_list_has_the_classifier_of_the_shorter_list() {
    let planted = PlantedActivations::new(4, 0.3);
    let many =
        planted_curves(&planted, &[], &FewOptions { k: vec![3, 20, 60], random_sets: 0, ..FewOptions::default() });
    for (idx, k) in [3, 20, 60].into_iter().enumerate() {
        let one = planted_curves(&planted, &[], &FewOptions { k: vec![k], random_sets: 0, ..FewOptions::default() });
        assert_close("best", &one.rankings[0].best[0].value, &many.rankings[0].best[idx].value, Tol::abs(0.0));
    }
}

#[test]
fn copies_and_dead_neurons_do_not_stop_it() {
    let planted = PlantedActivations::new(4, 0.1);
    // VERB and VERB_TWICE say the same but for their noise; DEAD and CONSTANT say nothing.
    let first = [key::DEAD, key::CONSTANT, key::VERB, key::VERB_TWICE];
    let curves = planted_curves(&planted, &first, &FewOptions { k: vec![2, 4], ..FewOptions::default() });
    assert_close("nothing", &curves.rankings[0].best[0].value, &0.5, Tol::abs(1e-12));
    assert!(curves.rankings[0].best[1].value > 0.99);
}

#[test]
fn the_same_bits_whatever_the_threads() {
    let planted = PlantedActivations::new(5, 0.2);
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        pool.install(|| planted_curves(&planted, &[key::NUMBER], &FewOptions::default()))
    };
    let one = run(1);
    assert!(one == run(2) && one == run(8));
}

#[test]
fn what_cannot_be_told_is_refused_by_name() {
    let planted = PlantedActivations::new(5, 0.2);
    let none = vec![false; planted.text.n_tokens()];
    let told = ConceptRows { x: &planted.x, text: &planted.text, has: &none };
    let ranked = ranking(&planted.x, &[]);
    let refused = |told: ConceptRows<'_>, ranking: &Ranking, options: &FewOptions| {
        few_curves(told, "verb", &[ranking], options, Context::default()).expect_err("refused").to_string()
    };
    let err = refused(told, &ranked, &FewOptions::default());
    assert!(err.contains("verb, in the rows to fit on"), "{err}");
    let has = planted.verb.mask(0);
    let told = ConceptRows { has: &has, ..told };
    let stranger = NeuronId::new(HookPoint::new(40, Site::MlpPost), 0);
    let foreign = Ranking { neurons: vec![stranger], scores: vec![1.0] };
    let err = refused(told, &foreign, &FewOptions::default());
    assert!(err.contains("40"), "{err}");
    let err = refused(told, &ranked, &FewOptions { k: vec![0, 4000], ..FewOptions::default() });
    assert!(err.contains("[0, 4000]"), "{err}");
}
