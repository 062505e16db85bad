#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use candle_core::Var;
use ndarray::ArrayView2;
use nissl_core::{Batch, CaptureSink, EditSpec, HookPlan, ModelError, ModelInfo, Output};

use super::*;
use crate::arch::{FAMILIES, Found};
use crate::blocks::head::Head;
use crate::checkpoint::Checkpoint;
use crate::engine::cpu::Cpu;
use crate::hooks::{Hooks, Prepared};
use crate::options::WeightFormat;
use crate::skeletons::Network;
use crate::weights::{self, Embeddings};

/// The golden models: one a family, and variants; those of an encoder and a decoder are compared in device/tests.rs.
pub(crate) fn models() -> impl Iterator<Item = &'static str> {
    let families =
        FAMILIES.iter().map(|family| family.name).filter(|name| !["t5", "bart", "marian", "marian-nmt"].contains(name));
    families.chain(["lstm-bidirectional", "lstm-projection", "lstm-deep", "gru-deep"])
}

/// A golden model on an engine of choice.
pub(crate) struct Loaded<E: Engine<Packing = E> + Packing> {
    pub(crate) engine: E,
    pub(crate) checkpoint: Checkpoint,
    pub(crate) info: ModelInfo,
    pub(crate) embeddings: Embeddings,
    network: Network<E>,
    head: Head<E>,
}

pub(crate) fn golden(family: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/models").join(family)
}

impl<E: Engine<Packing = E> + Packing> Loaded<E> {
    pub(crate) fn new(engine: E, family: &str) -> Self {
        let folder = golden(family);
        let path = folder.join("config.json");
        let mut checkpoint = Checkpoint::open(&folder).unwrap();
        let found = fs::read(&path).map(|config| Found::by_config(&path, &config).unwrap());
        let found = found.or_else(|_| Found::by_weights(&checkpoint).ok_or("a known kind")).unwrap();
        let architecture = found.architecture(&mut checkpoint).unwrap();
        let info = architecture.info(family, found.family, true, "");
        let embeddings = weights::embeddings(&checkpoint, &architecture).unwrap();
        let network = weights::network(&engine, &checkpoint, &architecture).unwrap();
        let head = weights::head(&engine, &checkpoint, &architecture).unwrap();
        Self { engine, checkpoint, info, embeddings, network, head }
    }

    pub(crate) fn embed(&self, batch: &Batch) -> E::Tensor {
        let positions: Vec<usize> = (0..batch.n_sentences()).flat_map(|i| 0..batch.sentence(i).len()).collect();
        self.embeddings.embed(&self.engine, &self.checkpoint, batch.tokens(), &positions)
    }

    /// The logits of embedded tokens; captures go to `sink`.
    fn logits(&self, x: E::Tensor, batch: &Batch, plan: &HookPlan, sink: &dyn CaptureSink) -> E::Tensor {
        self.watched(x, batch, &Prepared::new(plan, self.info.n_ctx), sink)
    }

    /// The logits of embedded tokens, where gradients may be taken of them.
    pub(crate) fn watched(
        &self,
        x: E::Tensor,
        batch: &Batch,
        prepared: &Prepared<'_>,
        sink: &dyn CaptureSink,
    ) -> E::Tensor {
        let hooks = Hooks::new(prepared, sink, batch, 0..batch.n_sentences());
        let Ok(x) = self.network.forward(&self.engine, x, &hooks, None) else {
            panic!("the pass runs to its end");
        };
        self.head.forward(&self.engine, &x, None)
    }

    fn run(&self, batch: &Batch, plan: &HookPlan) -> (Captured, Array2<f32>) {
        let sink = Collect::default();
        let logits = self.logits(self.embed(batch), batch, plan, &sink);
        (sink.0.into_inner().unwrap(), self.engine.read(&logits))
    }
}

/// What was captured, by number of the capture and, of patterns, of the sentence.
type Captured = BTreeMap<(usize, usize), Array2<f32>>;

#[derive(Default)]
struct Collect(Mutex<Captured>);

impl CaptureSink for Collect {
    fn capture(
        &self,
        idx: usize,
        _: usize,
        _: usize,
        values: ArrayView2<'_, f32>,
    ) -> std::result::Result<(), ModelError> {
        self.0.lock().unwrap().insert((idx, 0), values.to_owned());
        Ok(())
    }

    fn pattern(&self, idx: usize, sentence: usize, values: ArrayView2<'_, f32>) -> std::result::Result<(), ModelError> {
        self.0.lock().unwrap().insert((idx, sentence), values.to_owned());
        Ok(())
    }
}

pub(crate) fn batch(info: &ModelInfo) -> Batch {
    let token = |i: usize| (i * 31 % info.d_vocab) as u32;
    Batch::from_sentences([5, 1, 12].map(|n| (0..n).map(|i| token(i + n)).collect::<Vec<u32>>()))
}

fn everything(info: &ModelInfo) -> HookPlan {
    let capture = info.points().map(|(point, _)| point).collect();
    HookPlan { capture, output: Output::All, ..HookPlan::default() }
}

fn assert_near(label: &str, got: &Array2<f32>, want: &Array2<f32>, tolerance: f32) {
    assert_eq!(got.dim(), want.dim(), "{label}");
    let scale = want.iter().fold(0.0f32, |most, v| most.max(v.abs()));
    for ((at, got), want) in got.indexed_iter().zip(want) {
        assert!((got - want).abs() <= tolerance * scale, "{label}{at:?}: {got} and {want}, largest {scale}");
    }
}

#[test]
fn both_engines_agree_at_every_site() {
    for family in models() {
        let ours = Loaded::new(Cpu::new(WeightFormat::F32), family);
        let twin = Loaded::new(Candle::twin(DType::F32), family);
        let (batch, plan) = (batch(&ours.info), everything(&ours.info));
        let (sites, logits) = ours.run(&batch, &plan);
        let (twin_sites, twin_logits) = twin.run(&batch, &plan);
        assert!(sites.len() >= plan.capture.len(), "{family}: patterns are one a sentence");
        assert_eq!(sites.keys().collect::<Vec<_>>(), twin_sites.keys().collect::<Vec<_>>());
        for (key, values) in &sites {
            let label = format!("{family} {} {}", plan.capture[key.0], key.1);
            assert_near(&label, values, &twin_sites[key], 1e-5);
        }
        assert_near(family, &logits, &twin_logits, 1e-5);
    }
}

#[test]
fn both_engines_agree_on_every_edit() {
    for family in models() {
        let ours = Loaded::new(Cpu::new(WeightFormat::F32), family);
        let twin = Loaded::new(Candle::twin(DType::F32), family);
        let text = fs::read_to_string(golden(family).join("edits.json")).unwrap();
        let edits: Vec<EditSpec> = serde_json::from_str(&text).unwrap();
        // The edits name rows of the batch that they were made for, of 7, 1 and 17 tokens.
        let token = |i: usize| (i * 31 % ours.info.d_vocab) as u32;
        let batch = Batch::from_sentences([7, 1, 17].map(|n| (0..n).map(|i| token(i + n)).collect::<Vec<u32>>()));
        for edit in edits {
            let label = format!("{family} {edit:?}");
            let plan = HookPlan { edits: vec![edit], output: Output::All, ..HookPlan::default() };
            assert_near(&label, &ours.run(&batch, &plan).1, &twin.run(&batch, &plan).1, 1e-5);
        }
    }
}

#[test]
fn gradients_equal_differences() {
    for family in models() {
        let twin = Loaded::new(Candle::twin(DType::F64), family);
        let batch = batch(&twin.info);
        let x = Var::from_tensor(&twin.embed(&batch)).unwrap();
        let n_logits = twin.run(&batch, &HookPlan { output: Output::All, ..HookPlan::default() }).1.ncols();
        let n = batch.n_tokens() * n_logits;
        let weights: Vec<f64> = (0..n).map(|i| ((i * 37 % 101) as f64 / 50.0 - 1.0) / n as f64).collect();
        let weights = Tensor::from_vec(weights, (batch.n_tokens(), n_logits), &twin.engine.device).unwrap();
        let plan = HookPlan { output: Output::All, ..HookPlan::default() };
        let loss = |x: &Tensor| {
            let logits = twin.logits(x.clone(), &batch, &plan, &Collect::default());
            (logits * &weights).unwrap().sum_all().unwrap()
        };
        let gradients = loss(x.as_tensor()).backward().unwrap();
        let gradient = gradients.get(&x).expect("the embeddings have a gradient").to_vec2::<f64>().unwrap();
        let values = x.to_vec2::<f64>().unwrap();
        // Curvature is large where embeddings are small: a longer step would be off by more than rounding.
        let step = 1e-5;
        for (row, column) in [(0, 0), (3, 7), (5, 1), (6, 30), (12, 11), (17, 20)] {
            let column = column % values[row].len();
            let moved = |by: f64| {
                let mut values = values.clone();
                values[row][column] += by;
                let values = Tensor::new(values, &twin.engine.device).unwrap();
                loss(&values).to_scalar::<f64>().unwrap()
            };
            let difference = (moved(step) - moved(-step)) / (2.0 * step);
            let got = gradient[row][column];
            let off = (got - difference).abs() / difference.abs();
            assert!(off < 1e-6, "{family} [{row}, {column}]: {got}, by differences {difference}: {off:e}");
        }
    }
}

#[test]
fn an_edit_lets_through_its_share_of_a_gradient() {
    let twin = Loaded::new(Candle::twin(DType::F64), "gpt2");
    let batch = batch(&twin.info);
    let x = Var::from_tensor(&twin.embed(&batch)).unwrap();
    let gradient_with = |edit: &str| {
        let edit = format!(r#"{{"point":"hook_embed","positions":{{"rows":[2]}},"edit":{edit}}}"#);
        let edits = vec![serde_json::from_str(&edit).unwrap()];
        let plan = HookPlan { edits, output: Output::Last, ..HookPlan::default() };
        let logits = twin.logits(x.as_tensor().clone(), &batch, &plan, &Collect::default());
        let gradients = logits.narrow(0, 2, 1).unwrap().sum_all().unwrap().backward().unwrap();
        gradients.get(&x).unwrap().to_vec2::<f64>().unwrap()
    };
    let zeros = vec!["0.0"; twin.info.d_model].join(",");
    let whole = gradient_with(&format!(r#"{{"add":{{"values":[{zeros}]}}}}"#));
    let none = gradient_with(r#""zero""#);
    assert!(whole[2].iter().all(|&value| value.abs() > 1e-9), "an addition lets all through");
    assert_eq!(none[2], vec![0.0; twin.info.d_model], "a constant lets nothing through");
    assert!(none[1].iter().any(|&value| value.abs() > 1e-9), "other rows keep theirs");
    // Scaling by one leaves the values, and so the rest of the network, as they are.
    assert_eq!(gradient_with(r#"{"scale":{"factor":1.0}}"#), whole);
}
