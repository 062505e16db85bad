//! The heads of small random models against transformers, and how one is chosen.

use std::path::PathBuf;

use nissl_core::{Batch, Edit, EditSpec, HookPlan, HookPoint, Model, NoProgress, Objective, Output, Positions, Site};
use nissl_core::{Trace, Units, VariantSink, Variants};
use nissl_model::{AnswersAt, HeadKind, LanguageModel, LoadOptions};

use crate::parity::{Fixture, golden};

const LOGITS: f32 = 5e-5;

/// Every folder of heads.
fn folders() -> Vec<String> {
    let all = std::fs::read_dir(golden("heads")).unwrap();
    let mut names: Vec<String> = all.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn folder(name: &str) -> PathBuf {
    golden("heads").join(name)
}

#[test]
fn every_head_gives_the_logits_of_the_reference() {
    assert!(folders().len() > 10);
    for name in folders() {
        let fixture = Fixture::of_file(&format!("heads/{name}"), "expected.safetensors");
        let head = fixture.model.head_info().unwrap();
        let of_sentence = !(name.ends_with("tokens") || name.ends_with("discriminator"));
        let kind = if of_sentence { HeadKind::SequenceClassifier } else { HeadKind::TokenClassifier };
        assert_eq!(head.kind, kind, "{name}");
        let output = if of_sentence { Output::Last } else { Output::All };
        let plan = HookPlan { output, ..HookPlan::default() };
        let sentences = (0..fixture.batch.n_sentences()).map(|idx| fixture.batch.sentence(idx));
        let batch = fixture.model.batch_of(sentences);
        let logits = fixture.model.run(&batch, &plan).unwrap().logits.unwrap();
        fixture.check("logits", &logits.view(), LOGITS);
        assert_eq!((head.n_logits, head.labels.len()), (logits.ncols(), logits.ncols()), "{name}");
    }
}

#[test]
fn the_answer_of_a_sentence_is_a_row_of_all_logits() {
    let model = LanguageModel::from_folder(&folder("roberta-sequence"), "roberta").unwrap();
    assert_eq!(model.head_info().unwrap().answers_at, AnswersAt::First);
    let batch = Batch::from_sentences([&[9, 4, 7][..], &[8, 5]]);
    let run = |output| model.run(&batch, &HookPlan { output, ..HookPlan::default() }).unwrap().logits.unwrap();
    let (all, answers) = (run(Output::All), run(Output::Last));
    assert_eq!(all.row(0), answers.row(0));
    assert_eq!(all.row(3), answers.row(1));
}

/// Keeps the traces of variants.
struct Kept(std::sync::Mutex<Vec<Trace>>);
impl VariantSink for Kept {
    fn variant(&self, _: usize, trace: Trace) -> Result<(), nissl_core::ModelError> {
        self.0.lock().unwrap().push(trace);
        Ok(())
    }
}

#[test]
fn variants_and_gradients_go_through_a_classifier_as_runs_do() {
    let model = LanguageModel::from_folder(&folder("mpnet-sequence"), "mpnet").unwrap();
    let sentence = [9, 4, 7, 11];
    let point = HookPoint::new(0, Site::MlpPost);
    let zero = vec![EditSpec { point, units: Units::All, positions: Positions::All, edit: Edit::Zero, when: None }];
    let plan = HookPlan { output: Output::Last, ..HookPlan::default() };
    let kept = Kept(std::sync::Mutex::default());
    let edits = [zero.clone()];
    let asked = Variants { sentence: &sentence, plan: &plan, edits: &edits, logits_at: None };
    model.run_variants(&asked, &kept).unwrap();
    let batch = Batch::from_sentences([&sentence[..]]);
    let alone = model.run(&batch, &HookPlan { edits: zero, ..plan }).unwrap();
    assert_eq!(kept.0.into_inner().unwrap()[0].logits, alone.logits);
    let objective = Objective::Logit { token: 2, position: 0 };
    let found = model.gradients(&batch, &HookPlan::default(), &[objective], &[point]).unwrap();
    let logits = model.run(&batch, &HookPlan { output: Output::Last, ..HookPlan::default() }).unwrap().logits.unwrap();
    assert!((found.values[0] - f64::from(logits[[0, 2]])).abs() < 1e-5);
    assert!(found.sites[&point].iter().any(|value| *value != 0.0));
}

#[test]
fn a_head_is_chosen_by_its_kind_and_refused_where_there_is_none() {
    let load = |name: &str, head| {
        let options = LoadOptions { head: Some(head), ..LoadOptions::default() };
        LanguageModel::load_with(&folder(name).display().to_string(), &options, &NoProgress)
    };
    // Its config names the classifier of tokens; the pooler is there for the other one.
    let model = load("bert-sequence", HeadKind::TokenClassifier).unwrap();
    assert_eq!(model.head_info().unwrap().kind, HeadKind::TokenClassifier);
    let said = load("bert-tokens", HeadKind::MaskedLm).err().unwrap().to_string();
    assert!(
        said.contains("head masked-lm: expected one of those that the checkpoint has (token-classifier)"),
        "{said}"
    );
}
