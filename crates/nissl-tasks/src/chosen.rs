//! Methods by name, with their parameters.

use nissl_core::Ranker;
use nissl_methods::{METHODS, Method, MethodEntry, MethodKind, find};
use serde_json::{Map, Value};

use crate::error::TaskError;

/// A ranker with its parameters, and its line of the catalogue.
pub(crate) type Chosen = (&'static MethodEntry, Box<dyn Ranker>);

/// The rankers of these names with their parameters, as [`chosen`] has them.
///
/// # Errors
/// As those of [`chosen`].
pub(crate) fn chosen_rankers(names: &[String], set: &Map<String, Value>) -> Result<Vec<Chosen>, TaskError> {
    let ranker = |(entry, method)| if let Method::Ranker(ranker) = method { Some((entry, ranker)) } else { None };
    Ok(chosen(names, set, MethodKind::Ranker)?.into_iter().filter_map(ranker).collect())
}

/// These names, or those of all rankers of the catalogue if there are none.
pub(crate) fn or_all_rankers(names: &[String]) -> Vec<String> {
    let all = METHODS.iter().filter(|entry| entry.kind == MethodKind::Ranker).map(|entry| entry.name.to_owned());
    if names.is_empty() { all.collect() } else { names.to_vec() }
}

/// The methods of these names, all of one kind, with parameters by name: `min_count` for every method that has it, or
/// `probeless.min_count`.
///
/// # Errors
/// If a method or parameter is unknown, a method is of another kind, or there is none.
pub(crate) fn chosen(
    names: &[String],
    set: &Map<String, Value>,
    kind: MethodKind,
) -> Result<Vec<(&'static MethodEntry, Method)>, TaskError> {
    let mut used = vec![false; set.len()];
    let mut methods = Vec::new();
    for name in names {
        let entry = find(name)?;
        let defaults = entry.defaults();
        let mut params = Map::new();
        for ((key, value), used) in set.iter().zip(&mut used) {
            let own = key.strip_prefix(entry.name).and_then(|rest| rest.strip_prefix('.'));
            if let Some(param) = own.or_else(|| defaults.get(key).map(|_| key.as_str())) {
                params.insert(param.to_owned(), value.clone());
                *used = true;
            }
        }
        if entry.kind != kind {
            return Err(other_kind(name, kind));
        }
        methods.push((entry, entry.build(&Value::Object(params))?));
    }
    if let Some(((key, value), _)) = set.iter().zip(&used).find(|(_, used)| !**used) {
        // No method has it: the first one says which it has.
        let (entry, _) = methods.first().ok_or_else(no_method)?;
        let key = key.split_once('.').map_or(key.as_str(), |(_, param)| param);
        entry.build(&Value::Object(Map::from_iter([(key.to_owned(), value.clone())])))?;
        return Err(TaskError::config("set", "a parameter of a chosen method", key));
    }
    if methods.is_empty() { Err(no_method()) } else { Ok(methods) }
}

fn no_method() -> TaskError {
    TaskError::config("methods", "at least one", "none")
}

fn other_kind(name: &str, kind: MethodKind) -> TaskError {
    let names = METHODS.iter().filter(|entry| entry.kind == kind).map(|entry| entry.name);
    let names = names.collect::<Vec<_>>().join(", ");
    let what = match kind {
        MethodKind::Ranker => "ranks neurons by recorded activations",
        MethodKind::Profiler => "says what a neuron fires on",
        MethodKind::Attributor => "runs the model",
    };
    TaskError::config("methods", format!("a method that {what} ({names})"), format!("{name}, which does not"))
}
