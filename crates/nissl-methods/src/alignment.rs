//! Concept alignment: a morpheme, word or phrase said again and again, and how high a neuron is on it.
//!
//! Na, Choe, Lee and Kim 2019, Discovery of Natural Language Concepts in Individual Units of CNNs, ICLR,
//! arXiv:1902.07249; reference: seilna/CNN-Units-in-NLP. Candidates are taken from the sentences on which a neuron is
//! highest on average. Text that repeats itself is no language, and a neuron may answer to the repetition: its mean over
//! repeated random words is the control, which is taken off.

use std::collections::BTreeSet;

use ndarray::{Array2, Axis};
use nissl_core::{Batch, Context, HookPlan, HookPoint, MethodError, Model, NeuronId, TextActivations, TextRows};
use serde::{Deserialize, Serialize};

use crate::columns::ColumnPass;

/// What errors call it.
const NAME: &str = "alignment";

/// What a candidate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CandidateKind {
    /// A word.
    Word,
    /// A stem or an ending of a word.
    Morpheme,
    /// Several words that follow one another.
    Phrase,
}

/// What a neuron may be aligned with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Candidate {
    /// What it is, in lower case.
    pub text: String,
    /// Of which kind.
    pub kind: CandidateKind,
}

/// A text that repeats one thing: its tokens, and those of them whose activations count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repeated {
    /// The tokens, with those that the model wants around a text.
    pub tokens: Vec<u32>,
    /// Where the repeated tokens lie.
    pub places: Vec<usize>,
}

impl Repeated {
    /// `tokens`, cut after `length` of them, between what the model wants around a text.
    pub fn new(tokens: &[u32], length: usize, (before, after): (&[u32], &[u32])) -> Self {
        let tokens = &tokens[..tokens.len().min(length)];
        let places = before.len()..before.len() + tokens.len();
        Self { tokens: [before, tokens, after].concat(), places: places.collect() }
    }
}

/// Endings by which words are cut where no list of morphemes is given; of those that fit the longest is taken.
const ENDINGS: &[&str] = &[
    "able", "al", "ally", "ance", "ed", "en", "ence", "er", "ers", "es", "est", "ful", "ible", "ic", "ical", "ies",
    "ing", "ings", "ion", "ions", "ish", "ism", "ist", "ists", "ity", "ive", "ize", "less", "ly", "ment", "ments",
    "ness", "or", "ous", "s", "ship", "tion", "tions", "ward", "y",
];

/// Letters that a stem has at least.
const STEM: usize = 3;

/// Stem and ending of a word, both or neither.
pub fn morphemes(word: &str) -> Option<(&str, &str)> {
    let fits = |ending: &&&str| {
        let stem = word.strip_suffix(**ending).unwrap_or("");
        stem.chars().count() >= STEM && stem.chars().all(char::is_alphabetic)
    };
    let ending = ENDINGS.iter().filter(fits).max_by_key(|ending| ending.len())?;
    Some(word.split_at(word.len() - ending.len()))
}

/// The words, stems, endings, and phrases of two to `longest` words of a sentence; what has no letter or digit is left
/// out, and phrases that hold such a word with it.
pub fn candidates(words: &[&str], longest: usize) -> BTreeSet<Candidate> {
    let lower: Vec<String> = words.iter().map(|word| word.to_lowercase()).collect();
    let is_word = |word: &String| word.chars().any(char::is_alphanumeric);
    let mut found = BTreeSet::new();
    let mut add = |text: String, kind| found.insert(Candidate { text, kind });
    for (first, word) in lower.iter().enumerate().filter(|(_, word)| is_word(word)) {
        add(word.clone(), CandidateKind::Word);
        for part in morphemes(word).into_iter().flat_map(|(stem, ending)| [stem, ending]) {
            add(part.to_owned(), CandidateKind::Morpheme);
        }
        for n in 2..=longest {
            match lower.get(first..first + n) {
                Some(phrase) if phrase.iter().all(is_word) => add(phrase.join(" "), CandidateKind::Phrase),
                _ => break,
            };
        }
    }
    found
}

/// A sentence of some rows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopSentence {
    /// Its first row.
    pub row: usize,
    /// The neuron's mean over its rows.
    pub mean: f32,
}

/// The first row of every sentence.
fn starts(text: &TextRows) -> Vec<usize> {
    text.sentences().map(|rows| rows.start).collect()
}

/// For every neuron the `k` sentences with the highest mean, highest first, of equal ones the earlier; sentences of the
/// same words once.
///
/// # Errors
/// If a value is not finite, the activations cannot be read, or the user stops it.
pub fn top_sentences(
    data: TextActivations<'_>,
    k: usize,
    ctx: Context<'_>,
) -> Result<Vec<Vec<TopSentence>>, MethodError> {
    let starts = starts(data.text);
    let mut seen = std::collections::HashSet::new();
    let words = |&row: &usize| data.text.type_of()[data.text.sentence_rows(row)].to_vec();
    let distinct: Vec<usize> = starts.into_iter().filter(|row| seen.insert(words(row))).collect();
    let pass = ColumnPass { x: data.x, ctx, method: NAME, stage: "top sentences", scratch_per_row: 8 };
    pass.map(
        || (),
        |(), _, column| {
            let mean = |&row: &usize| {
                let rows = data.text.sentence_rows(row);
                let n = rows.len().max(1) as f64;
                let mean = column[rows].iter().map(|&value| f64::from(value)).sum::<f64>() / n;
                TopSentence { row, mean: mean as f32 }
            };
            let mut found: Vec<TopSentence> = distinct.iter().map(mean).collect();
            found.sort_by(|a, b| b.mean.total_cmp(&a.mean).then_with(|| a.row.cmp(&b.row)));
            found.truncate(k);
            Ok(found)
        },
    )
}

/// Sentences that a model reads at once.
const AT_ONCE: usize = 64;

/// The mean of each neuron over the repeated tokens of each text, `[n_texts, n_neurons]`.
///
/// # Errors
/// If a text has no places, the model cannot run or has not a neuron's place, or the user stops it.
pub fn degrees(
    model: &dyn Model,
    texts: &[Repeated],
    neurons: &[NeuronId],
    ctx: Context<'_>,
) -> Result<Array2<f32>, MethodError> {
    if let Some(prompt) = texts.iter().position(|text| text.places.is_empty()) {
        return Err(MethodError::Prompt { prompt, why: "nothing is repeated in it".to_owned() });
    }
    let points: BTreeSet<HookPoint> = neurons.iter().map(|neuron| neuron.point).collect();
    let mut found = Array2::zeros((texts.len(), neurons.len()));
    ctx.progress.stage("repeated texts", Some(texts.len() as u64), "texts");
    for (chunk_idx, chunk) in texts.chunks(AT_ONCE).enumerate() {
        if ctx.progress.cancelled() {
            return Err(MethodError::Cancelled);
        }
        let batch = Batch::from_sentences(chunk.iter().map(|text| &text.tokens));
        let trace = model.run(&batch, &HookPlan::capture(points.iter().copied()))?;
        for (place, text) in chunk.iter().enumerate() {
            let first = batch.rows(place).start;
            for (idx, neuron) in neurons.iter().enumerate() {
                let column = trace.sites[&neuron.point].index_axis(Axis(1), neuron.idx as usize);
                let sum: f64 = text.places.iter().map(|&token| f64::from(column[first + token])).sum();
                found[[chunk_idx * AT_ONCE + place, idx]] = (sum / text.places.len() as f64) as f32;
            }
        }
        ctx.progress.step((chunk_idx * AT_ONCE + chunk.len()) as u64);
    }
    Ok(found)
}

/// How selective a neuron is for a candidate: its mean over the words in which the candidate is (or the last words of the
/// phrases that it is) less its mean over all others, over its range; from -1 to 1. `None` where either are missing.
pub fn selectivity(text: &TextRows, column: &[f32], candidate: &Candidate) -> Option<f64> {
    let lower: Vec<String> = text.types().iter().map(|word| word.to_lowercase()).collect();
    let word = |row: usize| lower[text.type_of()[row] as usize].as_str();
    let parts: Vec<&str> = candidate.text.split(' ').collect();
    let has = |row: usize| match candidate.kind {
        CandidateKind::Morpheme => {
            morphemes(word(row)).is_some_and(|(stem, ending)| stem == candidate.text || ending == candidate.text)
        }
        CandidateKind::Word | CandidateKind::Phrase => {
            let start = text.sentence_rows(row).start;
            let rows = (row + 1).checked_sub(parts.len()).filter(|&first| first >= start);
            rows.is_some_and(|first| (first..=row).map(word).eq(parts.iter().copied()))
        }
    };
    let (mut sums, mut counts) = ([0.0; 2], [0_usize; 2]);
    let (mut min, mut max) = (f32::INFINITY, f32::NEG_INFINITY);
    for (row, &value) in column.iter().enumerate() {
        let side = usize::from(has(row));
        sums[side] += f64::from(value);
        counts[side] += 1;
        (min, max) = (min.min(value), max.max(value));
    }
    if counts.contains(&0) {
        return None;
    }
    let mean = |side: usize| sums[side] / counts[side] as f64;
    let range = f64::from(max) - f64::from(min);
    Some(if range > 0.0 { (mean(1) - mean(0)) / range } else { 0.0 })
}

#[cfg(test)]
mod tests;
