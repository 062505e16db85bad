//! A text that a model reads, colored token by token.

use std::collections::BTreeSet;

use nissl_core::{
    Batch, HookPlan, HookPoint, Model, NameError, NeuronId, Objective, PlanError, Progress, Site, nearest,
};
use nissl_methods::saliency::{derivative, omission, variance};
use nissl_model::{Encoding, LanguageModel, Tokenizer};

use super::{Colors, Config, Saliency, Sentence, View, Word};
use crate::error::TaskError;

/// One view a neuron, or one for the saliency.
pub(super) fn views(config: &Config, text: &str, progress: &dyn Progress) -> Result<Vec<View>, TaskError> {
    progress.stage("load the model", None, "models");
    let model = LanguageModel::load_with(&config.source, &config.load, progress)?;
    let encoding = model.tokenizer()?.encode(text)?;
    let spelled: Vec<usize> = (0..encoding.len()).filter(|&token| !encoding.special[token]).collect();
    if spelled.is_empty() {
        return Err(TaskError::config("text", "a text of at least one token", format!("{text:?}")));
    }
    let page = Page { text, encoding: &encoding, spelled: &spelled, config };
    progress.stage("run the model", None, "texts");
    if config.neurons.is_empty() {
        let (site, values) = saliency(config, &model, &encoding, &spelled)?;
        let name = match config.saliency {
            Saliency::Derivative => "derivative",
            Saliency::Variance => "variance",
            Saliency::Omission => "omission",
        };
        return Ok(vec![page.view(format!("{name} at {site}"), None, &values)]);
    }
    let points: BTreeSet<HookPoint> = config.neurons.iter().map(|neuron| neuron.point).collect();
    let batch = Batch::from_sentences([&encoding.ids]);
    let trace = model.run(&batch, &HookPlan::capture(points))?;
    let view = |&neuron: &NeuronId| {
        let width = model.info().width(neuron.point).unwrap_or(0);
        if neuron.idx as usize >= width {
            return Err(PlanError::UnitOutOfRange { point: neuron.point, idx: neuron.idx, width }.into());
        }
        let column = trace.sites[&neuron.point].column(neuron.idx as usize);
        let values: Vec<Option<f32>> = spelled.iter().map(|&token| Some(column[token])).collect();
        Ok(page.view(neuron.to_string(), Some(neuron.point.site()), &values))
    };
    config.neurons.iter().map(view).collect()
}

/// The score of each spelled token, and where it was taken.
fn saliency(
    config: &Config,
    model: &LanguageModel,
    encoding: &Encoding,
    spelled: &[usize],
) -> Result<(HookPoint, Vec<Option<f32>>), TaskError> {
    let usual = match config.saliency {
        Saliency::Derivative | Saliency::Variance => HookPoint::new(0, Site::Embed),
        Saliency::Omission => {
            let residual = model.info().points().filter(|(point, _)| point.site() == Site::ResidPost).last();
            residual.map_or(HookPoint::new(0, Site::Embed), |(point, _)| point)
        }
    };
    let point = config.site.as_deref().map_or(Ok(usual), str::parse)?;
    let sums = |map: ndarray::Array2<f64>| {
        let sums = map.sum_axis(ndarray::Axis(1));
        spelled.iter().map(|&token| Some(sums[token] as f32)).collect()
    };
    let values = match config.saliency {
        Saliency::Derivative => {
            let objective = objective(config, model)?;
            sums(derivative(model, &encoding.ids, &objective, point)?.mapv(f64::from))
        }
        Saliency::Variance => {
            let trace = model.run(&Batch::from_sentences([&encoding.ids]), &HookPlan::capture([point]))?;
            // The tokens around the text are no part of it.
            let values = trace.sites[&point].select(ndarray::Axis(0), spelled);
            let sums = variance(&values.view()).sum_axis(ndarray::Axis(1));
            sums.iter().map(|&sum| Some(sum as f32)).collect()
        }
        Saliency::Omission => {
            let scores = omission(model, &encoding.ids, spelled, (point, config.state))?;
            scores.into_iter().map(|score| score.map(|score| score as f32)).collect()
        }
    };
    Ok((point, values))
}

/// What the derivative is taken of.
fn objective(config: &Config, model: &LanguageModel) -> Result<Objective, TaskError> {
    let Some(target) = &config.target else { return Ok(Objective::sequence()) };
    let tokenizer: &Tokenizer = model.tokenizer()?;
    let id = match target.parse() {
        Ok(id) => Some(id),
        Err(_) => tokenizer.token_id(target).or_else(|| match &tokenizer.encode_plain(target).ok()?.ids[..] {
            [id] => Some(*id),
            _ => None,
        }),
    };
    let unknown = || NameError {
        kind: "single token",
        name: target.clone(),
        nearest: nearest(target, (0..tokenizer.vocab_size() as u32).filter_map(|id| tokenizer.token(id))),
    };
    Ok(Objective::logit(id.ok_or_else(unknown)?))
}

/// The text, cut into tokens.
struct Page<'a> {
    text: &'a str,
    encoding: &'a Encoding,
    spelled: &'a [usize],
    config: &'a Config,
}

impl Page<'_> {
    fn view(&self, name: String, site: Option<Site>, values: &[Option<f32>]) -> View {
        let known: Vec<f32> = values.iter().flatten().copied().collect();
        let colors = Colors::new(self.config, site, &known);
        let mut end = 0;
        let word = |(&token, &value): (&usize, &Option<f32>)| {
            let span = self.encoding.offsets[token].clone();
            // Tokens that share a character with the one before have it only once.
            let start = span.start.max(end).min(span.end.max(end));
            let before = self.text.get(end..start).unwrap_or_default().to_owned();
            let name = self.text.get(start..span.end.max(start)).unwrap_or_default().to_owned();
            end = span.end.max(start);
            Word { name, before, value, share: value.map_or(0.0, |value| colors.share(value)) }
        };
        let words = self.spelled.iter().zip(values).map(word).collect();
        let sentence = Sentence { name: "1".to_owned(), words };
        colors.view(name, vec![sentence])
    }
}
