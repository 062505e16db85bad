//! What a model's predictions lose without sets of its neurons: chosen ones, heads, layers, the top of a ranking.

use std::path::PathBuf;

use nissl_core::{Context, Model, NeuronId, Progress, Prompt};
use nissl_data::{PromptOptions, TextPrompt};
use nissl_methods::ablating::{Ablated, Effect, Mean, Outcome, Removal, random_like, steps_of};
use nissl_methods::search::Search;
use nissl_model::LoadOptions;
use serde::{Deserialize, Serialize};

use crate::error::TaskError;
use crate::keeping::Keeping;
use crate::output::write_json;
use crate::progress::Quiet;
use crate::prompts::{Asked, PromptSummary, by_concept};
use crate::report::{Head, head};
use crate::sets::{self, Set, Sets};
use crate::tasks::sites::ModelSummary;

/// One sentence about the task.
pub const SUMMARY: &str = "Remove sets of neurons and measure what the predictions of a model lose";

/// What to remove, and from what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Folder, file or Hub name.
    pub model: String,
    /// How the model is loaded.
    pub load: LoadOptions,
    /// A file or folder of prompts.
    pub file: Option<PathBuf>,
    /// What of it is wanted.
    pub read: PromptOptions,
    /// More prompts.
    pub prompts: Vec<TextPrompt>,
    /// Sets of neurons: `3.mlp_post[42,50-59]`, `0.attn_z[h3]`, `5.mlp_post`, several joined by ` + `.
    pub sets: Vec<String>,
    /// Sites of which every layer is a set: `mlp_post`, `2-4.attn_z`.
    pub layers: Vec<String>,
    /// Whether every attention head is a set.
    pub heads: bool,
    /// Clusters, the file of a cluster task: each of several neurons is a set, the largest first.
    pub clusters: Option<PathBuf>,
    /// So many of them, at most.
    pub most_clusters: usize,
    /// A ranking, the Parquet table of a rank or attribute.
    pub ranking: Option<PathBuf>,
    /// The concept of the ranking; its first if there is none.
    pub concept: Option<String>,
    /// Sets of so many neurons from the top of the ranking.
    pub top: Vec<usize>,
    /// Steps of the erasure curve: the top, the bottom and random parts of the ranking; 0 for no curve.
    pub steps: usize,
    /// How many of the sets are joined, the one that adds most to the loss first; 0 for none.
    pub grow: usize,
    /// Joined sets that are kept at each step; 1 is a greedy search.
    pub beam: usize,
    /// Random sets of as many neurons of the same sites that each set is compared with.
    pub random: usize,
    /// What becomes of the neurons, and at which positions.
    pub how: Removal,
    /// Prompts from which means, medians and values are taken; those that are asked if none.
    pub reference: Option<PathBuf>,
    /// A file for the report, JSON.
    pub out: Option<PathBuf>,
    /// Bytes for activations.
    pub memory: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            model: String::new(),
            load: LoadOptions::default(),
            file: None,
            read: PromptOptions::default(),
            prompts: Vec::new(),
            sets: Vec::new(),
            layers: Vec::new(),
            heads: false,
            clusters: None,
            most_clusters: 100,
            ranking: None,
            concept: None,
            top: Vec::new(),
            steps: 0,
            grow: 0,
            beam: 1,
            random: 0,
            how: Removal::default(),
            reference: None,
            out: None,
            memory: Context::MEMORY,
        }
    }
}

/// What was lost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Task, version and config.
    #[serde(flatten)]
    pub head: Head<Config>,
    /// The model.
    pub model: ModelSummary,
    /// The prompts.
    pub prompts: PromptSummary,
    /// What the whole model predicts.
    pub whole: Whole,
    /// One entry a set.
    pub sets: Vec<SetReport>,
    /// The sets that do most together, if they were joined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joined: Option<Joined>,
    /// The erasure curve, if one was asked for.
    pub curve: Option<Curve>,
}

/// What the whole model predicts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Whole {
    /// Negative log-probability of the targets.
    pub loss: Mean,
    /// Share of prompts whose target comes first.
    pub accuracy: f64,
    /// Share of prompts whose target comes before the foil; none without foils.
    pub agreement: Option<f64>,
}

/// What a set does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetReport {
    /// What it is called.
    pub name: String,
    /// Number of its neurons.
    pub neurons: usize,
    /// Over all prompts.
    pub effect: Effect,
    /// Over those of each concept, if there are several.
    pub concepts: Vec<ConceptEffect>,
    /// What random sets of as many neurons do.
    pub random: Option<RandomReport>,
}

/// What a set does to the prompts of a concept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConceptEffect {
    /// The concept.
    pub name: String,
    /// Its prompts.
    pub prompts: usize,
    /// What the whole model predicts.
    pub whole: Whole,
    /// What the set does.
    pub effect: Effect,
}

/// What random sets do.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RandomReport {
    /// Sets.
    pub sets: usize,
    /// Mean over sets of how much the loss rises.
    pub loss: f64,
    /// The rise that 2.5% of the sets are below.
    pub low: f64,
    /// The rise that 2.5% of the sets are above.
    pub high: f64,
    /// Mean share of prompts whose target comes first.
    pub accuracy: f64,
    /// Mean share of prompts whose target comes before the foil.
    pub agreement: Option<f64>,
    /// Share of the sets, the asked one with them, whose rise is at least that of the asked one.
    pub p: f64,
}

/// Sets that are removed together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Joined {
    /// The best, without those that do nothing in it.
    pub names: Vec<String>,
    /// By how much the loss rises without all of them.
    pub loss: f64,
    /// The best of each number of sets, from 1.
    pub steps: Vec<JoinedStep>,
}

/// The best of so many sets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinedStep {
    /// What they are called.
    pub names: Vec<String>,
    /// By how much the loss rises without them.
    pub loss: f64,
}

/// What is left when parts of a ranking are removed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Curve {
    /// From nothing to all of it.
    pub steps: Vec<Step>,
    /// Area between the losses without random parts and without the top: above 0 if the top matters more.
    pub area: f64,
}

/// A share of a ranking.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// The share.
    pub share: f64,
    /// Number of neurons.
    pub neurons: usize,
    /// Without the top.
    pub top: Whole,
    /// Without the bottom.
    pub bottom: Whole,
    /// Without random parts: means over them.
    pub random: Whole,
}

/// Removes sets.
///
/// # Errors
/// If the model, the prompts or the ranking cannot be read, nothing is asked for, a set is not of the model's neurons,
/// or the user stops it.
pub fn run(config: &Config, progress: &dyn Progress) -> Result<Report, TaskError> {
    let files = config.ranking.is_some() || config.clusters.is_some();
    if config.sets.is_empty() && config.layers.is_empty() && !config.heads && !files {
        return Err(TaskError::config("sets", "sets of neurons, layers, heads, clusters or a ranking", "none"));
    }
    let ranking = config.ranking.as_ref().map(|path| sets::ranking(path, config.concept.as_deref())).transpose()?;
    let Config { model, file, read, prompts, .. } = config;
    let (model, prompts, summary) =
        Asked { model, load: &config.load, file: file.as_deref(), read, prompts }.ready(progress)?;
    let reference = match &config.reference {
        None => Vec::new(),
        Some(path) => {
            let read = PromptOptions::default();
            Asked { model: &config.model, load: &config.load, file: Some(path), read: &read, prompts: &[] }
                .coded(&model)?
                .0
        }
    };
    let mut sets =
        Sets { named: &config.sets, layers: &config.layers, heads: config.heads, units: &[] }.of(model.info())?;
    if let Some((concept, ranking)) = &ranking {
        let top = |&n: &usize| Set { name: format!("top {n} of {concept}"), neurons: ranking.top(n).to_vec() };
        sets.extend(config.top.iter().map(top));
    }
    if let Some(path) = &config.clusters {
        sets.extend(sets::clusters(path, config.most_clusters, model.info())?);
    }
    let steps = match &ranking {
        Some((_, ranking)) if config.steps > 0 => {
            steps_of(ranking, config.steps, config.random.max(1), config.how.seed)
        }
        _ => Vec::new(),
    };
    // All that is to be removed goes through the model together.
    let mut all: Vec<Vec<NeuronId>> = Vec::new();
    for (idx, set) in sets.iter().enumerate() {
        all.push(set.neurons.clone());
        all.extend(random_like(model.info(), &set.neurons, config.random, config.how.seed.wrapping_add(idx as u64)));
    }
    all.extend(steps.iter().flatten().flatten().cloned());
    let keeping = Keeping::new(progress, config.out.clone(), &(config, &model.info().fingerprint, &prompts, &all));
    let ctx = Context { memory: config.memory, progress: &keeping };
    let found = config.how.ablate((&model, &prompts, &reference), &all, ctx).map_err(|err| keeping.told(err.into()))?;
    let concepts = by_concept(&prompts);
    let of_set =
        |(set, idx): (&Set, usize)| set_report(set, &found, idx * (1 + config.random), config.random, &concepts);
    let reports = sets.iter().zip(0..).map(of_set).collect();
    let joined = (config.grow > 0).then(|| join(config, (&model, &prompts, &reference), &sets, ctx)).transpose()?;
    let curve = (!steps.is_empty()).then(|| curve(&steps, &found.without[sets.len() * (1 + config.random)..]));
    let report = Report {
        head: head("ablate", config),
        model: ModelSummary::of(model.info()),
        prompts: summary,
        whole: Whole::of(&found.whole, &everything(&prompts)),
        sets: reports,
        joined,
        curve,
    };
    if let Some(out) = &config.out {
        write_json(out, &report)?;
    }
    keeping.finish();
    Ok(report)
}

/// Joins the sets that cost most together.
fn join(
    config: &Config,
    asked: (&dyn Model, &[Prompt], &[Prompt]),
    sets: &[Set],
    ctx: Context<'_>,
) -> Result<Joined, TaskError> {
    // Sets that are joined ask for something else each time: that is not kept.
    let ctx = Context { progress: &Quiet(ctx.progress), ..ctx };
    let search = Search { beam: config.beam, most: config.grow, ..Search::default() };
    let names = |places: &[usize]| places.iter().map(|&place| sets[place].name.clone()).collect::<Vec<_>>();
    let all = everything(asked.1);
    let best = search.run(sets.len(), |unions| {
        let neurons = |union: &Vec<usize>| {
            let mut neurons: Vec<NeuronId> = union.iter().flat_map(|&place| sets[place].neurons.clone()).collect();
            neurons.sort_unstable();
            neurons.dedup();
            neurons
        };
        let found = config.how.ablate(asked, &unions.iter().map(neurons).collect::<Vec<_>>(), ctx)?;
        let rise = |without: &Vec<Outcome>| Effect::of(&found.whole, without, &all).loss.mean;
        Ok::<_, TaskError>(found.without.iter().map(rise).collect())
    })?;
    let step = |(places, loss): &(Vec<usize>, f64)| JoinedStep { names: names(places), loss: *loss };
    Ok(Joined { names: names(&best.set), loss: best.effect, steps: best.sizes.iter().map(step).collect() })
}

fn everything(prompts: &[Prompt]) -> Vec<usize> {
    (0..prompts.len()).collect()
}

fn set_report(
    set: &Set,
    found: &Ablated,
    first: usize,
    n_random: usize,
    concepts: &[(String, Vec<usize>)],
) -> SetReport {
    let all: Vec<usize> = (0..found.whole.len()).collect();
    let effect = Effect::of(&found.whole, &found.without[first], &all);
    let of_concept = |(name, own): &(String, Vec<usize>)| ConceptEffect {
        name: name.clone(),
        prompts: own.len(),
        whole: Whole::of(&found.whole, own),
        effect: Effect::of(&found.whole, &found.without[first], own),
    };
    let random = &found.without[first + 1..first + 1 + n_random];
    let random: Vec<Effect> = random.iter().map(|without| Effect::of(&found.whole, without, &all)).collect();
    SetReport {
        name: set.name.clone(),
        neurons: set.neurons.len(),
        effect,
        concepts: if concepts.len() > 1 { concepts.iter().map(of_concept).collect() } else { Vec::new() },
        random: (n_random > 0).then(|| random_report(&random, &effect)),
    }
}

fn random_report(random: &[Effect], effect: &Effect) -> RandomReport {
    let n = random.len();
    let mut rises: Vec<f64> = random.iter().map(|effect| effect.loss.mean).collect();
    rises.sort_by(f64::total_cmp);
    let at = |share: f64| rises[((share * n as f64) as usize).min(n - 1)];
    let mean = |of: fn(&Effect) -> f64| random.iter().map(of).sum::<f64>() / n as f64;
    let as_large = rises.iter().filter(|&&rise| rise >= effect.loss.mean).count();
    RandomReport {
        sets: n,
        loss: mean(|effect| effect.loss.mean),
        low: at(0.025),
        high: at(0.975),
        accuracy: mean(|effect| effect.accuracy),
        agreement: effect.agreement.map(|_| mean(|effect| effect.agreement.unwrap_or_default())),
        p: (as_large + 1) as f64 / (n + 1) as f64,
    }
}

impl Whole {
    fn of(outcomes: &[Outcome], prompts: &[usize]) -> Self {
        let own = prompts.iter().map(|&prompt| &outcomes[prompt]);
        let foils = own.clone().all(|outcome| outcome.agrees.is_some());
        Self {
            loss: Mean::of(own.clone().map(|outcome| outcome.loss)),
            accuracy: Mean::of(own.clone().map(|outcome| outcome.correct)).mean,
            agreement: foils.then(|| Mean::of(own.map(|outcome| outcome.agrees.unwrap_or_default())).mean),
        }
    }
}

fn curve(steps: &[[Vec<Vec<NeuronId>>; 3]], without: &[Vec<Outcome>]) -> Curve {
    let mut rest = without.iter();
    // The mean over sets of what is left.
    let mut next = |sets: &Vec<Vec<NeuronId>>| {
        let all: Vec<Outcome> = rest.by_ref().take(sets.len()).flatten().copied().collect();
        Whole::of(&all, &(0..all.len()).collect::<Vec<_>>())
    };
    let n = steps.len() - 1;
    let of_step = |(step, [top, bottom, random]): (usize, &[Vec<Vec<NeuronId>>; 3])| Step {
        share: step as f64 / n as f64,
        neurons: top[0].len(),
        top: next(top),
        bottom: next(bottom),
        random: next(random),
    };
    let steps: Vec<Step> = steps.iter().enumerate().map(of_step).collect();
    let above = |step: &Step| step.top.loss.mean - step.random.loss.mean;
    let area = steps.windows(2).map(|pair| f64::midpoint(above(&pair[0]), above(&pair[1])) / n as f64).sum();
    Curve { steps, area }
}

#[cfg(test)]
mod tests;
