#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use ndarray::Array2;
use nissl_core::{HookPoint, Matrix, Site, site_columns};
use nissl_testing::{PlantedActivations, Random, Tol, assert_close, golden};

use super::*;

fn matrix(values: Array2<f32>) -> Matrix {
    let width = values.ncols();
    Matrix::new(values, site_columns(&[(HookPoint::new(0, Site::MlpPost), width)])).unwrap()
}

/// Columns with these correlations, exactly: rows of a triangular matrix times orthogonal columns.
fn correlated() -> Matrix {
    let (r12, r13, r23) = (0.9_f64, 0.2, 0.4);
    let b2 = (1.0 - r12 * r12).sqrt();
    let c2 = (r23 - r12 * r13) / b2;
    let c3 = (1.0 - r13 * r13 - c2 * c2).sqrt();
    let basis = [[1.0, 1.0, 1.0], [1.0, -1.0, -1.0], [-1.0, 1.0, -1.0], [-1.0, -1.0, 1.0]];
    let rows = basis.map(|[x, y, z]| [x, r12 * x + b2 * y, r13 * x + c2 * y + c3 * z].map(|value| value as f32));
    matrix(Array2::from(rows.to_vec()))
}

#[test]
fn heights_are_those_of_the_definition() {
    for (linkage, heights) in
        [(Linkage::Average, [0.1, 0.7]), (Linkage::Complete, [0.1, 0.8]), (Linkage::Single, [0.1, 0.6])]
    {
        let clusters =
            Clustering { linkage, ..Clustering::default() }.cluster(&correlated(), Context::default()).unwrap();
        let got: Vec<f64> = clusters.merges.iter().map(|merge| merge.height).collect();
        assert_close("heights", &got, &heights.to_vec(), Tol::abs(1e-6));
        assert_eq!(clusters.labels, [0, 0, 1], "{linkage:?}");
    }
}

#[test]
fn clusters_are_those_of_neurox() {
    let set = golden::neurox();
    let clusters = Clustering::default().cluster(&set.x, Context::default()).unwrap();
    let want = golden::json("neurox", "expected.json")["corr_clusters_abs_0.5"].clone();
    let want: Vec<i64> = serde_json::from_value(want).unwrap();
    let same = |labels: &[i64], i: usize, j: usize| labels[i] == labels[j];
    let got: Vec<i64> = clusters.labels.iter().map(|&label| i64::from(label)).collect();
    for i in 0..want.len() {
        for j in 0..i {
            assert_eq!(same(&got, i, j), same(&want, i, j), "neurons {i} and {j}");
        }
    }
}

#[test]
fn planted_copies_are_together_and_all_else_alone() {
    let data = PlantedActivations::new(3, 0.1);
    let clusters = Clustering { threshold: 0.3, ..Clustering::default() }.cluster(&data.x, Context::default()).unwrap();
    let several: Vec<&Vec<usize>> = clusters.members.iter().filter(|members| members.len() > 1).collect();
    assert_eq!(several, [&vec![0, 1, 2, 3], &vec![5, 11]]);
    let signed = Clustering { threshold: 0.3, absolute: false, ..Clustering::default() };
    let signed = signed.cluster(&data.x, Context::default()).unwrap();
    assert_ne!(signed.labels[0], signed.labels[2], "the negated copy");
    assert_eq!(signed.labels[0], signed.labels[1]);
}

/// Average linkage by the definition: the mean over all pairs of members.
fn slow(distances: &Array2<f64>) -> Vec<f64> {
    let mut groups: Vec<Vec<usize>> = (0..distances.nrows()).map(|i| vec![i]).collect();
    let mut heights = Vec::new();
    while groups.len() > 1 {
        let mut best = (f64::INFINITY, 0, 0);
        for i in 0..groups.len() {
            for j in 0..i {
                let pairs = groups[i].iter().flat_map(|&a| groups[j].iter().map(move |&b| (a, b)));
                let mean =
                    pairs.map(|(a, b)| distances[[a, b]]).sum::<f64>() / (groups[i].len() * groups[j].len()) as f64;
                if mean < best.0 {
                    best = (mean, i, j);
                }
            }
        }
        let joined = groups.remove(best.1);
        groups[best.2].extend(joined);
        heights.push(best.0);
    }
    heights
}

#[test]
fn chains_of_neighbors_give_the_heights_of_the_slow_way() {
    for seed in 0..5 {
        let mut random = Random::new(seed);
        let mixed = Array2::from_shape_simple_fn((6, 25), || random.normal() as f32);
        let x = matrix(Array2::from_shape_simple_fn((80, 6), || random.normal() as f32).dot(&mixed));
        let clusters = Clustering::default().cluster(&x, Context::default()).unwrap();
        let (distances, _) = correlation_matrix(&x, &(0..25), 25, |value| 1.0 - value.abs(), &mut |_| Ok(())).unwrap();
        let got: Vec<f64> = clusters.merges.iter().map(|merge| merge.height).collect();
        assert_close("heights", &got, &slow(&distances), Tol::abs(1e-5));
        assert_eq!(clusters.merges[23].size, 25);
    }
}

#[test]
fn joins_are_those_of_scipy_and_distances_between_neurons_outlive_them() {
    let expected = golden::json("linkage", "expected.json");
    let read = |name: &str| serde_json::from_value::<Vec<f64>>(expected[name].clone()).unwrap();
    let n = 40;
    let mut condensed = read("distances").into_iter().map(|value| value as f32);
    let mut square = Array2::zeros((n, n));
    for i in 0..n {
        for j in i + 1..n {
            let distance = condensed.next().unwrap();
            (square[[i, j]], square[[j, i]]) = (distance, distance);
        }
    }
    for (linkage, name) in [(Linkage::Average, "average"), (Linkage::Complete, "complete"), (Linkage::Single, "single")]
    {
        let want: Vec<(usize, usize, f64, usize)> = serde_json::from_value(expected[name].clone()).unwrap();
        let mut distances = Distances::new(square.clone());
        let got = distances.joins(linkage, Context::default()).unwrap();
        let of = |merge: &Merge| (merge.left, merge.right, merge.size);
        let groups: Vec<_> = want.iter().map(|&(left, right, _, size)| (left, right, size)).collect();
        assert_eq!(got.iter().map(of).collect::<Vec<_>>(), groups, "{name}");
        let heights: Vec<f64> = want.iter().map(|join| join.2).collect();
        assert_close(name, &got.iter().map(|merge| merge.height).collect::<Vec<_>>(), &heights, Tol::abs(1e-6));
        for (i, j) in (0..n).flat_map(|i| (0..n).map(move |j| (i, j))).filter(|(i, j)| i != j) {
            assert_eq!(distances.between(i, j).to_bits(), square[[i, j]].to_bits(), "{name}: {i} and {j}");
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let refused = |clustering: Clustering, memory| {
        clustering.cluster(&correlated(), Context { memory, ..Context::default() }).unwrap_err().to_string()
    };
    assert!(refused(Clustering { threshold: 3.0, ..Clustering::default() }, 1 << 20).contains("threshold = 3"));
    assert!(refused(Clustering::default(), 8).contains("9 bytes for every pair"));
    let none = matrix(Array2::zeros((4, 0)));
    assert!(Clustering::default().cluster(&none, Context::default()).unwrap().labels.is_empty());
}
