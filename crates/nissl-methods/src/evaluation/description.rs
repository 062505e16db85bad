//! Minimum description length: how many bits it takes to tell the labels to somebody who has the activations
//! (Voita and Titov 2020).

use ndarray::Array2;
use nissl_core::{Context, LabeledActivations, MethodError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::probes::Loss;
use crate::probes::classes::Classes;
use crate::probes::design::Design;
use crate::probes::linear::loss::softmax;
use crate::probes::linear::solver::{Penalty, Solver, Stop, outputs};
use crate::probes::targets::Targets;
use crate::random::Random;

const NAME: &str = "description length";

/// How labels are told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DescriptionOptions {
    /// Shares of the rows at which a block ends, ascending; a probe is fitted on all before each block.
    pub fractions: Vec<f64>,
    /// Penalty of the squares of the probe's weights.
    pub lambda2: f64,
    /// Seed of the order of the rows.
    pub seed: u64,
    /// Concepts with fewer rows are left out.
    pub min_count: usize,
}

impl Default for DescriptionOptions {
    fn default() -> Self {
        let fractions = vec![0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.0625, 0.125, 0.25, 0.5, 1.0];
        Self { fractions, lambda2: 1e-3, seed: 0, min_count: 2 }
    }
}

/// The length of the labels by an online code.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// Rows with a label.
    pub rows: usize,
    /// Classes.
    pub classes: usize,
    /// Bits with all classes alike: rows · log₂ classes.
    pub uniform_bits: f64,
    /// Bits of the online code.
    pub bits: f64,
    /// Bits of the uniform code over those of the online code: 1 where nothing is learned.
    pub compression: f64,
    /// The blocks, the first of them told by the uniform code.
    pub blocks: Vec<Block>,
}

/// Rows that are told with the probe of all rows before them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Block {
    /// Rows before it.
    pub before: usize,
    /// Its rows.
    pub rows: usize,
    /// Bits of all of them together.
    pub bits: f64,
}

/// The online code of `n` items of `n_classes`: `bits(before, rows)` says how many bits the items `before..before + rows`
/// take for somebody who has seen those before them.
///
/// # Errors
/// What `bits` returns.
pub fn online_code<E>(
    n: usize,
    n_classes: usize,
    fractions: &[f64],
    mut bits: impl FnMut(usize, usize) -> Result<f64, E>,
) -> Result<Description, E> {
    let each = (n_classes as f64).log2();
    let mut blocks: Vec<Block> = Vec::new();
    let mut before = 0;
    for fraction in fractions {
        let end = ((fraction * n as f64).round() as usize).clamp(1.min(n), n);
        if end == before {
            continue;
        }
        let rows = end - before;
        let bits = if before == 0 { rows as f64 * each } else { bits(before, rows)? };
        blocks.push(Block { before, rows, bits });
        before = end;
    }
    let (uniform_bits, bits) = (n as f64 * each, blocks.iter().map(|block| block.bits).sum::<f64>());
    let compression = if bits > 0.0 { uniform_bits / bits } else { f64::INFINITY };
    Ok(Description { rows: n, classes: n_classes, uniform_bits, bits, compression, blocks })
}

/// The length of the labels for somebody who has the activations and fits a linear probe on what was told before. What
/// the probe says is mixed with one item of every class, so that a class that was not seen yet can be told.
///
/// # Errors
/// If an option or the labels do not fit, the activations cannot be read, or the user stops it.
pub fn describe(
    data: LabeledActivations<'_>,
    options: &DescriptionOptions,
    ctx: Context<'_>,
) -> Result<Description, MethodError> {
    let ascending = options.fractions.windows(2).all(|pair| pair[0] < pair[1]);
    if !ascending || options.fractions.last() != Some(&1.0) || options.fractions[0] <= 0.0 {
        let value = format!("{:?}", options.fractions);
        let expected = "shares above 0, ascending, the last of them 1";
        return Err(MethodError::Parameter { method: NAME, name: "fractions", value, expected });
    }
    let classes = Classes::new(data.labels, NAME, options.min_count, ctx)?;
    let mut rows: Vec<usize> = (0..classes.of.len()).filter(|&row| classes.of[row].is_some()).collect();
    Random::new(options.seed).shuffle(&mut rows);
    let of: Vec<u32> = rows.iter().filter_map(|&row| classes.of[row]).collect();
    let n = classes.n;
    online_code(rows.len(), n, &options.fractions, |before, more| {
        let end = before + more;
        let chances = chances(data, &rows[..end], (&of[..before], n), options, ctx)?;
        let told = (0..more).map(|idx| {
            let chance = chances[[idx, of[before + idx] as usize]];
            -((chance * before as f64 + 1.0) / (before + n) as f64).log2()
        });
        Ok(told.sum())
    })
}

/// The chance of each class in the rows that come after those that have one, `[n_rows, n_classes]`.
fn chances(
    data: LabeledActivations<'_>,
    rows: &[usize],
    (of, n): (&[u32], usize),
    options: &DescriptionOptions,
    ctx: Context<'_>,
) -> Result<Array2<f64>, MethodError> {
    let before = of.len();
    if of.iter().all(|class| *class == of[0]) {
        let one = |(_, class): (usize, usize)| f64::from(u8::from(class as u32 == of[0]));
        return Ok(Array2::from_shape_fn((rows.len() - before, n), one));
    }
    let design = Design::new(data.x, ctx, NAME, rows.to_vec(), before)?;
    let targets = Targets::Classes { of: of.to_vec(), n };
    let solver = Solver::new(&design, Loss::Softmax, &targets, None);
    let fit = solver.fit(Penalty { l1: 0.0, l2: options.lambda2 }, Stop { gap: 1e-3, steps: 1000 }, None)?;
    let z = outputs(&design, &fit.weights, &fit.bias, before..rows.len())?;
    let mut chances = Array2::zeros((rows.len() - before, n));
    for (mut chances, z) in chances.outer_iter_mut().zip(z.chunks_exact(n)) {
        let mut p = vec![0.0; n];
        softmax(z, &mut p);
        chances.iter_mut().zip(p).for_each(|(chance, p)| *chance = p);
    }
    Ok(chances)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use nissl_testing::planted::key;
    use nissl_testing::{PlantedActivations, Tol, assert_close};

    use super::*;
    use crate::probes::ChosenNeurons;

    fn code(n: usize, fractions: &[f64], bits: impl Fn(usize, usize) -> f64) -> Description {
        let told = online_code(n, 4, fractions, |before, rows| Ok::<_, Infallible>(bits(before, rows)));
        match told {
            Ok(description) => description,
            Err(never) => match never {},
        }
    }

    #[test]
    fn the_online_code_is_that_of_the_worked_example() {
        let cost = |before: usize, rows: usize| rows as f64 * if before == 100 { 0.5 } else { 0.25 };
        let told = code(1000, &[0.1, 0.5, 1.0], cost);
        assert_close("bits", &told.bits, &525.0, Tol::abs(1e-9));
        assert_close("compression", &told.compression, &3.809_524, Tol::abs(1e-6));
        let uniform = code(1000, &[0.1, 0.5, 1.0], |_, rows| 2.0 * rows as f64);
        assert_close("uniform", &uniform.compression, &1.0, Tol::abs(1e-12));
        let perfect = code(1000, &[0.1, 0.5, 1.0], |_, _| 0.0);
        assert_close("perfect", &perfect.compression, &10.0, Tol::abs(1e-12));
        // Blocks without rows are left out, and the first has one at least.
        assert_eq!(code(100, &DescriptionOptions::default().fractions, cost).blocks[0].rows, 1);
    }

    #[test]
    fn a_planted_concept_is_short_and_noise_is_not() {
        let planted = PlantedActivations::new(3, 0.05);
        let described = |columns: &[usize]| {
            let x = ChosenNeurons::new(&planted.x, columns);
            let data = LabeledActivations::new(&x, &planted.verb).expect("one label a row");
            describe(data, &DescriptionOptions::default(), Context::default()).expect("two classes")
        };
        let (carries, noise) = (described(&key::VERBS), described(&key::NOISE.collect::<Vec<_>>()));
        assert!(carries.compression > 15.0, "{}", carries.compression);
        assert!(noise.compression < carries.compression / 5.0, "{}", noise.compression);
        assert_eq!(carries, described(&key::VERBS));
    }

    #[test]
    fn shares_that_do_not_end_with_the_whole_are_refused() {
        let planted = PlantedActivations::new(3, 0.05);
        let data = LabeledActivations::new(&planted.x, &planted.verb).expect("one label a row");
        for fractions in [vec![], vec![0.5], vec![0.5, 0.2, 1.0], vec![0.0, 1.0]] {
            let options = DescriptionOptions { fractions, ..DescriptionOptions::default() };
            let err = describe(data, &options, Context::default()).expect_err("refused").to_string();
            assert!(err.contains("fractions"), "{err}");
        }
    }
}
