//! Objectives as sums of terms of logits and of activations: their values, and their gradients with respect to the
//! logits.

use std::ops::Range;

use nissl_core::{HookPoint, ModelError, ModelInfo, Objective, PlanError};

use crate::engine::cpu::{Cpu, Tensor};
use crate::engine::tape;

/// weight · (logit of `token` - log Σ exp(logits `among` which it is)), of the logits of a row.
#[derive(Clone, Debug)]
pub(crate) struct Term<'a> {
    pub(crate) row: usize,
    weight: f64,
    token: usize,
    among: Among<'a>,
}

impl Term<'_> {
    /// The cross-entropy of a row with a token.
    pub(crate) fn cross_entropy(row: usize, token: u32) -> Self {
        Self { row, weight: -1.0, token: token as usize, among: Among::All }
    }
}

/// What a token's logit is compared with.
#[derive(Clone, Debug)]
enum Among<'a> {
    /// Nothing: the logit itself.
    Nothing,
    /// All logits: the log-probability.
    All,
    /// The logits of these tokens.
    Classes(&'a [u32]),
}

/// weight · the activation of a unit at a point, in a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Read {
    pub(crate) point: HookPoint,
    pub(crate) unit: usize,
    pub(crate) row: usize,
    pub(crate) weight: f64,
}

/// What an objective is a sum of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Terms<'a> {
    /// Of the logits, rows counted within the sentence, or within its target.
    pub(crate) logits: Vec<Term<'a>>,
    /// Of activations, rows counted within the sentence.
    pub(crate) reads: Vec<Read>,
}

/// A sentence whose objective is made into terms.
pub(crate) struct Sentence<'a> {
    pub(crate) model: &'a ModelInfo,
    pub(crate) idx: usize,
    pub(crate) tokens: &'a [u32],
    /// Tokens that are its source, of which there are no logits.
    pub(crate) n_source: usize,
    pub(crate) n_logits: usize,
    /// Whether a position sees only those before it.
    pub(crate) causal: bool,
}

impl Sentence<'_> {
    /// The terms of an objective.
    ///
    /// # Errors
    /// [`ModelError::Objective`] if a token, a position or a number does not fit; [`ModelError::Plan`] if the model has
    /// not a neuron.
    pub(crate) fn terms<'a>(&self, objective: &'a Objective) -> Result<Terms<'a>, ModelError> {
        let mut terms = Terms::default();
        self.add(objective, 1.0, &mut terms)?;
        Ok(terms)
    }

    fn add<'a>(&self, objective: &'a Objective, weight: f64, terms: &mut Terms<'a>) -> Result<(), ModelError> {
        let n_tokens = self.tokens.len();
        let mut term = |row, weight, token, among| {
            let token = self.token(token)?;
            terms.logits.push(Term { row, weight, token, among });
            Ok(())
        };
        match objective {
            Objective::Logit { token, position } => term(self.row(*position)?, weight, *token, Among::Nothing),
            Objective::LogProb { token, position } => term(self.row(*position)?, weight, *token, Among::All),
            Objective::ClassLogProb { class, classes, position } => {
                classes.iter().try_for_each(|class| self.token(*class).map(|_| ()))?;
                let mut each = classes.clone();
                each.sort_unstable();
                each.dedup();
                if each.len() < classes.len() || !classes.contains(class) {
                    let (expected, got) = (format!("each once, {class} among them"), format!("{classes:?}"));
                    return Err(self.wrong("classes", expected, &got));
                }
                term(self.row(*position)?, weight, *class, Among::Classes(classes))
            }
            Objective::Difference { target, foil, position } => {
                let row = self.row(*position)?;
                term(row, weight, *target, Among::Nothing)?;
                term(row, -weight, *foil, Among::Nothing)
            }
            Objective::Sequence { from, until } => {
                if !self.causal {
                    let expected = "a model whose positions see only those before them".to_owned();
                    return Err(self.wrong("sequence", expected, &"one whose positions see all others"));
                }
                if *from == 0 {
                    return Err(self.wrong("from", "1 or more: nothing expects the first token".to_owned(), from));
                }
                let until = until.unwrap_or(n_tokens);
                if until > n_tokens {
                    return Err(self.wrong("until", format!("at most {n_tokens} tokens"), &until));
                }
                let from = *from.max(&(self.n_source + 1));
                (from..until.max(from))
                    .try_for_each(|place| term(place - 1 - self.n_source, weight, self.tokens[place], Among::All))
            }
            Objective::Loss { targets } => {
                if targets.len() != n_tokens {
                    return Err(self.wrong("targets", format!("one for each of {n_tokens} tokens"), &targets.len()));
                }
                let share = -weight / targets.iter().flatten().count() as f64;
                if targets[..self.n_source].iter().any(Option::is_some) {
                    let expected = format!("none at the {} tokens of the source", self.n_source);
                    return Err(self.wrong("targets", expected, &"some"));
                }
                let targets = targets[self.n_source..].iter().enumerate();
                let targets = targets.filter_map(|(row, target)| target.map(|token| (row, token)));
                targets.into_iter().try_for_each(|(row, token)| term(row, share, token, Among::All))
            }
            Objective::Neuron { neuron, position } => {
                let (point, unit) = (neuron.point, neuron.idx as usize);
                let refuse = |why: &str| Err(self.wrong("neuron", why.to_owned(), neuron));
                match self.model.width(point) {
                    _ if point.site().is_ragged() => return refuse("a neuron that has a value at every position"),
                    None => return refuse("a neuron at a point of the model"),
                    Some(width) if unit >= width => {
                        return Err(PlanError::UnitOutOfRange { point, idx: neuron.idx, width }.into());
                    }
                    Some(_) => {}
                }
                let row = self.place(*position, 0..n_tokens)?;
                terms.reads.push(Read { point, unit, row, weight });
                Ok(())
            }
            Objective::Sum { parts } => parts.iter().try_for_each(|part| {
                if !part.weight.is_finite() {
                    return Err(self.wrong("weight", "a finite number".to_owned(), &part.weight));
                }
                self.add(&part.objective, weight * part.weight, terms)
            }),
        }
    }

    fn token(&self, token: u32) -> Result<usize, ModelError> {
        if (token as usize) < self.n_logits {
            Ok(token as usize)
        } else {
            Err(self.wrong("token", format!("one of {} logits", self.n_logits), &token))
        }
    }

    /// The row of the logits of a position.
    fn row(&self, position: i64) -> Result<usize, ModelError> {
        Ok(self.place(position, self.n_source..self.tokens.len())? - self.n_source)
    }

    /// The place of a position, which must be one of `among`.
    fn place(&self, position: i64, among: Range<usize>) -> Result<usize, ModelError> {
        let n_tokens = self.tokens.len();
        let row = if position < 0 { position.saturating_add_unsigned(n_tokens as u64) } else { position };
        match usize::try_from(row) {
            Ok(row) if among.contains(&row) => Ok(row),
            _ if among.start > 0 => {
                let expected = format!("a place in the target, from {} on, below {n_tokens}", self.n_source);
                Err(self.wrong("position", expected, &position))
            }
            _ => Err(self.wrong("position", format!("a place in a sentence of {n_tokens} tokens"), &position)),
        }
    }

    fn wrong(&self, what: &'static str, expected: String, got: &dyn std::fmt::Display) -> ModelError {
        ModelError::Objective { sentence_idx: self.idx, what, expected, got: got.to_string() }
    }
}

/// Puts in place of the `logits` of a row the gradient of the sum of its `terms`; returns what each gives.
pub(crate) fn seed(cpu: &Cpu, logits: &mut [f32], terms: &[&Term<'_>]) -> Vec<f64> {
    let all: f64 = terms.iter().filter(|term| matches!(term.among, Among::All)).map(|term| term.weight).sum();
    let softmax = terms.iter().any(|term| matches!(term.among, Among::All)).then(|| tape::sum_exp(cpu, logits));
    let mut changes: Vec<(usize, f64)> = Vec::new();
    let mut values = Vec::with_capacity(terms.len());
    for term in terms {
        let logit = f64::from(logits[term.token]);
        changes.push((term.token, term.weight));
        values.push(
            term.weight
                * match (&term.among, softmax) {
                    (Among::All, Some((most, sum))) => logit - f64::from(most) - sum.ln(),
                    (Among::Classes(classes), _) => {
                        let others = classes.iter().map(|&class| f64::from(logits[class as usize]));
                        let most = others.clone().fold(f64::MIN, f64::max);
                        let sum: f64 = others.clone().map(|other| (other - most).exp()).sum();
                        let shares = classes
                            .iter()
                            .zip(others)
                            .map(|(&class, other)| (class as usize, -term.weight * (other - most).exp() / sum));
                        changes.extend(shares);
                        logit - most - sum.ln()
                    }
                    (Among::Nothing | Among::All, _) => logit,
                },
        );
    }
    match softmax {
        Some((most, sum)) => tape::scaled_exp(cpu, logits, most, (-all / sum) as f32),
        None => logits.fill(0.0),
    }
    for (token, change) in changes {
        logits[token] = (f64::from(logits[token]) + change) as f32;
    }
    values
}

/// As [`seed`], for all rows of `logits`; `terms` are in order of `rows`, their rows among them. Returns what each gives.
pub(crate) fn seeds(cpu: &Cpu, logits: &mut Tensor, rows: &[usize], terms: &[Term<'_>]) -> Vec<f64> {
    let mut values = Vec::with_capacity(terms.len());
    let mut left = terms;
    for (place, row) in rows.iter().enumerate() {
        let (own, rest) = left.split_at(left.partition_point(|term| term.row <= *row));
        values.extend(seed(cpu, logits.row_mut(place), &own.iter().collect::<Vec<_>>()));
        left = rest;
    }
    values
}
