//! Adjoints of what the CPU engine computes row by row, compiled for each instruction set.
//!
//! Letters: dy the gradient with respect to a result, dx that with respect to an operand.

#![expect(clippy::inline_always, reason = "the bodies are compiled once for each instruction set")]

use crate::engine::cpu::isa::{Isa, for_each_isa};
use crate::engine::cpu::math;
use crate::engine::cpu::math::{LANES, erf, exp, largest, sigmoid};
use crate::engine::{Activation, Choice, NormKind};

/// dy becomes dy · f'(x), for the activation f.
pub(super) fn activate(isa: Isa, activation: Activation, x: &[f32], dy: &mut [f32]) {
    match activation {
        Activation::GeluErf => gelu_erf(isa, x, dy),
        Activation::GeluTanh => gelu_tanh(isa, x, dy),
        Activation::Relu => dy.iter_mut().zip(x).for_each(|(dy, x)| *dy = if *x > 0.0 { *dy } else { 0.0 }),
        Activation::Silu => silu(isa, x, dy),
        Activation::Tanh => tanh(isa, x, dy),
        Activation::Sigmoid => sigmoids(isa, x, dy),
        Activation::ReluSquared => dy.iter_mut().zip(x).for_each(|(dy, x)| *dy *= 2.0 * x.max(0.0)),
        Activation::Softplus => softplus(isa, x, dy),
        Activation::Exp => exps(isa, x, dy),
        Activation::Cap(most) => cap(isa, x, most, dy),
        Activation::Scale(factor) => dy.iter_mut().for_each(|dy| *dy *= factor),
        Activation::ClampedSwish { sharpness, most } => clamped_swish(isa, x, sharpness, most, dy),
        Activation::RaisedClamp { most } => {
            dy.iter_mut().zip(x).for_each(|(dy, x)| *dy = if x.abs() > most { 0.0 } else { *dy });
        }
    }
}

for_each_isa! {
    fn gelu_erf(x: &[f32], dy: &mut [f32]) = gelu_erf_body
}

for_each_isa! {
    fn gelu_tanh(x: &[f32], dy: &mut [f32]) = gelu_tanh_body
}

for_each_isa! {
    fn silu(x: &[f32], dy: &mut [f32]) = silu_body
}

for_each_isa! {
    fn clamped_swish(x: &[f32], sharpness: f32, most: f32, dy: &mut [f32]) = clamped_swish_body
}

for_each_isa! {
    fn tanh(x: &[f32], dy: &mut [f32]) = tanh_body
}

for_each_isa! {
    fn sigmoids(x: &[f32], dy: &mut [f32]) = sigmoids_body
}

for_each_isa! {
    fn exps(x: &[f32], dy: &mut [f32]) = exps_body
}

for_each_isa! {
    fn softplus(x: &[f32], dy: &mut [f32]) = softplus_body
}

/// dy becomes the gradient before the choice of experts by scores x that gave the weights y.
pub(super) fn choose(isa: Isa, x: &[f32], y: &[f32], choice: Choice, dy: &mut [f32]) {
    let n = choice.n_experts;
    for (dy, y) in dy[n..].iter_mut().zip(&y[n..]) {
        *dy *= y * (1.0 - y);
    }
    let (y, dy) = (&y[..n], &mut dy[..n]);
    if choice.normalizes {
        // The softmax of those that were chosen.
        return softmax(isa, y, 1.0, dy);
    }
    dy.iter_mut().zip(y).filter(|(_, y)| **y == 0.0).for_each(|(dy, _)| *dy = 0.0);
    let mut p = x[..n].to_vec();
    math::softmax(isa, &mut p, 1.0);
    softmax(isa, &p, 1.0, dy);
}

for_each_isa! {
    /// dy becomes dy · (1 - tanh²(x / most)).
    fn cap(x: &[f32], most: f32, dy: &mut [f32]) = cap_body
}

for_each_isa! {
    /// dx += the gradient through the norm of x, for the gain.
    fn norm(x: &[f32], gain: &[f32], kind: NormKind, dy: &[f32], dx: &mut [f32]) = norm_body
}

for_each_isa! {
    /// Adds the gradients of a norm's gain and bias, for one row x.
    fn norm_parameters(x: &[f32], kind: NormKind, dy: &[f32], dgain: &mut [f32], dbias: &mut [f32]) =
        norm_parameters_body
}

for_each_isa! {
    /// dp becomes scale · p · (dp - p · dp): the gradient through a softmax of scores times scale that gave p.
    fn softmax(p: &[f32], scale: f32, dp: &mut [f32]) = softmax_body
}

for_each_isa! {
    /// x *= y.
    fn multiply(x: &mut [f32], y: &[f32]) = multiply_body
}

for_each_isa! {
    /// The largest value m, and the sum of exp(x - m).
    fn sum_exp(x: &[f32]) -> (f32, f64) = sum_exp_body
}

for_each_isa! {
    /// x becomes factor · exp(x - shift).
    fn scaled_exp(x: &mut [f32], shift: f32, factor: f32) = scaled_exp_body
}

for_each_isa! {
    /// dy becomes the gradient before the sigmoids, and tanh of g, that gave the gates i, f, g, o.
    fn lstm_gates(gates: &[f32], dy: &mut [f32]) = lstm_gates_body
}

for_each_isa! {
    /// Through c' = f c + i g: adds to the gradients of the gates, and dy becomes that of c.
    fn lstm_cell(gates: &[f32], c: &[f32], dy: &mut [f32], dgates: &mut [f32]) = lstm_cell_body
}

for_each_isa! {
    /// Through h = o tanh(c): adds to the gradients of the gates, and dy becomes that of c.
    fn lstm_state(gates: &[f32], c: &[f32], dy: &mut [f32], dgates: &mut [f32]) = lstm_state_body
}

/// dy[i] *= slope(x[i]), in steps that the compiler makes vectors of.
#[inline(always)]
fn scale(x: &[f32], dy: &mut [f32], slope: impl Fn(f32) -> f32) {
    let (mut out, inputs) = (dy.chunks_exact_mut(LANES), x.chunks_exact(LANES));
    let rest = inputs.remainder();
    for (dy, x) in (&mut out).zip(inputs) {
        for (dy, x) in dy.iter_mut().zip(x) {
            *dy *= slope(*x);
        }
    }
    for (dy, x) in out.into_remainder().iter_mut().zip(rest) {
        *dy *= slope(*x);
    }
}

#[inline(always)]
fn gelu_erf_body(x: &[f32], dy: &mut [f32]) {
    // Φ(x) + x φ(x), 1 / √(2π)
    const DENSITY: f32 = 0.398_942_3;
    scale(x, dy, |x| 0.5 * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2)) + x * DENSITY * exp(-0.5 * x * x));
}

#[inline(always)]
fn gelu_tanh_body(x: &[f32], dy: &mut [f32]) {
    // y = x σ(u), u = x (A + B x²)
    const A: f32 = 1.595_769_2;
    const B: f32 = 0.071_354_814;
    scale(x, dy, |x| {
        let s = sigmoid(x * (x * x).mul_add(B, A));
        s * (1.0 - s) * x * (x * x).mul_add(3.0 * B, A) + s
    });
}

#[inline(always)]
fn silu_body(x: &[f32], dy: &mut [f32]) {
    scale(x, dy, |x| {
        let s = sigmoid(x);
        s * (x * (1.0 - s) + 1.0)
    });
}

#[inline(always)]
fn clamped_swish_body(x: &[f32], sharpness: f32, most: f32, dy: &mut [f32]) {
    scale(x, dy, |x| {
        let s = sigmoid(sharpness * x);
        if x > most { 0.0 } else { s * (sharpness * x * (1.0 - s) + 1.0) }
    });
}

#[inline(always)]
fn tanh_body(x: &[f32], dy: &mut [f32]) {
    scale(x, dy, |x| {
        let s = sigmoid(2.0 * x);
        4.0 * s * (1.0 - s)
    });
}

#[inline(always)]
fn sigmoids_body(x: &[f32], dy: &mut [f32]) {
    scale(x, dy, |x| {
        let s = sigmoid(x);
        s * (1.0 - s)
    });
}

#[inline(always)]
fn exps_body(x: &[f32], dy: &mut [f32]) {
    dy.iter_mut().zip(x).for_each(|(dy, x)| *dy *= exp(*x));
}

#[inline(always)]
fn softplus_body(x: &[f32], dy: &mut [f32]) {
    scale(x, dy, sigmoid);
}

#[inline(always)]
fn cap_body(x: &[f32], most: f32, dy: &mut [f32]) {
    scale(x, dy, |x| {
        let s = sigmoid(2.0 / most * x);
        4.0 * s * (1.0 - s)
    });
}

#[inline(always)]
fn multiply_body(x: &mut [f32], y: &[f32]) {
    x.iter_mut().zip(y).for_each(|(x, y)| *x *= y);
}

/// The mean of a row, and one over the root of its variance.
#[inline(always)]
fn moments(x: &[f32], kind: NormKind) -> (f32, f32) {
    let n = x.len() as f32;
    let (mean, eps) = match kind {
        NormKind::Layer { eps } => (sum(x, x, |x, _| x) / n, eps),
        NormKind::Rms { eps } => (0.0, eps),
    };
    let variance = sum(x, x, |x, _| (x - mean) * (x - mean)) / n;
    (mean, 1.0 / (variance + eps).sqrt())
}

#[inline(always)]
fn norm_parameters_body(x: &[f32], kind: NormKind, dy: &[f32], dgain: &mut [f32], dbias: &mut [f32]) {
    let (mean, inverse) = moments(x, kind);
    for (((dgain, dbias), x), dy) in dgain.iter_mut().zip(dbias).zip(x).zip(dy) {
        *dgain += (x - mean) * inverse * dy;
        *dbias += dy;
    }
}

#[inline(always)]
fn norm_body(x: &[f32], gain: &[f32], kind: NormKind, dy: &[f32], dx: &mut [f32]) {
    let n = x.len() as f32;
    let (mean, inverse) = moments(x, kind);
    // With x̂ = (x - mean) inverse and dx̂ = gain dy: dx = inverse (dx̂ - mean(dx̂) - x̂ mean(dx̂ x̂)).
    let shift = match kind {
        NormKind::Layer { .. } => sum(gain, dy, |gain, dy| gain * dy) / n,
        NormKind::Rms { .. } => 0.0,
    };
    let along = sum3(x, gain, dy, |x, gain, dy| (x - mean) * gain * dy) * inverse * inverse / n;
    for (((dx, x), gain), dy) in dx.iter_mut().zip(x).zip(gain).zip(dy) {
        *dx += (gain * dy - shift - (x - mean) * along) * inverse;
    }
}

#[inline(always)]
fn softmax_body(p: &[f32], scale: f32, dp: &mut [f32]) {
    let along = sum(p, dp, |p, dp| p * dp);
    dp.iter_mut().zip(p).for_each(|(dp, p)| *dp = (*dp - along) * p * scale);
}

#[inline(always)]
fn sum_exp_body(x: &[f32]) -> (f32, f64) {
    // Values that are summed in 32 bits.
    const BLOCK: usize = 1024;
    let most = largest(x);
    // A loop: the closure of an iterator can land in a function of its own, which has no vectors.
    let mut total = 0.0;
    for block in x.chunks(BLOCK) {
        total += f64::from(sum(block, block, |x, _| exp(x - most)));
    }
    (most, total)
}

#[inline(always)]
fn scaled_exp_body(x: &mut [f32], shift: f32, factor: f32) {
    let mut chunks = x.chunks_exact_mut(LANES);
    for chunk in &mut chunks {
        for x in chunk {
            *x = factor * exp(*x - shift);
        }
    }
    for x in chunks.into_remainder() {
        *x = factor * exp(*x - shift);
    }
}

#[inline(always)]
fn lstm_gates_body(gates: &[f32], dy: &mut [f32]) {
    let h = gates.len() / 4;
    for (idx, (gate, dy)) in gates.chunks_exact(h).zip(dy.chunks_exact_mut(h)).enumerate() {
        if idx == 2 {
            dy.iter_mut().zip(gate).for_each(|(dy, g)| *dy *= 1.0 - g * g);
        } else {
            dy.iter_mut().zip(gate).for_each(|(dy, s)| *dy *= s * (1.0 - s));
        }
    }
}

#[inline(always)]
fn lstm_cell_body(gates: &[f32], c: &[f32], dy: &mut [f32], dgates: &mut [f32]) {
    let h = c.len();
    for at in 0..h {
        let (i, f, g) = (gates[at], gates[h + at], gates[2 * h + at]);
        dgates[at] += dy[at] * g;
        dgates[h + at] += dy[at] * c[at];
        dgates[2 * h + at] += dy[at] * i;
        dy[at] *= f;
    }
}

#[inline(always)]
fn lstm_state_body(gates: &[f32], c: &[f32], dy: &mut [f32], dgates: &mut [f32]) {
    let h = c.len();
    let (o, d_o) = (&gates[3 * h..], &mut dgates[3 * h..]);
    for (((dy, d_o), o), c) in dy.iter_mut().zip(d_o).zip(o).zip(c) {
        let s = sigmoid(2.0 * c);
        *d_o += *dy * 2.0f32.mul_add(s, -1.0);
        *dy *= o * (4.0 * s * (1.0 - s));
    }
}

/// The sum of `f` over two rows: 16 partial sums, joined in a fixed order.
#[inline(always)]
pub(super) fn sum(x: &[f32], y: &[f32], f: impl Fn(f32, f32) -> f32) -> f32 {
    sum3(x, y, y, |x, y, _| f(x, y))
}

#[inline(always)]
pub(super) fn sum3(x: &[f32], y: &[f32], z: &[f32], f: impl Fn(f32, f32, f32) -> f32) -> f32 {
    let mut partial = [0.0f32; LANES];
    let n = x.len().min(y.len()).min(z.len());
    let whole = n / LANES * LANES;
    let chunks = x[..whole].chunks_exact(LANES).zip(y[..whole].chunks_exact(LANES));
    for ((x, y), z) in chunks.zip(z[..whole].chunks_exact(LANES)) {
        for (((partial, x), y), z) in partial.iter_mut().zip(x).zip(y).zip(z) {
            *partial += f(*x, *y, *z);
        }
    }
    for (((partial, x), y), z) in partial.iter_mut().zip(&x[whole..n]).zip(&y[whole..n]).zip(&z[whole..n]) {
        *partial += f(*x, *y, *z);
    }
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            partial[i] += partial[i + width];
        }
        width /= 2;
    }
    partial[0]
}
