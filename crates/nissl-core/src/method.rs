//! What a method is: what it says of itself, what it takes, what it answers.

use serde::{Deserialize, Serialize};

use crate::activations::Activations;
use crate::error::MethodError;
use crate::labels::Labels;
use crate::model::Model;
use crate::neuron::NeuronId;
use crate::profile::Profile;
use crate::progress::Progress;
use crate::rows::RowSink;
use crate::scores::Scores;
use crate::text::TextRows;

/// What every method states about itself; the catalogue is made of it.
pub trait Describe {
    /// Name on the command line and in reports: `probeless`.
    const NAME: &'static str;
    /// One sentence.
    const SUMMARY: &'static str;
    /// Paper and reference implementation.
    const SOURCE: &'static str;
    /// The survey's attributes.
    const CARD: MethodCard;
}

/// The attributes by which the survey compares methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct MethodCard {
    /// Family of the survey: `corpus`, `probing`, `causal`, `groups`.
    pub family: &'static str,
    /// Corpus statistics or one example.
    pub scope: Scope,
    /// What is given: `concept`, `neuron`, `class`.
    pub input: &'static str,
    /// What is found: `neurons`, `concept`.
    pub output: &'static str,
    /// `high`, `medium` or `low`.
    pub scalability: &'static str,
    /// Whether a person must read the result to know the concept.
    pub human_in_the_loop: bool,
    /// Whether labels are needed.
    pub supervision: bool,
    /// Whether it intervenes in the model.
    pub causal: bool,
}

/// What most methods of a kind have in common.
impl MethodCard {
    /// Neuron search by statistics of a labeled corpus.
    pub const CORPUS: Self = Self {
        family: "corpus",
        scope: Scope::Global,
        input: "concept",
        output: "neurons",
        scalability: "high",
        human_in_the_loop: false,
        supervision: true,
        causal: false,
    };
    /// Concept search by statistics of a corpus, named by a person.
    pub const PROFILE: Self = Self {
        family: "corpus",
        scope: Scope::Global,
        input: "neuron",
        output: "concept",
        scalability: "high",
        human_in_the_loop: true,
        supervision: false,
        causal: false,
    };
    /// Neuron search by running the model.
    pub const CAUSAL: Self = Self {
        family: "causal",
        scope: Scope::Local,
        input: "concept",
        output: "neurons",
        scalability: "high",
        human_in_the_loop: false,
        supervision: false,
        causal: true,
    };
}

/// Whether a method speaks of a corpus or of one example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Corpus statistics.
    Global,
    /// One example.
    Local,
    /// Either.
    Both,
}

/// How much memory a method may take and whom it tells how far it is.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Bytes for blocks of activations and scratch space.
    pub memory: usize,
    /// Where progress goes.
    pub progress: &'a dyn Progress,
}

impl Context<'_> {
    /// The memory where nothing else is said.
    pub const MEMORY: usize = 512 << 20;
}

impl Default for Context<'_> {
    fn default() -> Self {
        Self { memory: Self::MEMORY, progress: &crate::progress::NoProgress }
    }
}

/// Activations with a label for each row.
#[derive(Clone, Copy)]
pub struct LabeledActivations<'a> {
    /// The activations, `[n_tokens, n_neurons]`.
    pub x: &'a dyn Activations,
    /// The labels, `[n_tokens]`.
    pub labels: &'a Labels,
    /// The words, `[n_tokens]`, where they are known: for methods that split rows by sentence.
    pub text: Option<&'a TextRows>,
}

impl<'a> LabeledActivations<'a> {
    /// Pairs activations with labels.
    ///
    /// # Errors
    /// [`MethodError::Shape`] if they have not the same number of rows.
    pub fn new(x: &'a dyn Activations, labels: &'a Labels) -> Result<Self, MethodError> {
        if labels.n_tokens() == x.n_tokens() {
            Ok(Self { x, labels, text: None })
        } else {
            Err(MethodError::Shape { what: "rows of the labels", expected: x.n_tokens(), got: labels.n_tokens() })
        }
    }

    /// Says which word of which sentence each row is.
    ///
    /// # Errors
    /// [`MethodError::Shape`] if the text has not the same number of rows.
    pub fn with_text(self, text: &'a TextRows) -> Result<Self, MethodError> {
        if text.n_tokens() == self.x.n_tokens() {
            Ok(Self { text: Some(text), ..self })
        } else {
            Err(MethodError::Shape { what: "rows of the text", expected: self.x.n_tokens(), got: text.n_tokens() })
        }
    }
}

/// Activations with the word of each row.
#[derive(Clone, Copy)]
pub struct TextActivations<'a> {
    /// The activations, `[n_tokens, n_neurons]`.
    pub x: &'a dyn Activations,
    /// The words, `[n_tokens]`.
    pub text: &'a TextRows,
    /// Labels, `[n_tokens]`, for methods that also explain neurons by concepts.
    pub labels: Option<&'a Labels>,
}

impl<'a> TextActivations<'a> {
    /// Pairs activations with words.
    ///
    /// # Errors
    /// [`MethodError::Shape`] if they have not the same number of rows.
    pub fn new(x: &'a dyn Activations, text: &'a TextRows) -> Result<Self, MethodError> {
        if text.n_tokens() == x.n_tokens() {
            Ok(Self { x, text, labels: None })
        } else {
            Err(MethodError::Shape { what: "rows of the text", expected: x.n_tokens(), got: text.n_tokens() })
        }
    }

    /// The same, with labels.
    ///
    /// # Errors
    /// [`MethodError::Shape`] if they have not the same number of rows.
    pub fn with_labels(self, labels: &'a Labels) -> Result<Self, MethodError> {
        let (expected, got) = (self.x.n_tokens(), labels.n_tokens());
        if expected == got {
            Ok(Self { labels: Some(labels), ..self })
        } else {
            Err(MethodError::Shape { what: "rows of the labels", expected, got })
        }
    }
}

/// Neuron search: scores neurons for concepts from recorded activations alone.
pub trait Ranker: Send + Sync {
    /// Importance of every neuron for every concept.
    ///
    /// # Errors
    /// If a parameter or the data do not fit, or the user stops it.
    fn score(&self, data: LabeledActivations<'_>, ctx: Context<'_>) -> Result<Scores, MethodError>;

    /// The same method, fed with the rows of `neurons` as they come: for methods that need one look at each row. The
    /// scores have the bits of [`Ranker::score`]. `None`, the default, if it needs the rows more than once.
    ///
    /// # Errors
    /// As [`Ranker::score`], for what can be told from the labels alone.
    fn stream<'a>(
        &'a self,
        labels: &'a Labels,
        neurons: &'a [NeuronId],
        ctx: Context<'a>,
    ) -> Result<Option<Box<dyn RowSink<Scores> + 'a>>, MethodError> {
        let _ = (labels, neurons, ctx);
        Ok(None)
    }
}

/// Concept search: says what each neuron fires on, from recorded activations and their words.
pub trait Profiler: Send + Sync {
    /// A profile of every neuron of `data`, in its order.
    ///
    /// # Errors
    /// If a parameter or the data do not fit, or the user stops it.
    fn profile(&self, data: TextActivations<'_>, ctx: Context<'_>) -> Result<Vec<Profile>, MethodError>;
}

/// A text and the token whose prediction is explained.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prompt {
    /// The tokens of the text.
    pub tokens: Vec<u32>,
    /// The token whose prediction is explained.
    pub target: u32,
    /// A token to compare with, for contrasts.
    #[serde(default)]
    pub foil: Option<u32>,
    /// The place whose logits predict it; negative ones count from the end. None for the last, which a decoder goes on
    /// from; a masked token's place for an encoder.
    #[serde(default)]
    pub position: Option<i64>,
    /// Another text of as many tokens, for methods that move activations between the two.
    #[serde(default)]
    pub other: Option<Vec<u32>>,
    /// What the prompt stands for: a fact, a condition. Prompts of one concept are scored together.
    #[serde(default)]
    pub concept: String,
}

impl Prompt {
    /// The place whose logits are read, from the start; `None` if the text has no such place.
    pub fn place(&self) -> Option<usize> {
        let n_tokens = self.tokens.len() as i64;
        let position = self.position.unwrap_or(-1);
        let place = if position < 0 { position + n_tokens } else { position };
        (0..n_tokens).contains(&place).then_some(place as usize)
    }
}

/// Scores neurons by running the model.
pub trait Attributor: Send + Sync {
    /// Importance of every neuron for the prompts' targets: a row of scores for each concept of the prompts, in the
    /// order in which they first come.
    ///
    /// # Errors
    /// If a parameter does not fit, the model cannot run, or the user stops it.
    fn score(&self, model: &dyn Model, prompts: &[Prompt], ctx: Context<'_>) -> Result<Scores, MethodError>;
}
