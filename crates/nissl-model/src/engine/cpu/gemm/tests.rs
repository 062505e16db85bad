use super::*;
use crate::checkpoint::{Dtype, TensorView, Weight};
use crate::engine::cpu::tensor::Tensor;
use crate::engine::{LinearPart, Vector};
use crate::options::WeightFormat;

/// Numbers between -1 and 1 without a pattern that sums could cancel.
pub(crate) fn noise(n: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

pub(crate) fn tensor(n_rows: usize, width: usize, seed: u64) -> Tensor {
    let mut x = Tensor::new(n_rows, width);
    for row in 0..n_rows {
        x.row_mut(row).copy_from_slice(&noise(width, seed + row as u64));
    }
    x
}

/// `weight` `[n_out, n_in]` as the checkpoint gives it, packed.
fn packed(weight: &[f32], n_in: usize, bias: &[f32]) -> Packed {
    let bytes: Vec<u8> = weight.iter().flat_map(|v| v.to_le_bytes()).collect();
    let shape = [bias.len(), n_in];
    let tensor = TensorView::of_bytes("weight", Dtype::F32, &shape, &bytes);
    let weight = Weight::new(tensor, &[None, None]).expect("a matrix of floats");
    let bias = Some(Vector::unnamed(bias.to_vec()));
    Packed::new(&[LinearPart::new(weight, false, bias)], WeightFormat::F32)
}

#[test]
fn every_instruction_set_gives_the_bits_of_one_chain_of_multiply_adds() {
    // Heights around the tiles of each kernel, depths around a block, widths around a panel.
    let shapes = [(1, 1, 1), (5, 40, 33), (14, 512, 32), (15, 513, 64), (29, 900, 70), (6, 7, 31), (300, 600, 40)];
    for (n_rows, n_in, n_out) in shapes {
        let x = tensor(n_rows, n_in, 1);
        let weight = noise(n_in * n_out, 7);
        let bias = noise(n_out, 9);
        let packed = packed(&weight, n_in, &bias);
        for isa in Isa::available() {
            let y = linear(isa, &Team::alone(), &x, &packed, &Epilogue::None);
            for row in 0..n_rows {
                for (column, bias) in bias.iter().enumerate() {
                    let w = &weight[column * n_in..][..n_in];
                    let sum = x.row(row).iter().zip(w).fold(0.0f32, |sum, (a, b)| a.mul_add(*b, sum));
                    let (got, want) = (y.row(row)[column], sum + bias);
                    assert_eq!(got.to_bits(), want.to_bits(), "{isa:?} [{n_rows}, {n_in}, {n_out}] at {row}, {column}");
                }
            }
        }
    }
}

#[test]
fn a_residual_added_in_the_tile_gives_the_bits_of_one_added_later() {
    for n_rows in [20, 300] {
        let (x, residual) = (tensor(n_rows, 50, 3), tensor(n_rows + 3, 40, 4));
        let same = tensor(n_rows, 40, 5);
        let packed = packed(&noise(50 * 40, 5), 50, &noise(40, 6));
        for isa in Isa::available() {
            let product = |epilogue| linear(isa, &Team::alone(), &x, &packed, &epilogue);
            let plain = product(Epilogue::None);
            for (fused, residual, from) in
                [(product(Epilogue::Add(&same)), &same, 0), (product(Epilogue::AddRows(&residual, 3)), &residual, 3)]
            {
                for row in 0..n_rows {
                    for column in 0..40 {
                        let later = plain.row(row)[column] + residual.row(from + row)[column];
                        assert_eq!(fused.row(row)[column].to_bits(), later.to_bits(), "{isa:?}, row {row} from {from}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_team_gives_the_bits_of_one_thread() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().expect("threads can be started");
    for (n_rows, n_in, n_out) in [(1, 500, 1000), (2, 300, 600), (3, 9000, 40), (40, 400, 333)] {
        let (x, residual) = (tensor(n_rows, n_in, 1), tensor(n_rows, n_out, 2));
        let packed = packed(&noise(n_in * n_out, 7), n_in, &noise(n_out, 9));
        for isa in Isa::available() {
            let alone = linear(isa, &Team::alone(), &x, &packed, &Epilogue::Add(&residual));
            pool.install(|| {
                Team::gather(2, |team| {
                    for _ in 0..20 {
                        let shared = linear(isa, team, &x, &packed, &Epilogue::Add(&residual));
                        for row in 0..n_rows {
                            let bits = |y: &Tensor| y.row(row).iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                            assert_eq!(bits(&shared), bits(&alone), "{isa:?} [{n_rows}, {n_in}, {n_out}], row {row}");
                        }
                    }
                });
            });
        }
    }
}
