use std::path::{Path, PathBuf};

use ndarray::Array1;
use nissl_core::{NoProgress, Site};
use nissl_model::Checkpoint;

use super::*;

fn golden(family: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/models").join(family)
}

fn demo() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo/model").display().to_string()
}

fn neuron(name: &str) -> NeuronId {
    name.parse().unwrap()
}

#[track_caller]
fn check(what: &str, got: &[f32], want: &[f32]) {
    assert_eq!(got.len(), want.len(), "{what}");
    let scale = want.iter().fold(0.0f32, |most, value| most.max(value.abs()));
    for (got, want) in got.iter().zip(want) {
        assert!((got - want).abs() <= 1e-5 * scale, "{what}: got {got}, want {want} of {scale}");
    }
}

#[test]
fn neurons_and_tokens_are_joined_as_torch_computes_it() {
    for family in ["bert", "gpt2", "llama"] {
        let model = LanguageModel::from_folder(&golden(family), family).unwrap();
        let expected = Checkpoint::open(&golden(family).join("lens.safetensors")).unwrap();
        let mut seen = [0; 3];
        for name in expected.names() {
            let (kind, rest) = name.split_once('.').unwrap();
            let (kind, fold) = kind.strip_suffix("_raw").map_or((kind, Fold::Norms), |kind| (kind, Fold::Raw));
            let want = expected.tensor(name).unwrap().to_f32().unwrap();
            let lens = Lens::new(&model, fold).unwrap();
            match kind {
                "effect" => {
                    let from = neuron(rest);
                    let direction = lens.direction(from).unwrap();
                    let got = lens.token_effects(&direction, from.point, Context::default()).unwrap();
                    check(&format!("{family} {name}"), &got, &want);
                    seen[0] += 1;
                }
                "drive" => {
                    let got = lens.token_drives(neuron(rest), Context::default()).unwrap();
                    check(&format!("{family} {name}"), &got, &want);
                    seen[1] += 1;
                }
                "joint" => {
                    let (to, from) = rest.split_once("].").unwrap();
                    let point: nissl_core::HookPoint = from.parse().unwrap();
                    let to = neuron(&format!("{to}]"));
                    let all = lens.upstream(to, &[point.site()], usize::MAX, Context::default()).unwrap();
                    let mut got = vec![f32::NAN; want.len()];
                    all.iter().filter(|joint| joint.neuron.point == point).for_each(|joint| {
                        got[joint.neuron.idx as usize] = joint.weight;
                    });
                    check(&format!("{family} {name}"), &got, &want);
                    seen[2] += 1;
                    // The same weight seen from the other end.
                    let from = NeuronId::new(point, 3);
                    let down = lens.downstream(from, &[to.point.site()], usize::MAX, Context::default()).unwrap();
                    let back = down.iter().find(|joint| joint.neuron == to).unwrap().weight;
                    check(&format!("{family} {name} from the other end"), &[back], &[got[3]]);
                }
                _ => {}
            }
        }
        assert!(seen[0] >= 8 && seen[1] >= 20 && seen[2] >= 20, "{family}: {seen:?}");
    }
}

#[test]
fn the_last_layer_predicts_what_the_model_does_and_targets_are_the_next_tokens() {
    let config = Config { model: demo(), text: Some("It was the best of times, it was".into()), ..Config::default() };
    let report = run(&config, &NoProgress).unwrap();
    let text = report.text.unwrap();
    assert_eq!(text.target, TargetKind::Next);
    assert_eq!(
        text.layers.iter().map(|layer| layer.name.to_string()).collect::<Vec<_>>(),
        [
            "blocks.0.hook_resid_post",
            "blocks.1.hook_resid_post",
            "blocks.2.hook_resid_post",
            "blocks.3.hook_resid_post"
        ]
    );
    let model = LanguageModel::open(&demo()).unwrap();
    let ids: Vec<u32> = text.tokens.iter().map(|token| token.id).collect();
    let plan = nissl_core::HookPlan { output: nissl_core::Output::All, ..nissl_core::HookPlan::default() };
    let logits = model.run(&nissl_core::Batch::from_sentences([&ids]), &plan).unwrap().logits.unwrap();
    for position in &text.layers[3].positions {
        let row: Vec<f32> = logits.row(position.position).to_vec();
        let highest = row.iter().copied().fold(f32::MIN, f32::max);
        let first = &position.top[0];
        assert_eq!(
            (first.rank, first.logit.to_bits(), row[first.id as usize].to_bits()),
            (0, highest.to_bits(), highest.to_bits())
        );
        let total: f64 = row.iter().map(|&logit| f64::from(logit - highest).exp()).sum();
        assert!((first.probability - 1.0 / total).abs() < 1e-6);
        match &position.target {
            Some(target) => {
                assert_eq!(target.id, ids[position.position + 1]);
                let before = row.iter().filter(|&&logit| logit > target.logit).count();
                assert!((before..before + 2).contains(&target.rank));
            }
            None => assert_eq!(position.position, ids.len() - 1),
        }
    }
}

#[test]
fn a_masked_language_model_is_asked_for_its_own_token() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["config.json", "model.safetensors"] {
        std::fs::copy(golden("bert").join(name), folder.path().join(name)).unwrap();
    }
    crate::testing::toy_tokenizer(folder.path());
    let model = folder.path().display().to_string();
    let config = Config { model, text: Some("the cat sees".into()), positions: vec![-1, 0, -3], ..Config::default() };
    let text = run(&config, &NoProgress).unwrap().text.unwrap();
    assert_eq!(text.target, TargetKind::Own);
    let layer = &text.layers[1];
    assert_eq!(layer.positions.iter().map(|position| position.position).collect::<Vec<_>>(), [0, 2]);
    assert_eq!(layer.positions[1].target.as_ref().unwrap().token, "sees");
}

#[test]
fn threads_change_no_bit_of_a_lens() {
    let names = ["1.mlp_post[443]", "2.attn_z[3]"].map(neuron).to_vec();
    let text = Some("a small house by the sea".to_owned());
    let config = Config { model: demo(), text, neurons: names, partners: Partners::All, top: 9, ..Config::default() };
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        serde_json::to_string(&pool.install(|| run(&config, &NoProgress)).unwrap()).unwrap()
    };
    let one = with(1);
    assert!([2, 8].into_iter().all(|threads| with(threads) == one));
}

#[test]
fn a_direction_of_the_stream_promotes_what_the_unembedding_says() {
    let model = LanguageModel::open(&demo()).unwrap();
    let lens = Lens::new(&model, Fold::Raw).unwrap();
    let token = 300;
    let own: Array1<f32> = lens.weights().unembedding(token..token + 1).unwrap().weights.row(0).to_owned();
    let point = nissl_core::HookPoint::new(3, Site::ResidPost);
    let effects = lens.token_effects(&own, point, Context::default()).unwrap();
    let length: f32 = own.iter().map(|value| value * value).sum();
    assert!((effects[token] - length).abs() < 1e-5 * length);
    // What (1, ..., 1) adds is taken off by the norm before any token sees it.
    let lens = Lens::new(&model, Fold::Norms).unwrap();
    let effects = lens.token_effects(&Array1::ones(own.len()), point, Context::default()).unwrap();
    assert!(effects.iter().all(|effect| effect.abs() < 1e-6));
}

#[test]
fn what_cannot_be_looked_at_is_said_with_what_to_do() {
    let said = |config: Config| run(&config, &NoProgress).unwrap_err().to_string();
    let base = || Config { model: demo(), ..Config::default() };
    let text = || Some("a house".to_owned());
    assert!(said(Config::default()).starts_with("model: expected a folder"));
    assert!(said(base()).contains("a text, a neuron, or both"));
    assert!(said(Config { text: Some(String::new()), ..base() }).contains("at least one token"));
    assert!(said(Config { text: text(), top: 0, ..base() }).starts_with("top: expected 1 to 1000"));
    assert!(said(Config { text: text(), positions: vec![99], ..base() }).contains("the text has 2 tokens"));
    assert!(said(Config { text: text(), positions: vec![i64::MIN], ..base() }).contains("-2 to 1"));
    assert!(
        said(Config { text: text(), sites: vec!["mlp_post".into()], ..base() }).contains("the head reads the residual")
    );
    assert!(said(Config { text: text(), sites: vec!["attn_pattern".into()], ..base() }).contains("all have one width"));
    assert!(said(Config { text: Some("house ".repeat(3000)), ..base() }).contains("at most"));
    let of = |name: &str| said(Config { neurons: vec![neuron(name)], ..base() });
    assert!(of("9.mlp_post[0]").contains("no such hook point"));
    assert!(of("0.mlp_post[4000000]").contains("from 0 to 767"));
    assert!(of("0.attn_pattern[0]").contains("attn_z"));
    let llama = Config { model: golden("llama").display().to_string(), text: text(), ..Config::default() };
    assert!(said(llama).contains("tokenizer.json"));
}

#[test]
fn what_a_model_lacks_is_noted_beside_what_it_has() {
    let report = |family: &str, name: &str| {
        let model = golden(family).display().to_string();
        let mut report = run(&Config { model, neurons: vec![neuron(name)], ..Config::default() }, &NoProgress).unwrap();
        report.neurons.remove(0)
    };
    let state = report("textgenrnn", "1.lstm_h[3]");
    assert!(state.promoted.is_empty() && state.notes[0].contains("the head does not read"), "{:?}", state.notes);
    assert_eq!(state.reads.len(), 4);
    assert!(state.reads[0].excited_by.is_empty() && state.reads[0].upstream.iter().any(|up| up.recurrent));
    let gate = report("lstm", "0.lstm_i[2]");
    assert_eq!((gate.reads.len(), gate.reads[0].excited_by.len()), (1, 5));
    let value = report("gpt2", "1.attn_v[2]");
    assert!(value.writes.is_none() && value.notes[0].contains("attn_z"), "{:?}", value.notes);
    let inner = report("llama", "0.mlp_pre_linear[2]");
    assert_eq!(inner.writes.unwrap().to_string(), "blocks.0.mlp.hook_post[2]");
    assert_eq!(report("gpt2", "blocks.0.hook_resid_mid[2]").promoted.len(), 5);
}

#[test]
fn the_page_shows_hostile_tokens_as_text() {
    let folder = tempfile::tempdir().unwrap();
    let text = "<script>alert(1)</script>&\"'".to_owned();
    let html = folder.path().join("lens.html");
    let neurons = vec![neuron("1.mlp_post[4]")];
    let config = Config { model: demo(), text: Some(text), neurons, html: Some(html.clone()), ..Config::default() };
    run(&config, &NoProgress).unwrap();
    let page = std::fs::read_to_string(html).unwrap();
    assert_eq!(page.matches("<script").count(), 1, "only its own");
    assert!(page.contains("&lt;") && page.contains("What weights say") && page.contains("class=\"h"));
    assert_eq!(page.matches("<td").count(), page.matches("</td>").count());
}
