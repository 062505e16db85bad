//! Whether a model computes what a reference says: every recorded value of every site is compared.

use std::path::PathBuf;

use nissl_core::{Batch, HookPlan, HookPoint, Model, Output, Progress, Trace};
use nissl_model::{LanguageModel, LoadOptions};
use serde::{Deserialize, Serialize};

use crate::error::TaskError;
use crate::reference::{Part, Reference};
use crate::report::{Head, head};
use crate::select::select;
use crate::tasks::sites::ModelSummary;

mod compare;
mod record;

pub use compare::{PartReport, Place, SiteReport};
pub use nissl_model::{LOGITS_TOLERANCE, SITE_TOLERANCE};

/// One sentence about the task.
pub const SUMMARY: &str = "Check a model against reference activations, site by site";

/// What to check, and against what.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Folder or Hub name.
    pub model: String,
    /// A file of reference activations, as `scripts/reference.py` makes it, or nissl.
    pub reference: Option<PathBuf>,
    /// Record the model's own activations into this file, as a reference for later.
    pub write: Option<PathBuf>,
    /// The texts that are recorded; those of the reference if there is one.
    pub texts: Vec<String>,
    /// The sites that are recorded; all, with patterns and logits, if empty.
    pub sites: Vec<String>,
    /// How far a site may be off, as a share of its largest value; [`SITE_TOLERANCE`] if `None`, and 0 for a reference
    /// that nissl wrote.
    pub tolerance: Option<f32>,
    /// The same of logits; [`LOGITS_TOLERANCE`] if `None`, and 0 for a reference that nissl wrote.
    pub logits_tolerance: Option<f32>,
    /// How the model is loaded.
    pub load: LoadOptions,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Task, version and config.
    #[serde(flatten)]
    pub head: Head<Config>,
    /// The model.
    pub model: ModelSummary,
    /// Whether everything that was compared agrees.
    pub agrees: bool,
    /// The comparison, if a reference was given.
    pub check: Option<Check>,
    /// What was recorded, if that was asked for.
    pub written: Option<Written>,
}

/// A comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// Who made the reference; empty if it does not say.
    pub made_by: String,
    /// The model that it was made of; empty if it does not say.
    pub made_of: String,
    /// The numbers that it was computed in; empty if it does not say.
    pub computed_in: String,
    /// Sentences that were run.
    pub sentences: usize,
    /// Tokens that were run.
    pub tokens: usize,
    /// Whether the tokenizer gives the reference's tokens.
    pub tokenizer: TokenizerCheck,
    /// One entry a site, in the order of the forward pass, the logits last.
    pub sites: Vec<SiteReport>,
    /// The first hook point, in the order of the forward pass, that is off (or `logits`).
    pub first_off: Option<String>,
    /// What could not be compared, and why.
    pub notes: Vec<String>,
}

/// Whether the tokenizer gives the reference's tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenizerCheck {
    /// For every text.
    Same,
    /// Not compared, since the reference has no texts or the model no tokenizer.
    NotCompared {
        /// Which of them.
        why: String,
    },
    /// Not for this text, the first of them.
    Different {
        /// The sentence, from 0.
        sentence: usize,
        /// The first token that differs, from 0.
        token: usize,
        /// The reference's; `None` if it has fewer.
        expected: Option<u32>,
        /// Ours; `None` if we have fewer.
        got: Option<u32>,
    },
}

/// What was recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    /// The file.
    pub path: PathBuf,
    /// Tensors in it, without tokens and offsets.
    pub tensors: usize,
    /// Tokens that were run.
    pub tokens: usize,
}

/// Compares, records, or both.
///
/// # Errors
/// If the model cannot be loaded, the reference cannot be read or is of other sizes, a text cannot be run, or the file
/// cannot be written. That a model differs is no error but a result.
pub fn run(config: &Config, progress: &dyn Progress) -> Result<Report, TaskError> {
    check_config(config)?;
    let reference = config.reference.as_deref().map(Reference::open).transpose()?;
    let model = LanguageModel::load_with(&config.model, &config.load, progress)?;
    let check = match &reference {
        Some(reference) => Some(compare(config, &model, reference, progress)?),
        None => None,
    };
    let written = match &config.write {
        Some(path) => {
            let (texts, batch) = match &reference {
                Some(reference) => (reference.texts.clone(), reference.batch.clone()),
                None => encoded(&model, &config.texts)?,
            };
            progress.stage("record", Some(batch.n_tokens() as u64), "tokens");
            let (points, logits) = chosen(config, &model)?;
            let output = if logits { Output::All } else { Output::None };
            let plan = HookPlan { capture: points, output, ..HookPlan::default() };
            let trace = model.run(&batch, &plan)?;
            let tensors = record::record(path, &model.info().name, &texts, &batch, trace)?;
            Some(Written { path: path.clone(), tensors, tokens: batch.n_tokens() })
        }
        None => None,
    };
    let agrees = check
        .as_ref()
        .is_none_or(|check| check.first_off.is_none() && !matches!(check.tokenizer, TokenizerCheck::Different { .. }));
    Ok(Report { head: head("check", config), model: ModelSummary::of(model.info()), agrees, check, written })
}

fn check_config(config: &Config) -> Result<(), TaskError> {
    if config.model.is_empty() {
        return Err(TaskError::config("model", "a folder or a Hub name", "nothing"));
    }
    match (&config.reference, &config.write) {
        (None, None) => {
            return Err(TaskError::config("reference or write", "a file to compare with, or to write", "neither"));
        }
        (None, Some(_)) if config.texts.is_empty() => {
            return Err(TaskError::config("texts", "at least one text to record", "none"));
        }
        (Some(_), _) if !config.texts.is_empty() => {
            let expected = "none: a reference has its own";
            return Err(TaskError::config("texts", expected, config.texts.len().to_string()));
        }
        (_, None) if !config.sites.is_empty() => {
            return Err(TaskError::config("sites", "a file to write them to", "none"));
        }
        _ => {}
    }
    for (name, tolerance) in [("tolerance", config.tolerance), ("logits_tolerance", config.logits_tolerance)] {
        if let Some(tolerance) = tolerance.filter(|tolerance| !(0.0..=1.0).contains(tolerance)) {
            return Err(TaskError::config(name, "0 to 1, a share of the largest value", tolerance.to_string()));
        }
    }
    Ok(())
}

/// The sites to record, and whether logits are.
fn chosen(config: &Config, model: &LanguageModel) -> Result<(Vec<HookPoint>, bool), TaskError> {
    let info = model.info();
    let all: Vec<HookPoint> = info.points().map(|(point, _)| point).collect();
    if config.sites.is_empty() {
        return Ok((all, info.has_logits));
    }
    Ok((select(&info.name, &all, &config.sites)?, false))
}

fn encoded(model: &LanguageModel, texts: &[String]) -> Result<(Vec<String>, Batch), TaskError> {
    let encodings = model.tokenizer()?.encode_batch(texts)?;
    Ok((texts.to_vec(), model.batch_of(encodings.iter().map(|encoding| &encoding.ids))))
}

fn compare(
    config: &Config,
    model: &LanguageModel,
    reference: &Reference,
    progress: &dyn Progress,
) -> Result<Check, TaskError> {
    let info = model.info();
    let (parts, unknown) = reference.parts();
    let mut notes: Vec<String> = Vec::new();
    if let Some(first) = unknown.first() {
        notes.push(format!("{} tensors of the reference are of no known site, such as {first}", unknown.len()));
    }
    let known = |part: &Part| match part {
        Part::Point(point, sentence) => {
            info.width(*point).is_some() && sentence.is_none_or(|sentence| sentence < reference.batch.n_sentences())
        }
        Part::Logits => info.has_logits,
    };
    let (parts, lacking): (Vec<Part>, Vec<Part>) = parts.into_iter().partition(known);
    if let Some(first) = lacking.first() {
        notes.push(format!(
            "{} tensors of the reference are not in this model, such as {}",
            lacking.len(),
            first.name()
        ));
    }
    if parts.is_empty() {
        return Err(TaskError::config("reference", "values of at least one site of the model", "none"));
    }
    let shapes = compare::shapes(info, model, &reference.batch, &parts);
    // All shapes first: a reference of another model is told before anything is computed.
    let mut wanted = Vec::with_capacity(parts.len());
    for (part, shape) in parts.iter().zip(&shapes) {
        wanted.push(reference.values(*part, shape)?);
    }
    let tokenizer = same_tokens(model, reference)?;

    progress.stage("run the model", Some(reference.batch.n_tokens() as u64), "tokens");
    let trace = trace(model, &reference.batch, &parts)?;
    let default = |tolerance| if reference.is_ours() { 0.0 } else { tolerance };
    let tolerances = compare::Tolerances {
        sites: config.tolerance.unwrap_or(default(SITE_TOLERANCE)),
        logits: config.logits_tolerance.unwrap_or(default(LOGITS_TOLERANCE)),
    };
    let reports: Vec<PartReport> = parts
        .iter()
        .zip(&wanted)
        .map(|(part, wanted)| compare::part(*part, &trace, &reference.batch, info, wanted, tolerances))
        .collect();
    let first_off = reports.iter().find(|report| !report.agrees).map(|report| report.name.clone());
    let says = |name: &str| reference.says(name).unwrap_or_default().to_owned();
    Ok(Check {
        made_by: says("made_by"),
        made_of: says("model"),
        computed_in: says("computed_in"),
        sentences: reference.batch.n_sentences(),
        tokens: reference.batch.n_tokens(),
        tokenizer,
        sites: compare::by_site(&parts, reports, info, tolerances),
        first_off,
        notes,
    })
}

/// What the model computes of the parts.
fn trace(model: &LanguageModel, batch: &Batch, parts: &[Part]) -> Result<Trace, TaskError> {
    let mut capture: Vec<HookPoint> = parts
        .iter()
        .filter_map(|part| match part {
            Part::Point(point, _) => Some(*point),
            Part::Logits => None,
        })
        .collect();
    capture.dedup();
    let output = if parts.contains(&Part::Logits) { Output::All } else { Output::None };
    Ok(model.run(batch, &HookPlan { capture, output, ..HookPlan::default() })?)
}

/// Compares the tokens of the reference's texts.
fn same_tokens(model: &LanguageModel, reference: &Reference) -> Result<TokenizerCheck, TaskError> {
    let not = |why: &str| Ok(TokenizerCheck::NotCompared { why: why.to_owned() });
    if reference.texts.is_empty() {
        return not("the reference has no texts");
    }
    let tokenizer = match model.tokenizer() {
        Ok(tokenizer) => tokenizer,
        Err(err) => return not(&err.to_string()),
    };
    for (sentence, encoding) in tokenizer.encode_batch(&reference.texts)?.iter().enumerate() {
        let expected = &reference.batch.sentence(sentence)[..reference.batch.n_source(sentence)];
        if let Some(token) = (0..expected.len().max(encoding.len())).find(|&i| expected.get(i) != encoding.ids.get(i)) {
            return Ok(TokenizerCheck::Different {
                sentence,
                token,
                expected: expected.get(token).copied(),
                got: encoding.ids.get(token).copied(),
            });
        }
    }
    Ok(TokenizerCheck::Same)
}

#[cfg(test)]
mod tests;
