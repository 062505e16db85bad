//! Generated text: against transformers, with and without a cache, alone and in a batch, with every kind of edit.

use std::ops::ControlFlow;
use std::path::Path;

use nissl_core::{
    Batch, Condition, Edit, EditSpec, End, Generated, Generation, HookPlan, HookPoint, Model, ModelError, NeuronId,
    NewToken, Output, Positions, Units,
};
use nissl_model::LanguageModel;
use serde::Deserialize;

use crate::parity::{self, golden};

fn load(name: &str) -> LanguageModel {
    LanguageModel::from_folder(&golden(name), name).unwrap()
}

/// The models that can generate.
fn models() -> impl Iterator<Item = LanguageModel> {
    parity::models().map(load).filter(|model| model.info().causal)
}

fn prompts(model: &LanguageModel, lengths: &[usize]) -> Batch {
    let token = |i: usize, j: usize| ((i * 29 + j * 7 + 3) % model.info().d_vocab) as u32;
    Batch::from_sentences(lengths.iter().enumerate().map(|(i, n)| (0..*n).map(|j| token(i, j)).collect::<Vec<_>>()))
}

fn options() -> Generation {
    Generation { max_new_tokens: 12, stop_tokens: Some(Vec::new()), ..Generation::default() }
}

pub(crate) fn generate(
    model: &LanguageModel,
    prompts: &Batch,
    options: &Generation,
    plan: &HookPlan,
) -> Vec<Generated> {
    model.generate(prompts, options, plan, &mut |_| ControlFlow::Continue(())).unwrap()
}

#[derive(Deserialize)]
pub(crate) struct Case {
    pub(crate) options: Generation,
    pub(crate) texts: Vec<Text>,
}

#[derive(Deserialize)]
pub(crate) struct Text {
    pub(crate) prompt: Vec<u32>,
    pub(crate) tokens: Vec<u32>,
    #[serde(default)]
    pub(crate) score: Option<f32>,
}

#[test]
fn greedy_and_beam_search_give_the_tokens_of_transformers() {
    for family in ["gpt2", "llama"] {
        let model = load(family);
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../tests/golden/generation/{family}.json"));
        let cases: Vec<Case> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        assert!(cases.len() > 12);
        for case in cases {
            let batch = Batch::from_sentences(case.texts.iter().map(|text| text.prompt.clone()));
            let found = generate(&model, &batch, &case.options, &HookPlan::default());
            for (found, want) in found.iter().zip(&case.texts) {
                let label = format!("{family} {:?} {:?}", case.options, want.prompt);
                assert_eq!(found.tokens, want.tokens, "{label}");
                assert_eq!(found.score.is_some(), want.score.is_some());
                if let (Some(got), Some(want)) = (found.score, want.score) {
                    assert!((got - want).abs() < 1e-4, "{label}: score {got}, want {want}");
                }
            }
        }
    }
}

#[test]
fn every_decoder_goes_on_as_transformers_does() {
    let mut n_models = 0;
    for name in parity::models().chain(parity::VARIANTS) {
        let Ok(texts) = std::fs::read(golden(name).join("greedy.json")) else { continue };
        let texts: Vec<Text> = serde_json::from_slice(&texts).unwrap();
        let model = load(name);
        let options = Generation { max_new_tokens: texts[0].tokens.len(), ..options() };
        let batch = Batch::from_sentences(texts.iter().map(|text| text.prompt.clone()));
        let found = generate(&model, &batch, &options, &HookPlan::default());
        for (found, want) in found.iter().zip(&texts) {
            assert_eq!(found.tokens, want.tokens, "{name} {:?}", want.prompt);
            // Without a past, each token is that of a run of all before it.
            for (idx, token) in want.tokens.iter().enumerate() {
                let text = Batch::from_sentences([[&want.prompt[..], &want.tokens[..idx]].concat()]);
                let plan = HookPlan { output: Output::Last, ..HookPlan::default() };
                let logits = model.run(&text, &plan).unwrap().logits.unwrap();
                let best = (0..logits.ncols()).max_by(|&a, &b| logits[[0, a]].total_cmp(&logits[[0, b]])).unwrap();
                assert_eq!(best as u32, *token, "{name} {:?} at {idx}", want.prompt);
            }
        }
        n_models += 1;
    }
    assert!(n_models > 10, "decoders have texts of transformers");
}

#[test]
fn a_prompt_gives_the_same_alone_and_in_a_batch_on_any_number_of_threads() {
    for model in models() {
        let batch = prompts(&model, &[5, 1, 9, 2, 30, 3, 3, 17, 4, 8, 1]);
        for temperature in [0.0, 1.3] {
            let options = Generation { temperature, top_k: 20, top_p: 0.9, seed: 5, ..options() };
            let plan = HookPlan { output: Output::All, ..HookPlan::default() };
            let run = |n, batch: &Batch| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
                pool.install(|| generate(&model, batch, &options, &plan))
            };
            let together = run(1, &batch);
            assert!(together == run(2, &batch) && together == run(8, &batch), "{}", model.info().name);
            for (prompt, together) in together.iter().enumerate() {
                let alone = run(2, &Batch::from_sentences([batch.sentence(prompt)]));
                assert_eq!(alone[0], *together, "{} prompt {prompt}", model.info().name);
            }
        }
    }
}

/// Edits of every kind, at every site, at positions of every kind.
fn edits(model: &LanguageModel, prompts: &Batch) -> Vec<EditSpec> {
    let positions = [
        Positions::All,
        Positions::InSentence(vec![1, -1, 7]),
        Positions::Rows(vec![0, 2, 6]),
        Positions::From(-2),
        Positions::From(6),
        Positions::Generated,
    ];
    let mut edits = Vec::new();
    for (point, width) in model.info().points() {
        for (idx, positions) in positions.iter().enumerate() {
            let n_ctx = model.info().n_ctx as u32;
            // Of a pattern, the probabilities of the first keys of each head.
            let units: Vec<u32> = if point.site().is_ragged() {
                (0..width as u32).filter(|unit| unit % n_ctx < 4).collect()
            } else {
                (0..width as u32).step_by(1 + idx).collect()
            };
            let n = units.len();
            let value = |i: usize| (i % 7) as f32 * 0.25 - 0.5;
            let values: Vec<f32> = (0..n).map(value).collect();
            let n_rows = match positions {
                Positions::All => prompts.n_tokens(),
                Positions::Rows(rows) => rows.len(),
                _ => 0,
            };
            let patch = Edit::Patch { values: (0..n_rows * n).map(value).collect() };
            let kinds = [
                Edit::Zero,
                Edit::Set { value: 0.4 },
                Edit::Scale { factor: -1.5 },
                Edit::Mean { values: values.clone() },
                Edit::Add { values },
            ];
            let turn = edits.len();
            let mut chosen = vec![kinds[turn % 5].clone(), kinds[(turn + 2) % 5].clone()];
            chosen.extend((n_rows > 0).then_some(patch));
            let spec = |edit| EditSpec {
                point,
                units: Units::Some(units.clone()),
                positions: positions.clone(),
                edit,
                when: None,
            };
            edits.extend(chosen.into_iter().map(spec));
            // The last one once more, where an earlier neuron, or one of the same site, is above or below a bound.
            let embed = NeuronId::new(HookPoint::new(0, nissl_core::Site::Embed), 1);
            let own = NeuronId::new(point, width as u32 - 1);
            let neuron = if idx % 2 == 0 || point.site().is_ragged() { embed } else { own };
            let (above, below) = if idx % 3 == 0 { (Some(0.1), None) } else { (None, Some(0.3)) };
            let last = edits[edits.len() - 1].clone();
            edits.push(EditSpec { when: Some(Condition { neuron, above, below }), ..last });
        }
    }
    edits
}

#[test]
fn generation_with_a_cache_equals_generation_without_bit_for_bit_under_every_edit() {
    let mut n_changed = 0;
    for model in models() {
        let batch = prompts(&model, &[5, 1, 3]);
        let options = Generation { max_new_tokens: 6, ..options() };
        let run = |edits: &[EditSpec], cache| {
            let plan = HookPlan { edits: edits.to_vec(), output: Output::All, ..HookPlan::default() };
            generate(&model, &batch, &Generation { cache, ..options.clone() }, &plan)
        };
        let plain = run(&[], true);
        assert_eq!(plain, run(&[], false), "{}", model.info().name);
        for edit in edits(&model, &batch) {
            let edits = [edit];
            let cached = run(&edits, true);
            assert_eq!(cached, run(&edits, false), "{} {:?}", model.info().name, edits[0]);
            n_changed += usize::from(cached != plain);
        }
    }
    assert!(n_changed > 1000, "{n_changed}: most edits change something");
}

#[test]
fn captures_are_those_of_a_run_on_the_finished_text() {
    for model in models() {
        let batch = prompts(&model, &[4, 7]);
        let capture: Vec<HookPoint> = model.info().points().map(|(point, _)| point).collect();
        let plan = HookPlan { capture, output: Output::All, ..HookPlan::default() };
        for n_beams in [1, 2] {
            let options = Generation { n_beams, ..options() };
            for (prompt, generated) in generate(&model, &batch, &options, &plan).into_iter().enumerate() {
                let text: Vec<u32> = batch.sentence(prompt).iter().chain(&generated.tokens).copied().collect();
                assert_eq!(generated.tokens.len(), 12);
                assert_eq!(generated.trace, model.run(&Batch::from_sentences([&text]), &plan).unwrap());
                // The log-probabilities are those of the logits before each token, but where other padding stood
                // before a text that was shorter.
                if model.info().name == "textgenrnn" {
                    continue;
                }
                let logits = generated.trace.logits.unwrap();
                for (i, (&token, &got)) in generated.tokens.iter().zip(&generated.log_probabilities).enumerate() {
                    let row = logits.row(batch.sentence(prompt).len() + i - 1);
                    let total: f64 = row.iter().map(|&x| f64::from(x).exp()).sum::<f64>().ln();
                    let want = f64::from(row[token as usize]) - total;
                    assert!((f64::from(got) - want).abs() < 1e-5, "{}: {got}, want {want}", model.info().name);
                }
            }
        }
    }
}

#[test]
fn an_edit_of_generated_tokens_leaves_the_first_one_as_it_is() {
    for model in models() {
        let batch = prompts(&model, &[6]);
        let point = HookPoint::new(0, nissl_core::Site::ResidPost);
        let edit = |positions| EditSpec {
            point,
            units: Units::All,
            positions,
            edit: Edit::Scale { factor: -3.0 },
            when: None,
        };
        let run = |edits| generate(&model, &batch, &options(), &HookPlan { edits, ..HookPlan::default() }).remove(0);
        let (plain, generated) = (run(vec![]), run(vec![edit(Positions::Generated)]));
        assert_eq!(plain.tokens[0], generated.tokens[0]);
        assert_ne!(plain.log_probabilities[1..], generated.log_probabilities[1..], "{}", model.info().name);
        let from = run(vec![edit(Positions::From(6))]);
        assert_eq!(from, generated, "the prompt has six tokens");
    }
}

#[test]
fn tokens_come_as_they_are_chosen_and_the_caller_can_stop() {
    let model = load("gpt2");
    let batch = prompts(&model, &[3, 5]);
    let mut seen = Vec::new();
    let stopped = model.generate(&batch, &options(), &HookPlan::default(), &mut |new: NewToken| {
        seen.push((new.prompt, new.token));
        if seen.len() < 5 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    let stopped = stopped.unwrap();
    assert_eq!(seen.iter().map(|(prompt, _)| *prompt).collect::<Vec<_>>(), [0, 1, 0, 1, 0]);
    assert_eq!((stopped[0].tokens.len(), stopped[1].tokens.len()), (3, 2));
    assert_eq!((stopped[0].end, stopped[1].end), (End::Stopped, End::Stopped));
    let whole = generate(&model, &batch, &options(), &HookPlan::default());
    assert_eq!(stopped[0].tokens, whole[0].tokens[..3]);
    assert_eq!(whole[0].end, End::MaxNewTokens);
}

#[test]
fn a_text_ends_at_a_stop_token_or_where_the_model_reads_no_more() {
    let model = load("llama");
    let batch = prompts(&model, &[5]);
    let whole = generate(&model, &batch, &options(), &HookPlan::default()).remove(0);
    let stop = whole.tokens[4];
    let first = whole.tokens.iter().position(|&token| token == stop).unwrap();
    let stopping = Generation { stop_tokens: Some(vec![stop]), ..options() };
    let stopped = generate(&model, &batch, &stopping, &HookPlan::default()).remove(0);
    assert_eq!((stopped.tokens.as_slice(), stopped.end), (&whole.tokens[..=first], End::StopToken));
    let long = Generation { max_new_tokens: 1000, ..options() };
    let full = generate(&model, &batch, &long, &HookPlan::default()).remove(0);
    assert_eq!((full.tokens.len(), full.end), (model.info().n_ctx - 5, End::Context));
}

#[test]
fn a_model_of_a_window_goes_on_with_the_end_of_a_long_text() {
    let model = load("textgenrnn");
    let n_ctx = model.info().n_ctx;
    let batch = prompts(&model, &[n_ctx + 5]);
    let long = generate(&model, &batch, &options(), &HookPlan::default()).remove(0);
    assert_eq!((long.tokens.len(), long.end), (12, End::MaxNewTokens));
    let end = Batch::from_sentences([&batch.sentence(0)[5..]]);
    assert_eq!(long.tokens, generate(&model, &end, &options(), &HookPlan::default())[0].tokens);
}

#[test]
fn what_cannot_be_generated_is_refused_by_name() {
    let refused = |model: &str, batch: &Batch, options: &Generation| {
        let model = load(model);
        let found = model.generate(batch, options, &HookPlan::default(), &mut |_| ControlFlow::Continue(()));
        found.map_err(|err: ModelError| err.to_string()).unwrap_err()
    };
    let one = Batch::from_sentences([[1u32, 2]]);
    let cases = [
        (refused("bert", &one, &options()), "bert cannot generate: a position of it sees those after it"),
        (refused("gpt2", &Batch::from_sentences([[0u32; 0]]), &options()), "gpt2 cannot generate: prompt 0 is empty"),
        (refused("gpt2", &Batch::from_sentences([[0u32; 99]]), &options()), "sentence 0 has 99 tokens"),
        (refused("gpt2", &Batch::from_sentences([[99u32]]), &options()), "token 99 in sentence 0"),
        (
            refused("gpt2", &one, &Generation { stop_texts: vec![".".to_owned()], ..options() }),
            "stop texts need a tokenizer",
        ),
        (refused("gpt2", &one, &Generation { top_p: 1.5, ..options() }), "top_p = 1.5: expected 0 to 1"),
        (
            refused("gpt2", &one, &Generation { n_beams: 2, temperature: 1.0, ..options() }),
            "a beam search takes no draws",
        ),
    ];
    for (got, want) in cases {
        assert!(got.contains(want), "{got}, want {want}");
    }
}
