//! Encoder-decoders: every site, edit, gradient and text against transformers, and what must hold of them all.

use ndarray::{Array2, Axis};
use nissl_core::{
    Batch, Edit, EditSpec, Generation, HookPlan, HookPoint, Model, Objective, Output, Positions, Site, Stack, Units,
};
use nissl_model::LanguageModel;

use crate::generation::{Case, generate};
use crate::parity::{ENCODER_DECODERS, Fixture, golden};

const SITE: f32 = 1e-5;
const LOGITS: f32 = 5e-5;

fn fixtures(file: &str) -> impl Iterator<Item = (&'static str, Fixture)> {
    ENCODER_DECODERS.iter().map(move |family| {
        let mut fixture = Fixture::of_file(family, file);
        let mut pairs = Batch::new();
        for (sentence, n_source) in fixture.whole("sources").into_iter().enumerate() {
            let (source, target) = fixture.batch.sentence(sentence).split_at(n_source as usize);
            pairs.push_pair(source, target);
        }
        fixture.batch = pairs;
        (*family, fixture)
    })
}

fn load(family: &str) -> LanguageModel {
    LanguageModel::from_folder(&golden(family), family).unwrap()
}

fn points(model: &LanguageModel) -> Vec<HookPoint> {
    model.info().points().map(|(point, _)| point).collect()
}

fn is_source(point: HookPoint) -> bool {
    point.stack() == Stack::Encoder || matches!(point.site(), Site::CrossK | Site::CrossV)
}

/// The rows of a batch that are of sources, or of targets.
fn rows(batch: &Batch, of_source: bool) -> Vec<usize> {
    let side = |sentence: usize| {
        let (all, n_source) = (batch.rows(sentence), batch.n_source(sentence));
        if of_source { all.start..all.start + n_source } else { all.start + n_source..all.end }
    };
    (0..batch.n_sentences()).flat_map(side).collect()
}

/// Checks the rows of one side; the others must be zeros.
fn check(fixture: &Fixture, name: &str, values: &Array2<f32>, of_source: bool, tolerance: f32) {
    let own = values.select(Axis(0), &rows(&fixture.batch, of_source));
    fixture.check(name, &own.view(), tolerance);
    let others = values.select(Axis(0), &rows(&fixture.batch, !of_source));
    assert!(others.iter().all(|value| *value == 0.0), "{name}: rows of the other side");
}

fn read<T: serde::de::DeserializeOwned>(family: &str, file: &str) -> T {
    serde_json::from_slice(&std::fs::read(golden(family).join(file)).unwrap()).unwrap()
}

#[test]
fn every_site_and_the_logits_equal_the_reference() {
    for (family, fixture) in fixtures("expected.safetensors") {
        let points = points(&fixture.model);
        let plan = HookPlan { capture: points.clone(), output: Output::All, ..HookPlan::default() };
        let trace = fixture.model.run(&fixture.batch, &plan).unwrap();
        for &point in &points {
            if let Some(patterns) = trace.patterns.get(&point) {
                for (sentence, pattern) in patterns.iter().enumerate() {
                    let (heads, queries, keys) = pattern.dim();
                    let flat = pattern.view().into_shape_with_order((heads, queries * keys)).unwrap();
                    fixture.check(&format!("{point}.{sentence}"), &flat, SITE);
                }
            } else {
                check(&fixture, &point.to_string(), &trace.sites[&point], is_source(point), SITE);
            }
        }
        check(&fixture, "logits", &trace.logits.unwrap(), false, LOGITS);
        let known = fixture.expected.names().filter(|name| name.contains("hook_")).count();
        assert!(known > points.len(), "{family}: the fixture has every site");
        // One site alone ends the pass early and is the same.
        for &point in points.iter().filter(|point| !point.site().is_ragged()) {
            let alone = fixture.model.run(&fixture.batch, &HookPlan::capture([point])).unwrap();
            assert!(alone.sites[&point] == trace.sites[&point], "{family} {point}");
        }
    }
}

#[test]
fn every_edit_equals_the_reference() {
    for (family, fixture) in fixtures("expected.safetensors") {
        let edits: Vec<EditSpec> = read(family, "edits.json");
        assert!(edits.len() > 30, "{family}: {} edits", edits.len());
        for (i, edit) in edits.into_iter().enumerate() {
            let plan = HookPlan { edits: vec![edit], output: Output::All, ..HookPlan::default() };
            let logits = fixture.model.run(&fixture.batch, &plan).unwrap().logits.unwrap();
            check(&fixture, &format!("edit.{i}"), &logits, false, LOGITS);
        }
        let names = fixture.expected.names().filter_map(|name| name.strip_prefix("combined.")?.parse().ok());
        let plan = HookPlan { capture: names.collect(), edits: read(family, "combined.json"), output: Output::All };
        assert!(plan.capture.len() > 3);
        let trace = fixture.model.run(&fixture.batch, &plan).unwrap();
        for (point, values) in &trace.sites {
            check(&fixture, &format!("combined.{point}"), values, is_source(*point), SITE);
        }
        check(&fixture, "combined.logits", &trace.logits.unwrap(), false, LOGITS);
    }
}

#[test]
fn gradients_equal_those_of_autograd() {
    for (family, fixture) in fixtures("gradients.safetensors") {
        let objectives: Vec<Objective> = read(family, "gradients.json");
        let names: Vec<HookPoint> = fixture
            .expected
            .names()
            .filter_map(|name| name.strip_prefix("0.")?.trim_end_matches(".0").trim_end_matches(".1").parse().ok())
            .collect();
        assert!(names.len() > 3, "{family}: points of encoder, decoder and between");
        for (i, objective) in objectives.into_iter().enumerate() {
            let found = fixture.model.gradients(&fixture.batch, &HookPlan::default(), &[objective], &names).unwrap();
            let want = fixture.expected.f32(&format!("{i}.values"), &[fixture.batch.n_sentences()]).unwrap();
            for (got, want) in found.values.iter().zip(want.iter()) {
                assert!((got - f64::from(*want)).abs() < 1e-4, "{family} objective {i}: {got}, want {want}");
            }
            for (point, values) in &found.sites {
                check(&fixture, &format!("{i}.{point}"), values, is_source(*point), 1e-5);
            }
            for (point, patterns) in &found.patterns {
                for (sentence, pattern) in patterns.iter().enumerate() {
                    let (heads, queries, keys) = pattern.dim();
                    let flat = pattern.view().into_shape_with_order((heads, queries * keys)).unwrap();
                    fixture.check(&format!("{i}.{point}.{sentence}"), &flat, 1e-5);
                }
            }
        }
    }
}

#[test]
fn a_small_step_changes_the_objective_as_the_gradient_says() {
    for (family, fixture) in fixtures("expected.safetensors") {
        let (model, batch, objective) = (&fixture.model, &fixture.batch, Objective::sequence());
        let take = |plan: &HookPlan, wrt: &[HookPoint]| {
            model.gradients(batch, plan, std::slice::from_ref(&objective), wrt).unwrap()
        };
        for point in points(model).into_iter().filter(|point| !point.site().is_ragged()) {
            let gradients = take(&HookPlan::default(), &[point]).sites[&point].mapv(f64::from);
            let length = |row: &usize| gradients.row(*row).iter().map(|v| v * v).sum::<f64>().sqrt();
            let row = batch.rows(2).max_by(|a, b| length(a).total_cmp(&length(b))).unwrap();
            let (gradient, length) = (gradients.row(row), length(&row));
            assert!(length > 0.0, "{family} {point}");
            let step = (1e-3 / length).min(0.02) / length;
            let moved = |sign: f64| {
                let values = gradient.iter().map(|v| (v * step * sign) as f32).collect();
                let edit = EditSpec {
                    point,
                    units: Units::All,
                    positions: Positions::Rows(vec![row]),
                    edit: Edit::Add { values },
                    when: None,
                };
                take(&HookPlan { edits: vec![edit], ..HookPlan::default() }, &[]).values[2]
            };
            let (difference, expected) = (moved(1.0) - moved(-1.0), 2.0 * step * length * length);
            let off = (difference - expected).abs();
            assert!(off < 0.02 * expected + 1e-5, "{family} {point}: {difference}, expected {expected}");
        }
    }
}

#[test]
fn threads_groups_and_gradients_change_no_bit() {
    for family in ENCODER_DECODERS {
        let model = load(family);
        let token = |i: usize, j: usize| (3 + (i * 31 + j * 7) % 36) as u32;
        let mut batch = Batch::new();
        for i in 0..24 {
            let some = |n: usize| (0..n).map(|j| token(i, j)).collect::<Vec<_>>();
            batch.push_pair(&some(1 + i * 5 % 23), &some(1 + i * 3 % 19));
        }
        let plan = HookPlan { capture: points(&model), output: Output::All, ..HookPlan::default() };
        let run = |n| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
            pool.install(|| {
                let gradients = model.gradients(&batch, &plan, &[Objective::sequence()], &points(&model)).unwrap();
                assert!(gradients.trace == model.run(&batch, &plan).unwrap(), "{family}");
                gradients
            })
        };
        let one = run(1);
        assert!(one == run(2) && one == run(8), "{family}");
        let logits = one.trace.logits.unwrap();
        for sentence in [0, 7, 23] {
            let (source, target) = batch.sentence(sentence).split_at(batch.n_source(sentence));
            let mut alone = Batch::new();
            alone.push_pair(source, target);
            let plan = HookPlan { output: Output::Last, ..HookPlan::default() };
            let last = model.run(&alone, &plan).unwrap().logits.unwrap();
            assert_eq!(last.row(0), logits.row(batch.rows(sentence).end - 1), "{family}");
        }
    }
}

#[test]
fn greedy_and_beam_search_give_the_tokens_of_transformers() {
    for family in ENCODER_DECODERS {
        let model = load(family);
        for case in read::<Vec<Case>>(family, "generation.json") {
            let batch = Batch::from_sentences(case.texts.iter().map(|text| text.prompt.clone()));
            for cache in [true, false] {
                let options = Generation { cache, ..case.options.clone() };
                let found = generate(&model, &batch, &options, &HookPlan::default());
                for (found, want) in found.iter().zip(&case.texts) {
                    let label = format!("{family} {options:?} {:?}", want.prompt);
                    assert_eq!(found.tokens, want.tokens, "{label}");
                    if let (Some(got), Some(want)) = (found.score, want.score) {
                        assert!((got - want).abs() < 1e-4, "{label}: score {got}, want {want}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_target_that_is_given_is_gone_on_with() {
    for family in ENCODER_DECODERS {
        let model = load(family);
        let options = Generation { max_new_tokens: 8, stop_tokens: Some(Vec::new()), ..Generation::default() };
        let source = [9, 4, 22, 17, 5];
        let whole = generate(&model, &Batch::from_sentences([source]), &options, &HookPlan::default());
        let mut given = Batch::new();
        given.push_pair(&source, &[&[model.decoder_start().unwrap()][..], &whole[0].tokens[..3]].concat());
        let options = Generation { max_new_tokens: 5, ..options };
        let rest = generate(&model, &given, &options, &HookPlan::default());
        assert_eq!(rest[0].tokens, whole[0].tokens[3..], "{family}");
    }
}

#[test]
fn samples_are_the_same_with_and_without_a_past_and_edits_act_while_a_target_grows() {
    for family in ENCODER_DECODERS {
        let model = load(family);
        let sentences = [vec![9, 4, 22, 17, 5], vec![3], (4..31).collect::<Vec<u32>>()];
        let edit = |name: &str, edit| EditSpec {
            point: name.parse().unwrap(),
            units: Units::Some(vec![1, 2]),
            positions: Positions::All,
            edit,
            when: None,
        };
        let edits = vec![
            edit("encoder.0.mlp_post", Edit::Set { value: 0.5 }),
            edit("decoder.0.cross_attn_k", Edit::Scale { factor: 2.0 }),
            edit("decoder.0.cross_attn_pattern", Edit::Set { value: 0.4 }),
            edit("decoder.0.attn_pattern", Edit::Zero),
            edit("decoder.0.ssru_f", Edit::Set { value: 0.8 }),
            edit("decoder.1.ssru_c", Edit::Scale { factor: 1.5 }),
            edit("decoder.0.resid_mid_cross", Edit::Set { value: -1.0 }),
        ];
        let edits = edits.into_iter().filter(|edit| model.info().width(edit.point).is_some()).collect();
        for edits in [Vec::new(), edits] {
            let plan = HookPlan { capture: points(&model), edits, output: Output::All };
            let run = |cache: bool, threads: usize| {
                let options = Generation {
                    max_new_tokens: 9,
                    temperature: 1.2,
                    seed: 3,
                    stop_tokens: Some(Vec::new()),
                    cache,
                    ..Generation::default()
                };
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| generate(&model, &Batch::from_sentences(&sentences), &options, &plan))
            };
            let found = run(true, 1);
            assert!(found == run(false, 2) && found == run(true, 8), "{family}");
            // What is captured is what a run of source and target gives.
            let mut pairs = Batch::new();
            for (source, text) in sentences.iter().zip(&found) {
                pairs.push_pair(source, &[&[model.decoder_start().unwrap()][..], &text.tokens].concat());
            }
            if plan.edits.is_empty() {
                let trace = model.run(&pairs, &plan).unwrap();
                let last = found.last().unwrap();
                assert_eq!(last.trace.logits.as_ref().unwrap().nrows(), pairs.sentence(2).len());
                for (point, values) in &last.trace.sites {
                    assert_eq!(values, trace.sites[point].slice(ndarray::s![pairs.rows(2), ..]), "{family} {point}");
                }
            }
        }
    }
}

#[derive(serde::Deserialize)]
struct Tokens {
    text: String,
    tokens: Vec<u32>,
}

#[test]
fn marians_own_tokenizer_is_its_sentencepiece_model_and_an_end() {
    let model = load("marian-nmt");
    let tokenizer = model.tokenizer().unwrap();
    for Tokens { text, tokens } in read::<Vec<Tokens>>("marian-nmt", "tokens.json") {
        assert_eq!(tokenizer.encode(&text).unwrap().ids, tokens, "{text:?}");
    }
    let tokens = tokenizer.encode("the fish is there").unwrap().ids;
    assert_eq!(tokenizer.decode(&tokens).unwrap(), "the fish is there");
    assert_eq!(model.end_tokens(), [0]);
}

#[test]
fn an_option_of_marians_that_is_not_computed_is_refused_by_its_name() {
    let file = std::fs::read(golden("marian-nmt").join("model.bin")).unwrap();
    let refused = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len());
        let at = file.windows(from.len()).position(|bytes| bytes == from.as_bytes()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut file = file.clone();
        file[at..at + from.len()].copy_from_slice(to.as_bytes());
        std::fs::write(folder.path().join("x.bin"), file).unwrap();
        LanguageModel::from_folder(folder.path(), "x").map(|_| ()).unwrap_err().to_string()
    };
    for (from, to, expected) in [
        ("dec-cell: ssru", "dec-cell: lstm", "dec-cell"),
        ("postprocess: dan", "postprocess: nda", "transformer-postprocess"),
        ("autoreg: rnn", "autoreg: aan", "transformer-decoder-autoreg"),
        ("activation: relu", "activation: gelu", "transformer-ffn-activation"),
        ("layer-normalization: false", "layer-normalization: true\n", "layer-normalization"),
        ("enc-type: ", "enc-tipe: ", "enc-tipe"),
    ] {
        let got = refused(from, to);
        assert!(got.contains(expected), "{to}: {got}");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let model = load("t5");
    let plain = Batch::from_sentences([[5, 6, 7]]);
    let said = |batch: &Batch, plan: &HookPlan| model.run(batch, plan).unwrap_err().to_string();
    let encoder = HookPlan::capture(["encoder.1.resid_post".parse().unwrap()]);
    assert_eq!(model.run(&plain, &encoder).unwrap().sites.len(), 1, "sources alone have an encoder's sites");
    let decoder = HookPlan::capture(["decoder.1.resid_post".parse().unwrap()]);
    assert_eq!(said(&plain, &decoder), "sentence 0 has no target: the decoder has nothing to read");
    let logits = HookPlan { output: Output::Last, ..HookPlan::default() };
    assert!(said(&plain, &logits).contains("has no target"));
    let mut sourceless = Batch::new();
    sourceless.push_pair(&[], &[0, 4]);
    assert_eq!(said(&sourceless, &logits), "sentence 0 has a target and no source");
    let only = HookPlan::capture(["1.resid_post".parse().unwrap()]);
    assert!(said(&plain, &only).contains("blocks.1.hook_resid_post: t5 has no such hook point; did you mean"));
    let gpt2 = load("gpt2");
    let mut pairs = Batch::new();
    pairs.push_pair(&[1, 2], &[3]);
    let err = gpt2.run(&pairs, &logits).unwrap_err().to_string();
    assert_eq!(err, "gpt2 has no encoder: sentences of a source and a target are not for it");
    let refused = |objective: Objective| {
        let err = model.gradients(&pairs, &HookPlan::default(), &[objective], &[]).unwrap_err().to_string();
        assert!(err.starts_with("objective of sentence 0:"), "{err}");
    };
    refused(Objective::Logit { token: 3, position: 0 });
    refused(Objective::Loss { targets: vec![Some(1), None, None] });
    let text = r#"[{"point": "decoder.0.mlp_post", "edit": "zero", "when": {"neuron": "encoder.0.hook_mlp_out[1]", "above": 0}}]"#;
    let plan = HookPlan { edits: serde_json::from_str(text).unwrap(), ..logits };
    assert!(said(&pairs, &plan).contains("one is of the source, the other of the target"));
}
