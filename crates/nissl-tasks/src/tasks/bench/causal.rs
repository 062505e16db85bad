//! The causal level: a transformer compiled to hold facts, in which some neurons carry them and copies of these do nothing.

use std::sync::atomic::{AtomicU64, Ordering};

use nissl_core::{Context, MethodError, NeuronId, Progress, Scores};
use nissl_methods::probes::inference::Interval;
use nissl_methods::{Method, MethodEntry, MethodKind};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Config, mean, scores};
use crate::chosen::chosen;
pub use crate::compiled::Mechanism;
use crate::compiled::{Compiled, D_MLP, Fact};
use crate::error::TaskError;
use crate::progress::Quiet;
use crate::tasks::rank::Failure;

/// Prompts of a fact.
const PROMPTS: usize = 4;

/// Parameters of the methods where the config says nothing: every method looks at the same neurons, and none longer than a
/// model of a few neurons asks for.
const SET: &[(&str, &str)] =
    &[("mediation.site", "\"mlp_post\""), ("shapley.permutations", "10"), ("diff-mask.steps", "100")];

/// Which neurons each method takes for those that hold a fact.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CausalReport {
    /// Draws of the model.
    pub seeds: usize,
    /// Neurons of a model.
    pub neurons: usize,
    /// How facts are held.
    pub mechanisms: Vec<Mechanism>,
    /// One entry a method, rankers before attributors.
    pub methods: Vec<CausalMethod>,
    /// Precision of neurons in random order.
    pub chance: f64,
    /// Methods that failed somewhere, with the first reason.
    pub failed: Vec<Failure>,
}

/// What a method finds. Intervals are those of means over seeds, 95% by Student's t.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CausalMethod {
    /// Its name.
    pub name: String,
    /// Whether it runs the model.
    pub runs_model: bool,
    /// How often a neuron that holds a fact comes before a copy that is never read, where neither does half; none if the
    /// method failed.
    pub before: Option<Interval>,
    /// Share of a fact's first neurons, as many as hold it, that do hold it, for each mechanism.
    pub precision: Vec<Option<Interval>>,
    /// Share of them that are copies which are never read.
    pub copies: Option<Interval>,
}

/// What was found of one fact.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Found {
    mechanism: Mechanism,
    before: f64,
    precision: f64,
    copies: f64,
}

/// Compiles models and asks the methods.
///
/// # Errors
/// If a method or parameter is unknown, or the user stops it.
pub(super) fn run(config: &Config, n_seeds: usize, progress: &dyn Progress) -> Result<CausalReport, TaskError> {
    let methods = methods(config)?;
    progress.stage("asking for facts of compiled models", Some(n_seeds as u64), "models");
    let seeds: Vec<u64> = (0..n_seeds as u64).map(|seed| config.seed + seed).collect();
    let done = AtomicU64::new(0);
    let of_seed = |&seed: &u64| {
        let drawn = of_model(&Compiled::new(seed)?, &methods, (config.memory, progress));
        progress.step(done.fetch_add(1, Ordering::Relaxed) + 1);
        drawn
    };
    let drawn: Vec<Drawn> = seeds.par_iter().map(of_seed).collect::<Result<_, TaskError>>()?;
    let of_method = |(idx, (entry, _)): (usize, &(&MethodEntry, Method))| {
        let all: Option<Vec<&Vec<Found>>> = drawn.iter().map(|drawn| drawn.found[idx].as_ref()).collect();
        let over_seeds = |of: &dyn Fn(&Found) -> Option<f64>| {
            let means: Vec<f64> = all.as_ref()?.iter().map(|found| mean(found.iter().filter_map(of))).collect();
            Interval::of_mean(&means, (0.0, 1.0))
        };
        CausalMethod {
            name: entry.name.to_owned(),
            runs_model: entry.kind == MethodKind::Attributor,
            before: over_seeds(&|found| Some(found.before)),
            precision: Mechanism::ALL
                .iter()
                .map(|&of| over_seeds(&|found| (found.mechanism == of).then_some(found.precision)))
                .collect(),
            copies: over_seeds(&|found| Some(found.copies)),
        }
    };
    let mut failed: Vec<Failure> = Vec::new();
    for failure in drawn.iter().flat_map(|drawn| &drawn.failed) {
        if failed.iter().all(|known| known.name != failure.name) {
            failed.push(failure.clone());
        }
    }
    Ok(CausalReport {
        seeds: n_seeds,
        neurons: 2 * D_MLP,
        mechanisms: Mechanism::ALL.to_vec(),
        methods: methods.iter().enumerate().map(of_method).collect(),
        chance: mean(drawn.iter().map(|drawn| drawn.chance)),
        failed,
    })
}

/// The rankers and attributors of the config, or all.
fn methods(config: &Config) -> Result<Vec<(&'static MethodEntry, Method)>, TaskError> {
    let mut all = Vec::new();
    for kind in [MethodKind::Ranker, MethodKind::Attributor] {
        let names = config.names(kind);
        if !names.is_empty() {
            let mut set = config.set_of(&names);
            for (name, value) in SET {
                let (method, param) = name.split_once('.').expect("a method's parameter");
                if names.iter().any(|name| name == method) && !set.contains_key(*name) && !set.contains_key(param) {
                    set.insert((*name).to_owned(), serde_json::from_str(value).expect("plain values"));
                }
            }
            all.extend(chosen(&names, &set, kind)?);
        }
    }
    Ok(all)
}

/// What the methods find in one model.
struct Drawn {
    /// Of each method what it finds of every fact; `None` where it failed.
    found: Vec<Option<Vec<Found>>>,
    failed: Vec<Failure>,
    /// Precision of random neurons.
    chance: f64,
}

/// Asks the methods for the facts of a model.
fn of_model(
    compiled: &Compiled,
    methods: &[(&'static MethodEntry, Method)],
    (memory, progress): (usize, &dyn Progress),
) -> Result<Drawn, TaskError> {
    let (seen, prompts) = (compiled.seen()?, compiled.prompts(PROMPTS));
    let quiet = Quiet(progress);
    let ctx = Context { memory, progress: &quiet };
    let (mut found, mut failed) = (Vec::new(), Vec::new());
    for (entry, method) in methods {
        let scores = match method {
            Method::Ranker(ranker) => scores((&seen.x, &seen.text, &seen.labels), (entry.name, ranker.as_ref()), ctx),
            Method::Attributor(attributor) => attributor.score(&compiled.model, &prompts, ctx),
            Method::Profiler(_) => unreachable!("only rankers and attributors are chosen"),
        };
        found.push(match scores {
            Ok(scores) => compiled.facts.iter().enumerate().map(|(idx, fact)| of_fact(&scores, idx, fact)).collect(),
            Err(MethodError::Cancelled) => return Err(super::stopped()),
            Err(error) => {
                failed.push(Failure { name: entry.name.to_owned(), error: error.to_string() });
                None
            }
        });
    }
    let chance = mean(compiled.facts.iter().map(|fact| fact.carriers.len() as f64 / (2 * D_MLP) as f64));
    Ok(Drawn { found, failed, chance })
}

/// What scores say of a fact; nothing if they do not know it.
fn of_fact(scores: &Scores, idx: usize, fact: &Fact) -> Option<Found> {
    let concept = scores.concept(&Fact::concept(idx))?;
    let place = |neuron: &NeuronId| scores.neurons().binary_search(neuron).ok();
    let of = |neurons: &[NeuronId]| -> Option<Vec<f32>> {
        neurons.iter().map(|neuron| Some(scores.values()[[concept, place(neuron)?]])).collect()
    };
    let (carriers, copies) = (of(&fact.carriers)?, of(&fact.copies)?);
    let pairs = carriers.iter().flat_map(|carrier| copies.iter().map(move |copy| carrier.total_cmp(copy)));
    let before = mean(pairs.map(|order| match order {
        std::cmp::Ordering::Greater => 1.0,
        std::cmp::Ordering::Equal => 0.5,
        std::cmp::Ordering::Less => 0.0,
    }));
    let ranking = scores.ranking(concept);
    let first = ranking.top(fact.carriers.len());
    let share = |of: &[NeuronId]| first.iter().filter(|neuron| of.contains(neuron)).count() as f64 / first.len() as f64;
    Some(Found { mechanism: fact.mechanism, before, precision: share(&fact.carriers), copies: share(&fact.copies) })
}
