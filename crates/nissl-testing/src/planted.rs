//! P-ACT: activations of a toy corpus in which each of 128 neurons does something known.

use std::collections::BTreeMap;

use ndarray::Array2;
use nissl_core::{Concept, HookPoint, Labels, Matrix, NeuronId, Site, TextRows, site_columns};

use crate::random::Random;
use crate::select::{select_rows, select_text};

mod grammar;

pub use grammar::{PAST_FORMS, PRESENT_FORMS};
use grammar::{Token, sentence};

/// Number of neurons.
pub const N_NEURONS: usize = 128;

/// Number of sentences.
pub const N_SENTENCES: u32 = 600;

/// The answer key: what each neuron does.
pub mod key {
    use std::ops::Range;

    /// 1 on verbs, else 0.
    pub const VERB: usize = 0;
    /// Twice the verb neuron.
    pub const VERB_TWICE: usize = 1;
    /// The verb neuron, negated.
    pub const VERB_NEGATED: usize = 2;
    /// Half the verb neuron plus 1.
    pub const VERB_HALF: usize = 3;
    /// The verb neuron and its copies.
    pub const VERBS: [usize; 4] = [VERB, VERB_TWICE, VERB_NEGATED, VERB_HALF];
    /// 1 on past verbs, -1 on present verbs, else 0.
    pub const TENSE: usize = 4;
    /// From 1 at the start of the sentence evenly to -1 at its end.
    pub const POSITION: usize = 5;
    /// Logarithm of the word's frequency, with mean 0 and deviation 1 over the rows.
    pub const FREQUENCY: usize = 6;
    /// 1 between quotation marks, else 0.
    pub const QUOTE: usize = 7;
    /// 1 on food, -1 on tech, else 0.
    pub const TOPIC: usize = 8;
    /// 1 on adjectives and adverbs but for "very", else 0.
    pub const MODIFIER: usize = 9;
    /// 1 on plural nouns, -1 on singular nouns, else 0.
    pub const NUMBER: usize = 10;
    /// A tenth of the position in the sentence, from 0.
    pub const COUNTER: usize = 11;
    /// 0.25 in one register, -0.25 in the other, under noise of deviation 1.
    pub const REGISTER: Range<usize> = 12..62;
    /// 0 in every row.
    pub const DEAD: usize = 62;
    /// 1 in every row.
    pub const CONSTANT: usize = 63;
    /// Noise alone.
    pub const NOISE: Range<usize> = 64..128;
}

/// A toy corpus, what is known of each row, and the activations of neurons that know it.
#[derive(Clone, Debug)]
pub struct PlantedActivations {
    /// The activations, `[n_tokens, 128]`, of one site of one layer.
    pub x: Matrix,
    /// The words.
    pub text: TextRows,
    /// Part of speech of every row: `ADJ`, `ADV`, `DET`, `NOUN`, `PREP`, `PUNCT`, `VERB`.
    pub tag: Labels,
    /// `verb` or `other`, every row.
    pub verb: Labels,
    /// `singular` or `plural`, nouns alone.
    pub number: Labels,
    /// `past` or `present`, verbs alone.
    pub tense: Labels,
    /// `food` or `tech`, their nouns alone.
    pub topic: Labels,
    /// `inside` or `outside` of quotation marks, every row; the marks are outside.
    pub quote: Labels,
    /// `high` or `low`, every row, by a fair coin.
    pub register: Labels,
    /// Position in the sentence, from 0, `[n_tokens]`.
    pub position: Vec<f32>,
    /// From 1 at the start of the sentence evenly to -1 at its end, `[n_tokens]`.
    pub relative_position: Vec<f32>,
    /// Logarithm of the word's frequency, with mean 0 and deviation 1, `[n_tokens]`.
    pub frequency: Vec<f32>,
}

impl PlantedActivations {
    /// Draws corpus and activations; `sigma` is the deviation of the noise on the planted neurons.
    ///
    /// The corpus and all noise are the same for every `sigma`.
    pub fn new(seed: u64, sigma: f64) -> Self {
        let mut random = Random::new(seed);
        let rows: Vec<Row> = (0..N_SENTENCES).flat_map(|idx| Row::sentence(idx, &mut random)).collect();
        let frequency = frequencies(&rows);
        let mut values = Array2::zeros((rows.len(), N_NEURONS));
        for (row, mut values) in values.outer_iter_mut().enumerate() {
            let planted = rows[row].planted(frequency[row]);
            for (neuron, value) in values.iter_mut().enumerate() {
                *value = match neuron {
                    key::DEAD => 0.0,
                    key::CONSTANT => 1.0,
                    _ if key::REGISTER.contains(&neuron) => {
                        random.normal() + if rows[row].high_register { 0.25 } else { -0.25 }
                    }
                    _ if key::NOISE.contains(&neuron) => random.normal(),
                    _ => planted[neuron] + sigma * random.normal(),
                } as f32;
            }
        }
        let x = Matrix::new(values, site_columns(&[(point(0), N_NEURONS)])).expect("a neuron for each column");
        Self::with_labels(x, &rows, &frequency)
    }

    /// The name of a neuron.
    pub fn neuron(idx: usize) -> NeuronId {
        NeuronId::new(point(0), idx as u32)
    }

    /// The numbers of neurons, as the key has them.
    pub fn idx(neurons: &[NeuronId]) -> Vec<usize> {
        neurons.iter().map(|neuron| neuron.idx as usize).collect()
    }

    /// The same activations as four layers of 32 neurons.
    pub fn layers(&self) -> Matrix {
        let columns = site_columns(&[(point(0), 32), (point(1), 32), (point(2), 32), (point(3), 32)]);
        Matrix::new(self.x.values().clone(), columns).expect("a neuron for each column")
    }

    /// The same, each value through a logistic function, as the forget gates of an LSTM: 0 is almost shut, 1 almost open.
    pub fn as_gates(&self) -> Self {
        let values = self.x.values().mapv(|value| 1.0 / (1.0 + (2.0 - 4.0 * value).exp()));
        let columns = site_columns(&[(HookPoint::new(0, Site::LstmF), N_NEURONS)]);
        Self { x: Matrix::new(values, columns).expect("a neuron for each column"), ..self.clone() }
    }

    /// The same sentences in another order.
    pub fn with_sentences_shuffled(&self, seed: u64) -> Self {
        let order = Random::new(seed).permutation(N_SENTENCES as usize);
        let of_sentence = |&idx: &usize| {
            let first = self.text.sentence_of().partition_point(|&s| (s as usize) < idx);
            self.text.sentence_rows(first)
        };
        self.select(&order.iter().flat_map(of_sentence).collect::<Vec<_>>())
    }

    /// The same rows in another order. A sentence begins at every row whose neighbor was not in the same sentence.
    pub fn with_rows_shuffled(&self, seed: u64) -> Self {
        self.select(&Random::new(seed).permutation(self.text.n_tokens()))
    }

    fn select(&self, rows: &[usize]) -> Self {
        let labels = |labels: &Labels| labels.select(rows);
        let numbers = |numbers: &[f32]| rows.iter().map(|&row| numbers[row]).collect();
        Self {
            x: select_rows(&self.x, rows),
            text: select_text(&self.text, rows),
            tag: labels(&self.tag),
            verb: labels(&self.verb),
            number: labels(&self.number),
            tense: labels(&self.tense),
            topic: labels(&self.topic),
            quote: labels(&self.quote),
            register: labels(&self.register),
            position: numbers(&self.position),
            relative_position: numbers(&self.relative_position),
            frequency: numbers(&self.frequency),
        }
    }

    fn with_labels(x: Matrix, rows: &[Row], frequency: &[f64]) -> Self {
        let text = TextRows::from_words(rows.iter().map(|row| (row.sentence, row.token.word)));
        let named =
            |name: fn(&Row) -> Option<&'static str>| Labels::from_names(&rows.iter().map(name).collect::<Vec<_>>());
        let two = |yes: &str, no: &str, has: fn(&Row) -> bool| {
            let concepts = vec![Concept::new(yes), Concept::new(no)];
            Labels::single(concepts, rows.iter().map(|row| Some(u32::from(!has(row)))))
        };
        let numbers = |number: fn(&Row) -> f64| rows.iter().map(|row| number(row) as f32).collect();
        Self {
            x,
            text,
            tag: named(|row| Some(row.token.tag)),
            verb: two("verb", "other", |row| row.token.tag == "VERB"),
            number: named(|row| row.token.number),
            tense: named(|row| row.token.tense),
            topic: named(|row| row.token.topic),
            quote: two("inside", "outside", |row| row.token.quoted),
            register: two("high", "low", |row| row.high_register),
            position: numbers(|row| row.position as f64),
            relative_position: numbers(Row::relative_position),
            frequency: frequency.iter().map(|&value| value as f32).collect(),
        }
    }
}

fn point(layer: u16) -> HookPoint {
    HookPoint::new(layer, Site::MlpPost)
}

/// A row of the corpus.
struct Row {
    sentence: u32,
    position: usize,
    length: usize,
    token: Token,
    high_register: bool,
}

impl Row {
    fn sentence(idx: u32, random: &mut Random) -> Vec<Self> {
        let tokens = sentence(random);
        let length = tokens.len();
        let row =
            |(position, token)| Self { sentence: idx, position, length, token, high_register: random.chance(0.5) };
        tokens.into_iter().enumerate().map(row).collect()
    }

    fn relative_position(&self) -> f64 {
        // Every sentence has a noun phrase, a verb, a noun phrase and a full stop: never one token alone.
        1.0 - 2.0 * self.position as f64 / (self.length - 1) as f64
    }

    /// The values of the planted neurons, in their order, before noise.
    fn planted(&self, frequency: f64) -> [f64; key::REGISTER.start] {
        let token = &self.token;
        let one_if = |yes: bool| f64::from(u8::from(yes));
        let switch = |of: Option<&str>, up: &str, down: &str| one_if(of == Some(up)) - one_if(of == Some(down));
        let verb = one_if(token.tag == "VERB");
        [
            verb,
            2.0 * verb,
            -verb,
            0.5 * verb + 1.0,
            switch(token.tense, "past", "present"),
            self.relative_position(),
            frequency,
            one_if(token.quoted),
            switch(token.topic, "food", "tech"),
            one_if(matches!(token.tag, "ADJ" | "ADV") && token.word != "very"),
            switch(token.number, "plural", "singular"),
            self.position as f64 / 10.0,
        ]
    }
}

/// Logarithm of each row's word frequency, with mean 0 and deviation 1 over the rows.
fn frequencies(rows: &[Row]) -> Vec<f64> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for row in rows {
        *counts.entry(row.token.word).or_default() += 1;
    }
    let logs: Vec<f64> = rows.iter().map(|row| (counts[row.token.word] as f64).ln()).collect();
    let mean = logs.iter().sum::<f64>() / logs.len() as f64;
    let variance = logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / logs.len() as f64;
    logs.iter().map(|log| (log - mean) / variance.sqrt()).collect()
}

#[cfg(test)]
mod tests;
