#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::path::Path;

use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Case {
    logits: Vec<f32>,
    options: Generation,
    probabilities: Vec<f64>,
}

#[test]
fn the_filters_leave_what_those_of_transformers_leave() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/generation/filters.json");
    let cases: Vec<Case> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert!(cases.len() > 5);
    for case in cases {
        let shares = filtered(&case.logits, &case.options);
        let total: f64 = shares.iter().map(|(_, share)| share).sum();
        let mut got = vec![0.0; case.logits.len()];
        for &(token, share) in &shares {
            got[token] = share / total;
        }
        for (token, (got, want)) in got.iter().zip(&case.probabilities).enumerate() {
            assert!((got - want).abs() < 1e-6, "{:?}, token {token}: {got}, want {want}", case.options);
            assert_eq!(*got > 0.0, *want > 0.0, "{:?}, token {token}", case.options);
        }
    }
}

#[test]
fn of_equal_tokens_the_lower_numbers_stay() {
    let options = |top_k, top_p| Generation { temperature: 1.0, top_k, top_p, ..Generation::default() };
    let tokens = |shares: Vec<(usize, f64)>| shares.into_iter().map(|(token, _)| token).collect::<Vec<_>>();
    let scores = [1.0, 2.0, 2.0, 1.0, 2.0, 0.0];
    assert_eq!(tokens(filtered(&scores, &options(1, 1.0))), [1, 2, 4], "all that equal the last of the best");
    assert_eq!(tokens(filtered(&scores, &options(0, 0.4))), [1, 2]);
    assert_eq!(tokens(filtered(&scores, &options(0, 0.0))), [1], "at least one");
    assert_eq!(best(&scores), 1);
}

#[test]
fn draws_follow_the_probabilities() {
    let options = Generation { temperature: 1.0, ..Generation::default() };
    let shares = filtered(&[0.0, 1.0, f32::NEG_INFINITY, 2.0], &options);
    let mut rng = ChaCha12Rng::seed_from_u64(1);
    let n = 100_000;
    let mut counts = [0u32; 4];
    for _ in 0..n {
        counts[draw(&shares, (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64)] += 1;
    }
    for (count, want) in counts.iter().zip([0.090_03, 0.244_73, 0.0, 0.665_24]) {
        assert!((f64::from(*count) / f64::from(n) - want).abs() < 0.005, "{counts:?}");
    }
    assert_eq!((draw(&shares, 0.0), draw(&shares, 0.999_999_999)), (0, 3));
}
