//! Beam search, step by step as transformers does it.
//!
//! Letters: K beams. A step takes the best 2 K continuations (more, with several stop tokens) of all beams together.
//! Those of the first K that are at their end compete for the K finished ones; the best K of the others go on.

use std::ops::ControlFlow;

use nissl_core::{End, Generated, ModelError, NewToken};
use rayon::prelude::*;

use super::choose::log_sum_exp;
use super::texts::Texts;
use super::{Run, helpers};

/// Far below every score.
const NEVER: f32 = -1e9;

/// A continuation of the prompt.
#[derive(Clone, Default)]
struct Beam {
    tokens: Vec<u32>,
    log_probabilities: Vec<f32>,
    /// Of one that runs, the sum of its processed log-probabilities; of a finished one that by its length.
    score: f32,
    end: Option<End>,
}

/// The best text of every prompt.
pub(super) fn search(
    run: &Run<'_>,
    on_token: &mut dyn FnMut(NewToken) -> ControlFlow<()>,
) -> Result<Vec<Generated>, ModelError> {
    if run.options.max_new_tokens == 0 {
        return Ok((0..run.prompts.n_sentences()).map(|_| run.nothing_yet()).collect());
    }
    let found: Vec<Beam> =
        (0..run.prompts.n_sentences()).into_par_iter().map(|prompt| one(run, prompt)).collect::<Result<_, _>>()?;
    let mut done = Vec::with_capacity(found.len());
    let mut stopped = false;
    for (prompt, beam) in found.into_iter().enumerate() {
        for (&token, &log_probability) in beam.tokens.iter().zip(&beam.log_probabilities) {
            stopped = stopped || on_token(NewToken { prompt, token, log_probability }).is_break();
        }
        done.push(Generated {
            tokens: beam.tokens,
            log_probabilities: beam.log_probabilities,
            end: beam.end.unwrap_or(End::Stopped),
            score: Some(beam.score),
            ..run.nothing_yet()
        });
    }
    Ok(done)
}

fn one(run: &Run<'_>, prompt: usize) -> Result<Beam, ModelError> {
    let (options, k) = (run.options, run.options.n_beams);
    let n_helpers = helpers(run.prompts.n_sentences());
    let n_kept = 2.max(1 + run.stop_tokens.len()) * k;
    let mut texts = Texts::new(run, prompt);
    // All beams begin as the prompt; only the first one's continuations count at first.
    let mut running = vec![Beam { score: NEVER, ..Beam::default() }; k];
    running[0].score = 0.0;
    let mut finished = vec![Beam { score: NEVER, ..Beam::default() }; k];
    let mut can_improve = true;
    loop {
        let logits = texts.step(n_helpers)?;
        if logits.nrows() == 1 {
            texts.choose(&vec![0; k]);
        }
        let mut all: Vec<(f32, usize, usize, f32)> = Vec::new();
        for (beam, running) in running.iter().enumerate() {
            let logits = logits.row(beam.min(logits.nrows() - 1)).to_vec();
            let total = log_sum_exp(&logits) as f32;
            let raw: Vec<f32> = logits.iter().map(|logit| logit - total).collect();
            let mut scores = raw.clone();
            run.process(&mut scores, texts.text(beam));
            all.extend(
                scores.iter().enumerate().map(|(token, score)| (score + running.score, beam, token, raw[token])),
            );
        }
        let by_score = |a: &(f32, usize, usize, f32), b: &(f32, usize, usize, f32)| {
            b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2)))
        };
        if all.len() > n_kept {
            all.select_nth_unstable_by(n_kept - 1, by_score);
            all.truncate(n_kept);
        }
        all.sort_by(by_score);
        let candidates: Vec<(usize, Beam)> = all
            .into_iter()
            .map(|(score, beam, token, log_probability)| {
                let mut next = running[beam].clone();
                next.tokens.push(token as u32);
                next.log_probabilities.push(log_probability);
                next.score = score;
                next.end = run.end(&next.tokens, prompt, run.spells_stop(&next.tokens, prompt)?);
                Ok((beam, next))
            })
            .collect::<Result<_, ModelError>>()?;
        let n_new = candidates[0].1.tokens.len();
        let length = (n_new as f32).powf(options.length_penalty);
        // The best that are not at their end go on; others stand behind them.
        let mut next: Vec<(usize, Beam)> = candidates.clone();
        next.iter_mut().filter(|(_, beam)| beam.end.is_some()).for_each(|(_, beam)| beam.score += NEVER);
        next.sort_by(|a, b| b.1.score.total_cmp(&a.1.score));
        next.truncate(k);
        let full = options.early_stopping && finished.iter().all(|beam| beam.end.is_some());
        let no_way_on = candidates.iter().all(|(_, beam)| beam.end.is_some());
        let may_finish = candidates.into_iter().take(k).filter(|(_, beam)| beam.end.is_some() && !full && can_improve);
        finished.extend(may_finish.map(|(_, beam)| Beam { score: beam.score / length, ..beam }));
        finished.sort_by(|a, b| b.score.total_cmp(&a.score));
        finished.truncate(k);
        let worst = |beam: &Beam| if beam.end.is_some() { finished[k - 1].score } else { NEVER };
        let best_running = next[0].1.score / length;
        can_improve = can_improve && finished.iter().any(|beam| best_running > worst(beam));
        let open = !(options.early_stopping && finished.iter().all(|beam| beam.end.is_some()));
        if !(can_improve && open && !no_way_on) {
            return Ok(finished.swap_remove(0));
        }
        let (from, beams): (Vec<usize>, Vec<Beam>) = next.into_iter().unzip();
        texts.choose(&from);
        running = beams;
        running.iter().enumerate().for_each(|(idx, beam)| texts.push(idx, beam.tokens[n_new - 1]));
    }
}

impl Run<'_> {
    /// Whether the new tokens spell a stop text.
    fn spells_stop(&self, new: &[u32], prompt: usize) -> Result<bool, ModelError> {
        let mut found = false;
        if let Some(mut stops) = self.stream(prompt) {
            for &token in new {
                found = stops.push(token)? || found;
            }
        }
        Ok(found)
    }
}
