//! How likely scores are by chance: the same method under labels that mean nothing.

use ndarray::Array2;
use nissl_core::{Context, Labels, MethodError, Scores, Significance, TextRows};
use nissl_methods::probes::inference::{false_discovery_rates, p_values, shuffled_labels};
use serde_json::Value;

use super::Run;
use crate::progress::Quiet;

/// Null scores a concept that are enough.
const ENOUGH: usize = 10_000;

/// How many runs with shuffled labels give enough null scores.
pub(super) fn permutations_for(n_neurons: usize) -> usize {
    ENOUGH.div_ceil(n_neurons.max(1)).clamp(2, 20)
}

/// Adds chance and false discovery rate to the scores of a run.
///
/// # Errors
/// As [`add_chances`].
pub(super) fn with_chances(
    run: &Run<'_>,
    scores: Scores,
    labels: &Labels,
    (permutations, seed): (usize, u64),
    ctx: Context<'_>,
) -> Result<Scores, MethodError> {
    let quiet = Quiet(ctx.progress);
    let null = |permutation| {
        let shuffled = shuffled(run.text, labels, seed, permutation);
        run.score(&shuffled, Context { progress: &quiet, ..ctx }, &mut Vec::new())
    };
    add_chances(scores, (run.method, permutations), null, ctx)
}

/// The labels of a permutation.
pub(super) fn shuffled(text: &TextRows, labels: &Labels, seed: u64, permutation: usize) -> Labels {
    shuffled_labels(text, labels, seed + permutation as u64)
}

/// Adds chance and false discovery rate by the scores that `score` gives for each permutation.
///
/// The null scores of a concept are those of all neurons that vary, in all runs. A run that fails, as shuffled labels may
/// leave a part of a split without a class, is passed over; without any there are no chances.
///
/// # Errors
/// [`MethodError::Cancelled`] if the user stops it.
pub(super) fn add_chances(
    mut scores: Scores,
    (method, permutations): (&str, usize),
    mut score: impl FnMut(usize) -> Result<Scores, MethodError>,
    ctx: Context<'_>,
) -> Result<Scores, MethodError> {
    if permutations == 0 {
        return Ok(scores);
    }
    ctx.progress.stage("scores of shuffled labels", Some(permutations as u64), "runs");
    let mut null: Vec<Vec<f32>> = vec![Vec::new(); scores.concepts().len()];
    for permutation in 0..permutations {
        match score(permutation) {
            Ok(other) => {
                for (concept, null) in scores.concepts().iter().zip(&mut null) {
                    let Some(idx) = other.concept(&concept.name) else { continue };
                    let varying = other.values().row(idx).into_iter().zip(other.constant()).filter(|(_, c)| !**c);
                    null.extend(varying.map(|(&score, _)| score));
                }
            }
            Err(MethodError::Cancelled) => return Err(MethodError::Cancelled),
            Err(err) => ctx.progress.note(&format!("{method}: no scores of shuffled labels: {err}")),
        }
        ctx.progress.step(permutation as u64 + 1);
    }
    if null.iter().all(Vec::is_empty) {
        return Ok(scores);
    }
    let significance = significance(&scores, &null);
    if let Value::Object(params) = &mut scores.provenance.params {
        params.insert("permutations".to_owned(), permutations.into());
    }
    scores.with_significance(significance)
}

/// Chances by the null scores of each concept, and false discovery rates over all concepts; 1 for constant neurons.
fn significance(scores: &Scores, null: &[Vec<f32>]) -> Significance {
    let varying: Vec<usize> = (0..scores.neurons().len()).filter(|&idx| !scores.constant()[idx]).collect();
    let mut p = Array2::from_elem(scores.values().dim(), 1.0);
    let mut q = p.clone();
    let mut chances = Vec::with_capacity(p.len());
    for (concept, null) in null.iter().enumerate() {
        let of_concept: Vec<f32> = varying.iter().map(|&idx| scores.values()[(concept, idx)]).collect();
        chances.extend(p_values(&of_concept, null));
    }
    let rates = false_discovery_rates(&chances);
    for (place, (chance, rate)) in chances.iter().zip(&rates).enumerate() {
        let at = (place / varying.len(), varying[place % varying.len()]);
        p[at] = *chance as f32;
        q[at] = *rate as f32;
    }
    Significance { p, q }
}
