#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use nissl_core::{HookPoint, Matrix, Site, site_columns};
use nissl_testing::{PlantedActivations, Random as Draws, Tol, assert_close, golden};

use super::*;

fn matrix(values: Array2<f32>) -> Matrix {
    let width = values.ncols();
    Matrix::new(values, site_columns(&[(HookPoint::new(0, Site::MlpPost), width)])).unwrap()
}

fn group(how: KMeans, x: &Matrix) -> Grouped {
    how.cluster(x, Context::default()).unwrap()
}

#[test]
fn the_least_inertia_and_its_groups_are_those_of_scikit_learn() {
    let expected = golden::json("kmeans", "expected.json");
    let rows: Vec<Vec<f32>> = serde_json::from_value(expected["x"].clone()).unwrap();
    let x = matrix(Array2::from_shape_fn((rows.len(), rows[0].len()), |(row, column)| rows[row][column]));
    for clusters in [2, 6] {
        for (name, standardize) in [("standardized", true), ("plain", false)] {
            let want = &expected["cases"][clusters.to_string()][name];
            let found = group(KMeans { clusters, restarts: 300, standardize, ..KMeans::default() }, &x);
            let inertia = found.inertia.last().unwrap();
            assert_close(name, inertia, &want["inertia"].as_f64().unwrap(), Tol::rel(1e-5));
            let labels: Vec<usize> = serde_json::from_value(want["labels"].clone()).unwrap();
            let same = |labels: &dyn Fn(usize) -> usize, a: usize, b: usize| labels(a) == labels(b);
            for (a, b) in (0..labels.len()).flat_map(|a| (0..a).map(move |b| (a, b))) {
                let ours = same(&|neuron| found.clusters.labels[neuron] as usize, a, b);
                assert_eq!(ours, same(&|neuron| labels[neuron], a, b), "{clusters} {name}: {a} and {b}");
            }
        }
    }
}

#[test]
fn inertia_never_rises_and_is_the_sum_of_squared_distances() {
    let mut draws = Draws::new(2);
    let x = matrix(Array2::from_shape_simple_fn((30, 50), || draws.normal() as f32));
    let found = group(KMeans { clusters: 7, restarts: 1, standardize: false, ..KMeans::default() }, &x);
    assert!(found.inertia.len() > 2 && found.inertia.windows(2).all(|pair| pair[1] <= pair[0] * (1.0 + 1e-6)));
    let mut sum = 0.0;
    for members in &found.clusters.members {
        let mean = x.values().select(Axis(1), members).mean_axis(Axis(1)).unwrap();
        for &member in members {
            sum += x.values().column(member).iter().zip(&mean).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
        }
    }
    assert_close("inertia", found.inertia.last().unwrap(), &sum, Tol::rel(1e-5));
}

#[test]
fn separated_groups_are_found_exactly_and_copies_are_together() {
    let planted = PlantedActivations::new(1, 0.01);
    let x = nissl_testing::select_columns(&planted.x, &[0, 1, 3, 5, 11, 6, 9]);
    let found = group(KMeans { clusters: 5, ..KMeans::default() }, &x);
    // 5 falls where 11 rises: they are far apart.
    assert_eq!(found.clusters.members, [vec![0, 1, 2], vec![3], vec![4], vec![5], vec![6]]);
    assert_eq!(found.clusters.labels, [0, 0, 0, 1, 2, 3, 4]);
    assert!(found.clusters.representatives.iter().all(|neuron| x.neurons().contains(neuron)));
}

#[test]
fn tiles_and_threads_do_not_change_the_groups() {
    let mut draws = Draws::new(4);
    let x = matrix(Array2::from_shape_simple_fn((20, 40), || draws.normal() as f32));
    let how = KMeans { clusters: 5, restarts: 3, ..KMeans::default() };
    let run = |threads: usize, memory: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| how.cluster(&x, Context { memory, ..Context::default() }).unwrap())
    };
    let whole = run(1, 1 << 20);
    assert_eq!(whole, run(2, 1 << 20));
    assert_eq!(whole, run(8, 1 << 20));
    // Five groups of 20 rows, and room for a few columns.
    assert_eq!(whole.clusters, run(2, 5 * 20 * 12 + 2000).clusters);
}

#[test]
fn as_many_groups_as_neurons_leave_nothing_and_constant_neurons_are_at_one_place() {
    let x = matrix(Array2::from_shape_fn((6, 4), |(row, column)| if column < 2 { 3.0 } else { (row * column) as f32 }));
    let found = group(KMeans { clusters: 4, standardize: false, ..KMeans::default() }, &x);
    assert_eq!((found.clusters.members.len(), *found.inertia.last().unwrap()), (4, 0.0));
    let found = group(KMeans { clusters: 2, ..KMeans::default() }, &x);
    assert_eq!(found.clusters.labels, [0, 0, 1, 1]);
}

#[test]
fn what_does_not_fit_is_refused() {
    let x = matrix(Array2::zeros((5, 3)));
    let said = |how: KMeans, memory| how.cluster(&x, Context { memory, ..Context::default() }).unwrap_err().to_string();
    assert!(said(KMeans { clusters: 0, ..KMeans::default() }, 1 << 20).contains("clusters"));
    assert!(said(KMeans { clusters: 4, ..KMeans::default() }, 1 << 20).contains("clusters"));
    assert!(said(KMeans { clusters: 2, restarts: 0, ..KMeans::default() }, 1 << 20).contains("restarts"));
    assert!(said(KMeans { clusters: 2, ..KMeans::default() }, 100).contains("memory"));
    let bad = matrix(ndarray::array![[1.0, f32::NAN], [0.0, 1.0]]);
    for standardize in [true, false] {
        let how = KMeans { clusters: 1, standardize, ..KMeans::default() };
        assert!(matches!(how.cluster(&bad, Context::default()), Err(MethodError::NotFinite { .. })));
    }
}
