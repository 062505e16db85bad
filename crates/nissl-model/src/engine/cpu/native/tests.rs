use half::{bf16, f16};
use proptest::prelude::*;

use super::*;
use crate::checkpoint::{TensorView, Weight};
use crate::engine::cpu::gemm::linear;
use crate::engine::cpu::gemm::tests::{noise, tensor};
use crate::engine::cpu::isa::Isa;
use crate::engine::cpu::pack::Packed;
use crate::engine::cpu::team::Team;
use crate::engine::cpu::tensor::Tensor;
use crate::engine::{Epilogue, LinearPart, Vector};
use crate::options::WeightFormat;

const QUANTS: [Quant; 10] = [
    Quant::Q4_0,
    Quant::Q4_1,
    Quant::Q5_0,
    Quant::Q5_1,
    Quant::Q8_0,
    Quant::Q2K,
    Quant::Q3K,
    Quant::Q4K,
    Quant::Q5K,
    Quant::Q6K,
];

/// Where the 16-bit scales are in a block.
fn scales(quant: Quant) -> &'static [usize] {
    match quant {
        Quant::Q4_0 | Quant::Q5_0 | Quant::Q8_0 => &[0],
        Quant::Q4_1 | Quant::Q5_1 | Quant::Q4K | Quant::Q5K => &[0, 2],
        Quant::Q2K => &[80, 82],
        Quant::Q3K => &[108],
        Quant::Q6K => &[208],
    }
}

/// Bytes without a pattern.
fn bytes(n: usize, seed: u64) -> Vec<u8> {
    noise(n, seed).into_iter().map(|v| ((v + 1.0) * 128.0) as u8).collect()
}

/// A matrix `[n_out, n_in]` of random codes; the scales are finite numbers of either sign, a few of them tiny or zero.
fn quantized(quant: Quant, n_out: usize, n_in: usize, seed: u64) -> Vec<u8> {
    let mut matrix = bytes(n_out * n_in / quant.block_len() * quant.block_bytes(), seed);
    let values = noise(2 * matrix.len(), seed + 1);
    for (i, block) in matrix.chunks_mut(quant.block_bytes()).enumerate() {
        for (j, &at) in scales(quant).iter().enumerate() {
            let value = match i % 7 {
                5 => f16::from_bits((i % 3) as u16 | 0x8000),
                6 => f16::from_f32(-0.0),
                _ => f16::from_f32(values[2 * i + j]),
            };
            block[at..at + 2].copy_from_slice(&value.to_le_bytes());
        }
    }
    matrix
}

/// A matrix as a checkpoint holds it: number format, outputs, bytes, and whether it is transposed, or stored by pairs
/// of rows.
type Part = (Dtype, usize, Vec<u8>, bool, Option<usize>);

/// Matrices that share an input of `n_in`.
struct Parts {
    n_in: usize,
    parts: Vec<Part>,
}

impl Parts {
    fn packed(&self, format: WeightFormat) -> Packed {
        let shapes: Vec<[usize; 2]> = self
            .parts
            .iter()
            .map(|(_, n_out, _, transposed, _)| if *transposed { [self.n_in, *n_out] } else { [*n_out, self.n_in] })
            .collect();
        let parts: Vec<LinearPart<'_>> = self
            .parts
            .iter()
            .zip(&shapes)
            .map(|((dtype, n_out, bytes, transposed, paired), shape)| {
                let mut tensor = TensorView::of_bytes("weight", *dtype, shape, bytes);
                tensor.paired = *paired;
                let weight = Weight::new(tensor, &[None, None]).expect("a matrix of weights");
                LinearPart::new(weight, *transposed, Some(Vector::unnamed(noise(*n_out, 3))))
            })
            .collect();
        Packed::new(&parts, format)
    }

    fn n_bytes(&self) -> usize {
        self.parts.iter().map(|(_, _, bytes, ..)| bytes.len()).sum()
    }
}

/// Products with the weights as they are have the bits of products with decoded weights.
fn check(parts: &Parts, n_rows: usize, seed: u64) -> Result<(), TestCaseError> {
    let (decoded, native) = (parts.packed(WeightFormat::F32), parts.packed(WeightFormat::Native));
    let x = tensor(n_rows, parts.n_in, seed);
    let want = linear(Isa::detect(), &Team::alone(), &x, &decoded, &Epilogue::None);
    for isa in Isa::available() {
        let got = linear(isa, &Team::alone(), &x, &native, &Epilogue::None);
        for row in 0..n_rows {
            let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(bits(got.row(row)), bits(want.row(row)), "{:?}, row {} of {}", isa, row, n_rows);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn quantized_weights_give_the_bits_of_decoded_ones(
        quant in proptest::sample::select(&QUANTS[..]),
        blocks in 1usize..4,
        pairs in 1usize..40,
        n_rows in proptest::sample::select(&[1usize, 2, 3, 4, 5, 14, 15, 33][..]),
        paired: bool,
        seed in 0u64..1000,
    ) {
        let (n_in, n_out) = (blocks * quant.block_len(), 2 * pairs);
        let matrix = quantized(quant, n_out, n_in, seed);
        let paired = paired.then_some(n_out);
        check(&Parts { n_in, parts: vec![(Dtype::Quantized(quant), n_out, matrix, false, paired)] }, n_rows, seed)?;
    }

    #[test]
    fn sixteen_bit_weights_give_the_bits_of_decoded_ones(
        brain: bool,
        n_in in 1usize..600,
        n_out in 1usize..100,
        n_rows in proptest::sample::select(&[1usize, 2, 3, 4, 15, 33][..]),
        transposed: bool,
        seed in 0u64..1000,
    ) {
        let values = noise(n_in * n_out, seed);
        let (dtype, matrix): (_, Vec<u8>) = if brain {
            (Dtype::Bf16, values.iter().flat_map(|&v| bf16::from_f32(v).to_le_bytes()).collect())
        } else {
            (Dtype::F16, values.iter().flat_map(|&v| f16::from_f32(v * 1e-4).to_le_bytes()).collect())
        };
        check(&Parts { n_in, parts: vec![(dtype, n_out, matrix, transposed, None)] }, n_rows, seed)?;
    }
}

#[test]
fn every_format_is_decoded_to_the_same_bits_with_any_number_of_rows() {
    for quant in QUANTS {
        // A long input: more than one block of the product; an output that does not fill its last panel.
        let n_in = 1536;
        let matrix = quantized(quant, 100, n_in, 7);
        let parts = Parts { n_in, parts: vec![(Dtype::Quantized(quant), 100, matrix, false, None)] };
        for n_rows in [1, 2, 3, 4, 40] {
            check(&parts, n_rows, 5).unwrap_or_else(|err| panic!("{quant:?}: {err}"));
        }
    }
}

#[test]
fn matrices_of_several_formats_stand_side_by_side() {
    let n_in = 512;
    let part = |quant, n_out| (Dtype::Quantized(quant), n_out, quantized(quant, n_out, n_in, 3), false, None);
    let floats: Vec<u8> = noise(n_in * 64, 2).into_iter().flat_map(f32::to_le_bytes).collect();
    // Panels of one format, of another, of both, of plain floats, and transposed blocks, which cannot stay.
    let transposed = (Dtype::Quantized(Quant::Q8_0), 64, quantized(Quant::Q8_0, n_in, 64, 9), true, None);
    let parts =
        vec![part(Quant::Q4K, 64), part(Quant::Q6K, 40), part(Quant::Q4K, 24), (Dtype::F32, 64, floats, false, None)];
    let parts = Parts { n_in, parts: parts.into_iter().chain([transposed]).collect() };
    for n_rows in [1, 3, 40] {
        check(&parts, n_rows, 1).unwrap_or_else(|err| panic!("{err}"));
    }
}

#[test]
fn every_sixteen_bit_float_is_decoded_exactly() {
    let panel: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
    let n_in = panel.len() / 2 / PANEL;
    for isa in Isa::available() {
        let mut out = vec![0.0; n_in * PANEL];
        for (kind, want) in [
            (Kind::F16, (|bits| f16::from_bits(bits).to_f32()) as fn(u16) -> f32),
            (Kind::Bf16, |bits| bf16::from_bits(bits).to_f32()),
        ] {
            decode(isa, kind, &panel, n_in, 0, &mut out);
            for (bits, got) in out.iter().enumerate() {
                let want = want(bits as u16);
                assert!(
                    got.to_bits() == want.to_bits() || (got.is_nan() && want.is_nan()),
                    "{kind:?} {bits:#06x}: {got}"
                );
            }
        }
    }
}

#[test]
fn weights_take_the_memory_that_they_take_in_the_file() {
    let n_in = 1024;
    for quant in QUANTS {
        let matrix = quantized(quant, 96, n_in, 1);
        let parts = Parts { n_in, parts: vec![(Dtype::Quantized(quant), 96, matrix, false, None)] };
        let (native, stored) = (parts.packed(WeightFormat::Native).n_bytes(), parts.n_bytes());
        assert!(native as f64 <= 1.04 * stored as f64, "{quant:?}: {native} bytes of {stored}");
    }
}

#[test]
fn the_transpose_is_that_of_decoded_weights() {
    let (n_in, n_out) = (288, 70);
    let parts = Parts {
        n_in,
        parts: vec![(Dtype::Quantized(Quant::Q4_1), n_out, quantized(Quant::Q4_1, n_out, n_in, 4), false, None)],
    };
    let x = tensor(3, n_out, 8);
    let [got, want] = [WeightFormat::Native, WeightFormat::F32]
        .map(|format| linear(Isa::detect(), &Team::alone(), &x, &parts.packed(format).transpose(), &Epilogue::None));
    let decoded = parts.packed(WeightFormat::F32);
    let mut column = [0.0; 32 * 32];
    decoded.decode(Isa::detect(), 1, 64, &mut column);
    for row in 0..3 {
        assert_eq!(got.row(row), want.row(row));
    }
    // Output 33 of the matrix at inner steps 64 to 95 is input 33 of those outputs.
    let mut unit = Tensor::new(1, n_out);
    unit.row_mut(0).fill(0.0);
    unit.row_mut(0)[33] = 1.0;
    let y = linear(Isa::detect(), &Team::alone(), &unit, &decoded.transpose(), &Epilogue::None);
    let step = |k: usize| column[k * PANEL + 1];
    assert!((0..32).all(|k| (y.row(0)[64 + k] - step(k)).abs() == 0.0));
}
