//! Words and concepts of a planted text.

use nissl_core::TextRows;

use super::Difficulty;
use crate::random::Random;

/// Word types of each concept, and of the rest.
const TYPES: (usize, usize) = (40, 400);
/// How much likelier a concept is at the start of a sentence than at its end: from 1 + this to 1 - this.
const EARLIER: f64 = 0.3;

/// Sentences of words, each row of a concept or of the rest.
pub(super) struct Corpus {
    /// The concept of each row; that of the rest is the number of concepts.
    pub(super) concept: Vec<usize>,
    /// From 1 at the start of the sentence to -1 at its end.
    pub(super) position: Vec<f64>,
    /// Logarithm of the word's frequency, with mean 0 and deviation 1.
    pub(super) frequency: Vec<f64>,
    words: Vec<(u32, (usize, usize))>,
}

impl Corpus {
    pub(super) fn new(difficulty: &Difficulty, random: &mut Random) -> Self {
        let Difficulty { rows, concepts, share, .. } = *difficulty;
        let (mut concept, mut position, mut words) = (Vec::new(), Vec::new(), Vec::new());
        let mut sentence = 0;
        while words.len() < rows {
            let length = 5 + random.below(16);
            for place in 0..length.min(rows - words.len()) {
                let here = 1.0 - 2.0 * place as f64 / (length - 1) as f64;
                // Words of concepts come rather early, those of the rest rather late.
                let drawn = (random.uniform() / (share * (1.0 + EARLIER * here))) as usize;
                let of = drawn.min(concepts);
                // The k-th word is about 1/k as frequent as the first.
                let types = if of < concepts { TYPES.0 } else { TYPES.1 };
                let word = ((types as f64).powf(random.uniform()) - 1.0) as usize;
                concept.push(of);
                position.push(here);
                words.push((sentence, (of, word)));
            }
            sentence += 1;
        }
        let mut counts = std::collections::BTreeMap::new();
        for (_, word) in &words {
            *counts.entry(*word).or_insert(0_u32) += 1;
        }
        let logs: Vec<f64> = words.iter().map(|(_, word)| f64::from(counts[word]).ln()).collect();
        let mean = logs.iter().sum::<f64>() / logs.len() as f64;
        let variance = logs.iter().map(|log| (log - mean) * (log - mean)).sum::<f64>() / logs.len() as f64;
        let frequency = logs.iter().map(|log| (log - mean) / variance.sqrt().max(f64::MIN_POSITIVE)).collect();
        Self { concept, position, frequency, words }
    }

    /// Rows of something whose correlation with a concept is `confound`, as frequent as the concept.
    pub(super) fn along(&self, concept: usize, confound: f64, random: &mut Random) -> Vec<bool> {
        let share = self.concept.iter().filter(|&&of| of == concept).count() as f64 / self.concept.len() as f64;
        let draw = |&of: &usize| {
            if random.uniform() < confound { of == concept } else { random.uniform() < share }
        };
        self.concept.iter().map(draw).collect()
    }

    pub(super) fn text(&self) -> TextRows {
        let word = |&(sentence, (of, word)): &(u32, (usize, usize))| (sentence, format!("w{of}-{word}"));
        TextRows::from_words(self.words.iter().map(word))
    }
}
