//! What must hold for every model: batching, threads, stopping and self-patches change no bit.

use ndarray::Array2;
use nissl_core::{Batch, Edit, EditSpec, HookPlan, HookPoint, Model, Output, Positions, Site, Units};
use nissl_model::LanguageModel;

use crate::parity::{self, golden};

fn models() -> impl Iterator<Item = LanguageModel> {
    parity::models().map(|name| LanguageModel::from_folder(&golden(name), name).unwrap())
}

fn batch(lengths: &[usize]) -> Batch {
    let token = |i: usize, j: usize| ((i * 31 + j * 7) % 36) as u32;
    Batch::from_sentences(lengths.iter().enumerate().map(|(i, n)| (0..*n).map(|j| token(i, j)).collect::<Vec<_>>()))
}

fn everything(model: &LanguageModel) -> HookPlan {
    let capture = model.info().points().map(|(point, _)| point).filter(|point| !point.site().is_ragged()).collect();
    HookPlan { capture, output: Output::All, ..HookPlan::default() }
}

fn bits(values: &Array2<f32>) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn what_a_short_text_gives_does_not_depend_on_longer_ones_before_it() {
    for family in ["deberta-v2", "xlnet", "mpnet"] {
        let load = || LanguageModel::from_folder(&golden(family), family).unwrap();
        let (fresh, used) = (load(), load());
        let plan = HookPlan { output: Output::All, ..HookPlan::default() };
        let (short, long) =
            (Batch::from_sentences([[7, 9, 8]]), Batch::from_sentences([(5..60).collect::<Vec<u32>>()]));
        used.run(&long, &plan).unwrap();
        assert_eq!(fresh.run(&short, &plan).unwrap().logits, used.run(&short, &plan).unwrap().logits, "{family}");
    }
}

#[test]
fn a_sentence_gives_the_same_bits_alone_and_in_any_batch() {
    for model in models() {
        // More rows than are taken through a product at a time, and steps of a recurrence that fewer and fewer have.
        let lengths = [5, 1, 33, 12, 40, 2, 57, 3, 61, 24, 38, 50, 9, 45, 28, 60].map(|n| n.min(model.info().n_ctx));
        let (batch, plan) = (batch(&lengths), everything(&model));
        let whole = model.run(&batch, &plan).unwrap();
        for sentence in 0..lengths.len() {
            let alone = model.run(&Batch::from_sentences([batch.sentence(sentence)]), &plan).unwrap();
            let rows = batch.rows(sentence);
            for (point, values) in &alone.sites {
                let part = whole.sites[point].slice(ndarray::s![rows.clone(), ..]).to_owned();
                assert_eq!(bits(values), bits(&part), "{} {point} sentence {sentence}", model.info().name);
            }
        }
    }
}

#[test]
fn one_two_and_eight_threads_give_the_same_bits() {
    for model in models() {
        let (batch, plan) =
            (batch(&[50, 20, 60, 1, 7, 44, 44, 13].map(|n| n.min(model.info().n_ctx))), everything(&model));
        let run =
            |n| rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap().install(|| model.run(&batch, &plan));
        let one = run(1).unwrap();
        assert!(one == run(2).unwrap() && one == run(8).unwrap(), "{}", model.info().name);
    }
}

#[test]
fn hooks_that_only_look_change_no_bit() {
    for model in models() {
        let batch = batch(&[9, 30]);
        let plain = HookPlan { output: Output::All, ..HookPlan::default() };
        let mut looking = everything(&model);
        let pattern = HookPoint::new(0, Site::AttnPattern);
        looking.capture.extend(model.info().width(pattern).map(|_| pattern));
        let (plain, looking) = (model.run(&batch, &plain).unwrap(), model.run(&batch, &looking).unwrap());
        assert_eq!(bits(&plain.logits.unwrap()), bits(&looking.logits.unwrap()), "{}", model.info().name);
    }
}

#[test]
fn patching_activations_into_themselves_changes_no_bit() {
    for model in models() {
        let batch = batch(&[9, 1, 30]);
        let trace = model.run(&batch, &everything(&model)).unwrap();
        for (&point, values) in &trace.sites {
            let edit = EditSpec {
                point,
                units: Units::All,
                positions: Positions::All,
                edit: Edit::Patch { values: values.iter().copied().collect() },
                when: None,
            };
            let plan = HookPlan { edits: vec![edit], output: Output::All, ..HookPlan::default() };
            let patched = model.run(&batch, &plan).unwrap();
            assert_eq!(patched.logits, trace.logits, "{} {point}", model.info().name);
        }
    }
}

#[test]
fn an_edit_within_a_recurrence_changes_what_comes_after_it_and_nothing_before() {
    let mut n_checked = 0;
    let at = |site| HookPoint::new(0, site);
    let gru = [Site::GruR, Site::GruZ, Site::GruN, Site::GruH];
    let lstm = [Site::LstmM, Site::LstmI, Site::LstmF, Site::LstmG, Site::LstmC, Site::LstmH];
    for model in models().filter(|model| model.info().causal) {
        let has = |site: &Site| model.info().width(at(*site)).is_some();
        let batch = batch(&[9, 30]);
        let capture: Vec<HookPoint> = [Site::LstmC, Site::LstmH, Site::GruH].into_iter().filter(has).map(at).collect();
        let plain = model.run(&batch, &HookPlan::capture(capture.clone())).unwrap();
        for site in lstm.into_iter().chain(gru).filter(has) {
            let edit = EditSpec {
                point: at(site),
                units: Units::Some(vec![0, 3]),
                positions: Positions::InSentence(vec![4]),
                edit: Edit::Set { value: 0.77 },
                when: None,
            };
            let plan = HookPlan { capture: capture.clone(), edits: vec![edit], output: Output::None };
            let edited = model.run(&batch, &plan).unwrap();
            for point in &capture {
                for row in 0..batch.n_tokens() {
                    let place = if row < 9 { row } else { row - 9 };
                    let same = plain.sites[point].row(row) == edited.sites[point].row(row);
                    let label = format!("{} {site} at {point}, token {place}", model.info().name);
                    assert!(same || place >= 4, "{label}: changed before the edit");
                    // Later on the state may have forgotten it, to the last bit.
                    assert!(!same || place <= 4 || place > 8, "{label}: not changed after the edit");
                    n_checked += 1;
                }
            }
        }
    }
    assert!(n_checked > 1000, "{n_checked}");
}

#[test]
fn a_run_that_stops_early_gives_what_a_full_run_gives() {
    for model in models() {
        let batch = batch(&[9, 14]);
        let full = model.run(&batch, &everything(&model)).unwrap();
        for (&point, values) in &full.sites {
            let trace = model.run(&batch, &HookPlan::capture([point])).unwrap();
            assert_eq!(trace.sites[&point], values, "{} {point}", model.info().name);
            assert!(trace.logits.is_none());
        }
    }
}

#[test]
fn the_last_logits_are_those_of_the_last_tokens() {
    for model in models() {
        let batch = batch(&[9, 1, 30]);
        let run = |output| model.run(&batch, &HookPlan { output, ..HookPlan::default() }).unwrap().logits.unwrap();
        let (all, last) = (run(Output::All), run(Output::Last));
        for sentence in 0..3 {
            assert_eq!(last.row(sentence), all.row(batch.rows(sentence).end - 1));
        }
    }
}

#[test]
fn bad_requests_are_refused_by_name() {
    let model = models().next().unwrap();
    let error = |batch: &Batch, plan: &HookPlan| model.run(batch, plan).unwrap_err().to_string();
    let good = batch(&[4]);
    let unknown = error(&good, &HookPlan::capture([HookPoint::new(7, Site::MlpPost)]));
    assert!(unknown.contains("blocks.7.mlp.hook_post") && unknown.contains("did you mean"), "{unknown}");
    let gated = error(&good, &HookPlan::capture([HookPoint::new(0, Site::MlpPreLinear)]));
    assert!(gated.contains("no such hook point"), "{gated}");
    let plan = HookPlan::capture([HookPoint::new(0, Site::Embed)]);
    let token = error(&Batch::from_sentences([[9999u32]]), &plan);
    assert!(token.contains("token 9999") && token.contains("vocabulary"), "{token}");
    let long = error(&batch(&[4, 1000]), &plan);
    assert!(long.contains("sentence 1 has 1000 tokens"), "{long}");
}

#[test]
fn an_empty_batch_and_empty_sentences_are_no_trouble() {
    for model in models() {
        for batch in [Batch::new(), batch(&[0]), batch(&[0, 3, 0])] {
            let trace = model.run(&batch, &everything(&model)).unwrap();
            assert_eq!(trace.logits.unwrap().nrows(), batch.n_tokens());
        }
    }
}
