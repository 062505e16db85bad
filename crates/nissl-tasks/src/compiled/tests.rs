//! The compiled model does what its weights say, by closed forms.

use nissl_core::{Activations, Edit, EditSpec, Output, Positions, Units};

use super::*;

/// The probabilities of all tokens behind a text without some neurons.
fn without(compiled: &Compiled, tokens: &[u32], neurons: &[NeuronId]) -> Vec<f64> {
    let zero = |neuron: &NeuronId| EditSpec {
        point: neuron.point,
        units: Units::Some(vec![neuron.idx]),
        positions: Positions::All,
        edit: Edit::Zero,
        when: None,
    };
    let plan = HookPlan { edits: neurons.iter().map(zero).collect(), output: Output::Last, ..HookPlan::default() };
    let logits = compiled.model.run(&Batch::from_sentences([tokens]), &plan).unwrap().logits.unwrap();
    let exp: Vec<f64> = logits.iter().map(|&logit| f64::from(logit).exp()).collect();
    let sum: f64 = exp.iter().sum();
    exp.into_iter().map(|one| one / sum).collect()
}

#[test]
fn a_fact_is_known_by_its_closed_form_and_forgotten_without_its_neurons() {
    for seed in [0, 1] {
        let compiled = Compiled::new(seed).unwrap();
        for prompt in compiled.prompts(2) {
            let idx = (0..compiled.facts.len()).find(|&idx| Fact::concept(idx) == prompt.concept).unwrap();
            let fact = &compiled.facts[idx];
            let chance = |neurons: &[NeuronId]| without(&compiled, &prompt.tokens, neurons)[fact.object as usize];
            // e^8.5 against the subject's e^4, 2 e^2, the other objects' e^.5; what other neurons write to fillers is less
            // than a nat on each, and the norms are off by less than 1%.
            let known = 8.5f64.exp();
            let expected = known / (known + 4f64.exp() + 2.0 * 2f64.exp() + 7.0 * 0.5f64.exp() + 22.0);
            assert!((chance(&[]) - expected).abs() < 0.02, "{} is not {expected}", chance(&[]));
            let [all, unused] = [&fact.carriers, &fact.copies].map(|neurons| chance(neurons));
            assert!(all < 0.05, "{:?} without its neurons: {all}", fact.mechanism);
            assert!((unused - chance(&[])).abs() < 1e-9, "nothing reads the copies");
            let alone: Vec<f64> = fact.carriers.iter().map(|&neuron| chance(&[neuron])).collect();
            match fact.mechanism {
                Mechanism::Single | Mechanism::Chain => assert!(alone.iter().all(|&chance| chance < 0.05), "{alone:?}"),
                // e^4.5 is left.
                Mechanism::Halves => assert!(alone.iter().all(|chance| (0.3..0.6).contains(chance)), "{alone:?}"),
                Mechanism::Backup => {
                    let suffices = alone.iter().filter(|&&one| (one - chance(&[])).abs() < 0.01).count();
                    assert!(suffices >= 2, "of the two of the first block either suffices: {alone:?}");
                }
            }
            let other = without(&compiled, prompt.other.as_ref().unwrap(), &[]);
            assert!(other[fact.object as usize] < 0.05, "nothing is known of the other subject");
        }
    }
}

#[test]
fn copies_are_active_where_their_facts_are_true_and_nowhere_else() {
    let compiled = Compiled::new(3).unwrap();
    let Seen { x, text, labels } = compiled.seen().unwrap();
    assert_eq!((x.n_tokens(), text.n_tokens(), labels.n_tokens()), (336, 336, 336));
    for (idx, fact) in compiled.facts.iter().enumerate() {
        // Once as active and once three times so, in an order that is drawn.
        let mut heights = Vec::new();
        for copy in &fact.copies {
            let active = x.values().column(x.neurons().binary_search(copy).unwrap());
            let height = active.iter().copied().fold(0.0, f32::max);
            for (row, is) in labels.mask(idx).into_iter().enumerate() {
                let expected = if is { height } else { 0.0 };
                assert!((active[row] - expected).abs() < 0.05, "row {row}: {} for {expected}", active[row]);
            }
            heights.push(height);
        }
        heights.sort_by(f32::total_cmp);
        assert!((heights[0] - 1.0).abs() < 0.05 && (heights[1] - 3.0).abs() < 0.05, "{heights:?}");
        assert_eq!(labels.mask(idx).iter().filter(|&&is| is).count(), 8, "once with each filler");
    }
}

#[test]
fn another_seed_is_another_model_and_the_same_seed_the_same() {
    let fingerprint = |seed| Compiled::new(seed).unwrap().model.info().fingerprint.clone();
    assert_eq!(fingerprint(5), fingerprint(5));
    assert_ne!(fingerprint(5), fingerprint(6));
}
