use nissl_testing::{Random, Tol, assert_close};

use super::*;

#[test]
fn every_kernel_adds_the_products_to_what_is_there() {
    for n_rows in [0, 1, 5, 256] {
        let mut random = Random::new(n_rows as u64);
        let mut panel = || (0..n_rows * PANEL).map(|_| random.normal() as f32).collect::<Vec<f32>>();
        let (a, b) = (panel(), panel());
        let mut want = vec![7.0; PANEL * PANEL];
        for (idx, sum) in want.iter_mut().enumerate() {
            let (i, j) = (idx / PANEL, idx % PANEL);
            *sum += (0..n_rows).map(|row| f64::from(a[row * PANEL + i]) * f64::from(b[row * PANEL + j])).sum::<f64>();
        }
        let check = |name: &str, kernel: &dyn Fn(&mut [f64])| {
            let mut got = vec![7.0; PANEL * PANEL];
            kernel(&mut got);
            assert_close(name, &got, &want, Tol::abs(1e-4));
        };
        check("as chosen", &|sums| add_products(&a, &b, sums));
        check("portable", &|sums| portable(&a, &b, sums));
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the processor has the instructions, and both panels have as many rows.
            check("256 bits", &|sums| unsafe { avx2(&a, &b, sums) });
        }
    }
}
