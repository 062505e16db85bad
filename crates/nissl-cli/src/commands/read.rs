//! Flags that several commands share: how a corpus is read, how weights and values are kept, what is changed.

use std::path::PathBuf;

use clap::ValueEnum;
use serde::Serialize;

/// How the corpus is read.
#[derive(Debug, clap::Args, Serialize)]
#[command(next_help_heading = "The corpus")]
pub(crate) struct Read {
    /// Format of the corpus [default: by suffix]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<String>,
    /// Stop after so many sentences
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<usize>,
    /// Labels of parallel text [default: the file with suffix .label beside the words]
    #[arg(long = "labels", value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    label_file: Option<PathBuf>,
    /// Whether a line of the labels belongs to words or to the sentence
    #[arg(long, value_enum, value_name = "LEVEL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    label_level: Option<Level>,
    /// Column of the text in a table [default: text or sentence]
    #[arg(long, value_name = "COLUMN")]
    #[serde(skip_serializing_if = "Option::is_none")]
    text_column: Option<String>,
    /// Columns of the labels in a table [default: all others]
    #[arg(long, value_delimiter = ',', value_name = "COLUMNS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    label_columns: Option<Vec<String>>,
    /// What a multiword token of CoNLL-U becomes
    #[arg(long, value_enum)]
    #[serde(skip_serializing_if = "Option::is_none")]
    multiword: Option<Multiword>,
    /// Cut plain text into sentences
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    split_sentences: bool,
}

/// Changes of neurons.
#[derive(Debug, clap::Args, Serialize)]
pub(crate) struct Edits {
    // Not a doc comment: rustdoc would take the brackets for links.
    #[arg(long = "edit", value_name = "EDIT", help = "A change of neurons: '3.mlp_post[42]=0'; may be given again")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    edits: Vec<String>,
    /// A hook plan as JSON, whose edits come first
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<PathBuf>,
}

/// How a model runs over a corpus and what becomes of its activations.
#[derive(Debug, clap::Args, Serialize)]
pub(crate) struct Running {
    /// How the tokens of a word become one row [default: mean]
    #[arg(long, value_enum, value_name = "HOW")]
    #[serde(skip_serializing_if = "Option::is_none")]
    aggregate: Option<Aggregate>,
    /// How values are kept [default: f16]
    #[arg(long, value_enum)]
    #[serde(skip_serializing_if = "Option::is_none")]
    dtype: Option<Dtype>,
    /// Tokens that neighboring windows of a sentence longer than the context share [default: a quarter of it]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    overlap: Option<usize>,
    /// Tokens of a batch; the numbers do not depend on it [default: 4096]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    batch_tokens: Option<usize>,
}

/// How a model is loaded.
#[derive(Debug, clap::Args, Serialize)]
#[command(next_help_heading = "Loading the model")]
pub(crate) struct Load {
    /// What its matrices are in memory; the numbers do not depend on it [default: f32; native to generate]
    #[arg(long, value_enum, value_name = "FORMAT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    weights: Option<Weights>,
    /// Where it runs; cuda and metal need a build with that feature [default: cpu]
    #[arg(long, value_enum, value_name = "DEVICE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<Device>,
    /// Load it without a field of its config.json that nissl does not know; may be given again
    #[arg(long, value_name = "FIELD")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    allow_unknown: Vec<String>,
}

impl Load {
    /// Whether nothing is said.
    pub(crate) fn is_default(&self) -> bool {
        self.weights.is_none() && self.device.is_none() && self.allow_unknown.is_empty()
    }
}

#[derive(Clone, Copy, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Aggregate {
    /// The first token's activation
    First,
    /// The last token's
    Last,
    /// Their mean
    Mean,
    /// Their largest, neuron by neuron
    Max,
    /// Not at all: a row a token
    None,
}

#[derive(Clone, Copy, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Weights {
    /// 32-bit floats: fastest for many tokens at a time
    F32,
    /// As the checkpoint stores them (16-bit, quantized): as small, and fastest for tokens one by one
    Native,
}

#[derive(Clone, Copy, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Device {
    /// The engine of nissl
    Cpu,
    /// Candle's engine on the CPU, for comparison
    Candle,
    /// An NVIDIA graphics processor
    Cuda,
    /// An Apple graphics processor
    Metal,
}

#[derive(Clone, Copy, Debug, ValueEnum, Serialize)]
pub(crate) enum Dtype {
    /// 16 bits, up to 65,504
    #[value(alias = "float16")]
    #[serde(rename = "float16")]
    F16,
    /// 16 bits, less precise, any size
    #[value(alias = "bfloat16")]
    #[serde(rename = "bfloat16")]
    Bf16,
    /// 32 bits, as computed
    #[value(alias = "float32")]
    #[serde(rename = "float32")]
    F32,
}

#[derive(Clone, Copy, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
enum Level {
    Word,
    Sentence,
}

#[derive(Clone, Copy, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
enum Multiword {
    /// Its syntactic words: do, n't
    Syntactic,
    /// One word, as written: don't
    Surface,
}
