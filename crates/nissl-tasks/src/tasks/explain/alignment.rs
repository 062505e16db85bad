//! What neurons are high on when it is said again and again: the model reads repeated words, morphemes and phrases.

use std::collections::{BTreeMap, BTreeSet};

use nissl_core::{Activations as _, Context, Matrix, Model as _, NeuronId, TextActivations, TextRows};
use nissl_methods::alignment::{Candidate, Repeated, candidates, degrees, selectivity, top_sentences};
use nissl_model::LanguageModel;
use nissl_store::Store;
use serde::{Deserialize, Serialize};

use super::{Config, NeuronReport};
use crate::error::TaskError;
use crate::recorded;
use crate::tasks::inspect::columns;

/// How neurons are aligned with repeated text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlignOptions {
    /// Sentences a neuron that candidates are taken from: those with its highest means.
    pub sentences: usize,
    /// Words of the longest phrase.
    pub longest: usize,
    /// Candidates in the report.
    pub concepts: usize,
    /// Tokens of a repeated text; 0 for as many as a sentence has words on average.
    pub length: usize,
    /// Random words that are repeated to see what repetition alone does.
    pub controls: usize,
}

impl Default for AlignOptions {
    fn default() -> Self {
        Self { sentences: 10, longest: 3, concepts: 10, length: 0, controls: 20 }
    }
}

/// What a neuron is aligned with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alignment {
    /// Tokens of a repeated text.
    pub length: usize,
    /// Mean activation on repeated random words.
    pub control: f32,
    /// The candidates, best first.
    pub concepts: Vec<Aligned>,
}

/// A candidate and how high the neuron is on its repetition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Aligned {
    /// What was repeated.
    pub concept: Candidate,
    /// Mean activation on it.
    pub degree: f32,
    /// That less what repetition alone does.
    pub score: f32,
    /// Mean activation at the candidate less that elsewhere, over the neuron's range, in the store.
    pub selectivity: Option<f64>,
}

/// Aligns the neurons of a report.
///
/// # Errors
/// If the model is not the one that was recorded, has no tokenizer, or cannot run.
pub(super) fn align(
    config: &Config,
    (store, text): (&Store, &TextRows),
    neurons: &mut [NeuronReport],
    ctx: Context<'_>,
) -> Result<(), TaskError> {
    let Some(source) = config.model.as_deref() else { return Ok(()) };
    if neurons.is_empty() {
        return Ok(());
    }
    let model = recorded::load(source, &config.load, store, ctx.progress)?;
    let names: Vec<NeuronId> = neurons.iter().map(|neuron| neuron.name).collect();
    let x = columns(store, &names)?;
    let options = config.align;
    let tops = top_sentences(TextActivations::new(&x, text)?, options.sentences, ctx)?;
    let of_neuron: Vec<BTreeSet<Candidate>> = tops
        .iter()
        .map(|sentences| {
            let words = |row: usize| text.sentence_rows(row).map(|row| text.word(row)).collect::<Vec<_>>();
            sentences.iter().flat_map(|sentence| candidates(&words(sentence.row), options.longest)).collect()
        })
        .collect();
    let repeater = Repeater::new(&model, text, options.length)?;
    let all: Vec<&Candidate> = of_neuron.iter().flatten().collect::<BTreeSet<_>>().into_iter().collect();
    let controls = random_words(text, options.controls);
    let spoken = all.iter().map(|candidate| candidate.text.as_str()).chain(controls.iter().map(String::as_str));
    let texts = spoken.map(|text| repeater.repeat(text)).collect::<Result<Vec<Repeated>, _>>()?;
    // What the tokenizer makes nothing of cannot be repeated.
    let known: Vec<usize> = (0..texts.len()).filter(|&idx| !texts[idx].places.is_empty()).collect();
    let read: Vec<Repeated> = known.iter().map(|&idx| texts[idx].clone()).collect();
    let found = degrees(&model, &read, x.neurons(), ctx)?;
    let row_of: BTreeMap<usize, usize> = known.iter().enumerate().map(|(row, &idx)| (idx, row)).collect();
    let place_of: BTreeMap<&Candidate, usize> = all.iter().enumerate().map(|(idx, &one)| (one, idx)).collect();
    for (column, neuron) in x.neurons().iter().enumerate() {
        let of_controls: Vec<f64> = (all.len()..texts.len())
            .filter_map(|idx| row_of.get(&idx).map(|&row| f64::from(found[[row, column]])))
            .collect();
        let control = (of_controls.iter().sum::<f64>() / of_controls.len().max(1) as f64) as f32;
        let aligned = |candidate: &Candidate| {
            let degree = found[[*row_of.get(&place_of[candidate])?, column]];
            Some(Aligned { concept: candidate.clone(), degree, score: degree - control, selectivity: None })
        };
        let mut concepts: Vec<Aligned> = of_neuron[column].iter().filter_map(aligned).collect();
        concepts.sort_by(|a, b| b.degree.total_cmp(&a.degree).then_with(|| a.concept.cmp(&b.concept)));
        concepts.truncate(options.concepts);
        let values = values(&x, column);
        for aligned in &mut concepts {
            aligned.selectivity = selectivity(text, &values, &aligned.concept);
        }
        if let Some(report) = neurons.iter_mut().find(|report| report.name == *neuron) {
            report.alignment = Some(Alignment { length: repeater.length, control, concepts });
        }
    }
    Ok(())
}

fn values(x: &Matrix, column: usize) -> Vec<f32> {
    x.values().column(column).to_vec()
}

/// Words that say nothing by being chosen: the first in the order of their digests.
fn random_words(text: &TextRows, n: usize) -> Vec<String> {
    let mut words: Vec<String> = text.types().iter().map(|word| word.to_lowercase()).collect();
    words.retain(|word| word.chars().any(char::is_alphanumeric));
    words.sort_by_cached_key(|word| *blake3::hash(word.as_bytes()).as_bytes());
    words.dedup();
    words.truncate(n);
    words
}

/// Repeats texts to a length.
struct Repeater<'a> {
    model: &'a LanguageModel,
    length: usize,
}

impl<'a> Repeater<'a> {
    fn new(model: &'a LanguageModel, text: &TextRows, length: usize) -> Result<Self, TaskError> {
        let tokenizer = model.tokenizer()?;
        let n_sentences = text.sentences().count();
        let usual = (text.n_tokens() as f64 / n_sentences.max(1) as f64).round() as usize;
        let length = if length == 0 { usual.max(2) } else { length };
        let around = tokenizer.special_prefix().len() + tokenizer.special_suffix().len();
        let most = model.info().n_ctx.saturating_sub(around);
        if length > most {
            return Err(TaskError::config("align.length", format!("at most {most} tokens"), length.to_string()));
        }
        Ok(Self { model, length })
    }

    fn repeat(&self, text: &str) -> Result<Repeated, TaskError> {
        let tokenizer = self.model.tokenizer()?;
        let ids = tokenizer.encode_plain(&vec![text; self.length].join(" "))?.ids;
        Ok(Repeated::new(&ids, self.length, (tokenizer.special_prefix(), tokenizer.special_suffix())))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

    use std::path::Path;

    use nissl_core::{NoProgress, Site};
    use nissl_data::ReadOptions;

    use super::super::{Config, run};
    use crate::tasks::extract;

    #[test]
    fn neurons_of_the_demo_are_aligned_with_what_they_were_recorded_on() {
        let folder = tempfile::tempdir().unwrap();
        let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo");
        let model = assets.join("model").display().to_string();
        let store = folder.path().join("store");
        let source = extract::Config {
            model: model.clone(),
            text: assets.join("demo.jsonl"),
            sites: vec!["1.mlp".to_owned()],
            out: store.clone(),
            read: ReadOptions { limit: Some(60), ..ReadOptions::default() },
            ..extract::Config::default()
        };
        extract::run(&source, &NoProgress).unwrap();
        let mut config = Config {
            store,
            model: Some(model),
            methods: vec!["lookup".to_owned()],
            neurons: vec!["1.mlp_post[3]".parse().unwrap(), "1.mlp_post[1]".parse().unwrap()],
            ..Config::default()
        };
        let report = run(&config, &NoProgress).unwrap();
        for neuron in &report.neurons {
            assert_eq!(neuron.name.point.site(), Site::MlpPost);
            let alignment = neuron.alignment.as_ref().unwrap();
            assert_eq!(alignment.concepts.len(), 10);
            assert!(alignment.concepts.is_sorted_by(|a, b| a.degree >= b.degree));
            let score = |one: &super::Aligned| (one.degree - alignment.control - one.score).abs() < 1e-6;
            assert!(alignment.concepts.iter().all(score), "{alignment:?}");
            assert!(alignment.concepts.iter().all(|one| one.selectivity.is_none_or(|s| (-1.0..=1.0).contains(&s))));
        }
        assert_ne!(report.neurons[0].alignment, report.neurons[1].alignment);
        config.align.length = 100_000;
        let err = run(&config, &NoProgress).unwrap_err().to_string();
        assert!(err.starts_with("align.length: expected at most"), "{err}");
    }
}
