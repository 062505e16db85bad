#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use nissl_core::{HookPoint, Progress, Site};
use nissl_testing::{Random, ToyModel, Unit};

use super::*;

const VOCAB: u32 = 12;
const ALL: [Optimizer; 5] =
    [Optimizer::Search, Optimizer::Embfree, Optimizer::Logits, Optimizer::Softmax, Optimizer::Gumbel];

fn neuron(idx: u32) -> NeuronId {
    NeuronId::new(HookPoint::new(0, Site::MlpPre), idx)
}

/// A neuron answers the last position with the sum of its tokens' weights: those of neuron 0 have their largest at 7
/// and their smallest at 4, those of neuron 1 are high at 2 and 9.
fn model() -> ToyModel {
    let mut random = Random::new(3);
    let mut key: Vec<(u32, f32)> = (0..VOCAB).map(|token| (token, random.uniform() as f32 - 0.5)).collect();
    (key[7].1, key[4].1) = (0.9, -0.8);
    let other = vec![(2, 1.0), (9, 0.9)];
    let unit = |key| Unit { key, bias: 0.0, value: Vec::new() };
    ToyModel::new(VOCAB as usize, vec![vec![unit(key), unit(other)]])
}

fn tokens() -> Tokens {
    Tokens { allowed: (0..VOCAB).collect(), ..Tokens::default() }
}

/// Runs of three in which 7 comes once at most.
fn corpus() -> Vec<Vec<u32>> {
    vec![vec![1, 7, 3, 5, 6, 7, 8], vec![4, 4], vec![2, 3, 2, 9, 2]]
}

fn how() -> InputGeneration {
    InputGeneration { words: 3, steps: 60, every: 5, ..InputGeneration::default() }
}

fn generate(how: &InputGeneration, neurons: &[NeuronId]) -> Vec<Found> {
    how.generate(&model(), neurons, (&tokens(), &corpus()), Context::default()).unwrap()
}

#[test]
fn every_climb_finds_the_word_that_a_linear_neuron_answers_most() {
    let found = generate(&how(), &[neuron(0)]);
    let (search, climbs) = (&found[0], &found[1..]);
    for climb in climbs {
        assert_eq!(climb.tokens, [7, 7, 7], "{:?}", climb.optimizer);
        assert!((climb.activation - 2.7).abs() < 1e-6, "{climb:?}");
        assert!(climb.activation > search.activation && climb.curve.is_sorted());
    }
    let none = generate(&InputGeneration { steps: 1, restarts: 1, ..how() }, &[neuron(0)]);
    assert!(none[1..].iter().any(|climb| climb.tokens != [7, 7, 7]), "a single step must not be enough");
}

#[test]
fn the_lowest_answer_is_found_downhill() {
    let found = generate(&InputGeneration { lowest: true, ..how() }, &[neuron(0)]);
    for climb in &found[1..] {
        assert_eq!(climb.tokens, [4, 4, 4], "{:?}", climb.optimizer);
        assert!((climb.activation + 2.4).abs() < 1e-6);
    }
    assert!(found[0].activation > -2.4);
}

#[test]
fn the_search_tries_every_run_of_the_corpus() {
    let search = InputGeneration { optimizers: vec![Optimizer::Search], words: 2, ..how() };
    let found = generate(&search, &[neuron(1)]);
    assert_eq!(found[0].tokens, [2, 9], "the first of two runs that are worth the same");
    assert!((found[0].activation - 1.9).abs() < 1e-6 && found[0].relaxed.is_none());
    let banned = Tokens { allowed: (0..9).collect(), ..Tokens::default() };
    let found = search.generate(&model(), &[neuron(1)], (&banned, &corpus()), Context::default()).unwrap();
    assert_eq!(found[0].tokens, [2, 3]);
}

#[test]
fn a_group_answers_with_its_mean() {
    let found = generate(&how(), &[neuron(0), neuron(1)]);
    let alone = |neuron| {
        let texts = how();
        let tokens = tokens();
        Texts::new(&texts, (&model(), &[neuron], &tokens), Context::default())
            .answers(&[found[3].tokens.clone()])
            .unwrap()[0]
    };
    assert!((found[3].activation - f64::midpoint(alone(neuron(0)), alone(neuron(1)))).abs() < 1e-6);
}

#[test]
fn tokens_that_are_not_allowed_and_those_around_the_text_are_left_alone() {
    let around = Tokens { allowed: vec![0, 1, 2, 3, 5, 6, 8, 10], before: vec![11], after: Vec::new() };
    let found = InputGeneration { optimizers: ALL[1..].to_vec(), ..how() };
    let found = found.generate(&model(), &[neuron(1)], (&around, &[]), Context::default()).unwrap();
    for climb in found {
        assert_eq!((climb.tokens, climb.activation), (vec![2, 2, 2], 3.0), "{:?}", climb.optimizer);
    }
}

#[test]
fn the_same_seed_gives_the_same_bits_on_any_number_of_threads() {
    let run = |n: usize, seed| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
        pool.install(|| generate(&InputGeneration { seed, steps: 10, ..how() }, &[neuron(0)]))
    };
    let one = run(1, 0);
    assert_eq!(one, run(2, 0));
    assert_eq!(one, run(8, 0));
    assert_ne!(one[4].relaxed, run(1, 1)[4].relaxed);
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let error = |how: InputGeneration, neurons: &[NeuronId], corpus: &[Vec<u32>]| {
        how.generate(&model(), neurons, (&tokens(), corpus), Context::default()).unwrap_err().to_string()
    };
    assert!(error(InputGeneration { words: 0, ..how() }, &[neuron(0)], &corpus()).contains("words"));
    assert!(error(InputGeneration { rate: f64::NAN, ..how() }, &[neuron(0)], &corpus()).contains("rate"));
    assert!(error(how(), &[], &corpus()).contains("neurons"));
    assert!(error(how(), &[neuron(0)], &[vec![1, 2]]).contains("corpus"));
    let small = Context { memory: 100, ..Context::default() };
    let climb = InputGeneration { optimizers: vec![Optimizer::Softmax], ..how() };
    let err = climb.generate(&model(), &[neuron(0)], (&tokens(), &[]), small).unwrap_err();
    assert!(err.to_string().contains("memory"), "{err}");
}

struct Stop;

impl Progress for Stop {
    fn stage(&self, _: &str, _: Option<u64>, _: &str) {}
    fn step(&self, _: u64) {}
    fn note(&self, _: &str) {}
    fn cancelled(&self) -> bool {
        true
    }
}

#[test]
fn it_stops_when_it_is_told_to() {
    let ctx = Context { progress: &Stop, ..Context::default() };
    let err = how().generate(&model(), &[neuron(0)], (&tokens(), &corpus()), ctx).unwrap_err();
    assert!(matches!(err, MethodError::Cancelled));
}
