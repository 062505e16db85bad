//! How far values are from those of a reference, and where.

use nissl_core::{Batch, HookPoint, Model, ModelInfo, NeuronWeights, Trace};
use nissl_model::LanguageModel;
use serde::{Deserialize, Serialize};

use crate::reference::Part;

/// A site in all its layers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiteReport {
    /// Its short name, `mlp_post`, or `logits`.
    pub name: String,
    /// How far it may be off, as a share of the reference's largest value.
    pub tolerance: f32,
    /// Whether it is nowhere further off.
    pub agrees: bool,
    /// The checkpoint's own name of the weight that writes the first layer that is off, where there is one.
    pub weight: Option<String>,
    /// One entry a layer (of patterns: a layer and sentence), in order.
    pub parts: Vec<PartReport>,
}

impl SiteReport {
    /// The part that is furthest off, as a share of its largest value; the first of equals.
    pub fn worst(&self) -> Option<&PartReport> {
        self.parts.iter().reduce(|best, other| if other.relative > best.relative { other } else { best })
    }
}

/// One tensor of a reference.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartReport {
    /// Its name: a hook point, with the sentence behind it if it is a pattern; or `logits`.
    pub name: String,
    /// The largest difference; the largest float if one of the values is not finite.
    pub absolute: f32,
    /// The same as a share of the reference's largest value.
    pub relative: f32,
    /// The reference's largest value.
    pub scale: f32,
    /// Where the difference is largest.
    pub at: Place,
    /// What the reference has there; none if that is not finite.
    pub expected: Option<f32>,
    /// What the model has there; none if that is not finite.
    pub got: Option<f32>,
    /// Units that are off by more than the tolerance at any token.
    pub units_off: usize,
    /// Units there are.
    pub units: usize,
    /// Whether no value is off by more than the tolerance.
    pub agrees: bool,
    /// Whether all values have the same bits.
    pub same_bits: bool,
}

/// Where a value is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// The sentence, from 0.
    pub sentence: usize,
    /// The token in the sentence, from 0; of a pattern, the query.
    pub token: usize,
    /// The unit; of a pattern, `head * n_ctx + key`; of logits, the token of the vocabulary.
    pub unit: usize,
}

/// How far values may be off.
#[derive(Clone, Copy)]
pub(super) struct Tolerances {
    pub(super) sites: f32,
    pub(super) logits: f32,
}

/// The shape that each part must have.
pub(super) fn shapes(info: &ModelInfo, model: &LanguageModel, batch: &Batch, parts: &[Part]) -> Vec<Vec<usize>> {
    let shape = |part: &Part| match part {
        Part::Point(point, None) => vec![batch.n_tokens(), info.width(*point).unwrap_or(0)],
        Part::Point(point, Some(sentence)) => info.pattern_shape(*point, batch, *sentence).to_vec(),
        Part::Logits => vec![batch.n_tokens(), model.weights().map_or(info.d_vocab, NeuronWeights::n_logits)],
    };
    parts.iter().map(shape).collect()
}

/// Compares one part of a trace with what is wanted.
pub(super) fn part(
    part: Part,
    trace: &Trace,
    batch: &Batch,
    info: &ModelInfo,
    wanted: &[f32],
    tolerances: Tolerances,
) -> PartReport {
    // The place of a value by its place in the tensor, row after row.
    let (got, units, tolerance): (Vec<f32>, usize, f32) = match part {
        Part::Point(point, None) => {
            let values = &trace.sites[&point];
            (values.iter().copied().collect(), values.ncols(), tolerances.sites)
        }
        Part::Point(point, Some(sentence)) => {
            let values = &trace.patterns[&point][sentence];
            (values.iter().copied().collect(), values.dim().0 * values.dim().2, tolerances.sites)
        }
        Part::Logits => {
            let logits = trace.logits.as_ref().map(|logits| (logits.iter().copied().collect(), logits.ncols()));
            let (values, units) = logits.unwrap_or_default();
            (values, units, tolerances.logits)
        }
    };
    let place = |i: usize| {
        if let Part::Point(point, Some(sentence)) = part {
            let [_, queries, keys] = info.pattern_shape(point, batch, sentence).map(|n| n.max(1));
            let (head, query, key) = (i / keys / queries, i / keys % queries, i % keys);
            Place { sentence, token: query, unit: head * info.n_ctx + key }
        } else {
            let row = i / units.max(1);
            let sentence = batch.offsets().partition_point(|&start| start <= row).saturating_sub(1);
            Place { sentence, token: row - batch.offsets()[sentence], unit: i % units.max(1) }
        }
    };
    let found = Difference::of(&got, wanted, tolerance);
    let finite = |values: &[f32]| values.get(found.at).copied().filter(|value| value.is_finite());
    let mut off: Vec<usize> = found.off.iter().map(|&i| place(i).unit).collect();
    off.sort_unstable();
    off.dedup();
    PartReport {
        name: part.name(),
        absolute: found.absolute,
        relative: found.relative,
        scale: found.scale,
        at: if got.is_empty() { Place::default() } else { place(found.at) },
        expected: finite(wanted),
        got: finite(&got),
        units_off: off.len(),
        units,
        agrees: found.off.is_empty(),
        same_bits: got.iter().zip(wanted).all(|(got, want)| got.to_bits() == want.to_bits()),
    }
}

/// How far values are off.
struct Difference {
    absolute: f32,
    relative: f32,
    scale: f32,
    /// The place of the largest difference, the first of equals.
    at: usize,
    /// The places that are off by more than the tolerance.
    off: Vec<usize>,
}

impl Difference {
    fn of(got: &[f32], wanted: &[f32], tolerance: f32) -> Self {
        let scale = wanted.iter().filter(|value| value.is_finite()).fold(0.0f32, |most, value| most.max(value.abs()));
        let difference = |i: usize| -> f64 {
            let (got, want) = (got[i], wanted[i]);
            if got.to_bits() == want.to_bits() || (got.is_nan() && want.is_nan()) {
                0.0
            } else if got.is_finite() && want.is_finite() {
                (f64::from(got) - f64::from(want)).abs()
            } else {
                f64::INFINITY
            }
        };
        let share = |difference: f64| match difference {
            0.0 => 0.0,
            difference if scale > 0.0 => difference / f64::from(scale),
            _ => f64::INFINITY,
        };
        let (mut worst, mut at, mut off) = (0.0, 0, Vec::new());
        for i in 0..got.len().min(wanted.len()) {
            let own = difference(i);
            if own > worst {
                (worst, at) = (own, i);
            }
            if share(own) > f64::from(tolerance) {
                off.push(i);
            }
        }
        let capped = |value: f64| value.min(f64::from(f32::MAX)) as f32;
        Self { absolute: capped(worst), relative: capped(share(worst)), scale, at, off }
    }
}

/// The reports of each site together.
pub(super) fn by_site(
    parts: &[Part],
    reports: Vec<PartReport>,
    info: &ModelInfo,
    tolerances: Tolerances,
) -> Vec<SiteReport> {
    let mut sites: Vec<(Option<HookPoint>, SiteReport)> = Vec::new();
    for (part, report) in parts.iter().zip(reports) {
        let (point, name, tolerance) = match part {
            Part::Point(point, _) => {
                (Some(*point), format!("{}{}", point.stack().prefix(), point.site().short()), tolerances.sites)
            }
            Part::Logits => (None, "logits".to_owned(), tolerances.logits),
        };
        let idx = sites.iter().position(|(_, site)| site.name == name).unwrap_or_else(|| {
            let site = SiteReport { name, tolerance, agrees: true, weight: None, parts: Vec::new() };
            sites.push((point, site));
            sites.len() - 1
        });
        let site = &mut sites[idx].1;
        if site.agrees && !report.agrees {
            site.agrees = false;
            site.weight = point.and_then(|point| weight(info, point));
        }
        site.parts.push(report);
    }
    // In the order of the forward pass within a block.
    sites.sort_by_key(|(point, _)| point.map_or((true, None), |point| (false, Some((point.stack(), point.site())))));
    sites.into_iter().map(|(_, site)| site).collect()
}

/// The checkpoint's name of the weight that writes a point.
fn weight(info: &ModelInfo, point: HookPoint) -> Option<String> {
    let (_, _, sites) = info.stacks().find(|(stack, ..)| *stack == point.stack())?;
    let site = sites.iter().find(|site| site.site == point.site() && !site.weight.is_empty())?;
    Some(site.weight.replace("{}", &point.layer().unwrap_or(0).to_string()))
}
