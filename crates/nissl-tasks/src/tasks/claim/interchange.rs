//! What neurons carry from a source to a base.

use nissl_core::{Context, Model};
use nissl_methods::evaluation::interchange::{InterchangeOptions, interchange};
use nissl_model::LanguageModel;
use nissl_store::Store;

use super::{Config, InsideReport, SetReport};
use crate::edit_text;
use crate::error::TaskError;
use crate::prompts::Asked;
use crate::recorded;
use crate::sets::{self, Set, Sets};
use crate::tasks::sites::ModelSummary;

/// Interchanges the neurons, each by itself, the named sets, and the best of the ranking.
pub(super) fn inside(
    config: &Config,
    model: &str,
    store: Option<&Store>,
    ctx: Context<'_>,
) -> Result<InsideReport, TaskError> {
    let inside = &config.inside;
    let asked =
        Asked { model, load: &inside.load, file: inside.file.as_deref(), read: &inside.read, prompts: &inside.prompts };
    let (model, prompts, summary) = match store {
        Some(store) => {
            let model = recorded::load(model, &inside.load, store, ctx.progress)?;
            let (prompts, summary) = asked.coded(&model)?;
            (model, prompts, summary)
        }
        None => asked.ready(ctx.progress)?,
    };
    let sets = sets(config, &model)?;
    let neurons: Vec<_> = sets.iter().map(|set| set.neurons.clone()).collect();
    let options = InterchangeOptions {
        places: inside.places,
        random_sets: config.random,
        draws: config.draws,
        seed: config.seed,
    };
    let found = interchange((&model, &prompts), &neurons, &options, ctx)?;
    if found.pairs == 0 {
        let expected = "pairs whose base and source the model tells apart: the target before the foil after the one, \
                        behind it after the other";
        return Err(TaskError::config("pairs", expected, format!("none of {}", prompts.len())));
    }
    let report = |(set, found): (Set, _)| SetReport { name: set.name, found };
    Ok(InsideReport {
        model: ModelSummary::of(model.info()),
        prompts: summary,
        pairs: found.pairs,
        left_out: found.left_out,
        sets: sets.into_iter().zip(found.sets).map(report).collect(),
    })
}

fn sets(config: &Config, model: &LanguageModel) -> Result<Vec<Set>, TaskError> {
    let single = |&neuron: &nissl_core::NeuronId| Set {
        name: format!("{}[{}]", edit_text::point_name(neuron.point), neuron.idx),
        neurons: vec![neuron],
    };
    let mut all: Vec<Set> = config.neurons.iter().map(single).collect();
    all.extend(Sets { named: &config.inside.sets, ..Sets::default() }.of(model.info())?);
    if let Some(path) = &config.inside.ranking {
        let (concept, ranking) = sets::ranking(path, config.inside.concept.as_deref())?;
        let best = |&k: &usize| Set { name: format!("best {k} for {concept}"), neurons: ranking.top(k).to_vec() };
        all.extend(config.inside.top.iter().filter(|&&k| k <= ranking.neurons.len()).map(best));
    }
    Ok(all)
}
