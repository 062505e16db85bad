//! Planted neurons: activations in which it is known what each neuron does, at a chosen difficulty, and how much of it a
//! ranking finds.
//!
//! N rows of sentences with words; every row is of one of the planted concepts or of the rest. A neuron that carries a
//! concept is higher on its rows by `signal` deviations of its noise. Columns are in random order, so that nothing is to
//! be gained from ties.

use ndarray::Array2;
use nissl_core::{
    Activations, Concept, HookPoint, Labels, Matrix, MethodError, NeuronId, Scores, Site, TextRows, site_columns,
};
use serde::{Deserialize, Serialize};

use crate::random::Random;

mod text;

use text::Corpus;

/// Carriers of a concept by their own noise.
const FOCUSED: usize = 2;
/// Carriers of a concept that only together say much.
const DISTRIBUTED: usize = 8;
/// How much of the signal each of those has.
const DISTRIBUTED_SHARE: f64 = 0.25;
/// Neurons of a concept that carry what goes along with it, not the concept.
const CONFOUNDED: usize = 2;
/// Neurons of each kind of decoy.
const DECOYS: usize = 4;

/// How hard it is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Difficulty {
    /// Rows.
    pub rows: usize,
    /// Neurons.
    pub neurons: usize,
    /// Concepts.
    pub concepts: usize,
    /// Share of the rows that bear each concept.
    pub share: f64,
    /// How much higher a carrier is on the rows of its concept, in deviations of its noise.
    pub signal: f64,
    /// Copies of each focused neuron.
    pub copies: usize,
    /// Correlation of a copy's noise with that of its original.
    pub correlation: f64,
    /// Correlation of a concept with what goes along with it.
    pub confound: f64,
}

impl Default for Difficulty {
    fn default() -> Self {
        Self {
            rows: 2000,
            neurons: 256,
            concepts: 4,
            share: 0.1,
            signal: 1.0,
            copies: 1,
            correlation: 0.9,
            confound: 0.5,
        }
    }
}

/// What a planted neuron does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Higher on the rows of one concept.
    Focused,
    /// A focused neuron with most of its noise, scaled, shifted or negated.
    Copy,
    /// Higher on the rows of two concepts.
    Polysemous,
    /// Higher on the rows of one concept, lower on those of another.
    Switch,
    /// One of several that are a little higher on the rows of one concept.
    Distributed,
    /// Higher on rows of something that goes along with a concept.
    Confounded,
    /// The position in the sentence.
    Position,
    /// How frequent the word is.
    Frequency,
    /// Noise of ten times the deviation.
    Loud,
    /// Noise with far outliers.
    HeavyTailed,
    /// Noise that all neurons of this kind share.
    Shared,
    /// The same in every row.
    Dead,
    /// Noise.
    Noise,
}

impl Kind {
    /// Every kind, those that carry a concept first.
    pub const ALL: [Self; 13] = [
        Self::Focused,
        Self::Copy,
        Self::Polysemous,
        Self::Switch,
        Self::Distributed,
        Self::Confounded,
        Self::Position,
        Self::Frequency,
        Self::Loud,
        Self::HeavyTailed,
        Self::Shared,
        Self::Dead,
        Self::Noise,
    ];

    /// Whether a neuron of this kind says much about a concept by itself.
    pub fn is_strong(self) -> bool {
        matches!(self, Self::Focused | Self::Copy | Self::Polysemous | Self::Switch)
    }

    /// Its name in words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Focused => "focused",
            Self::Copy => "copy",
            Self::Polysemous => "polysemous",
            Self::Switch => "switch",
            Self::Distributed => "distributed",
            Self::Confounded => "confounded",
            Self::Position => "position",
            Self::Frequency => "frequency",
            Self::Loud => "loud noise",
            Self::HeavyTailed => "heavy-tailed noise",
            Self::Shared => "shared noise",
            Self::Dead => "dead",
            Self::Noise => "noise",
        }
    }
}

/// A neuron, and what it does.
#[derive(Clone, Debug, PartialEq)]
pub struct PlantedNeuron {
    /// What it does.
    pub kind: Kind,
    /// The concepts that it carries; of a confounded neuron, that along which it goes.
    pub concepts: Vec<usize>,
}

/// Activations of neurons of which it is known what they do.
#[derive(Clone, Debug)]
pub struct Planted {
    /// The activations, `[rows, neurons]`.
    pub x: Matrix,
    /// The words.
    pub text: TextRows,
    /// `concept 1`, `concept 2`, … or `rest`, one of them a row.
    pub labels: Labels,
    /// What each column does, `[neurons]`.
    pub key: Vec<PlantedNeuron>,
}

/// How much of a concept's neurons the first of a ranking are.
#[derive(Clone, Debug, PartialEq)]
pub struct Recovery {
    /// Number of neurons that are looked at: as many as carry the concept by themselves.
    pub k: usize,
    /// Share of the first k that carry the concept.
    pub precision: f64,
    /// Of each kind, in the order of [`Kind::ALL`]: neurons among the first k, and neurons that there are for the concept;
    /// of kinds that carry none, all that there are.
    pub kinds: Vec<(usize, usize)>,
}

impl Difficulty {
    /// Checks that it can be planted.
    ///
    /// # Errors
    /// [`MethodError::Parameter`] for the first value that does not fit.
    pub fn check(&self) -> Result<(), MethodError> {
        let refuse = |name, value: String, expected| {
            Err(MethodError::Parameter { method: "planted neurons", name, value, expected })
        };
        let within = |value: f64, low: f64, high: f64| value >= low && value <= high;
        if self.concepts == 0 || !within(self.share, 0.0, 1.0) || self.share * self.concepts as f64 > 0.75 {
            let value = format!("{} concepts of share {}", self.concepts, self.share);
            return refuse("concepts", value, "at least one, of three quarters of the rows together at most");
        }
        if !within(self.signal, 0.0, 1e6) {
            return refuse("signal", self.signal.to_string(), "a number from 0 to 1e6");
        }
        if !within(self.correlation, 0.0, 1.0) || !within(self.confound, 0.0, 1.0) {
            let value = format!("{} and {}", self.correlation, self.confound);
            return refuse("correlation and confound", value, "numbers from 0 to 1");
        }
        if self.rows < 2 * self.concepts {
            return refuse("rows", self.rows.to_string(), "two for each concept at least");
        }
        if self.n_planted() > self.neurons {
            return refuse(
                "neurons",
                self.neurons.to_string(),
                "at least as many as are planted: fewer concepts or copies",
            );
        }
        Ok(())
    }

    fn n_planted(&self) -> usize {
        let two = if self.concepts > 1 { 2 } else { 0 };
        self.concepts * (FOCUSED * (1 + self.copies) + two + DISTRIBUTED + CONFOUNDED) + 3 * DECOYS + 3
    }

    /// What the neurons do, in order of their kinds.
    fn key(&self) -> Vec<PlantedNeuron> {
        let mut key = Vec::with_capacity(self.neurons);
        let mut plant = |kind, concepts: Vec<usize>, n: usize| {
            key.extend((0..n).map(|_| PlantedNeuron { kind, concepts: concepts.clone() }));
        };
        for concept in 0..self.concepts {
            plant(Kind::Focused, vec![concept], FOCUSED);
            plant(Kind::Copy, vec![concept], FOCUSED * self.copies);
            if self.concepts > 1 {
                let next = (concept + 1) % self.concepts;
                plant(Kind::Polysemous, vec![concept, next], 1);
                plant(Kind::Switch, vec![concept, next], 1);
            }
            plant(Kind::Distributed, vec![concept], DISTRIBUTED);
            plant(Kind::Confounded, vec![concept], CONFOUNDED);
        }
        for kind in [Kind::Loud, Kind::HeavyTailed, Kind::Shared] {
            plant(kind, Vec::new(), DECOYS);
        }
        for kind in [Kind::Position, Kind::Frequency, Kind::Dead] {
            plant(kind, Vec::new(), 1);
        }
        let rest = self.neurons - self.n_planted();
        plant(Kind::Noise, Vec::new(), rest);
        key
    }
}

impl Planted {
    /// Draws words, concepts and activations.
    ///
    /// # Errors
    /// As [`Difficulty::check`].
    pub fn new(difficulty: &Difficulty, seed: u64) -> Result<Self, MethodError> {
        difficulty.check()?;
        let mut random = Random::new(seed);
        let corpus = Corpus::new(difficulty, &mut random);
        let key = difficulty.key();
        let mut order: Vec<usize> = (0..key.len()).collect();
        random.shuffle(&mut order);
        let mut values = Array2::zeros((difficulty.rows, key.len()));
        let mut draw =
            Draw { difficulty, corpus: &corpus, random: &mut random, shared: Vec::new(), focused: Vec::new() };
        draw.shared = draw.noise();
        for (idx, neuron) in key.iter().enumerate() {
            let column = draw.neuron(neuron);
            values.column_mut(order[idx]).iter_mut().zip(column).for_each(|(to, value)| *to = value as f32);
        }
        let mut shuffled = vec![PlantedNeuron { kind: Kind::Noise, concepts: Vec::new() }; key.len()];
        for (neuron, &place) in key.into_iter().zip(&order) {
            shuffled[place] = neuron;
        }
        let mut names: Vec<Concept> =
            (1..=difficulty.concepts).map(|number| Concept::new(format!("concept {number}"))).collect();
        names.push(Concept::new("rest"));
        let columns = site_columns(&[(HookPoint::new(0, Site::MlpPost), shuffled.len())]);
        Ok(Self {
            x: Matrix::new(values, columns)?,
            labels: Labels::single(names, corpus.concept.iter().map(|&concept| Some(concept as u32))),
            text: corpus.text(),
            key: shuffled,
        })
    }

    /// Mean precision of neurons in random order.
    pub fn chance(&self) -> f64 {
        let carries = |neuron: &&PlantedNeuron| neuron.kind.is_strong() || neuron.kind == Kind::Distributed;
        let carried: usize = self.key.iter().filter(carries).map(|neuron| neuron.concepts.len()).sum();
        carried as f64 / (self.key.len() * (self.labels.concepts().len() - 1)) as f64
    }

    /// How much of the neurons of the planted concept `concept`, from 0, its ranking finds; `None` if it is not in the
    /// scores, or no neuron carries it by itself.
    pub fn recovery(&self, scores: &Scores, concept: usize) -> Option<Recovery> {
        let of_scores = scores.concept(&self.labels.concepts()[concept].name)?;
        self.of_ranking(&scores.ranking(of_scores).neurons, concept)
    }

    /// How much of the neurons of a concept the first of these are.
    pub fn of_ranking(&self, ranking: &[NeuronId], concept: usize) -> Option<Recovery> {
        let of_concept = |neuron: &PlantedNeuron| neuron.concepts.is_empty() || neuron.concepts.contains(&concept);
        let is_strong = |neuron: &&PlantedNeuron| neuron.kind.is_strong() && of_concept(neuron);
        let k = self.key.iter().filter(is_strong).count();
        let place = |neuron: &NeuronId| self.x.neurons().binary_search(neuron).ok();
        let first: Vec<&PlantedNeuron> =
            ranking.iter().take(k).filter_map(place).map(|column| &self.key[column]).collect();
        let carries = |neuron: &&&PlantedNeuron| {
            neuron.concepts.contains(&concept) && (neuron.kind.is_strong() || neuron.kind == Kind::Distributed)
        };
        let kind = |&kind: &Kind| {
            let is = |neuron: &PlantedNeuron| neuron.kind == kind && of_concept(neuron);
            (first.iter().filter(|neuron| is(neuron)).count(), self.key.iter().filter(|neuron| is(neuron)).count())
        };
        (k > 0).then(|| Recovery {
            k,
            precision: first.iter().filter(carries).count() as f64 / k as f64,
            kinds: Kind::ALL.iter().map(kind).collect(),
        })
    }
}

/// Draws columns.
struct Draw<'a> {
    difficulty: &'a Difficulty,
    corpus: &'a Corpus,
    random: &'a mut Random,
    /// The noise that the neurons with shared noise have.
    shared: Vec<f64>,
    /// The focused neurons of the concept in hand.
    focused: Vec<(usize, Vec<f64>)>,
}

impl Draw<'_> {
    fn noise(&mut self) -> Vec<f64> {
        (0..self.difficulty.rows).map(|_| self.random.normal()).collect()
    }

    fn neuron(&mut self, neuron: &PlantedNeuron) -> Vec<f64> {
        let signal = self.difficulty.signal;
        let (corpus, noise) = (self.corpus, self.noise());
        let with = |size: f64, on: &dyn Fn(usize) -> f64| -> Vec<f64> {
            noise.iter().enumerate().map(|(row, noise)| noise + size * on(row)).collect()
        };
        let is =
            |row: usize, place: usize| f64::from(u8::from(neuron.concepts.get(place) == Some(&corpus.concept[row])));
        match neuron.kind {
            Kind::Focused => {
                let values = with(signal, &|row| is(row, 0));
                // Of the concept before, no copies are to come.
                self.focused.retain(|(concept, _)| *concept == neuron.concepts[0]);
                self.focused.push((neuron.concepts[0], values.clone()));
                values
            }
            Kind::Copy => {
                let original = &self.focused[self.random.below(self.focused.len())].1;
                let r = self.difficulty.correlation;
                let own = (1.0 - r * r).sqrt();
                let scale = [1.0, 2.0, -1.0, 0.5][self.random.below(4)];
                let shift = self.random.normal();
                // The signal is whole, and the noise is that of the original as far as they correlate.
                let value = |(row, noise): (usize, &f64)| {
                    let signal = signal * is(row, 0);
                    scale * (signal + r * (original[row] - signal) + own * noise) + shift
                };
                noise.iter().enumerate().map(value).collect()
            }
            Kind::Polysemous => with(signal, &|row| is(row, 0) + is(row, 1)),
            Kind::Switch => with(signal, &|row| is(row, 0) - is(row, 1)),
            Kind::Distributed => with(DISTRIBUTED_SHARE * signal, &|row| is(row, 0)),
            Kind::Confounded => {
                let along = corpus.along(neuron.concepts[0], self.difficulty.confound, self.random);
                with(signal, &|row| f64::from(u8::from(along[row])))
            }
            Kind::Position => with(10.0, &|row| corpus.position[row]),
            Kind::Frequency => with(10.0, &|row| corpus.frequency[row]),
            Kind::Loud => noise.iter().map(|noise| 10.0 * noise).collect(),
            Kind::HeavyTailed => {
                // Student's t with two degrees of freedom.
                let squares = |random: &mut Random| -random.uniform().max(1e-12).ln();
                noise.iter().map(|noise| noise / squares(self.random).sqrt().max(1e-3)).collect()
            }
            Kind::Shared => noise.iter().zip(&self.shared).map(|(noise, shared)| shared + 0.2 * noise).collect(),
            Kind::Dead => vec![1.0; noise.len()],
            Kind::Noise => noise,
        }
    }
}

#[cfg(test)]
mod tests;
