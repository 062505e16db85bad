//! The weights of single units, and the lens of rows of the residual stream.

use ndarray::{Array2, s};
use nissl_core::{Batch, HookPlan, HookPoint, Model, ModelError, NeuronWeights, Output, Site};
use nissl_model::{Checkpoint, LanguageModel};

use crate::parity::{golden, models};

fn model(family: &str) -> LanguageModel {
    LanguageModel::from_folder(&golden(family), family).unwrap()
}

/// A matrix of the model's own checkpoint, as it is stored.
fn stored(family: &str, name: &str) -> Array2<f32> {
    let checkpoint = Checkpoint::open(&golden(family)).unwrap();
    let tensor = checkpoint.tensor(name).unwrap();
    let shape = (tensor.shape[0], tensor.shape[1]);
    Array2::from_shape_vec(shape, tensor.to_f32().unwrap().into_owned()).unwrap()
}

fn at(layer: u16, site: Site) -> HookPoint {
    HookPoint::new(layer, site)
}

#[test]
fn the_lens_of_the_last_residual_stream_has_the_bits_of_the_logits() {
    let mut seen = 0;
    for family in models() {
        let model = model(family);
        let last = at(model.info().n_layers as u16 - 1, Site::ResidPost);
        let sentences: Vec<Vec<u32>> = vec![(1..36).collect(), vec![5], vec![2, 9, 4]];
        let batch = Batch::from_sentences(sentences);
        let trace =
            model.run(&batch, &HookPlan { capture: vec![last], output: Output::All, ..HookPlan::default() }).unwrap();
        let lens = model.weights().unwrap().logits(last, trace.sites[&last].view());
        if family == "textgenrnn" {
            let err = lens.unwrap_err().to_string();
            assert!(err.starts_with("blocks.1.hook_resid_post: the head reads an average"), "{err}");
            continue;
        }
        let bits = |values: &Array2<f32>| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&lens.unwrap()), bits(&trace.logits.unwrap()), "{family}");
        seen += 1;
    }
    assert!(seen > 5);
}

#[test]
fn the_lens_of_every_layer_equals_torch() {
    for family in ["bert", "gpt2", "llama"] {
        let model = model(family);
        let open = |name: &str| Checkpoint::open(&golden(family).join(name)).unwrap();
        let (expected, sites) = (open("lens.safetensors"), open("expected.safetensors"));
        let mut seen = 0;
        for name in expected.names().filter(|name| name.starts_with("lens.")) {
            let point: HookPoint = name["lens.".len()..].parse().unwrap();
            let want = expected.tensor(name).unwrap();
            let (n_rows, want) = (want.shape[0], want.to_f32().unwrap());
            let rows = sites.tensor(&point.to_string()).unwrap();
            let width = rows.shape[1];
            let rows = Array2::from_shape_vec((rows.shape[0], width), rows.to_f32().unwrap().into_owned()).unwrap();
            let got = model.logits(point, rows.slice(s![..n_rows, ..])).unwrap();
            let scale = want.iter().fold(0.0f32, |most, value| most.max(value.abs()));
            for (got, want) in got.iter().zip(want.iter()) {
                assert!((got - want).abs() <= 1e-5 * scale, "{family} {point}: got {got}, want {want} of {scale}");
            }
            assert_eq!(got.len(), want.len());
            seen += 1;
        }
        assert_eq!(seen, 5, "{family}: embed, and two of each layer");
    }
}

#[test]
fn rows_and_columns_are_those_of_the_checkpoint_however_it_lays_them_out() {
    // GPT-2 stores its matrices input first, queries, keys and values in one.
    let gpt2 = model("gpt2");
    let qkv = stored("gpt2", "transformer.h.1.attn.c_attn.weight");
    let k = gpt2.reads(at(1, Site::AttnK), 3..7).unwrap();
    assert_eq!(k.weights, qkv.slice(s![.., 32 + 3..32 + 7]).t());
    assert_eq!(k.bias.unwrap().len(), 4);
    let out = stored("gpt2", "transformer.h.0.mlp.c_proj.weight");
    assert_eq!(gpt2.writes(at(0, Site::MlpPost), 10..12).unwrap().weights, out.slice(s![10..12, ..]));
    assert_eq!(gpt2.unembedding(5..9).unwrap().weights, gpt2.embedding(5..9).unwrap(), "tied");

    let llama = model("llama");
    let info = llama.info();
    let group = info.n_heads / info.n_kv_heads;
    assert!(group > 1, "heads share values");
    let v = stored("llama", "model.layers.0.self_attn.v_proj.weight");
    // Unit 1 of the second head of the second group.
    let unit = (group + 1) * info.d_head + 1;
    let z = llama.reads(at(0, Site::AttnZ), unit..unit + 1).unwrap().weights;
    assert_eq!(z.row(0), v.row(info.d_head + 1));
    let down = stored("llama", "model.layers.1.mlp.down_proj.weight");
    assert_eq!(llama.writes(at(1, Site::MlpPost), 4..5).unwrap().weights.row(0), down.column(4));
    let up = stored("llama", "model.layers.1.mlp.up_proj.weight");
    assert_eq!(llama.reads(at(1, Site::MlpPreLinear), 2..5).unwrap().weights, up.slice(s![2..5, ..]));
    assert_eq!(llama.reads(at(1, Site::MlpPost), 2..5).unwrap(), llama.reads(at(1, Site::MlpPre), 2..5).unwrap());

    // The backward units of a bidirectional layer follow the forward ones, and read the backward state alone.
    let lstm = model("lstm-bidirectional");
    let h = lstm.info().width(at(0, Site::LstmF)).unwrap() / 2;
    let input = stored("lstm-bidirectional", "lstm.weight_ih_l0_reverse");
    assert_eq!(lstm.reads(at(0, Site::LstmF), h + 2..h + 3).unwrap().weights.row(0), input.row(h + 2));
    let hidden = stored("lstm-bidirectional", "lstm.weight_hh_l0_reverse");
    let row = lstm.reads_state(at(0, Site::LstmF), h + 2..h + 3).unwrap().weights;
    assert_eq!(row.slice(s![0, h..]), hidden.row(h + 2));
    assert!(row.slice(s![0, ..h]).iter().all(|&value| value == 0.0));
}

#[test]
fn norms_on_the_way_are_those_that_stand_between() {
    let places = |model: &LanguageModel, from: Option<HookPoint>, to: Option<HookPoint>| -> Option<Vec<String>> {
        let norms = model.path(from, to).unwrap()?;
        Some(norms.iter().map(|norm| norm.point.to_string()).collect())
    };
    let names = |list: &[&str]| Some(list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
    let gpt2 = model("gpt2");
    let post = Some(at(0, Site::MlpPost));
    assert_eq!(places(&gpt2, post, None), names(&["ln_final.hook_normalized"]));
    assert_eq!(places(&gpt2, post, Some(at(1, Site::AttnV))), names(&["blocks.1.attn.hook_q"]));
    assert_eq!(places(&gpt2, post, Some(at(0, Site::MlpPre))), None, "it reads before it writes");
    assert_eq!(places(&gpt2, Some(at(0, Site::AttnZ)), Some(at(0, Site::MlpPre))), names(&["blocks.0.mlp.hook_pre"]));
    let bert = model("bert");
    assert_eq!(
        places(&bert, post, Some(at(1, Site::MlpPre))),
        names(&["blocks.0.hook_resid_post", "blocks.1.hook_resid_mid"])
    );
    assert_eq!(places(&bert, None, Some(at(0, Site::AttnQ))), names(&["hook_embed"]));
    let lstm = model("lstm");
    let h = Some(at(0, Site::LstmH));
    let read = |to| places(&lstm, h, to).is_some();
    assert!(read(Some(at(1, Site::LstmG))) && !read(Some(at(0, Site::LstmG))) && !read(None));
}

#[test]
fn what_has_no_weights_is_refused_with_what_to_ask_for() {
    let gpt2 = model("gpt2");
    let said = |err: ModelError| err.to_string();
    assert!(said(gpt2.writes(at(0, Site::MlpPre), 0..1).unwrap_err()).contains("ask for mlp_post"));
    assert!(said(gpt2.writes(at(0, Site::AttnV), 0..1).unwrap_err()).contains("ask for attn_z"));
    assert!(said(gpt2.reads(at(0, Site::ResidPost), 0..1).unwrap_err()).contains("no row of a matrix"));
    assert!(said(gpt2.reads(at(0, Site::MlpPreLinear), 0..1).unwrap_err()).contains("no such hook point"));
    assert!(said(gpt2.reads(at(9, Site::MlpPre), 0..1).unwrap_err()).contains("did you mean"));
    assert!(matches!(gpt2.reads(at(0, Site::MlpPre), 50..999_999_999_999), Err(ModelError::Plan(_))));
    assert!(matches!(gpt2.embedding(80..84), Err(ModelError::TokenOutOfRange { token: 83, .. })));
    assert!(matches!(gpt2.unembedding(usize::MAX - 1..usize::MAX), Err(ModelError::TokenOutOfRange { .. })));
    let rows = Array2::zeros((1, 56));
    assert!(said(gpt2.logits(at(0, Site::MlpPost), rows.view()).unwrap_err()).contains("the head reads the residual"));
    assert!(said(gpt2.logits(at(0, Site::ResidPost), rows.view()).unwrap_err()).contains("expected rows of 32"));
    let lstm = model("lstm");
    assert!(said(lstm.writes(at(0, Site::LstmC), 0..1).unwrap_err()).contains("ask for lstm_h"));
    assert!(said(gpt2.reads_state(at(0, Site::MlpPre), 0..1).unwrap_err()).contains("LSTM"));
}
