//! Causal mediation: which neurons carry the effect of a changed text, singly, the best of them and sets that grow.

use std::path::PathBuf;

use nissl_core::{Attributor, Context, Model, NeuronId, Progress, Prompt, Ranking};
use nissl_data::{PromptOptions, TextPrompt};
use nissl_methods::ablating::{Mean, random_like};
use nissl_methods::attributors::{AttributionPatching, Mediation, Metric, Places};
use nissl_methods::patching::{Patched, Patching, Where};
use nissl_methods::search::Search;
use nissl_model::{LanguageModel, LoadOptions};
use serde::{Deserialize, Serialize};

use crate::error::TaskError;
use crate::keeping::Keeping;
use crate::output::write_json;
use crate::progress::Quiet;
use crate::prompts::{Asked, PromptSummary};
use crate::ranking_file::save_ranking;
use crate::report::{Head, head};
use crate::sets;
use crate::tasks::sites::ModelSummary;

/// One sentence about the task.
pub const SUMMARY: &str = "Measure through which neurons the effect of a changed text passes";

/// Names of the files in the folder of the results.
const REPORT: &str = "mediate.json";
const RANKING: &str = "mediate.parquet";

/// Whose effects are measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Folder, file or Hub name.
    pub model: String,
    /// How the model is loaded.
    pub load: LoadOptions,
    /// A file or folder of prompts, with a foil and another text each.
    pub file: Option<PathBuf>,
    /// What of it is wanted.
    pub read: PromptOptions,
    /// More prompts.
    pub prompts: Vec<TextPrompt>,
    /// Whose neurons.
    pub site: String,
    /// Only these layers; all if empty.
    pub layers: Vec<u16>,
    /// How neurons are ranked.
    pub rank: Rank,
    /// A ranking, instead.
    pub ranking: Option<PathBuf>,
    /// Shares of all neurons whose best are moved together.
    pub shares: Vec<f64>,
    /// Neurons of a set that grows, at most; 0 for none.
    pub grow: usize,
    /// Neurons among which it is looked for: the best of the ranking.
    pub candidates: usize,
    /// Sets that are kept at each size; 1 for a greedy search.
    pub beam: usize,
    /// Random sets that each share is compared with.
    pub random: usize,
    /// Seed of the random sets.
    pub seed: u64,
    /// Prompts whose target and foil together are less probable are left out.
    pub min_prob: f64,
    /// Folder for the ranking of all neurons, a Parquet table, and for the report; nothing is written if `None`.
    pub out: Option<PathBuf>,
    /// Bytes for activations.
    pub memory: usize,
}

/// How neurons are ranked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rank {
    /// By the indirect effect to first order: two runs and a gradient.
    #[default]
    Gradient,
    /// By the indirect effect of each neuron alone: a run a neuron and prompt.
    Single,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            model: String::new(),
            load: LoadOptions::default(),
            file: None,
            read: PromptOptions::default(),
            prompts: Vec::new(),
            site: "mlp_out".to_owned(),
            layers: Vec::new(),
            rank: Rank::default(),
            ranking: None,
            shares: vec![0.001, 0.01, 0.1, 1.0],
            grow: 0,
            candidates: 50,
            beam: 1,
            random: 5,
            seed: 0,
            min_prob: 0.01,
            out: None,
            memory: Context::MEMORY,
        }
    }
}

/// What passes where.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Task, version and config.
    #[serde(flatten)]
    pub head: Head<Config>,
    /// The model.
    pub model: ModelSummary,
    /// The prompts.
    pub prompts: PromptSummary,
    /// Those whose target and foil are too improbable.
    pub improbable: usize,
    /// By what share the odds of the targets rise with the other texts.
    pub total: Mean,
    /// By how much their logarithm rises.
    pub log_total: Mean,
    /// The best single neurons.
    pub singles: Vec<SetEffect>,
    /// The best neurons together.
    pub shares: Vec<ShareReport>,
    /// All neurons of each layer.
    pub layers: Vec<SetEffect>,
    /// The best set of each size.
    pub grown: Vec<SetEffect>,
}

/// What passes through a set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetEffect {
    /// The set.
    pub name: String,
    /// Number of its neurons.
    pub neurons: usize,
    /// By what share the odds rise if it alone is as after the other text.
    pub indirect: Mean,
    /// By what share they rise with the other text if it stays as it was.
    pub direct: Mean,
    /// The part of the rise of the odds' logarithm that is there if it alone is as after the other text.
    pub share: f64,
}

/// What passes through the best neurons.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShareReport {
    /// Their share of all neurons.
    pub best: f64,
    /// What passes through them.
    pub effect: SetEffect,
    /// The same part for random sets of as many neurons of the same layers: mean, least and largest.
    pub random: Option<[f64; 3]>,
}

/// Single neurons in the report.
const SINGLES: usize = 10;

/// Measures.
///
/// # Errors
/// If the model, the prompts or the ranking cannot be read, a prompt has no foil or other text, none is probable enough,
/// or the user stops it.
pub fn run(config: &Config, progress: &dyn Progress) -> Result<Report, TaskError> {
    if let Some(share) = config.shares.iter().find(|share| !(0.0..=1.0).contains(*share)) {
        return Err(TaskError::config("shares", "shares of all neurons, from 0 to 1", share.to_string()));
    }
    let given = config.ranking.as_ref().map(|path| sets::ranking(path, None)).transpose()?;
    let Config { model, file, read, prompts, .. } = config;
    let (model, mut prompts, summary) =
        Asked { model, load: &config.load, file: file.as_deref(), read, prompts }.ready(progress)?;
    for prompt in &mut prompts {
        prompt.concept = String::new();
    }
    let n_all = prompts.len();
    let prompts = probable(config, &model, prompts, progress)?;
    let prefix = config.out.as_ref().map(|out| out.join(REPORT));
    let keeping = Keeping::new(progress, prefix, &(config, &model.info().fingerprint, &prompts));
    let ctx = Context { memory: config.memory, progress: &keeping };
    let ranking = match given {
        Some((_, ranking)) => ranking,
        None => ranked(config, &model, &prompts, ctx).map_err(|err| keeping.told(err))?,
    };
    let plan = Plan::new(config, &model, &ranking);
    let neurons: Vec<Vec<NeuronId>> = plan.sets.iter().map(|(_, neurons)| neurons.clone()).collect();
    let patching = Patching { metric: Metric::Difference, places: Where::Differing, both: true };
    let found = patching.patch(&model, &prompts, &neurons, ctx).map_err(|err| keeping.told(err.into()))?;
    let effect = |idx: usize| SetEffect::of(&plan.sets[idx].0, neurons[idx].len(), idx, &found);
    let singles = (0..plan.n_singles).map(effect).collect();
    let shares = plan.shares.iter().map(|(best, first)| {
        let random: Vec<f64> = (first + 1..first + 1 + config.random).map(|idx| effect(idx).share).collect();
        let [least, most] = [f64::min, f64::max].map(|of| random.iter().copied().reduce(of).unwrap_or_default());
        let mean = random.iter().sum::<f64>() / random.len().max(1) as f64;
        // Of all neurons there are no others.
        let others = neurons.get(first + 1).is_some_and(|set| set.len() == neurons[*first].len());
        let random = (config.random > 0 && others).then_some([mean, least, most]);
        ShareReport { best: *best, effect: effect(*first), random }
    });
    let (shares, layers) = (shares.collect(), plan.layers.clone().map(effect).collect());
    let grown = grow(config, &model, &prompts, &ranking, ctx)?;
    let report = Report {
        head: head("mediate", config),
        model: ModelSummary::of(model.info()),
        prompts: summary,
        improbable: n_all - prompts.len(),
        total: Mean::of(found.iter().map(Patched::total)),
        log_total: Mean::of(found.iter().map(|patched| patched.other - patched.own)),
        singles,
        shares,
        layers,
        grown,
    };
    if let Some(out) = &config.out {
        write_json(&out.join(REPORT), &report)?;
    }
    keeping.finish();
    Ok(report)
}

/// The prompts whose target and foil are probable enough together, after the text.
fn probable(
    config: &Config,
    model: &LanguageModel,
    prompts: Vec<Prompt>,
    progress: &dyn Progress,
) -> Result<Vec<Prompt>, TaskError> {
    if let Some((idx, _)) = prompts.iter().enumerate().find(|(_, prompt)| prompt.foil.is_none()) {
        return Err(TaskError::config("prompts", "a foil for each", format!("none for prompt {idx}")));
    }
    let measured = |metric| {
        let patching = Patching { metric, places: Where::Target, both: false };
        let ctx = Context { memory: config.memory, progress: &Quiet(progress) };
        patching.patch(model, &prompts, &[], ctx)
    };
    let (own, odds) = (measured(Metric::Probability)?, measured(Metric::Difference)?);
    let enough = |idx: usize| own[idx].own * (1.0 + (-odds[idx].own).exp()) >= config.min_prob;
    let keep: Vec<bool> = (0..prompts.len()).map(enough).collect();
    let kept: Vec<Prompt> = prompts.into_iter().zip(keep).filter(|(_, keep)| *keep).map(|(prompt, _)| prompt).collect();
    if kept.is_empty() {
        let expected = format!("prompts whose target and foil have {} together", config.min_prob);
        return Err(TaskError::config("min_prob", expected, "none"));
    }
    Ok(kept)
}

/// Ranks the neurons; the ranking is saved if a folder is given.
fn ranked(config: &Config, model: &LanguageModel, prompts: &[Prompt], ctx: Context<'_>) -> Result<Ranking, TaskError> {
    let (site, layers) = (config.site.clone(), config.layers.clone());
    let mut scores = match config.rank {
        Rank::Gradient => {
            let (metric, places) = (Metric::Difference, Places::All);
            AttributionPatching { site, layers, metric, places, differing: true, steps: 1 }.score(model, prompts, ctx)
        }
        Rank::Single => Mediation { site, layers, min_prob: 0.0, ..Mediation::default() }.score(model, prompts, ctx),
    }?;
    scores.provenance.model.clone_from(&model.info().fingerprint);
    if let Some(out) = &config.out {
        save_ranking(&out.join(RANKING), &scores)?;
    }
    // Those that speak for the target's odds, most first; a neuron against them carries nothing of a rise.
    let signed = scores.sign().map(|sign| &scores.values().mapv(f64::from) * &sign.mapv(f64::from));
    let signed = signed.unwrap_or_else(|| scores.values().mapv(f64::from));
    let mut order: Vec<usize> = (0..scores.neurons().len()).collect();
    order.sort_by(|&a, &b| signed[[0, b]].total_cmp(&signed[[0, a]]).then(a.cmp(&b)));
    let neurons = order.iter().map(|&idx| scores.neurons()[idx]).collect();
    Ok(Ranking { neurons, scores: order.iter().map(|&idx| signed[[0, idx]] as f32).collect() })
}

/// All sets that are moved, and which is which.
struct Plan {
    sets: Vec<(String, Vec<NeuronId>)>,
    n_singles: usize,
    /// Each share with the place of its set, which its random sets follow.
    shares: Vec<(f64, usize)>,
    layers: std::ops::Range<usize>,
}

impl Plan {
    fn new(config: &Config, model: &LanguageModel, ranking: &Ranking) -> Self {
        let single = |neuron: &NeuronId| (neuron.to_string(), vec![*neuron]);
        let mut sets: Vec<_> = ranking.top(SINGLES).iter().map(single).collect();
        let n_singles = sets.len();
        let n = ranking.neurons.len();
        let mut shares = Vec::new();
        for &share in &config.shares {
            let count = ((share * n as f64).round() as usize).clamp(1, n.max(1));
            shares.push((share, sets.len()));
            let best = ranking.top(count).to_vec();
            let random = random_like(model.info(), &best, config.random, config.seed);
            sets.push((format!("best {count}"), best));
            sets.extend(random.into_iter().map(|set| (String::new(), set)));
        }
        let first = sets.len();
        let mut points: Vec<_> = ranking.neurons.iter().map(|neuron| neuron.point).collect();
        points.sort_unstable();
        points.dedup();
        for point in points {
            let own = ranking.neurons.iter().copied().filter(|neuron| neuron.point == point);
            sets.push((point.to_string(), own.collect()));
        }
        let layers = first..sets.len();
        Self { sets, n_singles, shares, layers }
    }
}

impl SetEffect {
    fn of(name: &str, neurons: usize, idx: usize, found: &[Patched]) -> Self {
        let rise: f64 = found.iter().map(|patched| patched.patched[idx][0] - patched.own).sum();
        let total: f64 = found.iter().map(|patched| patched.other - patched.own).sum();
        Self {
            name: name.to_owned(),
            neurons,
            indirect: Mean::of(found.iter().map(|patched| patched.indirect(idx))),
            direct: Mean::of(found.iter().map(|patched| patched.direct(idx).unwrap_or_default())),
            share: if total == 0.0 { 0.0 } else { rise / total },
        }
    }
}

/// Lets a set grow by what moves the odds' logarithm most.
fn grow(
    config: &Config,
    model: &LanguageModel,
    prompts: &[Prompt],
    ranking: &Ranking,
    ctx: Context<'_>,
) -> Result<Vec<SetEffect>, TaskError> {
    if config.grow == 0 {
        return Ok(Vec::new());
    }
    let candidates = ranking.top(config.candidates);
    let (progress, memory) = (ctx.progress, ctx.memory);
    let ctx = Context { memory, progress: &Quiet(progress) };
    let named = |set: &[usize]| set.iter().map(|&unit| candidates[unit]).collect::<Vec<NeuronId>>();
    progress.stage("grow a set", None, "sets");
    let mut done = 0;
    let patching = Patching { metric: Metric::Difference, places: Where::Differing, both: false };
    let search = Search { beam: config.beam, most: config.grow, ..Search::default() };
    let best = search.run(candidates.len(), |sets| {
        let sets: Vec<Vec<NeuronId>> = sets.iter().map(|set| named(set)).collect();
        let found = patching.patch(model, prompts, &sets, ctx)?;
        done += sets.len() as u64;
        progress.step(done);
        let rise = |idx: usize| found.iter().map(|patched| patched.patched[idx][0] - patched.own).sum::<f64>();
        Ok::<_, TaskError>((0..sets.len()).map(rise).collect())
    })?;
    let sets: Vec<Vec<NeuronId>> = best.sizes.iter().map(|(set, _)| named(set)).collect();
    let found = Patching { both: true, ..patching }.patch(model, prompts, &sets, ctx)?;
    let of = |(idx, set): (usize, &Vec<NeuronId>)| {
        let names: Vec<String> = set.iter().map(ToString::to_string).collect();
        SetEffect::of(&names.join(" + "), set.len(), idx, &found)
    };
    Ok(sets.iter().enumerate().map(of).collect())
}

#[cfg(test)]
mod tests;
