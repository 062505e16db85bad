use super::*;
use crate::engine::cpu::gemm::tests::tensor;
use crate::engine::cpu::isa::Isa;
use crate::engine::{Columns, DistanceBias, Relative};

/// Attention written down as it is defined, in f64.
fn defined(
    qkv: &Tensor,
    shape: AttentionShape,
    sentence: std::ops::Range<usize>,
    more: impl Fn(usize, usize, usize) -> [f64; 2],
) -> Vec<Vec<f64>> {
    let d = shape.d_head;
    let at = |row: usize, column: usize| f64::from(qkv.row(row)[column]);
    let dot = |q: usize, k: usize, qc: usize, kc: usize| (0..d).map(|i| at(q, qc + i) * at(k, kc + i)).sum::<f64>();
    sentence
        .clone()
        .map(|query| {
            let mut z = vec![0.0; shape.n_heads * d];
            for head in 0..shape.n_heads {
                let kv = head / (shape.n_heads / shape.n_kv_heads);
                let (key_column, value_column) = (shape.k().start + kv * d, shape.v().start + kv * d);
                let last = if shape.causal { query + 1 } else { sentence.end };
                let keys = sentence.start..last;
                let score = |key| {
                    let [before, after] = more(head, query, key);
                    ((dot(query, key, head * d, key_column) + before) * f64::from(shape.scale) + after).exp()
                };
                let scores: Vec<f64> = keys.clone().map(score).collect();
                let total: f64 = scores.iter().sum();
                for i in 0..d {
                    let mixed = keys.clone().zip(&scores).map(|(key, score)| score * at(key, value_column + i));
                    z[head * d + i] = mixed.sum::<f64>() / total;
                }
            }
            z
        })
        .collect()
}

#[test]
fn long_and_short_sentences_attend_as_defined_on_every_instruction_set() {
    for (causal, n_kv_heads, d_head) in [(false, 4, 24), (true, 4, 40), (true, 2, 64), (false, 1, 33)] {
        let shape = AttentionShape { scale: 0.3, ..AttentionShape::new(4, n_kv_heads, d_head, causal) };
        let offsets = [0, 1, 58, 58, 200];
        let qkv = tensor(200, shape.v().end, 11);
        for isa in Isa::available() {
            let z = attention(isa, &qkv, shape, &offsets, &[], &Added::NONE, None)
                .unwrap_or_else(|_| panic!("nobody stops it"));
            for pair in offsets.windows(2) {
                for (row, want) in (pair[0]..pair[1]).zip(defined(&qkv, shape, pair[0]..pair[1], |_, _, _| [0.0; 2])) {
                    for (got, want) in z.row(row).iter().zip(&want) {
                        assert!(
                            (f64::from(*got) - want).abs() < 2e-6,
                            "{isa:?} {shape:?} row {row}: {got}, want {want}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn what_is_added_to_scores_is_added_as_defined() {
    let (n_heads, n_columns) = (3, 5);
    let shape = AttentionShape { scale: 0.3, ..AttentionShape::new(n_heads, n_heads, 20, false) };
    let (offsets, qkv) = ([0, 1, 70], tensor(70, shape.v().end, 3));
    let (of_queries, of_keys) = (tensor(70, n_heads * n_columns, 4), tensor(70, n_heads * n_columns, 5));
    let slope = |head: usize, distance: i64| distance as f32 * 0.01 * (head as f32 - 1.0);
    let column = |distance: i64| (distance.clamp(-2, 2) + 2) as usize;
    let (bias, columns) = (DistanceBias::new(n_heads, 128, slope), Columns::new(n_columns, 99, column));
    let relative = Relative { of_queries: Some(&of_queries), of_keys: Some(&of_keys), columns: &columns };
    let added = Added { bias: Some(&bias), relative: Some(relative), sinks: None };
    let more = |head: usize, query: usize, key: usize| {
        let distance = key as i64 - query as i64;
        let at = head * n_columns + column(distance);
        let relative = f64::from(of_queries.row(query)[at]) + f64::from(of_keys.row(key)[at]);
        [relative, f64::from(slope(head, distance))]
    };
    let mut ignore = |_: usize, _: Values<'_>| Ok(());
    for isa in Isa::available() {
        let plain =
            attention(isa, &qkv, shape, &offsets, &[], &added, None).unwrap_or_else(|_| panic!("nobody stops it"));
        let shown = attention(isa, &qkv, shape, &offsets, &[], &added, Some(&mut ignore));
        let shown = shown.unwrap_or_else(|_| panic!("nobody stops it"));
        for pair in offsets.windows(2) {
            for (row, want) in (pair[0]..pair[1]).zip(defined(&qkv, shape, pair[0]..pair[1], more)) {
                assert_eq!(plain.row(row), shown.row(row));
                for (got, want) in plain.row(row).iter().zip(&want) {
                    assert!((f64::from(*got) - want).abs() < 3e-6, "{isa:?} row {row}: {got}, want {want}");
                }
            }
        }
    }
}

#[test]
fn a_pattern_that_is_only_seen_changes_no_bit() {
    for causal in [false, true] {
        let shape = AttentionShape { scale: 0.25, ..AttentionShape::new(2, 2, 16, causal) };
        let offsets = [0, 90, 93];
        let qkv = tensor(93, shape.v().end, 5);
        let mut sums = Vec::new();
        let mut see = |sentence: usize, Values { now: pattern, .. }: Values<'_>| {
            let len = offsets[sentence + 1] - offsets[sentence];
            sums.extend(pattern.iter().collect::<Vec<_>>().chunks(len).map(|row| row.iter().copied().sum::<f32>()));
            Ok(())
        };
        let isa = Isa::detect();
        let run = |hook: Option<PatternHook<'_>>| {
            attention(isa, &qkv, shape, &offsets, &[], &Added::NONE, hook).unwrap_or_else(|_| panic!("nobody stops it"))
        };
        let (seen, plain) = (run(Some(&mut see)), run(None));
        for row in 0..93 {
            assert_eq!(seen.row(row), plain.row(row));
        }
        assert_eq!(sums.len(), 2 * 93);
        assert!(sums.iter().all(|sum| (sum - 1.0).abs() < 1e-5));
    }
}

#[test]
fn a_sentence_read_in_parts_gives_the_bits_of_one_pass() {
    for (n_kv_heads, d_head) in [(4, 24), (2, 40), (1, 64)] {
        let shape = AttentionShape { scale: 0.3, ..AttentionShape::new(4, n_kv_heads, d_head, true) };
        let qkv = tensor(200, shape.v().end, 7);
        let isa = Isa::detect();
        let whole = attention(isa, &qkv, shape, &[0, 200], &[], &Added::NONE, None)
            .unwrap_or_else(|_| panic!("nobody stops it"));
        let mut past = [Past::default()];
        let mut fork = None;
        for ends in [0, 1, 2, 40, 63, 64, 65, 130, 131, 200].windows(2) {
            let mut part = Tensor::new(ends[1] - ends[0], qkv.width());
            (ends[0]..ends[1]).for_each(|row| part.row_mut(row - ends[0]).copy_from_slice(qkv.row(row)));
            let mut see = |_: usize, _: Values<'_>| Ok(());
            let seen: [Option<PatternHook<'_>>; 2] = [None, Some(&mut see)];
            for hook in seen {
                let z = attention(isa, &part, shape, &[0, part.n_rows()], &past, &Added::NONE, hook);
                let z = z.unwrap_or_else(|_| panic!("nobody stops it"));
                for row in ends[0]..ends[1] {
                    assert_eq!(z.row(row - ends[0]), whole.row(row), "{shape:?} row {row}");
                }
            }
            past[0].extend(&part, 0..part.n_rows(), shape);
            if ends[1] == 40 {
                // A copy that goes on with other tokens leaves the original as it is.
                let mut copy = past[0].clone();
                copy.extend(&qkv, 150..200, shape);
                fork = Some(copy);
            }
        }
        let fork = fork.expect("made on the way");
        assert_eq!((fork.len(), past[0].len()), (90, 200));
    }
}
