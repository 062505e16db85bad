#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use ndarray::{Array2, array};
use nissl_core::{HookPoint, Matrix, Site, site_columns};
use nissl_testing::{Random, Tol, assert_close};

use super::*;

fn score(method: &Iou, values: &Array2<f32>, labels: &Labels) -> Result<Scores, MethodError> {
    let neurons = site_columns(&[(HookPoint::new(0, Site::MlpPost), values.ncols())]);
    let x = Matrix::new(values.clone(), neurons).unwrap();
    method.score(LabeledActivations::new(&x, labels)?, Context::default())
}

fn random() -> (Array2<f32>, Labels) {
    let mut random = Random::new(6);
    let x = Array2::from_shape_fn((3000, 4), |_| random.normal() as f32);
    let labels = (0..3000).map(|row| (random.uniform() < 0.2 + 0.3 * f64::from(x[[row, 0]] > 0.5)).then_some("a"));
    let labels = Labels::from_names(&labels.collect::<Vec<_>>());
    (x, labels)
}

#[test]
fn rows_above_the_threshold_are_counted_strictly() {
    // Above 0: rows 0, 1, 2; the concept: rows 1, 2, 4.
    let x = array![[1.0, -1.0], [2.0, -2.0], [3.0, 0.0], [0.0, -1.0], [-1.0, -1.0]];
    let labels = Labels::from_names(&[None, Some("a"), Some("a"), None, Some("a")]);
    let of = |measure| {
        let method = Iou { threshold: Threshold::Relu, measure, ..Iou::default() };
        score(&method, &x, &labels).unwrap().values().row(0).to_vec()
    };
    assert_close("iou", &of(Measure::Iou)[..], &[0.5, 0.0], Tol::EXACT);
    assert_close("precision", &of(Measure::Precision)[..], &[2.0_f32 / 3.0, 0.0], Tol::EXACT);
    assert_close("recall", &of(Measure::Recall)[..], &[2.0_f32 / 3.0, 0.0], Tol::EXACT);
    let value = Iou { threshold: Threshold::Value, value: 1.0, ..Iou::default() };
    assert_close("above 1", score(&value, &x, &labels).unwrap().values(), &array![[2.0_f32 / 3.0, 0.0]], Tol::EXACT);
}

#[test]
fn iou_follows_from_precision_and_recall() {
    let (x, labels) = random();
    let of = |measure| score(&Iou { alpha: 0.3, measure, ..Iou::default() }, &x, &labels).unwrap().values().to_owned();
    let (precision, recall) = (of(Measure::Precision).mapv(f64::from), of(Measure::Recall).mapv(f64::from));
    let want = 1.0 / (1.0 / precision + 1.0 / recall - 1.0);
    assert_close("iou", &of(Measure::Iou), &want, Tol::rel(1e-6));
}

#[test]
fn by_quantile_increasing_maps_change_no_bit_and_ties_do_not_fire() {
    let (x, labels) = random();
    let method = Iou { alpha: 0.1, ..Iou::default() };
    let plain = score(&method, &x, &labels).unwrap();
    assert_eq!(score(&method, &x.mapv(|value| value * 4.0 + 1.0), &labels).unwrap(), plain);
    let tied = x.mapv(|value| value.min(0.5));
    assert_eq!(score(&method, &tied, &labels).unwrap().values(), &Array2::<f32>::zeros((1, 4)));
}

#[test]
fn parameters_out_of_range_are_refused_by_name() {
    let (x, labels) = random();
    let text = |method| score(&method, &x, &labels).unwrap_err().to_string();
    let defaults = Iou::default;
    assert_eq!(text(Iou { alpha: 0.0, ..defaults() }), "iou: parameter alpha = 0: expected a number between 0 and 1");
    assert_eq!(text(Iou { value: f64::NAN, ..defaults() }), "iou: parameter value = NaN: expected a finite number");
    assert_eq!(text(Iou { min_count: 0, ..defaults() }), "iou: parameter min_count = 0: expected at least 1");
}
