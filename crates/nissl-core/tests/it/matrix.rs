//! The matrix in memory and the pairs of it with labels or words.

use ndarray::{Array2, ArrayViewMut2, ShapeBuilder, array, s};
use nissl_core::{
    Activations, HookPoint, LabeledActivations, Labels, Matrix, Site, TextActivations, TextRows, site_columns,
};
use proptest::prelude::*;

fn matrix(n_tokens: usize, n_neurons: usize) -> Matrix {
    let values = Array2::from_shape_fn((n_tokens, n_neurons), |(row, column)| (row * 100 + column) as f32);
    Matrix::new(values, site_columns(&[(HookPoint::new(0, Site::MlpPost), n_neurons)])).unwrap()
}

#[test]
fn neurons_must_be_one_a_column_in_ascending_order() {
    let columns = site_columns(&[(HookPoint::new(0, Site::MlpPost), 2)]);
    let make = |neurons| Matrix::new(array![[1.0, 2.0]], neurons).unwrap_err().to_string();
    assert_eq!(make(columns[..1].to_vec()), "neurons of a matrix: expected 2, got 1");
    let want = "neurons of a matrix: expected ascending order without repeats, \
                got blocks.0.mlp.hook_post[1] before blocks.0.mlp.hook_post[0]";
    assert_eq!(make(vec![columns[1], columns[0]]), want);
    assert!(make(vec![columns[0], columns[0]]).contains("without repeats"));
}

#[test]
fn blocks_outside_the_matrix_and_outputs_of_another_shape_are_refused() {
    let x = matrix(3, 4);
    let mut out = Array2::zeros((2, 2));
    let mut read = |rows, columns| x.read(rows, columns, out.view_mut()).unwrap_err().to_string();
    let want = "block of activations: expected within [3, 4], got rows 2..4, columns 0..2";
    assert_eq!(read(2..4, 0..2), want);
    assert!(read(0..2, 3..5).ends_with("columns 3..5"));
    assert_eq!(read(0..3, 0..2), "output for a block of activations: expected [3, 2], got [2, 2]");
    let (from, to) = (2, 1);
    assert!(read(from..to, 0..2).contains("rows 2..1"));
}

#[test]
fn labels_and_words_must_have_as_many_rows() {
    let x = matrix(3, 1);
    let labels = Labels::from_names(&[Some("a"), None]);
    let text = TextRows::from_words([(0, "a")]);
    let error = LabeledActivations::new(&x, &labels).err().map(|err| err.to_string());
    assert_eq!(error.as_deref(), Some("rows of the labels: expected 3, got 2"));
    let error = TextActivations::new(&x, &text).err().map(|err| err.to_string());
    assert_eq!(error.as_deref(), Some("rows of the text: expected 3, got 1"));
}

proptest! {
    #[test]
    fn any_block_is_read_into_any_layout(
        rows in (0..=9_usize, 0..=9_usize),
        columns in (0..=7_usize, 0..=7_usize),
        column_major: bool,
    ) {
        let x = matrix(9, 7);
        let ordered = |(a, b): (usize, usize)| a.min(b)..a.max(b);
        let (rows, columns) = (ordered(rows), ordered(columns));
        let mut buffer = vec![f32::NAN; rows.len() * columns.len()];
        let shape = (rows.len(), columns.len()).set_f(column_major);
        let mut out = ArrayViewMut2::from_shape(shape, &mut buffer).unwrap();
        x.read(rows.clone(), columns.clone(), out.view_mut()).unwrap();
        prop_assert_eq!(&out, &x.values().slice(s![rows, columns]));
    }
}
