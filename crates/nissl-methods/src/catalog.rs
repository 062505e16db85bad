//! The one list of methods. Command line, forms, documents and conformance tests are derived from it.

use nissl_core::{Attributor, Describe, MethodCard, NameError, Profiler, Ranker, nearest};
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use thiserror::Error;

use crate::attributors::{
    Ablation, AttributionPatching, Conductance, DiffMask, GradientActivation, IntegratedGradients, KnowledgeNeurons,
    Mediation, Shapley,
};
use crate::profilers::{Compositional, GateSaturation, Lookup, TopContexts, TopWords, TxRay, VarianceReduction};
use crate::rankers::{
    AveragePrecision, GaussianProbe, GreedyRegression, Iou, LatentProbe, Lca, LinearProbe, MeanSelect, Probeless,
    Sensitivity, SkillNeurons, SparseProbe,
};

/// Every method, one line each.
pub const METHODS: &[MethodEntry] = &[
    MethodEntry::ranker::<Probeless>(),
    MethodEntry::ranker::<AveragePrecision>(),
    MethodEntry::ranker::<MeanSelect>(),
    MethodEntry::ranker::<Iou>(),
    MethodEntry::ranker::<Sensitivity>(),
    MethodEntry::ranker::<LinearProbe>(),
    MethodEntry::ranker::<Lca>(),
    MethodEntry::ranker::<GaussianProbe>(),
    MethodEntry::ranker::<SparseProbe>(),
    MethodEntry::profiler::<TopWords>(),
    MethodEntry::profiler::<TopContexts>(),
    MethodEntry::attributor::<Ablation>(),
    MethodEntry::attributor::<GradientActivation>(),
    MethodEntry::attributor::<IntegratedGradients>(),
    MethodEntry::attributor::<KnowledgeNeurons>(),
    MethodEntry::attributor::<AttributionPatching>(),
    MethodEntry::attributor::<Mediation>(),
    MethodEntry::attributor::<Conductance>(),
    MethodEntry::attributor::<Shapley>(),
    MethodEntry::attributor::<DiffMask>(),
    MethodEntry::profiler::<VarianceReduction>(),
    MethodEntry::profiler::<Compositional>(),
    MethodEntry::profiler::<TxRay>(),
    MethodEntry::profiler::<Lookup>(),
    MethodEntry::profiler::<GateSaturation>(),
    MethodEntry::ranker::<GreedyRegression>(),
    MethodEntry::ranker::<LatentProbe>(),
    MethodEntry::ranker::<SkillNeurons>(),
];

/// The method of this name.
///
/// # Errors
/// [`NameError`] with the nearest name if there is none.
pub fn find(name: &str) -> Result<&'static MethodEntry, NameError> {
    METHODS.iter().find(|entry| entry.name == name).ok_or_else(|| NameError {
        kind: "method",
        name: name.to_owned(),
        nearest: nearest(name, METHODS.iter().map(|entry| entry.name)),
    })
}

/// A method ready to run, its parameters set.
pub enum Method {
    /// Scores neurons from recorded activations.
    Ranker(Box<dyn Ranker>),
    /// Says what each neuron fires on.
    Profiler(Box<dyn Profiler>),
    /// Scores neurons by running the model.
    Attributor(Box<dyn Attributor>),
}

/// What a method takes and answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MethodKind {
    /// From labeled activations to scores.
    Ranker,
    /// From activations and words to profiles.
    Profiler,
    /// From a model and prompts to scores.
    Attributor,
}

/// A line of the catalogue: what a method says of itself, and how it is made from parameters.
#[derive(Clone, Copy, Debug)]
pub struct MethodEntry {
    /// Name on the command line and in reports.
    pub name: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// Paper and reference implementation.
    pub source: &'static str,
    /// The survey's attributes.
    pub card: MethodCard,
    /// What it takes and answers.
    pub kind: MethodKind,
    schema: fn() -> Value,
    defaults: fn() -> Value,
    build: fn(Value) -> Result<(Method, Value), serde_json::Error>,
}

impl MethodEntry {
    /// The line of a ranker.
    pub const fn ranker<M>() -> Self
    where
        M: Describe + Ranker + Default + Serialize + DeserializeOwned + JsonSchema + 'static,
    {
        Self::of::<M>(MethodKind::Ranker, build::<M, MakeRanker>)
    }

    /// The line of a profiler.
    pub const fn profiler<M>() -> Self
    where
        M: Describe + Profiler + Default + Serialize + DeserializeOwned + JsonSchema + 'static,
    {
        Self::of::<M>(MethodKind::Profiler, build::<M, MakeProfiler>)
    }

    /// The line of an attributor.
    pub const fn attributor<M>() -> Self
    where
        M: Describe + Attributor + Default + Serialize + DeserializeOwned + JsonSchema + 'static,
    {
        Self::of::<M>(MethodKind::Attributor, build::<M, MakeAttributor>)
    }

    const fn of<M: Describe + Default + Serialize + JsonSchema>(
        kind: MethodKind,
        build: fn(Value) -> Result<(Method, Value), serde_json::Error>,
    ) -> Self {
        Self {
            name: M::NAME,
            summary: M::SUMMARY,
            source: M::SOURCE,
            card: M::CARD,
            kind,
            schema: || schemars::schema_for!(M).to_value(),
            defaults: || params_of(&M::default()),
            build,
        }
    }

    /// JSON schema of the parameters, with type, range, default and description of each.
    pub fn schema(&self) -> Value {
        (self.schema)()
    }

    /// All parameters with their defaults.
    pub fn defaults(&self) -> Value {
        (self.defaults)()
    }

    /// The method with these parameters, the rest at their defaults; null means all defaults.
    ///
    /// Ranges are checked by the method itself, when it runs.
    ///
    /// # Errors
    /// If `params` is not an object, has an unknown parameter, or one of a wrong type.
    pub fn build(&self, params: &Value) -> Result<Method, CatalogError> {
        self.make(params).map(|(method, _)| method)
    }

    /// All parameters: those given, the rest at their defaults.
    ///
    /// # Errors
    /// As [`MethodEntry::build`].
    pub fn complete(&self, params: &Value) -> Result<Value, CatalogError> {
        self.make(params).map(|(_, params)| params)
    }

    /// Reads parameters given as text, `("min_count", "5")`: a value is JSON if it reads as JSON, else a string.
    ///
    /// # Errors
    /// As [`MethodEntry::build`].
    pub fn parse<'t>(&self, pairs: impl IntoIterator<Item = (&'t str, &'t str)>) -> Result<Value, CatalogError> {
        let read = |text: &str| serde_json::from_str(text).unwrap_or_else(|_| Value::from(text));
        let params = Value::Object(pairs.into_iter().map(|(name, text)| (name.to_owned(), read(text))).collect());
        self.make(&params)?;
        Ok(params)
    }

    fn make(&self, params: &Value) -> Result<(Method, Value), CatalogError> {
        let none = Map::new();
        let params = match params {
            Value::Null => &none,
            Value::Object(params) => params,
            other => return Err(CatalogError::NotAnObject { method: self.name, got: other.to_string() }),
        };
        let defaults = self.defaults();
        let known: Vec<&str> = defaults.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        for (name, value) in params {
            if !known.contains(&name.as_str()) {
                return Err(CatalogError::UnknownParameter {
                    method: self.name,
                    name: name.clone(),
                    nearest: nearest(name, &known),
                    known: known.join(", "),
                });
            }
            // Each alone first: serde then speaks of this parameter and no other.
            let alone = Value::Object(Map::from_iter([(name.clone(), value.clone())]));
            if (self.build)(alone).is_err() {
                return Err(self.wrong_type(name, value));
            }
        }
        (self.build)(Value::Object(params.clone())).map_err(|err| CatalogError::Parameters { method: self.name, err })
    }

    fn wrong_type(&self, name: &str, value: &Value) -> CatalogError {
        let expected = expected(&self.schema()["properties"][name]);
        CatalogError::WrongType { method: self.name, name: name.to_owned(), value: value.to_string(), expected }
    }
}

/// Parameters that no method can be made from.
#[derive(Debug, Error)]
pub enum CatalogError {
    /// No method has this name.
    #[error(transparent)]
    UnknownMethod(#[from] NameError),
    /// The parameters are not an object.
    #[error("parameters of {method}: expected an object such as {{\"name\": value}}, got {got}")]
    NotAnObject {
        /// The method.
        method: &'static str,
        /// What was given.
        got: String,
    },
    /// The method has no such parameter.
    #[error("{method} has no parameter '{name}'{}; its parameters: {known}", hint(.nearest.as_ref()))]
    UnknownParameter {
        /// The method.
        method: &'static str,
        /// The name that was given.
        name: String,
        /// The nearest parameter.
        nearest: Option<String>,
        /// All parameters.
        known: String,
    },
    /// A parameter of another type.
    #[error("{method}: parameter {name} = {value}: expected {expected}")]
    WrongType {
        /// The method.
        method: &'static str,
        /// The parameter.
        name: String,
        /// What was given.
        value: String,
        /// What is allowed.
        expected: String,
    },
    /// Parameters that are right one by one and wrong together.
    #[error("parameters of {method}")]
    Parameters {
        /// The method.
        method: &'static str,
        /// What is wrong.
        #[source]
        err: serde_json::Error,
    },
}

fn hint(nearest: Option<&String>) -> String {
    nearest.map_or_else(String::new, |name| format!("; did you mean {name}?"))
}

/// All parameters of a method, for its provenance.
pub(crate) fn params_of<M: Serialize>(method: &M) -> Value {
    serde_json::to_value(method).expect("parameters are plain fields with text keys")
}

/// What a parameter may be, in words, from its schema.
fn expected(schema: &Value) -> String {
    let alternatives = schema["oneOf"].as_array().into_iter().flatten().map(|one| &one["const"]);
    let listed = schema["enum"].as_array().into_iter().flatten();
    let names: Vec<&str> = alternatives.chain(listed).filter_map(Value::as_str).collect();
    if !names.is_empty() {
        return format!("one of {}", names.join(", "));
    }
    let kind = match schema["type"].as_str() {
        Some("boolean") => "true or false",
        Some("integer") => "a whole number",
        Some("number") => "a number",
        Some("string") => "a text",
        Some("array") => return format!("a list such as [1, 2], each {}", expected(&schema["items"])),
        _ => "another type",
    };
    match (schema["minimum"].as_f64(), schema["maximum"].as_f64()) {
        (Some(min), Some(max)) => format!("{kind} from {min} to {max}"),
        (Some(min), None) => format!("{kind}, {min} or more"),
        (None, Some(max)) => format!("{kind}, {max} or less"),
        (None, None) => kind.to_owned(),
    }
}

/// How a method becomes a [`Method`]; a type, as a `const` list cannot hold closures over types.
trait Make<M> {
    fn make(method: M) -> Method;
}

struct MakeRanker;
struct MakeProfiler;
struct MakeAttributor;

impl<M: Ranker + 'static> Make<M> for MakeRanker {
    fn make(method: M) -> Method {
        Method::Ranker(Box::new(method))
    }
}

impl<M: Profiler + 'static> Make<M> for MakeProfiler {
    fn make(method: M) -> Method {
        Method::Profiler(Box::new(method))
    }
}

impl<M: Attributor + 'static> Make<M> for MakeAttributor {
    fn make(method: M) -> Method {
        Method::Attributor(Box::new(method))
    }
}

fn build<M: DeserializeOwned + Serialize, K: Make<M>>(params: Value) -> Result<(Method, Value), serde_json::Error> {
    let method: M = serde_json::from_value(params)?;
    let params = params_of(&method);
    Ok((K::make(method), params))
}

#[cfg(test)]
mod tests;
