use std::fs;
use std::path::Path;

use nissl_core::NoProgress;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

/// A copy of the small model whose reference is committed.
struct Model(TempDir);

impl Model {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["config.json", "model.safetensors", "tokenizer.json"] {
            fs::copy(golden(name), folder.path().join(name)).unwrap();
        }
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn config(&self) -> Config {
        let reference = Some(golden("reference.safetensors"));
        Config { model: self.0.path().display().to_string(), reference, ..Config::default() }
    }

    fn check(&self) -> Report {
        run(&self.config(), &NoProgress).unwrap()
    }

    /// Adds to one value of a weight.
    fn damage(&self, weight: &str, place: usize, by: f32) {
        let path = self.path("model.safetensors");
        let mut bytes = fs::read(&path).unwrap();
        let (header, data) = header(&bytes);
        let start = data + header[weight]["data_offsets"][0].as_u64().unwrap() as usize + 4 * place;
        let value: &mut [u8; 4] = (&mut bytes[start..start + 4]).try_into().unwrap();
        *value = (f32::from_le_bytes(*value) + by).to_le_bytes();
        fs::write(path, bytes).unwrap();
    }
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/check").join(name)
}

/// The header of a safetensors file, and where its data begin.
fn header(bytes: &[u8]) -> (Value, usize) {
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    (serde_json::from_slice(&bytes[8..8 + length]).unwrap(), 8 + length)
}

/// The committed reference with another header, and other data.
fn altered(change: impl Fn(&mut Value, &mut Vec<u8>)) -> Vec<u8> {
    let bytes = fs::read(golden("reference.safetensors")).unwrap();
    let (mut header, data) = header(&bytes);
    let mut data = bytes[data..].to_vec();
    change(&mut header, &mut data);
    let header = header.to_string();
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat()
}

#[test]
fn a_model_agrees_with_what_transformers_recorded_of_it() {
    let report = Model::new().check();
    let check = report.check.unwrap();
    assert!(report.agrees && check.first_off.is_none() && check.notes.is_empty(), "{:?}", check.first_off);
    assert_eq!((check.sentences, check.tokens, &check.tokenizer), (3, 17, &TokenizerCheck::Same));
    assert!(check.made_by.starts_with("transformers 5"));
    let names: Vec<&str> = check.sites.iter().map(|site| site.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "embed",
            "attn_q",
            "attn_k",
            "attn_v",
            "attn_pattern",
            "attn_z",
            "attn_out",
            "resid_mid",
            "mlp_pre",
            "mlp_post",
            "mlp_out",
            "resid_post",
            "final_norm",
            "logits"
        ]
    );
    for site in &check.sites {
        let worst = site.worst().unwrap();
        assert!(worst.relative <= site.tolerance && worst.scale > 0.1, "{site:?}");
        assert_eq!(
            site.parts.len(),
            match site.name.as_str() {
                "embed" | "final_norm" | "logits" => 1,
                "attn_pattern" => 6,
                _ => 2,
            }
        );
    }
}

#[test]
fn one_changed_weight_is_found_at_its_site_layer_and_unit() {
    // The weights are stored input first: value `row * n_out + unit`.
    let cases = [
        ("transformer.h.1.attn.c_attn.weight", 3 * 48 + 16 + 5, "blocks.1.attn.hook_k", 5, "h.1.attn.c_attn"),
        ("transformer.h.0.attn.c_proj.weight", 2 * 16 + 7, "blocks.0.hook_attn_out", 7, "h.0.attn.c_proj"),
        ("transformer.h.1.mlp.c_fc.weight", 9 * 24 + 20, "blocks.1.mlp.hook_pre", 20, "h.1.mlp.c_fc"),
        ("transformer.h.1.mlp.c_proj.bias", 3, "blocks.1.hook_mlp_out", 3, "h.1.mlp.c_proj"),
        ("transformer.ln_f.weight", 11, "ln_final.hook_normalized", 11, "ln_f"),
    ];
    for (weight, place, point, unit, named) in cases {
        let model = Model::new();
        model.damage(weight, place, 0.01);
        let report = model.check();
        let check = report.check.unwrap();
        assert!(!report.agrees);
        assert_eq!(check.first_off.as_deref(), Some(point), "{weight}");
        let site = check.sites.iter().find(|site| site.parts.iter().any(|part| part.name == point)).unwrap();
        let part = site.parts.iter().find(|part| part.name == point).unwrap();
        assert_eq!((part.units_off, part.at.unit, site.weight.as_deref()), (1, unit, Some(named)), "{weight}");
        assert!(part.absolute > 0.0 && part.expected != part.got && !part.same_bits);
    }
}

#[test]
fn a_wider_tolerance_lets_a_small_change_pass() {
    let model = Model::new();
    model.damage("transformer.h.0.mlp.c_fc.bias", 4, 1e-4);
    assert!(!model.check().agrees);
    let wide = Config { tolerance: Some(1e-2), logits_tolerance: Some(1e-2), ..model.config() };
    assert!(run(&wide, &NoProgress).unwrap().agrees);
}

#[test]
fn what_nissl_recorded_is_expected_to_the_bit() {
    let model = Model::new();
    let own = model.path("own.safetensors");
    let texts = vec!["the cat ran home".to_owned(), "it was a late dog .".to_owned()];
    let record = Config { reference: None, write: Some(own.clone()), texts, ..model.config() };
    let report = run(&record, &NoProgress).unwrap();
    // Embeddings, 11 sites and 2 patterns of each of 2 layers, the final norm, the logits.
    assert_eq!(report.written.unwrap().tensors, 1 + 2 * (11 + 2) + 1 + 1);
    assert!(report.agrees && report.check.is_none());
    let again = Config { reference: Some(own), ..model.config() };
    for threads in [1, 2, 8] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let report = pool.install(|| run(&again, &NoProgress).unwrap());
        let check = report.check.unwrap();
        assert!(report.agrees && check.tokenizer == TokenizerCheck::Same);
        assert!(check.sites.iter().all(|site| site.tolerance == 0.0 && site.parts.iter().all(|part| part.same_bits)));
    }
    model.damage("transformer.h.1.mlp.c_proj.bias", 3, 1e-6);
    let check = run(&again, &NoProgress).unwrap().check.unwrap();
    assert_eq!(check.first_off.as_deref(), Some("blocks.1.hook_mlp_out"));
}

#[test]
fn a_reference_can_be_recorded_again_in_part() {
    let model = Model::new();
    let write = Some(model.path("mlp.safetensors"));
    let report = run(&Config { write, sites: vec!["mlp".into()], ..model.config() }, &NoProgress).unwrap();
    assert!(report.agrees && report.check.is_some());
    assert_eq!(report.written, Some(Written { path: model.path("mlp.safetensors"), tensors: 2, tokens: 17 }));
    let check = Config { reference: Some(model.path("mlp.safetensors")), ..model.config() };
    let check = run(&check, &NoProgress).unwrap().check.unwrap();
    assert_eq!((check.sites.len(), check.tokenizer), (1, TokenizerCheck::Same));
}

#[test]
fn a_tokenizer_with_other_numbers_is_told_with_the_first_that_differs() {
    let model = Model::new();
    let path = model.path("tokenizer.json");
    let text = fs::read_to_string(&path).unwrap();
    let text = text.replace("\"sat\": 3", "\"sat\": 7").replace("\"dog\": 7", "\"dog\": 3");
    fs::write(&path, &text).unwrap();
    let report = model.check();
    let check = report.check.unwrap();
    let different = TokenizerCheck::Different { sentence: 0, token: 2, expected: Some(3), got: Some(7) };
    assert_eq!((report.agrees, check.first_off, check.tokenizer), (false, None, different));
    fs::remove_file(path).unwrap();
    let check = model.check().check.unwrap();
    assert!(matches!(check.tokenizer, TokenizerCheck::NotCompared { ref why } if why.contains("expected a tokenizer")));
}

#[test]
fn values_that_are_no_numbers_are_off_and_the_report_stays_json() {
    let model = Model::new();
    let path = model.path("reference.safetensors");
    fs::write(
        &path,
        altered(|header, data| {
            let start = header["hook_embed"]["data_offsets"][0].as_u64().unwrap() as usize + 4 * 18;
            data[start..start + 4].copy_from_slice(&f32::NAN.to_le_bytes());
        }),
    )
    .unwrap();
    let report = run(&Config { reference: Some(path), ..model.config() }, &NoProgress).unwrap();
    let back: Report = serde_json::from_value(serde_json::to_value(&report).unwrap()).unwrap();
    assert_eq!(back, report);
    let check = report.check.unwrap();
    assert_eq!(check.first_off.as_deref(), Some("hook_embed"));
    let part = &check.sites[0].parts[0];
    assert_eq!((part.at, part.expected), (Place { sentence: 0, token: 1, unit: 2 }, None));
}

#[test]
fn what_is_no_reference_of_this_model_is_refused_by_what_is_wrong() {
    let model = Model::new();
    let path = model.path("reference.safetensors");
    let said = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        run(&Config { reference: Some(path.clone()), ..model.config() }, &NoProgress).unwrap_err().to_string()
    };
    let good = fs::read(golden("reference.safetensors")).unwrap();
    assert!(said(&good[..good.len() - 7]).contains("offsets in order"));
    assert!(said(&[0xff; 64]).contains("header: expected a length"));
    assert!(said(b"").contains("at least 8 bytes"));
    assert!(said(&fs::read(golden("model.safetensors")).unwrap()).contains("got format 'pt'"));
    let other = |name: &'static str, to: Value| altered(move |header, _| header["__metadata__"][name] = to.clone());
    assert!(said(&other("format", json!("nissl reference 9"))).contains("'nissl reference 9'"));
    assert!(said(&other("texts", json!("[\"one\"]"))).contains("texts: 3 of them, got 1"));
    assert!(said(&other("texts", json!("not json"))).contains("a JSON list of texts"));
    assert!(said(&other("texts", json!(3))).contains("__metadata__"));
    let without = altered(|header, _| {
        let tokens = header["tokens"].take();
        header.as_object_mut().unwrap().remove("tokens");
        header["others"] = tokens;
    });
    assert!(said(&without).contains("tensors tokens and offsets"));
    let tokens = |at: &'static str, place: usize, value: i64| {
        altered(move |header, data| {
            let start = header[at]["data_offsets"][0].as_u64().unwrap() as usize + 8 * place;
            data[start..start + 8].copy_from_slice(&value.to_le_bytes());
        })
    };
    assert!(said(&tokens("tokens", 2, -1)).contains("numbers of tokens, got -1"));
    assert!(said(&tokens("tokens", 2, 16)).contains("the vocabulary has 16 tokens"));
    assert!(said(&tokens("offsets", 1, 999)).contains("to ascend from 0 to 17"));
    assert!(said(&tokens("offsets", 0, -1)).contains("to ascend"));
    let as_floats = altered(|header, _| {
        header["tokens"]["dtype"] = json!("F64");
    });
    assert!(said(&as_floats).contains("tokens as a list of I64"));
    let wide = altered(|header, _| header["hook_embed"]["shape"] = json!([16, 17]));
    assert!(said(&wide).contains("expected hook_embed of shape [17, 16], got [16, 17]; the reference is one of check"));
    let halves = altered(|header, _| {
        header["hook_embed"]["dtype"] = json!("F64");
        header["hook_embed"]["shape"] = json!([17, 8]);
    });
    assert!(said(&halves).contains("hook_embed"));
    fs::remove_file(&path).unwrap();
    let missing = run(&Config { reference: Some(path), ..model.config() }, &NoProgress).unwrap_err().to_string();
    assert!(missing.starts_with("cannot read"), "{missing}");
}

#[test]
fn tensors_of_other_sites_are_noted() {
    let model = Model::new();
    let path = model.path("reference.safetensors");
    let renamed = altered(|header, _| {
        for (from, to) in [("logits", "my.values"), ("hook_embed", "blocks.7.hook_resid_post")] {
            let tensor = header[from].take();
            header.as_object_mut().unwrap().remove(from);
            header[to] = tensor;
        }
    });
    fs::write(&path, renamed).unwrap();
    let report = run(&Config { reference: Some(path), ..model.config() }, &NoProgress).unwrap();
    let notes = report.check.unwrap().notes;
    assert!(report.agrees);
    assert_eq!(
        notes,
        [
            "1 tensors of the reference are of no known site, such as my.values",
            "1 tensors of the reference are not in this model, such as blocks.7.hook_resid_post"
        ]
    );
}

#[test]
fn configs_that_ask_for_nothing_or_for_too_much_are_refused() {
    let model = Model::new();
    let said = |config: Config| run(&config, &NoProgress).unwrap_err().to_string();
    let none = || Config { reference: None, ..model.config() };
    assert!(said(Config::default()).starts_with("model:"));
    assert!(said(none()).contains("reference or write"));
    let write = || Some(model.path("out.safetensors"));
    assert!(said(Config { write: write(), ..none() }).contains("at least one text"));
    assert!(said(Config { texts: vec!["a".into()], ..model.config() }).contains("a reference has its own"));
    assert!(said(Config { sites: vec!["mlp".into()], ..model.config() }).contains("a file to write them to"));
    assert!(said(Config { tolerance: Some(-1.0), ..model.config() }).contains("0 to 1"));
    assert!(said(Config { logits_tolerance: Some(f32::NAN), ..model.config() }).contains("logits_tolerance"));
    let config = Config { write: write(), texts: vec!["a ".repeat(40)], ..none() };
    assert!(said(config).contains("the model reads at most 32"));
    assert!(!model.path("out.safetensors").exists());
}

#[test]
fn a_model_with_an_encoder_and_a_decoder_reads_a_text_as_source_and_target() {
    let folder = crate::testing::toy_t5();
    let out = folder.path().join("own.safetensors");
    let texts = vec!["the old cat".to_owned(), "dogs".to_owned()];
    let model = folder.path().display().to_string();
    let record = Config { model: model.clone(), texts, write: Some(out.clone()), ..Config::default() };
    run(&record, &NoProgress).unwrap();
    let report = run(&Config { model, reference: Some(out), ..Config::default() }, &NoProgress).unwrap();
    let check = report.check.unwrap();
    assert!(report.agrees, "{:?}", check.first_off);
    assert_eq!((check.sentences, check.tokens, &check.tokenizer), (2, 10, &TokenizerCheck::Same));
    let names: Vec<&str> = check.sites.iter().map(|site| site.name.as_str()).collect();
    for name in ["encoder.attn_pattern", "decoder.attn_pattern", "decoder.cross_attn_pattern", "decoder.final_norm"] {
        assert!(names.contains(&name), "{names:?}");
    }
}
