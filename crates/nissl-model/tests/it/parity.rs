//! Every site, every edit and the logits of small random models against transformers in float64.

use std::path::PathBuf;

use ndarray::{Array2, ArrayView2};
use nissl_core::{Batch, EditSpec, HookPlan, HookPoint, Model, Output, Trace};
use nissl_model::{Checkpoint, FAMILIES, FieldUse, LanguageModel};

/// Sites and logits must agree within these shares of the largest value of the site.
const SITE: f32 = nissl_model::SITE_TOLERANCE;
const LOGITS: f32 = nissl_model::LOGITS_TOLERANCE;

pub(crate) fn golden(family: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/models").join(family)
}

/// Models of an encoder and a decoder, whose tests are in `encoder_decoder.rs`.
pub(crate) const ENCODER_DECODERS: &[&str] =
    &["t5", "t5-gated", "umt5", "bart", "mbart", "marian", "marian-nmt", "marian-nmt-attention"];

/// The golden models: one a family, and variants; those of an encoder and a decoder apart.
pub(crate) fn models() -> impl Iterator<Item = &'static str> {
    let families = FAMILIES.iter().map(|family| family.name).filter(|name| !ENCODER_DECODERS.contains(name));
    families.chain(["lstm-bidirectional", "lstm-projection", "lstm-deep", "gru-deep"])
}

/// Models of known families with options that change the numbers alone: they have neither edits nor gradients.
pub(crate) const VARIANTS: [&str; 14] = [
    "deberta-v2-apart",
    "falcon-new",
    "falcon-serial",
    "gpt_oss-mxfp4",
    "llama-linear",
    "llama-dynamic",
    "llama-yarn",
    "llama-3",
    "llama-biased",
    "rwkv5-original",
    "rwkv6-original",
    "rwkv7-original",
    "gru-plain",
    "mlstm-plain",
];

/// A family's fixture: the model, its batch, and what the reference computed.
pub(crate) struct Fixture {
    pub(crate) model: LanguageModel,
    pub(crate) batch: Batch,
    pub(crate) expected: Checkpoint,
}

impl Fixture {
    fn load(family: &str) -> Self {
        Self::of_file(family, "expected.safetensors")
    }

    /// The fixture whose batch and values are in `file`.
    pub(crate) fn of_file(family: &str, file: &str) -> Self {
        let folder = golden(family);
        let model = LanguageModel::from_folder(&folder, family).unwrap();
        // The expected values are a safetensors file like any other; a folder of its own lets the reader open it.
        let own = tempfile::tempdir().unwrap();
        std::fs::copy(folder.join(file), own.path().join("model.safetensors")).unwrap();
        let expected = Checkpoint::open(own.path()).unwrap();
        let mut fixture = Self { model, batch: Batch::new(), expected };
        let tokens: Vec<u32> = fixture.whole("tokens").into_iter().map(|token| token as u32).collect();
        let offsets = fixture.whole("offsets");
        let sentences = offsets.windows(2).map(|pair| &tokens[pair[0] as usize..pair[1] as usize]);
        fixture.batch = Batch::from_sentences(sentences);
        fixture
    }

    /// Whole numbers.
    pub(crate) fn whole(&self, name: &str) -> Vec<i64> {
        let tensor = self.expected.tensor(name).unwrap();
        tensor.bytes.chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap())).collect()
    }

    pub(crate) fn values(&self, name: &str) -> Array2<f32> {
        let tensor = self.expected.tensor(name).unwrap();
        let rows = tensor.shape[0];
        let values = self.expected.f32(name, tensor.shape).unwrap().into_owned();
        let columns = values.len().checked_div(rows).unwrap_or(0);
        Array2::from_shape_vec((rows, columns), values).unwrap()
    }

    pub(crate) fn check(&self, name: &str, got: &ArrayView2<'_, f32>, tolerance: f32) {
        let want = self.values(name);
        assert_eq!(got.dim(), want.dim(), "shape of {name}");
        let scale = want.iter().fold(0.0f32, |most, v| most.max(v.abs()));
        for ((at, got), want) in got.indexed_iter().zip(&want) {
            let off = (got - want).abs() / scale.max(f32::MIN_POSITIVE);
            assert!(off <= tolerance, "{name}{at:?}: got {got}, want {want}: {off:.1e} of the largest value {scale}");
        }
    }

    /// Checks what a plan captures of the batch.
    pub(crate) fn check_sites(&self, plan: &HookPlan) -> Trace {
        let trace = self.model.run(&self.batch, plan).unwrap();
        for point in &plan.capture {
            if let Some(patterns) = trace.patterns.get(point) {
                for (sentence, pattern) in patterns.iter().enumerate() {
                    let (heads, queries, keys) = pattern.dim();
                    let flat = pattern.view().into_shape_with_order((heads, queries * keys)).unwrap();
                    self.check(&format!("{point}.{sentence}"), &flat, SITE);
                }
            } else {
                self.check(&point.to_string(), &trace.sites[point].view(), SITE);
            }
        }
        trace
    }
}

#[test]
fn every_site_and_the_logits_equal_the_reference() {
    for family in models().chain(VARIANTS) {
        let fixture = Fixture::load(family);
        let points: Vec<HookPoint> = fixture.model.info().points().map(|(point, _)| point).collect();
        let plan = HookPlan { capture: points.clone(), output: Output::All, ..HookPlan::default() };
        let trace = fixture.check_sites(&plan);
        fixture.check("logits", &trace.logits.unwrap().view(), LOGITS);
        let known: Vec<&str> = fixture.expected.names().filter(|name| name.contains("hook_")).collect();
        assert!(known.len() >= points.len(), "{family}: the fixture has every site");
    }
}

#[test]
fn what_a_family_says_of_itself_is_what_its_golden_model_has() {
    for family in FAMILIES {
        let outline = family.outline();
        let folder = golden(family.name);
        let model = LanguageModel::from_folder(&folder, family.name).unwrap();
        let has: Vec<_> = model
            .info()
            .stacks()
            .flat_map(|(stack, _, sites)| sites.iter().map(move |site| (stack, site.site)))
            .collect();
        for site in &has {
            assert!(outline.sites.contains(site), "{}: {site:?} is not in its outline", family.name);
        }
        let config = std::fs::read(folder.join("config.json"));
        assert!(config.is_err() || outline.fields.len() > 4 || family.name == "mlstm", "{}", family.name);
    }
    let lstm = FAMILIES.iter().find(|family| family.name == "lstm").unwrap().outline();
    let of = |name: &str| &lstm.fields.iter().find(|(field, _)| field == name).unwrap().1;
    assert_eq!(of("hidden_size"), &FieldUse::Read);
    assert_eq!(of("rnn_type"), &FieldUse::Only("\"LSTM\"".to_owned()));
    assert_eq!(of("batch_first"), &FieldUse::PassedOver);
}

#[test]
fn every_edit_equals_the_reference() {
    for family in models() {
        let fixture = Fixture::load(family);
        let text = std::fs::read_to_string(golden(family).join("edits.json")).unwrap();
        let edits: Vec<EditSpec> = serde_json::from_str(&text).unwrap();
        assert!(edits.len() > 10, "{family}: a dozen edits");
        for (i, edit) in edits.into_iter().enumerate() {
            let plan = HookPlan { edits: vec![edit], output: Output::All, ..HookPlan::default() };
            let logits = fixture.model.run(&fixture.batch, &plan).unwrap().logits.unwrap();
            fixture.check(&format!("edit.{i}"), &logits.view(), LOGITS);
        }
    }
}

#[derive(serde::Deserialize)]
struct Conditions {
    sentences: Vec<Vec<u32>>,
    cases: Vec<ConditionCase>,
}

#[derive(serde::Deserialize)]
struct ConditionCase {
    edit: EditSpec,
    rows: Vec<usize>,
    logits: Vec<Vec<f32>>,
}

#[test]
fn edits_act_where_their_condition_holds_as_in_the_reference() {
    for name in ["bert", "gpt2", "llama", "lstm", "lstm-deep", "textgenrnn"] {
        let model = LanguageModel::from_folder(&golden(name), name).unwrap();
        let path = golden(name).join("../../conditions").join(format!("{name}.json"));
        let Conditions { sentences, cases } = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        assert!(cases.len() > 4);
        let batch = Batch::from_sentences(sentences);
        for ConditionCase { edit, rows, logits: want } in cases {
            let run = |edits| HookPlan { edits, output: Output::Last, ..HookPlan::default() };
            let got = model.run(&batch, &run(vec![edit.clone()])).unwrap().logits.unwrap();
            let scale = want.iter().flatten().fold(0.0f32, |most, v| most.max(v.abs()));
            for (got, want) in got.iter().zip(want.iter().flatten()) {
                assert!((got - want).abs() <= LOGITS * scale, "{name} {edit:?}: {got}, want {want}");
            }
            // The same as the edit at these rows, whatever the values are.
            let there = EditSpec { positions: nissl_core::Positions::Rows(rows), when: None, ..edit };
            assert_eq!(got, model.run(&batch, &run(vec![there])).unwrap().logits.unwrap());
        }
    }
}

#[test]
fn several_edits_and_captures_together_equal_the_reference() {
    for family in models() {
        let fixture = Fixture::load(family);
        let text = std::fs::read_to_string(golden(family).join("combined.json")).unwrap();
        let edits: Vec<EditSpec> = serde_json::from_str(&text).unwrap();
        let names = fixture.expected.names().filter_map(|name| name.strip_prefix("combined.")?.parse().ok());
        let plan = HookPlan { capture: names.collect(), edits, output: Output::All };
        assert!(plan.capture.len() > 3, "{family}: some sites after several edits");
        let trace = fixture.model.run(&fixture.batch, &plan).unwrap();
        for (point, values) in &trace.sites {
            fixture.check(&format!("combined.{point}"), &values.view(), SITE);
        }
        fixture.check("combined.logits", &trace.logits.unwrap().view(), LOGITS);
    }
}
