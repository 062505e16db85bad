use ndarray::array;
use nissl_core::Site;

use super::top::largest;
use super::*;

#[test]
fn of_equal_values_the_first_comes_first() {
    let values = [1.0, 3.0, 2.0, 3.0, 0.5, 2.0];
    let top = |n| largest(0..values.len(), n, |&i| values[i]);
    assert_eq!(top(4), [1, 3, 2, 5]);
    assert_eq!(top(0), [0; 0]);
    assert_eq!(top(99), [1, 3, 2, 5, 0, 4]);
}

#[test]
fn a_reader_folded_back_reads_what_the_folded_direction_says() {
    for centers in [true, false] {
        let norm = Norm {
            point: HookPoint::new(0, Site::FinalNorm),
            gain: array![0.5, -2.0, 3.0],
            bias: None,
            centers,
            eps: 1e-5,
        };
        let (mut direction, mut reader) = (array![1.0, 4.0, -2.0], array![0.25, 1.5, -1.0]);
        let (before, after) = (direction.clone(), reader.clone());
        norm.fold(&mut direction);
        norm.fold_reader(&mut reader);
        assert!((direction.dot(&after) - before.dot(&reader)).abs() < 1e-6, "centers: {centers}");
    }
}

#[test]
fn a_model_that_shows_no_weights_is_named() {
    let toy = nissl_testing::ToyModel::new(3, vec![vec![]; 1]);
    let err = Lens::new(&toy, Fold::Norms).err().map(|err| err.to_string()).unwrap_or_default();
    assert!(err.contains("does not show its weights"), "{err}");
}
