#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use ndarray::{Array2, array};
use nissl_core::{HookPoint, Labels, Matrix, Pool, Site, site_columns};
use nissl_testing::{Random, Tol, assert_close, conformance::Recorder};

use super::*;

fn matrix(values: Array2<f32>) -> Matrix {
    let neurons = site_columns(&[(HookPoint::new(0, Site::MlpPost), values.ncols())]);
    Matrix::new(values, neurons).unwrap()
}

fn score(method: &Probeless, x: &Matrix, labels: &Labels) -> Result<Scores, MethodError> {
    method.score(LabeledActivations::new(x, labels)?, Context::default())
}

const RAW: Probeless = Probeless { zscore: false, min_count: 1 };
const ANY: Probeless = Probeless { zscore: true, min_count: 1 };

/// Means (0, 0), (1, 0), (3, 1) of three concepts.
fn three_means() -> (Matrix, Labels) {
    let x = array![[1.0, 0.0], [-1.0, 0.0], [0.5, -0.5], [1.5, 0.5], [3.0, 1.0]];
    (matrix(x), Labels::from_names(&[Some("a"), Some("a"), Some("b"), Some("b"), Some("c")]))
}

#[test]
fn three_means_give_the_closed_form() {
    let (x, labels) = three_means();
    let scores = score(&RAW, &x, &labels).unwrap();
    assert_close("per concept", scores.values(), &array![[4.0_f32, 1.0], [3.0, 1.0], [5.0, 2.0]], Tol::EXACT);
    // Σ_c r[c] = 2 r, and the pool is the mean of three.
    let overall = scores.overall(Pool::Mean).scores;
    assert_close("overall", &overall, &[2.0 * 6.0 / 3.0, 2.0 * 2.0 / 3.0], Tol::rel(1e-7));
    assert_eq!(scores.sign().unwrap(), &array![[-1, -1], [-1, -1], [1, 1]]);
}

#[test]
fn two_concepts_score_the_distance_of_their_means() {
    let x = matrix(array![[1.0, 5.0], [3.0, 5.0], [6.0, 5.0]]);
    let labels = Labels::from_names(&[Some("a"), Some("a"), Some("b")]);
    let scores = score(&RAW, &x, &labels).unwrap();
    assert_close("distance", scores.values(), &array![[4.0_f32, 0.0], [4.0, 0.0]], Tol::EXACT);
    assert_eq!(scores.constant(), [false, true]);
}

#[test]
fn one_concept_is_compared_with_the_rows_without_it() {
    let x = matrix(array![[1.0], [3.0], [6.0], [8.0]]);
    let one = Labels::from_names(&[Some("a"), Some("a"), None, None]);
    let two = Labels::from_names(&[Some("a"), Some("a"), Some("b"), Some("b")]);
    let (one, two) = (score(&ANY, &x, &one).unwrap(), score(&ANY, &x, &two).unwrap());
    assert_close("one", &one.values().row(0), &two.values().row(0), Tol::EXACT);
    assert_eq!((one.values().nrows(), one.sign().unwrap()[[0, 0]]), (1, -1));
    let all = Labels::from_names(&[Some("a"); 4]);
    let text = score(&ANY, &x, &all).unwrap_err().to_string();
    assert_eq!(text, "concept 'not a' has 0 rows, probeless needs at least 1");
}

#[test]
fn unlabeled_rows_count_for_the_deviation_alone() {
    let x = matrix(array![[1.0], [-1.0], [9.0], [-9.0]]);
    let labels = Labels::from_names(&[Some("a"), Some("b"), None, None]);
    let raw = score(&RAW, &x, &labels).unwrap();
    assert_close("raw", raw.values(), &array![[2.0_f32], [2.0]], Tol::EXACT);
    let scaled = score(&ANY, &x, &labels).unwrap();
    assert_close("scaled", &scaled.values()[[0, 0]], &(2.0 / 41.0_f64.sqrt()), Tol::rel(1e-6));
}

#[test]
fn shifts_change_nothing_and_scales_do_so_without_zscore_alone() {
    let mut random = Random::new(1);
    let values = Array2::from_shape_fn((300, 3), |_| random.normal() as f32);
    let labels = Labels::from_names(&(0..300).map(|_| Some(random.pick(&["a", "b", "c"]))).collect::<Vec<_>>());
    let scale = array![[2.0_f32, -0.25, 1.0]];
    let shift = array![[4.0_f32, -1.0, 0.5]];
    let (plain, moved) = (matrix(values.clone()), matrix(&values * &scale + &shift));
    let near = |got: &Scores, want: &Array2<f32>| assert_close("scores", got.values(), want, Tol::rel(1e-4));
    let z = score(&ANY, &plain, &labels).unwrap();
    near(&score(&ANY, &moved, &labels).unwrap(), z.values());
    let raw = score(&RAW, &plain, &labels).unwrap();
    near(&score(&RAW, &moved, &labels).unwrap(), &(raw.values() * &scale.mapv(f32::abs)));
}

#[test]
fn concepts_with_few_rows_are_left_out_by_name() {
    let (x, labels) = three_means();
    let method = Probeless { min_count: 2, ..RAW };
    let listening = Recorder::default();
    let ctx = Context { progress: &listening, ..Context::default() };
    let scores = method.score(LabeledActivations::new(&x, &labels).unwrap(), ctx).unwrap();
    assert_close("a and b", scores.values(), &array![[1.0_f32, 0.0], [1.0, 0.0]], Tol::EXACT);
    assert_eq!(listening.notes(), ["probeless left out 1 of 3 concepts: c (1 rows, min_count 2)"]);
    let text = score(&Probeless::default(), &x, &labels).unwrap_err().to_string();
    assert_eq!(
        text,
        "probeless needs at least 2 concepts with enough rows, got 0; left out: a (2 rows, min_count 100), \
         b (2 rows, min_count 100), c (1 rows, min_count 100)"
    );
}

#[test]
fn several_labels_a_row_are_refused_by_row() {
    let x = matrix(array![[1.0], [2.0]]);
    let labels = Labels::several(vec![Concept::new("a"), Concept::new("b")], [vec![0], vec![0, 1]]);
    let text = score(&ANY, &x, &labels).unwrap_err().to_string();
    assert_eq!(text, "probeless needs one label a row; row 1 has 2");
}

#[test]
fn a_parameter_out_of_range_is_refused_by_name() {
    let (x, labels) = three_means();
    let text = score(&Probeless { min_count: 0, ..RAW }, &x, &labels).unwrap_err().to_string();
    assert_eq!(text, "probeless: parameter min_count = 0: expected at least 1");
}

#[test]
fn a_value_that_is_not_finite_is_refused_by_neuron_and_row() {
    let (x, labels) = three_means();
    let mut values = x.values().clone();
    values[[3, 1]] = f32::NAN;
    let text = score(&ANY, &matrix(values), &labels).unwrap_err().to_string();
    assert_eq!(text, "blocks.0.mlp.hook_post[1] has the value NaN in row 3: activations must be finite");
}
