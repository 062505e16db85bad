use super::*;

/// The largest deviation of `f` from `truth` over a sweep, as a share of the larger of the truth and 1.
fn deviation(f: impl Fn(&mut [f32]), truth: impl Fn(f64) -> f64, low: f32, high: f32) -> f64 {
    let n = 200_001;
    let x: Vec<f32> = (0..n).map(|i| low + (high - low) * (i as f32 / (n - 1) as f32)).collect();
    let mut y = x.clone();
    f(&mut y);
    x.iter()
        .zip(&y)
        .map(|(&x, &y)| (f64::from(y) - truth(f64::from(x))).abs() / truth(f64::from(x)).abs().max(1.0))
        .fold(0.0, f64::max)
}

/// erf by its series and, far out, its continued fraction, in f64.
fn erf_f64(x: f64) -> f64 {
    if x.abs() > 3.0 {
        let z = x.abs();
        let mut fraction = 0.0;
        for k in (1..=60).rev() {
            fraction = f64::from(k) * 0.5 / (z + fraction);
        }
        let erfc = (-z * z).exp() / (z + fraction) / std::f64::consts::PI.sqrt();
        return x.signum() * (1.0 - erfc);
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..200 {
        term *= -x * x / f64::from(n);
        sum += term / f64::from(2 * n + 1);
    }
    sum * 2.0 / std::f64::consts::PI.sqrt()
}

#[test]
fn activations_are_within_their_stated_error() {
    for isa in Isa::available() {
        let gelu = |x: f64| 0.5 * x * (1.0 + erf_f64(x / std::f64::consts::SQRT_2));
        let tanh_gelu = |x: f64| 0.5 * x * (1.0 + (0.797_884_560_802_865_4 * (x + 0.044_715 * x * x * x)).tanh());
        let off = deviation(|x| gelu_erf(isa, x), gelu, -8.0, 8.0);
        assert!(off < 1e-6, "GELU is off by {off:e}");
        assert!(deviation(|x| gelu_tanh(isa, x), tanh_gelu, -8.0, 8.0) < 1e-6);
        assert!(deviation(|x| silu(isa, x), |x| x / (1.0 + (-x).exp()), -20.0, 20.0) < 2e-6);
        assert!(deviation(|x| tanh(isa, x), f64::tanh, -12.0, 12.0) < 2e-7);
    }
}

#[test]
fn exp_is_within_two_units_in_the_last_place() {
    for i in -87_000..88_000 {
        let x = i as f32 / 1000.0;
        let (got, want) = (f64::from(exp(x)), f64::from(x).exp());
        assert!((got - want).abs() <= 2.4e-7 * want, "exp({x}): got {got}, want {want}");
    }
    assert!(exp(f32::NAN).is_nan());
    assert!(exp(-1000.0) < 1e-37);
}

#[test]
fn softmax_sums_to_one_and_is_the_same_on_every_instruction_set() {
    let scores: Vec<f32> = (0..77).map(|i| ((i * 37) % 53) as f32 * 0.3 - 7.0).collect();
    let mut first = None;
    for isa in Isa::available() {
        let mut x = scores.clone();
        softmax(isa, &mut x, 0.7);
        let sum: f32 = x.iter().sum();
        assert!((sum - 1.0).abs() < 1e-6, "sum {sum}");
        let bits: Vec<u32> = x.iter().map(|x| x.to_bits()).collect();
        assert_eq!(*first.get_or_insert_with(|| bits.clone()), bits, "{isa:?}");
    }
}

#[test]
fn a_nan_is_not_hidden() {
    for isa in Isa::available() {
        for activation in [Activation::GeluErf, Activation::GeluTanh, Activation::Silu, Activation::Tanh] {
            let mut x = vec![1.0, f32::NAN, 2.0];
            activate(isa, activation, &mut x);
            assert!(x[1].is_nan() && x[0].is_finite() && x[2].is_finite(), "{activation:?}");
        }
    }
}

#[test]
fn a_score_beside_a_row_takes_its_share_and_none_takes_nothing() {
    for isa in Isa::available() {
        let mut x = [0.5f32, -1.0, 2.0];
        softmax_beside(isa, &mut x, 2.0, 3.0);
        let weights = [1.0f64, -2.0, 4.0].map(f64::exp);
        let total = weights.iter().sum::<f64>() + 3.0f64.exp();
        x.iter().zip(weights).for_each(|(x, weight)| assert!((f64::from(*x) - weight / total).abs() < 1e-6));
        // One that is far above all leaves nothing.
        let mut x = [0.5f32, -1.0];
        softmax_beside(isa, &mut x, 1.0, 200.0);
        assert!(x.iter().all(|x| *x < 1e-30));
    }
}

#[test]
fn clamped_activations_are_flat_beyond_their_bounds() {
    for isa in Isa::available() {
        let mut x = [-9.0f32, -0.5, 0.5, 2.0, 9.0];
        let mut y = x;
        activate(isa, Activation::ClampedSwish { sharpness: 1.702, most: 2.0 }, &mut x);
        let swish = |x: f64| (x / (1.0 + (-1.702 * x).exp())) as f32;
        x.iter().zip([-9.0, -0.5, 0.5, 2.0, 2.0]).for_each(|(x, of)| assert!((x - swish(of)).abs() < 1e-6));
        activate(isa, Activation::RaisedClamp { most: 2.0 }, &mut y);
        assert_eq!(y.map(f32::to_bits), [-1.0f32, 0.5, 1.5, 3.0, 3.0].map(f32::to_bits));
    }
}
