//! What must hold of gradients for every model, and what is refused.

use std::sync::Arc;

use ndarray::{Array2, s};
use nissl_core::{
    Batch, Edit, EditSpec, Gradients, HookPlan, HookPoint, Model, ModelError, NeuronId, Objective, Output, Positions,
    Site, Units,
};
use nissl_model::LanguageModel;

use crate::parity::{self, golden};

fn load(family: &str) -> LanguageModel {
    LanguageModel::from_folder(&golden(family), family).unwrap()
}

fn models() -> impl Iterator<Item = LanguageModel> {
    parity::models().map(load)
}

fn batch(lengths: &[usize]) -> Batch {
    let token = |i: usize, j: usize| ((i * 31 + j * 7) % 36) as u32;
    Batch::from_sentences(lengths.iter().enumerate().map(|(i, n)| (0..*n).map(|j| token(i, j)).collect::<Vec<_>>()))
}

fn points(model: &LanguageModel) -> Vec<HookPoint> {
    model.info().points().map(|(point, _)| point).collect()
}

/// An objective that uses all of a sentence, where the model allows it.
fn broad(model: &LanguageModel) -> Objective {
    let rest = Objective::Difference { target: 1, foil: 2, position: 0 };
    let whole = if model.info().causal { Objective::sequence() } else { Objective::log_prob(4) };
    Objective::sum([(1.0, Objective::log_prob(3)), (0.7, whole), (-0.3, rest)])
}

fn largest(values: &Array2<f32>) -> f32 {
    values.iter().fold(0.0, |most, value| most.max(value.abs()))
}

fn with_edit(point: HookPoint, edit: Edit) -> HookPlan {
    let edit = EditSpec { point, units: Units::All, positions: Positions::All, edit, when: None };
    HookPlan { edits: vec![edit], ..HookPlan::default() }
}

#[test]
fn a_run_that_takes_gradients_gives_the_bits_of_one_that_does_not() {
    for model in models() {
        let batch = batch(&[9, 1, 30]);
        let plan = HookPlan { capture: points(&model), output: Output::All, ..HookPlan::default() };
        let plain = model.run(&batch, &plan).unwrap();
        let gradients = model.gradients(&batch, &plan, &[broad(&model)], &points(&model)).unwrap();
        assert!(plain == gradients.trace, "{}", model.info().name);
    }
}

#[test]
fn one_two_and_eight_threads_give_the_same_gradients_to_the_last_bit() {
    for model in models() {
        let batch = batch(&[50, 20, 60, 1, 7, 44, 44, 13].map(|n| n.min(model.info().n_ctx)));
        let (objective, points) = (broad(&model), points(&model));
        let run = |n| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
            pool.install(|| {
                model.gradients(&batch, &HookPlan::default(), std::slice::from_ref(&objective), &points).unwrap()
            })
        };
        let one = run(1);
        assert!(one == run(2) && one == run(8), "{}", model.info().name);
        assert!(one.sites.values().all(|values| values.iter().all(|value| value.is_finite())));
    }
}

#[test]
fn one_point_alone_has_the_gradient_that_it_has_among_all() {
    for model in models() {
        let (batch, plan) = (batch(&[9, 1, 30]), HookPlan::default());
        let all = model.gradients(&batch, &plan, &[broad(&model)], &points(&model)).unwrap();
        for point in points(&model) {
            let alone = model.gradients(&batch, &plan, &[broad(&model)], &[point]).unwrap();
            let same = alone.sites.get(&point) == all.sites.get(&point)
                && alone.patterns.get(&point) == all.patterns.get(&point);
            assert!(same, "{} {point}", model.info().name);
            assert_eq!(alone.values, all.values);
        }
    }
}

#[test]
fn copies_of_a_sentence_share_what_they_can_and_no_bit_changes() {
    for model in models() {
        let few = batch(&[9, 5]);
        let sentences: Vec<&[u32]> = [0, 0, 0, 1, 1, 0].map(|idx| few.sentence(idx)).into();
        let copies = Batch::from_sentences(sentences.iter().copied());
        for point in points(&model) {
            // Every copy has an edit of its own, the first none.
            let edit = |sentence: usize, row: usize| EditSpec {
                point,
                units: Units::Some(vec![0]),
                positions: Positions::Rows(vec![row]),
                edit: Edit::Scale { factor: 0.5 * sentence as f32 },
                when: None,
            };
            let edits = (1..sentences.len()).map(|sentence| edit(sentence, copies.rows(sentence).start + 2)).collect();
            let plan = HookPlan { edits, ..HookPlan::default() };
            let objective = Objective::log_prob(3);
            let found = model.gradients(&copies, &plan, std::slice::from_ref(&objective), &[point]).unwrap();
            for (idx, sentence) in sentences.iter().enumerate() {
                let edits = if idx == 0 { Vec::new() } else { vec![edit(idx, 2)] };
                let plan = HookPlan { edits, ..HookPlan::default() };
                let alone = Batch::from_sentences([*sentence]);
                let alone = model.gradients(&alone, &plan, std::slice::from_ref(&objective), &[point]).unwrap();
                let name = format!("{} {point}, copy {idx}", model.info().name);
                assert_eq!(found.values[idx].to_bits(), alone.values[0].to_bits(), "{name}");
                if point.site().is_ragged() {
                    assert_eq!(found.patterns[&point][idx], alone.patterns[&point][0], "{name}");
                } else {
                    assert_eq!(found.sites[&point].slice(s![copies.rows(idx), ..]), alone.sites[&point], "{name}");
                }
            }
        }
    }
}

#[test]
fn gradients_are_linear_in_the_objective() {
    for model in models() {
        let batch = batch(&[9, 1, 30]);
        let of = |objective: Objective| {
            model.gradients(&batch, &HookPlan::default(), &[objective], &points(&model)).unwrap()
        };
        let (a, b) = (Objective::log_prob(3), Objective::Difference { target: 5, foil: 7, position: 0 });
        let sum = of(Objective::sum([(2.0, a.clone()), (-0.5, b.clone())]));
        let (a, b) = (of(a), of(b));
        for (point, values) in &sum.sites {
            let expected = &a.sites[point] * 2.0 + &b.sites[point] * -0.5;
            let off = largest(&(values - &expected));
            assert!(off <= 1e-5 * largest(&expected), "{} {point}: {off}", model.info().name);
        }
        for ((sum, a), b) in sum.values.iter().zip(&a.values).zip(&b.values) {
            assert!((sum - (2.0 * a - 0.5 * b)).abs() < 1e-9);
        }
    }
}

#[test]
fn a_small_step_changes_the_objective_as_the_gradient_says() {
    for model in models() {
        let batch = batch(&[9, 1, 30]);
        let objective = broad(&model);
        let take = |plan: &HookPlan, wrt: &[HookPoint]| {
            model.gradients(&batch, plan, std::slice::from_ref(&objective), wrt).unwrap()
        };
        for point in points(&model).into_iter().filter(|point| !point.site().is_ragged()) {
            let gradients = take(&HookPlan::default(), &[point]).sites[&point].mapv(f64::from);
            let length = |row: &usize| gradients.row(*row).iter().map(|v| v * v).sum::<f64>().sqrt();
            let row = batch.rows(0).max_by(|a, b| length(a).total_cmp(&length(b))).unwrap();
            let (gradient, length) = (gradients.row(row), length(&row));
            // A change of the objective of 1e-3, where a step of 0.05 is enough for it.
            let step = (1e-3 / length).min(0.05) / length;
            let moved = |sign: f64| {
                let values = gradient.iter().map(|v| (v * step * sign) as f32).collect();
                let mut plan = with_edit(point, Edit::Add { values });
                plan.edits[0].positions = Positions::Rows(vec![row]);
                take(&plan, &[]).values[0]
            };
            let (difference, expected) = (moved(1.0) - moved(-1.0), 2.0 * step * length * length);
            let off = (difference - expected).abs();
            assert!(off < 0.01 * expected + 4e-6, "{} {point}: {difference}, expected {expected}", model.info().name);
        }
    }
}

#[test]
fn an_addition_lets_all_through_and_a_constant_nothing() {
    for model in models() {
        let batch = batch(&[9, 1, 30]);
        let embed = HookPoint::new(0, Site::Embed);
        let gradient = |plan: &HookPlan| model.gradients(&batch, plan, &[broad(&model)], &[embed]).unwrap();
        let plain = gradient(&HookPlan::default());
        let last = HookPoint::new(model.info().n_layers as u16 - 1, Site::ResidPost);
        let width = model.info().width(last).unwrap();
        let added = gradient(&with_edit(last, Edit::Add { values: vec![0.0; width] }));
        assert!(plain.sites == added.sites, "{}", model.info().name);
        // textgenrnn's head reads all layers: there a constant stops only a part.
        let zeroed = gradient(&with_edit(last, Edit::Zero));
        let reached = largest(&zeroed.sites[&embed]) > 0.0;
        assert_eq!(reached, model.info().family == "textgenrnn", "{}", model.info().name);
    }
}

#[test]
fn what_does_not_lead_to_the_objective_has_a_gradient_of_zeros() {
    let model = load("gpt2");
    let batch = batch(&[9, 1, 30]);
    let objective = Objective::Logit { token: 3, position: 2 };
    let first = Batch::from_sentences([batch.sentence(0)]);
    let gradients = model.gradients(&first, &HookPlan::default(), &[objective], &points(&model)).unwrap();
    let Gradients { sites, patterns, .. } = gradients;
    for (point, values) in &sites {
        let rows = |rows: std::ops::Range<usize>| largest(&values.slice(ndarray::s![rows, ..]).to_owned());
        assert!(rows(0..3) > 0.0, "{point}");
        assert_eq!(rows(3..9).to_bits(), 0f32.to_bits(), "{point}: later tokens change nothing");
    }
    let pattern = &patterns[&HookPoint::new(1, Site::AttnPattern)][0];
    assert_eq!(pattern.dim(), (model.info().n_heads, 9, 9));
    assert!(pattern.slice(ndarray::s![.., 2, ..]).iter().any(|value| *value != 0.0));
    assert!(pattern.slice(ndarray::s![.., 3.., ..]).iter().all(|value| *value == 0.0));
}

#[test]
fn every_sentence_may_have_an_objective_of_its_own() {
    let model = load("llama");
    let batch = batch(&[9, 4]);
    let plan = HookPlan::default();
    let targets = vec![None, Some(3), None, Some(8)];
    let objectives = [Objective::log_prob(5), Objective::Loss { targets }];
    let both = model.gradients(&batch, &plan, &objectives, &points(&model)).unwrap();
    for (sentence, objective) in objectives.into_iter().enumerate() {
        let alone = Batch::from_sentences([batch.sentence(sentence)]);
        let alone = model.gradients(&alone, &plan, &[objective], &points(&model)).unwrap();
        assert_eq!(both.values[sentence].to_bits(), alone.values[0].to_bits());
        for (point, values) in &alone.sites {
            assert_eq!(both.sites[point].slice(ndarray::s![batch.rows(sentence), ..]), values, "{point}");
        }
    }
}

#[test]
fn the_values_are_those_of_the_logits() {
    let model = load("gpt2");
    let batch = batch(&[9]);
    let plan = HookPlan { output: Output::All, ..HookPlan::default() };
    let logits = model.run(&batch, &plan).unwrap().logits.unwrap().mapv(f64::from);
    let log_prob = |row: usize, token: usize| {
        let sum: f64 = logits.row(row).iter().map(|logit| logit.exp()).sum();
        logits[[row, token]] - sum.ln()
    };
    let class = |row: usize, token: usize, classes: &[usize]| {
        logits[[row, token]] - classes.iter().map(|&class| logits[[row, class]].exp()).sum::<f64>().ln()
    };
    let tokens: Vec<usize> = batch.tokens().iter().map(|&token| token as usize).collect();
    let mut targets = vec![None; 9];
    (targets[1], targets[6]) = (Some(7), Some(11));
    let cases = [
        (Objective::logit(4), logits[[8, 4]]),
        (Objective::log_prob(4), log_prob(8, 4)),
        (Objective::LogProb { token: 4, position: -9 }, log_prob(0, 4)),
        (Objective::difference(4, 9), log_prob(8, 4) - log_prob(8, 9)),
        (Objective::ClassLogProb { class: 2, classes: vec![1, 2, 3], position: 3 }, class(3, 2, &[1, 2, 3])),
        (Objective::sequence(), (1..9).map(|place| log_prob(place - 1, tokens[place])).sum()),
        (Objective::Sequence { from: 3, until: Some(5) }, log_prob(2, tokens[3]) + log_prob(3, tokens[4])),
        (Objective::Loss { targets }, -(log_prob(1, 7) + log_prob(6, 11)) / 2.0),
        (Objective::sum([(0.5, Objective::logit(1)), (-3.0, Objective::logit(2))]), {
            0.5 * logits[[8, 1]] - 3.0 * logits[[8, 2]]
        }),
    ];
    for (objective, expected) in cases {
        let label = format!("{objective:?}");
        let value = model.gradients(&batch, &HookPlan::default(), &[objective], &[]).unwrap().values[0];
        assert!((value - expected).abs() < 1e-5, "{label}: {value}, expected {expected}");
    }
}

#[test]
fn a_small_step_changes_a_neuron_as_its_gradient_says() {
    let embed = HookPoint::new(0, Site::Embed);
    // Neurons that a ReLU shuts do not move.
    let (mut moving, mut silent) = (0, 0);
    for model in models() {
        let batch = batch(&[9, 1, 30]);
        let run = |objective: &Objective, plan: &HookPlan| {
            model.gradients(&batch, plan, std::slice::from_ref(objective), &[embed]).unwrap()
        };
        for (point, width) in model.info().points().filter(|(point, _)| !point.site().is_ragged()) {
            let objective = Objective::neuron(NeuronId::new(point, width as u32 - 1));
            let found = run(&objective, &HookPlan::default());
            let values = &model.run(&batch, &HookPlan::capture([point])).unwrap().sites[&point];
            for (sentence, value) in found.values.iter().enumerate() {
                let row = batch.rows(sentence).end - 1;
                // A zero may have another sign.
                let off = (value - f64::from(values[[row, width - 1]])).abs();
                assert!(off <= 0.0, "{} {point}: {off}", model.info().name);
            }
            let gradients = found.sites[&embed].mapv(f64::from);
            let length = |row: &usize| gradients.row(*row).iter().map(|v| v * v).sum::<f64>().sqrt();
            let row = batch.rows(0).max_by(|a, b| length(a).total_cmp(&length(b))).unwrap();
            let (gradient, length) = (gradients.row(row), length(&row));
            if length == 0.0 {
                silent += 1;
                continue;
            }
            moving += 1;
            // Small enough that no ReLU turns over.
            let step = (2e-4 / length).min(0.05) / length;
            let moved = |sign: f64| {
                let values = gradient.iter().map(|v| (v * step * sign) as f32).collect();
                let mut plan = with_edit(embed, Edit::Add { values });
                plan.edits[0].positions = Positions::Rows(vec![row]);
                run(&objective, &plan).values[0]
            };
            let (difference, expected) = (moved(1.0) - moved(-1.0), 2.0 * step * length * length);
            let (off, size) = ((difference - expected).abs(), 4e-6 * (1.0 + found.values[0].abs()));
            assert!(off < 0.01 * expected + size, "{} {point}: {difference}, not {expected}", model.info().name);
        }
    }
    assert!(moving > 10 * silent, "{moving} neurons move, {silent} do not");
}

#[test]
fn neurons_and_logits_add_up_and_a_neuron_reads_itself() {
    for model in models() {
        let batch = batch(&[9, 1, 30]);
        let all: Vec<HookPoint> = points(&model).into_iter().filter(|point| !point.site().is_ragged()).collect();
        let last = HookPoint::new(model.info().n_layers as u16 - 1, Site::ResidPost);
        let neuron = NeuronId::new(last, 1);
        let run = |objective| model.gradients(&batch, &HookPlan::default(), &[objective], &all).unwrap();
        let (read, logit) = (run(Objective::neuron(neuron)), run(Objective::log_prob(3)));
        let sum = run(Objective::sum([(2.0, Objective::neuron(neuron)), (-0.5, Objective::log_prob(3))]));
        for (point, values) in &sum.sites {
            let expected = &read.sites[point] * 2.0 + &logit.sites[point] * -0.5;
            let off = largest(&(values - &expected));
            assert!(off <= 1e-5 * largest(&expected), "{} {point}: {off}", model.info().name);
        }
        let own = &read.sites[&last];
        for ((row, unit), value) in own.indexed_iter() {
            let ends = batch.offsets().contains(&(row + 1)) && unit == 1;
            assert!((value - f32::from(u8::from(ends))).abs() < 1e-6, "{} {row} {unit}: {value}", model.info().name);
        }
        assert!(read.trace.sites.is_empty() && read.trace.logits.is_none());
    }
}

#[test]
fn objectives_that_do_not_fit_are_refused_by_name() {
    let (gpt2, bert) = (load("gpt2"), load("bert"));
    let said = |model: &LanguageModel, objective: Objective| {
        let batch = batch(&[5, 3]);
        model.gradients(&batch, &HookPlan::default(), &[objective], &[]).unwrap_err().to_string()
    };
    let cases = [
        (said(&gpt2, Objective::logit(9999)), "objective of sentence 0: token: expected one of"),
        (
            said(&gpt2, Objective::Logit { token: 1, position: 3 }),
            "objective of sentence 1: position: expected a place",
        ),
        (said(&gpt2, Objective::Logit { token: 1, position: -6 }), "sentence 0: position"),
        (
            said(&gpt2, Objective::ClassLogProb { class: 1, classes: vec![2, 3], position: -1 }),
            "classes: expected each once, 1 among them, got [2, 3]",
        ),
        (said(&gpt2, Objective::Sequence { from: 0, until: None }), "from: expected 1 or more"),
        (said(&gpt2, Objective::Sequence { from: 1, until: Some(4) }), "sentence 1: until: expected at most 3 tokens"),
        (said(&gpt2, Objective::Loss { targets: vec![None; 5] }), "sentence 1: targets: expected one for each of 3"),
        (said(&gpt2, Objective::sum([(f64::NAN, Objective::logit(1))])), "weight: expected a finite number, got NaN"),
        (said(&gpt2, Objective::neuron(NeuronId::new(HookPoint::new(0, Site::MlpPost), 9999))), "from 0 to"),
        (
            said(&gpt2, Objective::neuron(NeuronId::new(HookPoint::new(0, Site::AttnPattern), 0))),
            "has a value at every",
        ),
        (said(&gpt2, Objective::neuron(NeuronId::new(HookPoint::new(9, Site::MlpPost), 0))), "expected a neuron at"),
        (said(&bert, Objective::sequence()), "sequence: expected a model whose positions see only those before"),
    ];
    for (said, expected) in cases {
        assert!(said.contains(expected), "{said}");
    }
    let three = vec![Objective::logit(1); 3];
    let err = gpt2.gradients(&batch(&[5, 3]), &HookPlan::default(), &three, &[]).unwrap_err();
    assert_eq!(err.to_string(), "objectives: expected 1 or one for each of 2 sentences, got 3");
    let nowhere = HookPoint::new(9, Site::MlpPost);
    let err = gpt2.gradients(&batch(&[5]), &HookPlan::default(), &[Objective::logit(1)], &[nowhere]).unwrap_err();
    assert!(matches!(err, ModelError::Plan(_)), "{err}");
}

#[test]
fn a_model_that_cannot_be_differentiated_says_so() {
    struct Fixed(Arc<LanguageModel>);
    impl Model for Fixed {
        fn info(&self) -> &nissl_core::ModelInfo {
            self.0.info()
        }
        fn run(&self, batch: &Batch, plan: &HookPlan) -> Result<nissl_core::Trace, ModelError> {
            self.0.run(batch, plan)
        }
        fn run_into(
            &self,
            batch: &Batch,
            plan: &HookPlan,
            sink: &dyn nissl_core::CaptureSink,
        ) -> Result<Option<Array2<f32>>, ModelError> {
            self.0.run_into(batch, plan, sink)
        }
    }
    let model = Fixed(Arc::new(load("gpt2")));
    let err = model.gradients(&batch(&[3]), &HookPlan::default(), &[Objective::logit(1)], &[]).unwrap_err();
    assert_eq!(err.to_string(), "gpt2 gives no gradients");
}

#[test]
fn objectives_are_written_and_read() {
    let objective = Objective::sum([(0.5, Objective::sequence()), (1.0, Objective::difference(3, 4))]);
    let text = serde_json::to_string(&objective).unwrap();
    assert_eq!(serde_json::from_str::<Objective>(&text).unwrap(), objective);
    let short: Objective = serde_json::from_str(r#"{"log_prob":{"token":7}}"#).unwrap();
    assert_eq!(short, Objective::log_prob(7));
    assert!(serde_json::from_str::<Objective>(r#"{"log_prob":{"tokens":7}}"#).is_err());
}
