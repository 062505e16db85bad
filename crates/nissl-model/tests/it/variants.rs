//! Variants of a sentence: what is shared changes no bit.

use std::sync::Mutex;

use nissl_core::{
    Condition, Edit, EditSpec, HookPlan, HookPoint, Model, ModelError, NeuronId, Output, Positions, Site, Trace, Units,
    VariantSink, Variants,
};
use nissl_model::LanguageModel;

use crate::parity::{self, golden};

#[derive(Default)]
struct Keep(Mutex<Vec<(usize, Trace)>>);

impl VariantSink for Keep {
    fn variant(&self, idx: usize, trace: Trace) -> Result<(), ModelError> {
        self.0.lock().unwrap().push((idx, trace));
        Ok(())
    }
}

fn run(model: &LanguageModel, asked: &Variants<'_>) -> Vec<Trace> {
    let keep = Keep::default();
    model.run_variants(asked, &keep).unwrap();
    let mut found = keep.0.into_inner().unwrap();
    found.sort_by_key(|(idx, _)| *idx);
    assert!(found.iter().map(|(idx, _)| *idx).eq(0..asked.edits.len()), "every variant comes once");
    found.into_iter().map(|(_, trace)| trace).collect()
}

/// One edited unit a variant, at every site and at positions of every kind; then some of several edits, and of none.
fn edits(model: &LanguageModel, n_tokens: usize) -> Vec<Vec<EditSpec>> {
    let info = model.info();
    let positions = [
        Positions::All,
        Positions::InSentence(vec![-1, 3]),
        Positions::From(5),
        Positions::Rows(vec![n_tokens - 2]),
        Positions::Generated,
    ];
    let mut variants: Vec<Vec<EditSpec>> = Vec::new();
    for (point, width) in info.points() {
        for (idx, positions) in positions.iter().enumerate() {
            let unit = if point.site().is_ragged() { idx } else { (idx * 7 + 1) % width };
            let edit = if idx % 2 == 0 { Edit::Set { value: 1.5 } } else { Edit::Scale { factor: -2.0 } };
            let (units, positions) = (Units::Some(vec![unit as u32]), positions.clone());
            variants.push(vec![EditSpec { point, units, positions, edit, when: None }]);
        }
    }
    let pair =
        |a: usize, b: usize| [variants[a % variants.len()].clone(), variants[b % variants.len()].clone()].concat();
    let mut more = vec![Vec::new(), pair(40, 3), pair(7, 61), pair(22, 23)];
    // A condition on a neuron that comes long before.
    let last = HookPoint::new(info.n_layers as u16 - 1, Site::ResidPost);
    let neuron = NeuronId::new(HookPoint::new(0, Site::Embed), 2);
    let when = Some(Condition { neuron, above: Some(0.0), below: None });
    more.push(vec![EditSpec { point: last, units: Units::All, positions: Positions::All, edit: Edit::Zero, when }]);
    variants.extend(more);
    variants
}

#[test]
fn variants_give_the_bits_of_single_runs() {
    for name in parity::models() {
        let model = LanguageModel::from_folder(&golden(name), name).unwrap();
        let info = model.info();
        let sentence: Vec<u32> = (0..11).map(|i| (i * 31 % info.d_vocab) as u32).collect();
        let edits = edits(&model, sentence.len());
        let point = |site| HookPoint::new(info.n_layers as u16 - 1, site);
        let has = |site: &Site| info.width(point(*site)).is_some();
        let mlp = [Site::MlpPost, Site::LstmH, Site::GruH, Site::MixerZ].into_iter().find(has).unwrap();
        let common = EditSpec {
            point: HookPoint::new(0, Site::ResidPost),
            units: Units::Some(vec![0, 3]),
            positions: Positions::InSentence(vec![2]),
            edit: Edit::Scale { factor: 1.7 },
            when: None,
        };
        let every = [HookPoint::new(0, Site::Embed), HookPoint::new(0, mlp), point(mlp), point(Site::ResidPost)];
        for (capture, output, logits_at, common) in [
            (vec![], Output::Last, None, vec![]),
            (vec![], Output::All, Some(4..6), vec![common.clone()]),
            (every.to_vec(), Output::All, None, vec![common]),
            (vec![HookPoint::new(0, mlp)], Output::None, None, vec![]),
            (vec![point(Site::ResidPost)], Output::None, None, vec![]),
        ] {
            let plan = HookPlan { capture, edits: common, output };
            let asked = Variants { sentence: &sentence, plan: &plan, edits: &edits, logits_at };
            let found = run(&model, &asked);
            let two = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
            assert!(two.install(|| run(&model, &asked)) == found, "{name}: the same on two threads");
            for (idx, found) in found.iter().enumerate() {
                let alone = asked.alone(&model, idx).unwrap();
                assert!(*found == alone, "{name} {output:?} {:?}", edits[idx]);
            }
        }
    }
}

#[test]
fn variants_that_do_not_fit_are_refused_before_any_runs() {
    let model = LanguageModel::from_folder(&golden("gpt2"), "gpt2").unwrap();
    let point = HookPoint::new(1, Site::MlpPost);
    let spec = |unit| {
        vec![EditSpec {
            point,
            units: Units::Some(vec![unit]),
            positions: Positions::All,
            edit: Edit::Zero,
            when: None,
        }]
    };
    let plan = HookPlan { output: Output::All, ..HookPlan::default() };
    let refused = |edits: &[Vec<EditSpec>], logits_at| {
        let keep = Keep::default();
        let asked = Variants { sentence: &[1, 2, 3], plan: &plan, edits, logits_at };
        let err = model.run_variants(&asked, &keep).unwrap_err().to_string();
        assert!(keep.0.into_inner().unwrap().is_empty());
        err
    };
    assert!(refused(&[spec(0), spec(999)], None).contains("blocks.1.mlp.hook_post[999]"));
    assert!(refused(&[spec(0)], Some(2..4)).contains("expected positions of a sentence of 3 tokens"));
}
