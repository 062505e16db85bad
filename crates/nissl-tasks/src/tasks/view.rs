//! Sentences as colored text: what a neuron does at each word, or what each word matters for.

use std::io::Write as _;
use std::path::PathBuf;

use nissl_core::{NeuronId, Progress, Site};
use nissl_methods::saliency::State;
use nissl_model::LoadOptions;
use serde::{Deserialize, Serialize};

use crate::error::TaskError;
use crate::html;
use crate::output::write_whole;
use crate::report::{Head, head};
use crate::stats::Stats;

mod recorded;
mod text;

/// One sentence about the task.
pub const SUMMARY: &str = "Show sentences colored by a neuron, or by what each word matters for";

/// What to show.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Folder of a store, whose sentences are shown; or of a model (or its Hub name), where there is a text.
    pub source: String,
    /// How the model is loaded.
    pub load: LoadOptions,
    /// A text that the model reads.
    pub text: Option<String>,
    /// The neurons whose activations are shown.
    pub neurons: Vec<NeuronId>,
    /// What is shown of a text where no neurons are named.
    pub saliency: Saliency,
    /// Where saliency is taken: a hook point such as `hook_embed` or `5.resid_post`; if `None` the embedding, and for
    /// omission the last block's output.
    pub site: Option<String>,
    /// For the derivative the token that is expected after the text, as it is spelled, or its number; the text's own
    /// tokens if `None`.
    pub target: Option<String>,
    /// What stands for the sentence, for omission.
    pub state: State,
    /// How values become colors; by the site if `None`: `tanh` for LSTM cells, else `zscore`.
    pub scale: Option<Scale>,
    /// Standard deviations of the strongest color.
    pub clip: f32,
    /// The first sentence of the store that is shown, from 0.
    pub first: usize,
    /// How many are shown.
    pub sentences: usize,
    /// Also write an HTML page.
    pub html: Option<PathBuf>,
    /// Also write an SVG picture.
    pub svg: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            source: String::new(),
            load: LoadOptions::default(),
            text: None,
            neurons: Vec::new(),
            saliency: Saliency::default(),
            site: None,
            target: None,
            state: State::default(),
            scale: None,
            clip: 3.0,
            first: 0,
            sentences: 5,
            html: None,
            svg: None,
        }
    }
}

/// What each token of a text matters for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Saliency {
    /// The derivative of the model's prediction by the token's values, summed by size.
    #[default]
    Derivative,
    /// The squared distance of the token's values from their means over the text, summed.
    Variance,
    /// How far the state of the text turns without the token.
    Omission,
}

/// How values become colors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// The hyperbolic tangent of the value.
    Tanh,
    /// Standard deviations from the mean, up to `clip`.
    Zscore,
    /// From 0 at the smallest to 1 at the largest value.
    Minmax,
}

/// The colored text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Task, version and config.
    #[serde(flatten)]
    pub head: Head<Config>,
    /// One entry a neuron, or the one for saliency.
    pub views: Vec<View>,
}

/// Sentences colored by one thing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct View {
    /// What colors them: the neuron, `derivative`, `variance`, `omission`.
    pub name: String,
    /// How values became colors.
    pub scale: Scale,
    /// The values of all rows of the store, or of the text's tokens.
    pub stats: Stats,
    /// Whether all of them are the same: a dead neuron has no colors.
    pub dead: bool,
    /// The sentences.
    pub sentences: Vec<Sentence>,
}

/// A colored sentence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sentence {
    /// Its name in the corpus, or its number, from 1.
    pub name: String,
    /// Its words, or the tokens of a text.
    pub words: Vec<Word>,
}

/// A word and its color.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Word {
    /// The word.
    pub name: String,
    /// What stands between the word before and this one.
    pub before: String,
    /// The value there, where it has one.
    pub value: Option<f32>,
    /// The color: from -1 (strongest below) to 1 (strongest above), 0 for none.
    pub share: f32,
}

/// Colors of the words of a view.
struct Colors {
    scale: Scale,
    clip: f32,
    stats: Stats,
}

impl Colors {
    fn new(config: &Config, site: Option<Site>, values: &[f32]) -> Self {
        let usual = if site == Some(Site::LstmC) { Scale::Tanh } else { Scale::Zscore };
        Self { scale: config.scale.unwrap_or(usual), clip: config.clip, stats: Stats::of(values, 40) }
    }

    fn is_dead(&self) -> bool {
        self.stats.min >= self.stats.max
    }

    fn share(&self, value: f32) -> f32 {
        let stats = &self.stats;
        if self.is_dead() {
            return 0.0;
        }
        match self.scale {
            Scale::Tanh => value.tanh(),
            Scale::Zscore => ((value - stats.mean) / stats.std / self.clip).clamp(-1.0, 1.0),
            Scale::Minmax => (value - stats.min) / (stats.max - stats.min),
        }
    }

    fn view(self, name: String, sentences: Vec<Sentence>) -> View {
        let dead = self.is_dead();
        View { name, scale: self.scale, stats: self.stats, dead, sentences }
    }
}

/// Shows the sentences.
///
/// # Errors
/// If store or model cannot be read, a neuron, site or token is not there, the model gives no gradients where they are
/// needed, a file cannot be written, or the user stops it.
pub fn run(config: &Config, progress: &dyn Progress) -> Result<Report, TaskError> {
    if config.source.is_empty() {
        return Err(TaskError::config("source", "the folder of a store, or a model", "nothing"));
    }
    if !(config.clip > 0.0 && config.clip.is_finite()) {
        return Err(TaskError::config("clip", "a number above 0", config.clip.to_string()));
    }
    let views = match &config.text {
        Some(text) => text::views(config, text, progress)?,
        None => recorded::views(config)?,
    };
    let report = Report { head: head("view", config), views };
    for (path, draw) in [(&config.html, html::render_views as fn(&[View]) -> String), (&config.svg, html::draw_views)] {
        if let Some(path) = path {
            write_whole(path, |file| file.write_all(draw(&report.views).as_bytes()))?;
        }
    }
    Ok(report)
}

#[cfg(test)]
mod tests;
