#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use ndarray::{Array2, ShapeBuilder, s};
use nissl_core::{HookPoint, Site, site_columns};
use nissl_testing::{Random, Tol, assert_close};

use super::*;
use crate::class_sums::{ClassSums, Grouped, Sums};

const N_NEURONS: usize = 3;

fn neurons() -> Vec<NeuronId> {
    site_columns(&[(HookPoint::new(0, Site::MlpPost), N_NEURONS)])
}

fn sums(n_rows: usize) -> impl Accumulator<Answer = Vec<f64>> {
    let groups: Vec<Option<u32>> = (0..n_rows).map(|row| Some((row * 7 % 5) as u32).filter(|&g| g < 4)).collect();
    ClassSums::new(Grouped::new(4, &groups), f64::from, |sums: Sums| {
        [sums.of_group, vec![sums.all.mean, sums.all.deviation()]].concat()
    })
}

fn matrix(n_rows: usize) -> Array2<f32> {
    let mut random = Random::new(5);
    Array2::from_shape_fn((n_rows, N_NEURONS).f(), |_| random.normal() as f32)
}

fn stream(x: &Array2<f32>) -> Vec<Vec<f64>> {
    let neurons = neurons();
    let n_rows = x.nrows();
    let mut stream = Box::new(Stream::new("sums", sums(n_rows), (n_rows, &neurons), Context::default(), Ok).unwrap());
    for first in (0..n_rows).step_by(BLOCK_ROWS) {
        stream.update(x.slice(s![first..n_rows.min(first + BLOCK_ROWS), ..])).unwrap();
    }
    stream.finish().unwrap()
}

#[test]
fn rows_that_come_by_give_the_bits_of_rows_in_memory() {
    for n_rows in [0, 1, BLOCK_ROWS, BLOCK_ROWS + 1, SEGMENT_ROWS, SEGMENT_ROWS + 1, 2 * SEGMENT_ROWS + 5000] {
        let x = matrix(n_rows);
        let whole: Vec<Vec<f64>> =
            (0..N_NEURONS).map(|idx| of_column(&sums(n_rows), idx, &x.column(idx).to_vec())).collect();
        assert_eq!(stream(&x), whole, "{n_rows} rows");
    }
}

#[test]
fn a_state_may_be_joined_at_any_block() {
    let n_rows = 9 * BLOCK_ROWS + 3;
    let (x, sums) = (matrix(n_rows), sums(n_rows));
    let column = x.column(1).to_vec();
    let whole = of_column(&sums, 1, &column);
    for cut in 0..10 {
        let mut states = [sums.start(), sums.start()];
        for (block, values) in column.chunks(BLOCK_ROWS).enumerate() {
            sums.update(&mut states[usize::from(block >= cut)], block * BLOCK_ROWS, values);
        }
        let [mut first, next] = states;
        sums.merge(&mut first, next);
        assert_close(&format!("cut at {cut}"), &sums.finish(1, first)[..], &whole[..], Tol::rel(1e-12));
    }
}

#[test]
fn blocks_of_another_size_and_bad_values_are_refused() {
    let neurons = neurons();
    let n_rows = 2 * BLOCK_ROWS;
    let mut x = matrix(n_rows);
    let new = || Box::new(Stream::new("sums", sums(n_rows), (n_rows, &neurons), Context::default(), Ok).unwrap());
    let err = new().update(x.slice(s![..10, ..])).unwrap_err().to_string();
    assert_eq!(err, "rows of a block: expected 1024, got 10");
    let err = new().update(x.slice(s![..BLOCK_ROWS, ..2])).unwrap_err().to_string();
    assert_eq!(err, "neurons of a block: expected 3, got 2");
    assert_eq!(new().finish().unwrap_err().to_string(), "rows: expected 2048, got 0");
    x[[BLOCK_ROWS + 3, 2]] = f32::NAN;
    let mut stream = new();
    stream.update(x.slice(s![..BLOCK_ROWS, ..])).unwrap();
    let err = stream.update(x.slice(s![BLOCK_ROWS.., ..])).unwrap_err().to_string();
    assert_eq!(err, "blocks.0.mlp.hook_post[2] has the value NaN in row 1027: activations must be finite");
}

#[test]
fn sums_that_do_not_fit_into_the_memory_are_refused() {
    let neurons = neurons();
    let little = Context { memory: 100, ..Context::default() };
    let answer = |answers: Vec<Vec<f64>>| -> Result<_, MethodError> { Ok(answers) };
    let err = Stream::new("sums", sums(10), (10, &neurons), little, answer).map(|_| ()).unwrap_err().to_string();
    assert!(err.starts_with("sums: parameter memory = 100 bytes: expected room for the sums"), "{err}");
}
