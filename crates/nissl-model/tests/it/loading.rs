//! What is on disk under other names, in other files and in other number formats; and what should not be there.

use std::path::Path;

use half::{bf16, f16};
use ndarray::Array2;
use nissl_core::{Batch, HookPlan, HookPoint, Model, NoProgress, Output, Site};
use nissl_model::{Checkpoint, LanguageModel, LoadError, LoadOptions, WeightFormat};
use proptest::prelude::*;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::parity::golden;

/// A weight: name, type, shape and bytes.
type Weight = (String, Dtype, Vec<usize>, Vec<u8>);

fn weights(family: &str) -> Vec<Weight> {
    let checkpoint = Checkpoint::open(&golden(family)).unwrap();
    let weight = |name: &str| {
        let tensor = checkpoint.tensor(name).unwrap();
        (name.to_owned(), Dtype::F32, tensor.shape.to_vec(), tensor.bytes.to_vec())
    };
    checkpoint.names().map(weight).collect()
}

fn write(path: &Path, weights: &[Weight]) {
    let views = weights
        .iter()
        .map(|(name, dtype, shape, bytes)| (name, TensorView::new(*dtype, shape.clone(), bytes).unwrap()));
    std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

fn config(family: &str) -> Value {
    serde_json::from_slice(&std::fs::read(golden(family).join("config.json")).unwrap()).unwrap()
}

fn folder(config: &Value, weights: &[Weight]) -> TempDir {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    write(&folder.path().join("model.safetensors"), weights);
    folder
}

fn load(folder: &TempDir) -> Result<LanguageModel, LoadError> {
    LanguageModel::from_folder(folder.path(), "model")
}

fn logits(model: &LanguageModel) -> Array2<f32> {
    let plan = HookPlan { output: Output::All, ..HookPlan::default() };
    model.run(&Batch::from_sentences([&[5, 2, 9, 40][..], &[1]]), &plan).unwrap().logits.unwrap()
}

fn golden_logits(family: &str) -> Array2<f32> {
    logits(&LanguageModel::from_folder(&golden(family), family).unwrap())
}

#[test]
fn names_of_older_and_bare_checkpoints_mean_the_same() {
    type Rename = fn(&str) -> String;
    let cases: [(&str, Rename); 4] = [
        ("bert", |name| {
            name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
        }),
        ("bert", |name| name.trim_start_matches("bert.").to_owned()),
        ("gpt2", |name| name.trim_start_matches("transformer.").to_owned()),
        ("llama", |name| name.trim_start_matches("model.").to_owned()),
    ];
    for (family, rename) in cases {
        let mut renamed = weights(family);
        let mut n_changed = 0;
        for (name, ..) in &mut renamed {
            let new = rename(name);
            n_changed += usize::from(new != *name);
            *name = new;
        }
        assert!(n_changed > 8, "{family}");
        assert_eq!(logits(&load(&folder(&config(family), &renamed)).unwrap()), golden_logits(family), "{family}");
    }
}

#[test]
fn buffers_that_old_checkpoints_carry_are_passed_over() {
    let mut with = weights("gpt2");
    with.push(("transformer.h.0.attn.bias".to_owned(), Dtype::BOOL, vec![1, 1, 2, 2], vec![1; 4]));
    with.push(("transformer.h.0.attn.masked_bias".to_owned(), Dtype::F32, vec![], vec![0; 4]));
    assert_eq!(logits(&load(&folder(&config("gpt2"), &with)).unwrap()), golden_logits("gpt2"));
}

#[test]
fn a_model_without_its_head_has_sites_and_no_logits() {
    for (family, head) in [("bert", "cls."), ("llama", "lm_head.")] {
        let bare: Vec<Weight> = weights(family).into_iter().filter(|(name, ..)| !name.starts_with(head)).collect();
        let model = load(&folder(&config(family), &bare)).unwrap();
        assert!(!model.info().has_logits, "{family}");
        let batch = Batch::from_sentences([[3, 4]]);
        assert!(model.run(&batch, &HookPlan::capture([HookPoint::new(1, Site::MlpPost)])).is_ok());
        assert!(model.run(&batch, &HookPlan { output: Output::Last, ..HookPlan::default() }).is_err());
    }
}

#[test]
fn shards_and_16_bit_weights_give_the_numbers_they_hold() {
    type Round = fn(f32) -> (Vec<u8>, f32);
    let formats: [(Dtype, Round); 2] = [
        (Dtype::F16, |v| (f16::from_f32(v).to_le_bytes().to_vec(), f16::from_f32(v).to_f32())),
        (Dtype::BF16, |v| (bf16::from_f32(v).to_le_bytes().to_vec(), bf16::from_f32(v).to_f32())),
    ];
    for family in ["bert", "gpt2", "llama"] {
        let whole = weights(family);
        let cut = folder(&config(family), &[]);
        std::fs::remove_file(cut.path().join("model.safetensors")).unwrap();
        let (one, two) = whole.split_at(whole.len() / 3);
        write(&cut.path().join("one.safetensors"), one);
        write(&cut.path().join("two.safetensors"), two);
        let place = |part: &[Weight], file: &str| part.iter().map(|w| (w.0.clone(), json!(file))).collect::<Vec<_>>();
        let map = place(one, "one.safetensors").into_iter().chain(place(two, "two.safetensors"));
        let index = json!({ "weight_map": map.collect::<serde_json::Map<_, _>>() }).to_string();
        std::fs::write(cut.path().join("model.safetensors.index.json"), index).unwrap();
        let cut = load(&cut).unwrap();
        assert_eq!(logits(&cut), golden_logits(family), "{family} in shards");
        let fingerprint = load(&folder(&config(family), &whole)).unwrap().info().fingerprint.clone();
        assert_eq!(cut.info().fingerprint, fingerprint, "{family} in shards");

        for (dtype, round) in formats {
            let (mut small, mut rounded) = (whole.clone(), whole.clone());
            for ((_, small_dtype, _, small), (.., wide)) in small.iter_mut().zip(&mut rounded) {
                let pairs = small.chunks_exact(4).map(|b| round(f32::from_le_bytes(b.try_into().unwrap())));
                let (bytes, values): (Vec<Vec<u8>>, Vec<f32>) = pairs.unzip();
                (*small_dtype, *small) = (dtype, bytes.concat());
                *wide = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            }
            let (small, rounded) = (folder(&config(family), &small), folder(&config(family), &rounded));
            assert_eq!(logits(&load(&small).unwrap()), logits(&load(&rounded).unwrap()), "{family} {dtype:?}");
            let options = LoadOptions { weights: WeightFormat::Native, ..LoadOptions::default() };
            let native = LanguageModel::load_with(&small.path().display().to_string(), &options, &NoProgress).unwrap();
            assert_eq!(logits(&native), logits(&load(&rounded).unwrap()), "{family}, {dtype:?}, kept as it is");
        }
    }
}

#[test]
fn the_rotary_base_is_read_where_older_configs_have_it() {
    let mut old = config("llama");
    let theta = old.as_object_mut().unwrap().remove("rope_parameters").unwrap()["rope_theta"].clone();
    old["rope_theta"] = theta;
    old["rope_scaling"] = Value::Null;
    assert_eq!(logits(&load(&folder(&old, &weights("llama"))).unwrap()), golden_logits("llama"));
}

#[test]
fn a_model_that_does_not_fit_its_config_is_refused_by_name() {
    let with = |family: &str, field: &str, value: Value| {
        let mut config = config(family);
        config[field] = value;
        load(&folder(&config, &weights(family))).map(|_| ()).unwrap_err().to_string()
    };
    let cases = [
        (with("bert", "model_type", json!("berd")), "unknown architecture 'berd': known are bert, roberta, "),
        (with("esm", "position_embedding_type", json!("relative")), "expected rotary or absolute, got relative"),
        (with("esm", "is_folding_model", json!(true)), "field is_folding_model: expected false"),
        (with("modernbert", "classifier_pooling", json!("mean")), "field classifier_pooling: expected \"cls\""),
        (with("modernbert", "layer_types", json!(["full_attention"])), "field layer_types: expected 3 of them, got 1"),
        (
            with("deberta-v2", "conv_kernel_size", json!(3)),
            "field conv_kernel_size: expected 0 (nothing else yet), got 3",
        ),
        (with("deberta-v2", "pos_att_type", json!("p2p|c2p")), "field pos_att_type: expected c2p and p2c, got p2p"),
        (with("deberta-v2", "position_buckets", json!(1e12)), "field number of relative positions: expected 1 to"),
        (with("deberta-v2", "position_buckets", json!(9)), "rel_embeddings.weight: expected [18, 32], got [8, 32]"),
        (with("xlnet", "attn_type", json!("uni")), "field attn_type: expected \"bi\" (nothing else yet)"),
        (with("xlnet", "summary_type", json!("attn")), "field summary_type: expected last or first, got attn"),
        (with("xlnet", "d_inner", json!(45)), "ff.layer_1.weight: expected [45, 32], got [44, 32]"),
        (with("bert", "model_type", Value::Null), "config.json: field model_type: expected a text, got nothing"),
        (with("bert", "vocab_size", json!(72)), "embeddings.word_embeddings.weight: expected [72, 36], got [71, 36]"),
        (with("bert", "num_hidden_layers", json!(3)), "no weight is called 'bert.encoder.layer.2."),
        (with("bert", "hidden_act", json!("gely")), "field hidden_act: expected gelu, "),
        (with("bert", "position_embedding_type", json!("relative_key")), "expected \"absolute\""),
        (with("roberta", "position_embedding_type", json!("relative_key")), "field position_embedding_type: expected"),
        (with("roberta", "max_position_embeddings", json!(9)), "position_embeddings.weight: expected [9, 32]"),
        (with("albert", "inner_group_num", json!(2)), "field inner_group_num: expected 1 (nothing else yet), got 2"),
        (with("albert", "num_hidden_groups", json!(4)), "field number of layer groups: expected 1 to 3, got 4"),
        (with("electra", "embedding_size", json!(21)), "word_embeddings.weight: expected [61, 21], got [61, 20]"),
        (with("mpnet", "relative_attention_num_buckets", json!(16)), "field relative_attention_num_buckets"),
        (with("distilbert", "n_heads", json!(5)), "field n_heads: expected a divisor of dim = 32, got 5"),
        (with("gpt2", "n_inner", json!(57)), "h.0.mlp.c_fc.weight: expected [32, 57], got [32, 56]"),
        (with("gpt2", "n_head", json!(5)), "field n_head: expected a divisor of n_embd = 32, got 5"),
        (with("llama", "num_key_value_heads", json!(3)), "expected a divisor of 4 heads, got 3"),
        (
            with("llama", "rope_parameters", json!({"rope_type": "yarm"})),
            "expected default, linear, dynamic, llama3, yarn",
        ),
        (with("llama", "rope_parameters", json!({"rope_tupe": "yarn"})), "rope_parameters.rope_tupe: expected one of"),
        (
            with("llama", "rope_parameters", json!({"rope_type": "yarn"})),
            "original_max_position_embeddings: expected a whole",
        ),
        (with("llama", "head_dim", json!(1u64 << 60)), "expected "),
        (with("llama", "rope_theta", json!("big")), "field rope_theta: expected a number"),
        (with("lstm", "hidden_size", json!(13)), "rnn.weight_ih_l0: expected [52, 32], got [48, 32]"),
        (with("lstm", "num_layers", json!(3)), "no weight is called 'rnn.weight_ih_l2'"),
        (with("lstm", "bidirectional", json!(true)), "no weight is called 'rnn.weight_ih_l0_reverse'"),
        (with("lstm", "rnn_type", json!("GRU")), "field rnn_type: expected \"LSTM\""),
        (with("gru", "rnn_type", json!("LSTM")), "field rnn_type: expected \"GRU\""),
        (with("gru", "proj_size", json!(4)), "field proj_size: expected 0"),
        (with("gru", "hidden_size", json!(13)), "rnn.weight_ih_l0: expected [39, 32], got [36, 32]"),
        (with("gru", "clip", json!(3.0)), "clip"),
        (with("mlstm", "hidden_size", json!(13)), "field hidden_size: expected 12"),
    ];
    for (message, expected) in cases {
        assert!(message.contains(expected), "{message}: expected {expected}");
    }
}

fn fields(family: &str) -> Vec<String> {
    config(family).as_object().unwrap().keys().cloned().collect()
}

proptest! {
    #[test]
    fn no_config_makes_loading_panic(
        family in prop::sample::select(vec!["bert", "roberta", "electra", "albert", "mpnet", "deberta-v2", "xlnet", "gpt2", "llama", "lstm"]),
        field in any::<prop::sample::Index>(),
        value in prop::sample::select(vec![
            json!(null), json!(0), json!(1), json!(-1), json!(3), json!(0.5), json!(1e300), json!(u64::MAX), json!(i64::MAX),
            json!(1u64 << 40), json!(1u64 << 27), json!(true), json!(""), json!([]), json!({}), json!({"rope_theta": -1.0}),
        ]),
    ) {
        let fields = fields(family);
        let mut config = config(family);
        config[&fields[field.index(fields.len())]] = value;
        if let Ok(model) = load(&folder(&config, &weights(family))) {
            let plan = HookPlan { output: Output::Last, ..HookPlan::default() };
            drop(model.run(&Batch::from_sentences([[1, 2, 3]]), &plan));
        }
    }
}

#[test]
fn a_gguf_file_is_the_model_that_a_folder_is() {
    let path = golden("..").join("checkpoints/llama.gguf").display().to_string();
    let model = LanguageModel::open(&path).unwrap();
    assert_eq!(logits(&model), golden_logits("llama"));
    let (got, want) = (model.info(), LanguageModel::from_folder(&golden("llama"), "llama").unwrap());
    assert_eq!((&got.family, got.n_ctx, got.d_mlp), (&want.info().family, want.info().n_ctx, want.info().d_mlp));
    assert_eq!(got.sites, want.info().sites);
    // The rows of queries and keys are the same values in the family's order.
    let points = [HookPoint::new(1, Site::AttnQ), HookPoint::new(1, Site::AttnK)];
    let plan = HookPlan { capture: points.to_vec(), ..HookPlan::default() };
    let batch = Batch::from_sentences([&[3, 1, 4, 1, 5][..]]);
    let (got, want) = (model.run(&batch, &plan).unwrap(), want.run(&batch, &plan).unwrap());
    for point in points {
        assert_eq!(got.sites[&point], want.sites[&point], "{point}");
    }
}

#[test]
fn gguf_files_of_qwen_are_the_models_that_folders_are() {
    for family in ["qwen2", "qwen3"] {
        let path = golden("..").join(format!("checkpoints/{family}.gguf")).display().to_string();
        let model = LanguageModel::open(&path).unwrap();
        let mut plain = config(family);
        plain["use_sliding_window"] = json!(false);
        plain["layer_types"] = Value::Null;
        let folder = folder(&plain, &weights(family));
        let want = load(&folder).unwrap();
        assert_eq!(model.info().sites, want.info().sites);
        let plan = HookPlan { output: Output::All, ..HookPlan::default() };
        let batch = Batch::from_sentences([&[3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5][..]]);
        assert_eq!(model.run(&batch, &plan).unwrap().logits, want.run(&batch, &plan).unwrap().logits, "{family}");
    }
}

#[test]
fn distances_are_clamped_wherever_a_config_says() {
    let plan = HookPlan { output: Output::All, ..HookPlan::default() };
    let run = |clamp: Value| {
        let mut config = config("xlnet");
        config["clamp_len"] = clamp;
        let model = load(&folder(&config, &weights("xlnet"))).unwrap();
        model.run(&Batch::from_sentences([&[7, 9, 8, 5, 6][..]]), &plan).unwrap().logits
    };
    let free = run(json!(-1));
    assert_eq!(run(json!(1e300)), free);
    assert_eq!(run(json!(u64::MAX)), free);
    assert_eq!(run(json!(4)), free);
    assert_ne!(run(json!(3)), free);
}

#[test]
fn an_unknown_family_is_told_which_known_one_is_nearest_and_what_differs() {
    let said = |family: &str, changes: &[(&str, Value)]| {
        let mut config = config(family);
        config["model_type"] = json!("news2");
        for (field, value) in changes {
            config[*field] = value.clone();
        }
        load(&folder(&config, &weights(family))).map(|_| ()).unwrap_err().to_string()
    };
    let told =
        said("llama", &[("sliding_chunks", json!(4)), ("attention_dropout", json!(0.1)), ("wide", json!(false))]);
    assert!(told.contains("; nearest is llama, which does not know sliding_chunks"), "{told}");
    assert!(!told.contains("dropout") && !told.contains("wide"), "{told}");
    let told = said("gemma2", &[]);
    assert!(told.contains("; gemma2 knows every option of this config"), "{told}");
    let told = said("bloom", &[("n_head", json!(7))]);
    assert!(!told.contains("nearest is") && !told.contains("knows every"), "nobody reads 7 heads of 36: {told}");
}

#[test]
fn sizes_that_a_state_cannot_have_are_refused_by_name() {
    let said = |family: &str, changes: &[(&str, Value)], weights: &[Weight]| {
        let mut config = config(family);
        for (field, value) in changes {
            config[*field] = value.clone();
        }
        load(&folder(&config, weights)).map(|_| ()).unwrap_err().to_string()
    };
    let (rwkv, mamba) = (weights("rwkv5"), weights("mamba"));
    let cases = [
        (
            said("rwkv5", &[("head_size", json!(0))], &rwkv),
            "field head_size: expected a divisor of the width 24, got 0",
        ),
        (
            said("rwkv5", &[("head_size", json!(7))], &rwkv),
            "field head_size: expected a divisor of the width 24, got 7",
        ),
        (said("rwkv5", &[("head_size", json!(4))], &rwkv), "time_decay: expected [6, 4], got [3, 8]"),
        (said("rwkv5", &[("attention_hidden_size", json!(48))], &rwkv), "field attention_hidden_size: expected 24"),
        (said("rwkv5", &[("intermediate_size", json!(0))], &rwkv), "number of MLP neurons: expected 1 to"),
        (said("rwkv5", &[("num_hidden_layers", json!(3))], &rwkv), "no weight is called 'rwkv.blocks.2."),
        (said("mamba", &[("state_size", json!(0))], &mamba), "number of states: expected 1 to"),
        (said("mamba", &[("conv_kernel", json!(0))], &mamba), "taps of the convolution: expected 1 to"),
        (said("mamba", &[("time_step_rank", json!("wide"))], &mamba), "field time_step_rank: expected a whole number"),
        (said("mamba", &[("state_size", json!(6))], &mamba), "shape of backbone.layers.0.mixer."),
        (said("mamba", &[("hidden_act", json!("swoosh"))], &mamba), "field hidden_act: expected"),
        (said("mamba", &[("intermediate_size", json!(u64::MAX))], &mamba), "width of the mixer: expected 1 to"),
    ];
    for (said, expected) in cases {
        assert!(said.contains(expected), "{said}: expected {expected}");
    }
    let (rwkv6, rwkv7) = (weights("rwkv6"), weights("rwkv7"));
    let cases = [
        (said("rwkv6", &[("head_size", json!(12))], &rwkv6), "time_faaaa: expected [2, 12], got [3, 8]"),
        (said("rwkv6", &[("tie_word_embeddings", json!(true))], &rwkv6), "field tie_word_embeddings: expected false"),
        (said("rwkv7", &[("head_dim", json!(5))], &rwkv7), "field head_dim: expected a divisor of the width 24, got 5"),
        (said("rwkv7", &[("num_heads", json!(4))], &rwkv7), "field num_heads: expected 3 heads of width 8, got 4"),
        (said("rwkv7", &[("value_dim", json!([24, 48]))], &rwkv7), "field value_dim: expected [24,24]"),
        (said("rwkv7", &[("attn", json!({"layers": [1]}))], &rwkv7), "field attn: expected null"),
        (said("rwkv7", &[("hidden_ratio", json!(1e300)), ("intermediate_size", json!(null))], &rwkv7), "MLP neurons"),
        (said("rwkv7", &[("num_hidden_layers", json!(3)), ("value_dim", json!(24))], &rwkv7), "'model.layers.2."),
    ];
    for (said, expected) in cases {
        assert!(said.contains(expected), "{said}: expected {expected}");
    }
    let thin = |(name, _, shape, bytes): &mut Weight| {
        if name == "model.layers.1.attn.a_lora.lora.2.weight" {
            *shape = vec![24, 2];
            bytes.truncate(4 * 48);
        }
    };
    let mut thinner = weights("rwkv7");
    thinner.iter_mut().for_each(thin);
    let told = said("rwkv7", &[], &thinner);
    assert!(told.contains("a_lora.lora.2.weight: expected [24, 4], got [24, 2]"), "{told}");
    // Without config.json the sizes are those of the weights.
    let original = |change: &dyn Fn(&mut Weight)| {
        let mut weights = weights("rwkv5-original");
        weights.iter_mut().for_each(change);
        let folder = TempDir::new().unwrap();
        write(&folder.path().join("model.safetensors"), &weights);
        load(&folder).map(|_| ()).unwrap_err().to_string()
    };
    let flat = original(&|(name, _, shape, _)| {
        if name == "blocks.0.att.time_decay" {
            *shape = vec![24];
        }
    });
    assert!(flat.contains("time_decay: expected [heads, width of a head] (RWKV 5.2), got [24]"), "{flat}");
    let swapped = original(&|(name, _, shape, _)| {
        if name == "blocks.1.att.time_faaaa" {
            shape.swap(0, 1);
        }
    });
    assert!(swapped.contains("blocks.1.att.time_faaaa: expected [3, 8], got [8, 3, 1]"), "{swapped}");
}

#[test]
fn a_tokenizer_that_cannot_be_read_is_missed_only_where_texts_are_read() {
    let folder = folder(&config("albert"), &weights("albert"));
    std::fs::write(folder.path().join("vocab.txt"), "[PAD]\nC\n").unwrap();
    std::fs::write(folder.path().join("tokenizer_config.json"), r#"{"tokenizer_class":"SmilesTokenizer"}"#).unwrap();
    let model = load(&folder).unwrap();
    assert_eq!(logits(&model), golden_logits("albert"));
    let err = model.tokenizer().unwrap_err().to_string();
    assert!(err.contains("expected a tokenizer to read texts with") && err.contains("SmilesTokenizer"), "{err}");
    for file in ["vocab.txt", "tokenizer_config.json"] {
        std::fs::remove_file(folder.path().join(file)).unwrap();
    }
    let err = load(&folder).unwrap().tokenizer().unwrap_err().to_string();
    assert!(err.contains("expected a tokenizer to read texts with, got none: no tokenizer.json"), "{err}");
}
