//! `stats/`: number, mean, spread and range of every neuron over the rows of a part.

use std::path::Path;

use arrow::array::{AsArray, Float32Array, Float64Array, Int64Array, StringArray};
use arrow::datatypes::{Float32Type, Float64Type};

use super::{Batches, Columns};
use crate::error::StoreError;
use crate::manifest::{FileDigest, SiteWidth};
use crate::moments::Moments;

/// Writes the statistics of a part, site after site, `[n_neurons]`.
pub(crate) fn write_moments(path: &Path, sites: &[SiteWidth], moments: &[Moments]) -> Result<FileDigest, StoreError> {
    let neurons = || sites.iter().flat_map(|site| (0..i64::from(site.width)).map(move |idx| (site.point, idx)));
    let mut columns = Columns::default();
    columns.required("point", StringArray::from_iter_values(neurons().map(|(point, _)| point.to_string())));
    columns.required("idx", Int64Array::from_iter_values(neurons().map(|(_, idx)| idx)));
    columns.required("count", Int64Array::from_iter_values(moments.iter().map(|m| m.count as i64)));
    columns.required("not_finite", Int64Array::from_iter_values(moments.iter().map(|m| m.not_finite as i64)));
    columns.required("mean", Float64Array::from_iter_values(moments.iter().map(|m| m.mean)));
    columns.required("m2", Float64Array::from_iter_values(moments.iter().map(|m| m.m2)));
    columns.required("min", Float32Array::from_iter_values(moments.iter().map(|m| m.min)));
    columns.required("max", Float32Array::from_iter_values(moments.iter().map(|m| m.max)));
    columns.write(path)
}

/// Joins the statistics of the next part to `moments`, `[n_neurons]`.
pub(crate) fn read_moments(path: &Path, digest: FileDigest, moments: &mut [Moments]) -> Result<(), StoreError> {
    let batches = Batches::read(path, digest, moments.len() as u64, None)?;
    let (mut count, mut not_finite) = (Vec::new(), Vec::new());
    batches.integers("count", &mut count)?;
    batches.integers("not_finite", &mut not_finite)?;
    let float64 = |name| batches.column(name, "64-bit floats", |array| array.as_primitive_opt::<Float64Type>(), false);
    let float32 = |name| batches.column(name, "32-bit floats", |array| array.as_primitive_opt::<Float32Type>(), false);
    let flat64 = |name| Ok::<Vec<f64>, StoreError>(float64(name)?.iter().flat_map(|a| a.values().to_vec()).collect());
    let flat32 = |name| Ok::<Vec<f32>, StoreError>(float32(name)?.iter().flat_map(|a| a.values().to_vec()).collect());
    let (mean, m2, min, max) = (flat64("mean")?, flat64("m2")?, flat32("min")?, flat32("max")?);
    for (idx, moments) in moments.iter_mut().enumerate() {
        moments.merge(&Moments {
            count: u64::from(count[idx]),
            not_finite: u64::from(not_finite[idx]),
            mean: mean[idx],
            m2: m2[idx],
            min: min[idx],
            max: max[idx],
        });
    }
    Ok(())
}
