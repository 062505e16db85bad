//! Writes what a run gave as a reference.

use std::collections::BTreeMap;
use std::path::Path;

use nissl_core::{Batch, Trace};

use crate::error::TaskError;
use crate::reference::{self, Part, Values};

/// Writes a trace; the number of its tensors.
pub(super) fn record(
    path: &Path,
    model: &str,
    texts: &[String],
    batch: &Batch,
    trace: Trace,
) -> Result<usize, TaskError> {
    let mut parts: BTreeMap<String, Values> = BTreeMap::new();
    let mut keep = |part: Part, shape: &[usize], values: Vec<f32>| parts.insert(part.name(), (shape.to_vec(), values));
    for (point, values) in trace.sites {
        keep(Part::Point(point, None), values.shape(), values.iter().copied().collect());
    }
    for (point, patterns) in trace.patterns {
        for (sentence, values) in patterns.iter().enumerate() {
            keep(Part::Point(point, Some(sentence)), values.shape(), values.iter().copied().collect());
        }
    }
    if let Some(logits) = trace.logits {
        keep(Part::Logits, logits.shape(), logits.iter().copied().collect());
    }
    reference::write(path, model, texts, batch, &parts)?;
    Ok(parts.len())
}
