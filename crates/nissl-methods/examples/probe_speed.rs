//! Times the probes on a matrix in a file: `probe_speed FOLDER ROWS NEURONS CLASSES lambda1 lambda2 STEPS`.
//!
//! The folder has `x.f32` (rows one behind the other) and `y.u32`; `benches/probes.py` makes both, and compares. The
//! weights go to `weights.f64`; times and objectives are printed as JSON.

#![expect(clippy::print_stdout, reason = "it prints what it measures")]

use std::time::Instant;

use ndarray::Array2;
use nissl_core::{Context, HookPoint, LabeledActivations, Labels, Matrix, Ranker, Site, site_columns};
use nissl_methods::probes::{LinearOptions, fit_classes};
use nissl_methods::rankers::GaussianProbe;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, folder, rows, neurons, classes, lambda1, lambda2, steps] = &args[..] else {
        return Err("usage: probe_speed FOLDER ROWS NEURONS CLASSES lambda1 lambda2 STEPS".into());
    };
    let (n, d, k): (usize, usize, usize) = (rows.parse()?, neurons.parse()?, classes.parse()?);
    let read = |name: &str| std::fs::read(format!("{folder}/{name}"));
    let words = |bytes: Vec<u8>| -> Vec<[u8; 4]> { bytes.chunks_exact(4).map(|b| [b[0], b[1], b[2], b[3]]).collect() };
    let values: Vec<f32> = words(read("x.f32")?).into_iter().map(f32::from_le_bytes).collect();
    let of: Vec<u32> = words(read("y.u32")?).into_iter().map(u32::from_le_bytes).collect();
    let columns = site_columns(&[(HookPoint::new(0, Site::MlpPost), d)]);
    let x = Matrix::new(Array2::from_shape_vec((n, d), values)?, columns)?;
    let ctx = Context { memory: 4 << 30, ..Context::default() };

    let options = LinearOptions {
        lambda1: lambda1.parse()?,
        lambda2: lambda2.parse()?,
        tolerance: 1e-3,
        ..LinearOptions::default()
    };
    let start = Instant::now();
    let fit = fit_classes(&x, &of, k, &options, ctx)?;
    let linear = start.elapsed().as_secs_f64();
    let bytes: Vec<u8> = fit.weights.iter().chain(&fit.bias).flat_map(|w| w.to_le_bytes()).collect();
    std::fs::write(format!("{folder}/weights.f64"), bytes)?;
    let gap = fit.gap.unwrap_or(f64::NAN);
    let (objective, used) = (fit.objective, fit.steps);
    println!("{{\"linear_s\": {linear:.3}, \"objective\": {objective}, \"gap\": {gap}, \"steps\": {used}}}");

    let steps: usize = steps.parse()?;
    if steps > 0 {
        let names: Vec<Option<String>> = of.iter().map(|class| Some(format!("c{class:02}"))).collect();
        let labels = Labels::from_names(&names);
        let start = Instant::now();
        let probe = GaussianProbe { steps, min_gain: 0.0, ..GaussianProbe::default() };
        let scores = probe.score(LabeledActivations::new(&x, &labels)?, ctx)?;
        let picked = scores.provenance.params["picked"]["neurons"].as_array().map_or(0, Vec::len);
        println!("{{\"gaussian_s\": {:.3}, \"picked\": {picked}}}", start.elapsed().as_secs_f64());
    }
    Ok(())
}
