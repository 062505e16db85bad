//! Which methods there are, and what can be set.

use nissl_core::{MethodCard, Progress, Scope};
use nissl_methods::{METHODS, MethodEntry, MethodKind, find};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::TaskError;
use crate::report::{Head, head};

/// One sentence about the task.
pub const SUMMARY: &str = "List the methods, or explain one";

/// Which methods.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Only this one.
    pub method: Option<String>,
}

/// The methods.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Task, version and config.
    #[serde(flatten)]
    pub head: Head<Config>,
    /// One entry a method.
    pub methods: Vec<MethodReport>,
}

/// A method.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MethodReport {
    /// Its name.
    pub name: String,
    /// What it takes and answers: `ranker`, `profiler`, `attributor`.
    pub kind: String,
    /// One sentence.
    pub summary: String,
    /// Paper and reference implementation.
    pub source: String,
    /// The survey's attributes.
    pub card: Card,
    /// What can be set.
    pub parameters: Vec<Parameter>,
}

/// The survey's attributes of a method, see [`MethodCard`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields are those of nissl_core::MethodCard")]
pub struct Card {
    pub family: String,
    pub scope: Scope,
    pub input: String,
    pub output: String,
    pub scalability: String,
    pub human_in_the_loop: bool,
    pub supervision: bool,
    pub causal: bool,
}

/// A parameter of a method.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// Its default.
    pub default: Value,
    /// What it means.
    pub description: String,
    /// Its JSON schema.
    pub schema: Value,
}

/// Lists the methods.
///
/// # Errors
/// If none has the name that is asked for.
pub fn run(config: &Config, _progress: &dyn Progress) -> Result<Report, TaskError> {
    let methods = match &config.method {
        Some(name) => vec![report(find(name)?)],
        None => METHODS.iter().map(report).collect(),
    };
    Ok(Report { head: head("methods", config), methods })
}

fn report(entry: &MethodEntry) -> MethodReport {
    let schema = entry.schema();
    let defaults = entry.defaults();
    let parameter = |(name, default): (&String, &Value)| {
        let schema = &schema["properties"][name];
        let description = schema["description"].as_str().unwrap_or_default();
        Parameter {
            name: name.clone(),
            default: default.clone(),
            description: description.split_whitespace().collect::<Vec<_>>().join(" "),
            schema: schema.clone(),
        }
    };
    MethodReport {
        name: entry.name.to_owned(),
        kind: kind_name(entry.kind).to_owned(),
        summary: entry.summary.to_owned(),
        source: entry.source.to_owned(),
        card: card(entry.card),
        parameters: defaults.as_object().into_iter().flatten().map(parameter).collect(),
    }
}

fn kind_name(kind: MethodKind) -> &'static str {
    match kind {
        MethodKind::Ranker => "ranker",
        MethodKind::Profiler => "profiler",
        MethodKind::Attributor => "attributor",
    }
}

fn card(card: MethodCard) -> Card {
    Card {
        family: card.family.to_owned(),
        scope: card.scope,
        input: card.input.to_owned(),
        output: card.output.to_owned(),
        scalability: card.scalability.to_owned(),
        human_in_the_loop: card.human_in_the_loop,
        supervision: card.supervision,
        causal: card.causal,
    }
}
