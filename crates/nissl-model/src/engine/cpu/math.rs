//! Element-wise functions on rows: exponential, error function, activations, softmax.
//!
//! Plain Rust that the compiler vectorizes, compiled once for each instruction set. Absolute errors against f64, on
//! all of f32: `erf` 4e-7, `exp` 2 units in the last place, `tanh` and the sigmoid 1.5e-7.

#![expect(clippy::inline_always, reason = "the bodies are compiled once for each instruction set")]

use super::isa::{Isa, for_each_isa};
use crate::engine::Activation;

/// Values taken together; also the number of partial sums of every reduction, whatever the vector width.
pub(crate) const LANES: usize = 16;

for_each_isa! {
    /// x += y.
    fn add(x: &mut [f32], y: &[f32]) = add_body
}

for_each_isa! {
    /// The softmax of a row of scores times `scale`, beside another score that is not scaled and has its share; `-inf`
    /// occurs there alone, and has none.
    fn softmax_beside(x: &mut [f32], scale: f32, beside: f32) = softmax_body
}

/// The softmax of a row of scores times `scale`.
pub(crate) fn softmax(isa: Isa, x: &mut [f32], scale: f32) {
    softmax_beside(isa, x, scale, f32::NEG_INFINITY);
}

for_each_isa! {
    /// Of i, f, g, o side by side: the sigmoid of i, f and o, tanh of g.
    fn lstm_gates(x: &mut [f32]) = lstm_gates_body
}

for_each_isa! {
    /// f c + i g, for gates i, f, g, o side by side.
    fn lstm_cell(next: &mut [f32], c: &[f32], gates: &[f32]) = lstm_cell_body
}

for_each_isa! {
    /// o tanh(c), for gates i, f, g, o side by side.
    fn lstm_state(h: &mut [f32], c: &[f32], gates: &[f32]) = lstm_state_body
}

/// The activation of every value.
pub(crate) fn activate(isa: Isa, activation: Activation, x: &mut [f32]) {
    match activation {
        Activation::GeluErf => gelu_erf(isa, x),
        Activation::GeluTanh => gelu_tanh(isa, x),
        Activation::Relu => x.iter_mut().for_each(|x| *x = x.max(0.0)),
        Activation::Silu => silu(isa, x),
        Activation::Tanh => tanh(isa, x),
        Activation::Sigmoid => sigmoids(isa, x),
        Activation::ReluSquared => x.iter_mut().for_each(|x| *x = x.max(0.0) * x.max(0.0)),
        Activation::Softplus => softplus(isa, x),
        Activation::Exp => exps(isa, x),
        Activation::Cap(most) => cap(isa, x, most),
        Activation::Scale(factor) => x.iter_mut().for_each(|x| *x *= factor),
        Activation::ClampedSwish { sharpness, most } => clamped_swish(isa, x, sharpness, most),
        Activation::RaisedClamp { most } => x.iter_mut().for_each(|x| *x = 1.0 + clamp(*x, -most, most)),
    }
}

for_each_isa! {
    /// x · Φ(x).
    fn gelu_erf(x: &mut [f32]) = gelu_erf_body
}

for_each_isa! {
    /// x · sigmoid(2 √(2/π) (x + 0.044715 x³)), which is the tanh approximation of GELU.
    fn gelu_tanh(x: &mut [f32]) = gelu_tanh_body
}

for_each_isa! {
    /// exp(x).
    fn exps(x: &mut [f32]) = exps_body
}

for_each_isa! {
    /// x · sigmoid(x).
    fn silu(x: &mut [f32]) = silu_body
}

for_each_isa! {
    /// x · sigmoid(sharpness · x) of min(x, most).
    fn clamped_swish(x: &mut [f32], sharpness: f32, most: f32) = clamped_swish_body
}

for_each_isa! {
    /// tanh(x).
    fn tanh(x: &mut [f32]) = tanh_body
}

for_each_isa! {
    /// sigmoid(x).
    fn sigmoids(x: &mut [f32]) = sigmoids_body
}

for_each_isa! {
    /// ln(1 + exp(x)).
    fn softplus(x: &mut [f32]) = softplus_body
}

for_each_isa! {
    /// most · tanh(x / most).
    fn cap(x: &mut [f32], most: f32) = cap_body
}

#[inline(always)]
fn cap_body(x: &mut [f32], most: f32) {
    map(x, |x| most * 2.0f32.mul_add(sigmoid(2.0 / most * x), -1.0));
}

#[inline(always)]
fn add_body(x: &mut [f32], y: &[f32]) {
    x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
}

#[inline(always)]
fn gelu_erf_body(x: &mut [f32]) {
    map(x, |x| 0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2)));
}

#[inline(always)]
fn gelu_tanh_body(x: &mut [f32]) {
    // 2 √(2/π) and that times 0.044715
    const A: f32 = 1.595_769_2;
    const B: f32 = 0.071_354_814;
    map(x, |x| x * sigmoid(x * (x * x).mul_add(B, A)));
}

#[inline(always)]
fn exps_body(x: &mut [f32]) {
    for x in x {
        *x = exp(*x);
    }
}

#[inline(always)]
fn silu_body(x: &mut [f32]) {
    map(x, |x| x * sigmoid(x));
}

#[inline(always)]
fn clamped_swish_body(x: &mut [f32], sharpness: f32, most: f32) {
    map(x, |x| {
        let x = if x > most { most } else { x };
        x * sigmoid(sharpness * x)
    });
}

#[inline(always)]
fn tanh_body(x: &mut [f32]) {
    map(x, |x| 2.0f32.mul_add(sigmoid(2.0 * x), -1.0));
}

#[inline(always)]
fn sigmoids_body(x: &mut [f32]) {
    map(x, sigmoid);
}

#[inline(always)]
fn softplus_body(x: &mut [f32]) {
    map(x, |x| {
        // ln(1 + t) = 2 artanh(s), s = t / (2 + t) <= 1/3, by its series.
        let t = exp(-x.abs());
        let s = t / (2.0 + t);
        let z = s * s;
        let mut sum = 1.0 / 15.0;
        for odd in [13.0, 11.0, 9.0, 7.0, 5.0, 3.0, 1.0] {
            sum = z.mul_add(sum, 1.0 / odd);
        }
        (2.0 * s).mul_add(sum, if x > 0.0 { x } else { 0.0 })
    });
}

#[inline(always)]
fn lstm_gates_body(x: &mut [f32]) {
    let h = x.len() / 4;
    let (input_and_forget, rest) = x.split_at_mut(2 * h);
    let (candidates, output) = rest.split_at_mut(h);
    map(input_and_forget, sigmoid);
    tanh_body(candidates);
    map(output, sigmoid);
}

#[inline(always)]
fn lstm_cell_body(next: &mut [f32], c: &[f32], gates: &[f32]) {
    let h = c.len();
    let (i, f, g) = (&gates[..h], &gates[h..2 * h], &gates[2 * h..3 * h]);
    for ((((next, c), i), f), g) in next.iter_mut().zip(c).zip(i).zip(f).zip(g) {
        *next = f.mul_add(*c, i * g);
    }
}

#[inline(always)]
fn lstm_state_body(h: &mut [f32], c: &[f32], gates: &[f32]) {
    h.copy_from_slice(c);
    tanh_body(h);
    h.iter_mut().zip(&gates[3 * c.len()..]).for_each(|(h, output)| *h *= output);
}

#[inline(always)]
fn map(x: &mut [f32], f: impl Fn(f32) -> f32) {
    let mut chunks = x.chunks_exact_mut(LANES);
    for chunk in &mut chunks {
        for x in chunk {
            *x = f(*x);
        }
    }
    for x in chunks.into_remainder() {
        *x = f(*x);
    }
}

/// The largest value; the least there is of none.
#[inline(always)]
pub(crate) fn largest(x: &[f32]) -> f32 {
    let mut most = [f32::MIN; LANES];
    let chunks = x.chunks_exact(LANES);
    for (most, x) in most.iter_mut().zip(chunks.remainder()) {
        *most = if *x > *most { *x } else { *most };
    }
    for chunk in chunks {
        for (most, x) in most.iter_mut().zip(chunk) {
            *most = if *x > *most { *x } else { *most };
        }
    }
    most.iter().fold(f32::MIN, |a, b| if *b > a { *b } else { a })
}

#[inline(always)]
fn softmax_body(x: &mut [f32], scale: f32, beside: f32) {
    let most = largest(x) * scale;
    let most = if beside > most { beside } else { most };
    let mut partial = [0.0f32; LANES];
    let mut chunks = x.chunks_exact_mut(LANES);
    for chunk in &mut chunks {
        for (partial, x) in partial.iter_mut().zip(chunk) {
            *x = exp((*x).mul_add(scale, -most));
            *partial += *x;
        }
    }
    for (partial, x) in partial.iter_mut().zip(chunks.into_remainder()) {
        *x = exp((*x).mul_add(scale, -most));
        *partial += *x;
    }
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            partial[i] += partial[i + width];
        }
        width /= 2;
    }
    // Without another score that is 1e-38, which changes no bit of a sum of 1 or more.
    let inverse = 1.0 / (partial[0] + exp(beside - most));
    for x in x {
        *x *= inverse;
    }
}

#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// e^x: x = n ln 2 + r, a polynomial in r, and n put into the exponent.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    // Adding it rounds to an integer, which then stands in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let x = clamp(x, -87.3, 88.3);
    let rounded = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = rounded - ROUND;
    let r = n.mul_add(-LN_2_LOW, n.mul_add(-LN_2_HIGH, x));
    let mut p = 1.0 / 720.0;
    for coefficient in [1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        p = r.mul_add(p, coefficient);
    }
    let power = f32::from_bits((rounded.to_bits() << 23).wrapping_add(0x3f80_0000));
    p * power
}

/// erf(x) = x P(x²) / Q(x²) up to 3.92, beyond which it is 1 in f32; fitted to least absolute error.
#[inline(always)]
pub(crate) fn erf(x: f32) -> f32 {
    const P: [f32; 6] = [
        2.034_641_3e-6,
        2.874_373_5e-4,
        3.867_345_4e-3,
        5.305_746e-2,
        1.927_439_1e-1,
        std::f32::consts::FRAC_2_SQRT_PI,
    ];
    const Q: [f32; 6] = [3.806_744_3e-5, 1.187_838_2e-3, 1.517_037_4e-2, 1.150_759_6e-1, 5.041_465e-1, 1.0];
    let x = clamp(x, -3.92, 3.92);
    let z = x * x;
    let (mut p, mut q) = (P[0], Q[0]);
    for i in 1..6 {
        p = z.mul_add(p, P[i]);
        q = z.mul_add(q, Q[i]);
    }
    x * p / q
}

/// Within bounds; a NaN stays one.
#[inline(always)]
fn clamp(x: f32, low: f32, high: f32) -> f32 {
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}

#[cfg(test)]
mod tests;
