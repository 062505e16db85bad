#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use ndarray::Array2;
use nissl_core::{Activations, Context, HookPoint, Matrix, NoProgress, Site, site_columns};
use nissl_testing::golden::json;
use nissl_testing::{PlantedActivations, Tol, assert_close};
use serde_json::Value;

use super::loss::Objective;
use super::solver::{Fit, Solver};
use super::*;
use crate::probes::design::Design;
use crate::probes::targets::Targets;

const EXACT: Stop = Stop { gap: 1e-9, steps: 20_000 };

fn tags(planted: &PlantedActivations) -> Targets {
    let of = (0..planted.x.n_tokens()).map(|row| planted.tag.of(row)[0]).collect();
    Targets::Classes { of, n: planted.tag.concepts().len() }
}

fn all_rows(x: &Matrix, memory: usize) -> Design<'_> {
    let n = x.n_tokens();
    Design::new(x, Context { memory, progress: &NoProgress }, "test", (0..n).collect(), n).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

fn sample(case: &Value) -> (Matrix, Targets, Targets) {
    let rows: Vec<Vec<f64>> = case["x"].as_array().unwrap().iter().map(numbers).collect();
    let x = Array2::from_shape_fn((rows.len(), rows[0].len()), |(row, column)| rows[row][column] as f32);
    let columns = site_columns(&[(HookPoint::new(0, Site::MlpPost), x.ncols())]);
    let of = numbers(&case["classes"]).iter().map(|&class| class as u32).collect();
    let x = Matrix::new(x, columns).unwrap();
    (x, Targets::Classes { of, n: 3 }, Targets::Numbers(numbers(&case["target"])))
}

#[test]
fn objectives_and_weights_are_those_of_scikit_learn() {
    let golden = json("elastic-net", "expected.json");
    let (x, classes, target) = sample(&golden);
    let design = all_rows(&x, 1 << 20);
    for case in golden["cases"].as_array().unwrap() {
        let number = |name: &str| case[name].as_f64().unwrap();
        let penalty = Penalty { l1: number("lambda1"), l2: number("lambda2") };
        let solver = match case["loss"].as_str().unwrap() {
            "softmax" => Solver::new(&design, Loss::Softmax, &classes, None),
            _ => Solver::new(&design, Loss::Squared, &target, None),
        };
        let fit = solver.fit(penalty, EXACT, None).unwrap();
        let what = format!("{} {penalty:?}", case["loss"]);
        assert_close(&what, &fit.objective, &number("objective"), Tol::rel(1e-5));
        // Slopes are in single precision, which limits the certificate, not the minimum.
        let gap = fit.gap.unwrap();
        let bound = (fit.objective - gap) / number("objective");
        assert!((1.0 - 1e-4..=1.0 + 1e-6).contains(&bound), "{what}: {gap}");
        let want: Vec<Vec<f64>> = case["weights"].as_array().unwrap().iter().map(numbers).collect();
        let k = want.len();
        let got: Vec<Vec<f64>> = (0..k).map(|c| fit.weights.iter().skip(c).step_by(k).copied().collect()).collect();
        for (got, want) in got.iter().zip(&want) {
            assert_close(&what, got, want, Tol { abs: 2e-3, rel: 2e-3 });
        }
    }
}

#[test]
fn slopes_are_those_of_finite_differences() {
    let z: Vec<f64> = vec![0.3, -1.2, 2.0, 0.1, 0.4, -0.7, 1.5, -2.5, 0.2];
    let classes = Targets::Classes { of: vec![0, 2, 1], n: 3 };
    let sets = Targets::Sets { has: vec![true, false, false, true, true, false, false, false, true], n: 3 };
    let weights = [0.5, 2.0, 0.5];
    for (loss, targets) in
        [(Loss::Softmax, &classes), (Loss::Sigmoid, &sets), (Loss::Squared, &sets), (Loss::SquaredHinge, &sets)]
    {
        let objective = Objective { loss, targets, row_weights: Some(&weights) };
        let mut slopes = vec![0.0; 9];
        objective.evaluate(&z, &mut slopes);
        for place in 0..9 {
            let value = |by: f64| {
                let mut z = z.clone();
                z[place] += by;
                objective.evaluate(&z, &mut [0.0; 9]).loss
            };
            let want = 3.0 * (value(1e-5) - value(-1e-5)) / 2e-5;
            assert_close(&format!("{loss:?} {place}"), &slopes[place], &want, Tol { abs: 1e-6, rel: 1e-5 });
        }
    }
}

/// The gap of a fit that was stopped early is no less than its distance from the minimum.
#[test]
fn the_gap_bounds_the_distance_from_the_minimum() {
    let planted = PlantedActivations::new(5, 0.1);
    let design = all_rows(&planted.x, 1 << 26);
    let has = |row: usize| planted.tag.of(row)[0];
    let sets = Targets::Sets {
        has: (0..planted.x.n_tokens()).flat_map(|row| (0..2).map(move |c| has(row) == c)).collect(),
        n: 2,
    };
    for (loss, targets) in
        [(Loss::Softmax, &tags(&planted)), (Loss::Sigmoid, &sets), (Loss::Squared, &sets), (Loss::SquaredHinge, &sets)]
    {
        let solver = Solver::new(&design, loss, targets, None);
        let penalty = Penalty { l1: 0.01, l2: 0.005 };
        let best = solver.fit(penalty, Stop { gap: 1e-7, steps: 2000 }, None).unwrap();
        assert!(best.converged, "{loss:?}: {:?}", best.gap);
        let early = solver.fit(penalty, Stop { gap: 1e-7, steps: 3 }, None).unwrap();
        let distance = early.objective - best.objective;
        assert!(early.gap.unwrap() >= distance, "{loss:?}: {:?} below {distance}", early.gap);
    }
}

#[test]
fn a_warm_start_ends_where_a_cold_one_does_in_fewer_steps() {
    let planted = PlantedActivations::new(5, 0.1);
    let (design, targets) = (all_rows(&planted.x, 1 << 26), tags(&planted));
    let solver = Solver::new(&design, Loss::Softmax, &targets, None);
    let most = solver.l1_of_nothing().unwrap();
    let stop = Stop { gap: 1e-6, steps: 2000 };
    let nothing = solver.fit(Penalty { l1: 1.0001 * most, l2: 0.0 }, stop, None).unwrap();
    assert!(nothing.weights.iter().all(|&w| w == 0.0));
    let path = |shares: &[f64]| -> Fit {
        let mut fit = nothing.clone();
        for share in shares {
            fit = solver.fit(Penalty { l1: share * most, l2: 1e-3 }, stop, Some(&fit)).unwrap();
        }
        fit
    };
    let (cold, warm) = (path(&[0.02]), path(&[0.4, 0.2, 0.1, 0.05, 0.025, 0.02]));
    assert!(warm.steps <= cold.steps, "{} against {}", warm.steps, cold.steps);
    assert_close("objective", &warm.objective, &cold.objective, Tol::rel(3e-6));
}

#[test]
fn memory_and_threads_change_no_bit() {
    let planted = PlantedActivations::new(5, 0.1);
    let targets = tags(&planted);
    let fit = |memory, threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let design = all_rows(&planted.x, memory);
            let solver = Solver::new(&design, Loss::Softmax, &targets, None);
            solver.fit(Penalty { l1: 1e-2, l2: 1e-3 }, Stop { gap: 1e-4, steps: 30 }, None).unwrap().weights
        })
    };
    let want = fit(1 << 26, 1);
    assert!([(1 << 26, 8), (1 << 20, 2), (3 << 20, 1)].iter().all(|&(memory, threads)| fit(memory, threads) == want));
}

#[test]
fn one_penalty_of_sizes_keeps_few_copies_and_both_penalties_all() {
    let planted = PlantedActivations::new(5, 0.1);
    let design = all_rows(&planted.x, 1 << 26);
    let of = (0..planted.x.n_tokens()).map(|row| planted.verb.of(row)[0]).collect();
    let targets = Targets::Classes { of, n: 2 };
    let solver = Solver::new(&design, Loss::Softmax, &targets, None);
    let weights = |l1, l2| -> Vec<f64> {
        let fit = solver.fit(Penalty { l1, l2 }, Stop { gap: 1e-6, steps: 2000 }, None).unwrap();
        fit.weights.iter().step_by(2).map(|w| w.abs()).collect()
    };
    let both = weights(1e-2, 1e-2);
    let next = both[4..].iter().copied().fold(0.0, f64::max);
    assert!(both[..4].iter().all(|&w| w > 10.0 * next), "{:?}, then {next}", &both[..4]);
    let sizes = weights(1e-2, 0.0);
    let next = sizes[4..].iter().copied().fold(0.0, f64::max);
    assert!(sizes[..4].iter().filter(|&&w| w > 10.0 * next).count() <= 3, "{:?}, then {next}", &sizes[..4]);
    assert!(sizes.iter().filter(|&&w| w == 0.0).count() > 100);
}

#[test]
fn penalties_out_of_their_range_are_refused() {
    let check = |options: LinearOptions| options.check("linear-probe").unwrap_err().to_string();
    let text = check(LinearOptions { lambda1: -1.0, ..LinearOptions::default() });
    assert_eq!(text, "linear-probe: parameter lambda1 = -1: expected a finite number, 0 or more");
    assert!(check(LinearOptions { lambda2: f64::NAN, ..LinearOptions::default() }).contains("lambda2"));
    assert!(check(LinearOptions { max_steps: 0, ..LinearOptions::default() }).contains("max_steps"));
}
