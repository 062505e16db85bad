//! What holds for every layout, shape and type.

use std::collections::BTreeMap;
use std::path::Path;

use ndarray::{Array2, s};
use nissl_core::{Activations, HookPoint, NoProgress, Site};
use nissl_store::{Dtype, Layout, Moments, Row, Run, SentenceRows, SiteWidth, Store, Values, WriteOptions, Writer};
use proptest::prelude::*;

use crate::sample;

/// A run of random sites in a random layout, and how many rows each of its sentences has.
#[derive(Clone, Debug)]
struct Case {
    layout: Layout,
    dtype: Dtype,
    widths: Vec<u32>,
    sentences: Vec<usize>,
    block: usize,
}

fn cases() -> impl Strategy<Value = Case> {
    let layout = (1..5_u32, 1..20_u32, 1..20_u32).prop_map(|(n_down, rows_per_chunk, columns_per_chunk)| Layout {
        rows_per_shard: n_down * rows_per_chunk,
        rows_per_chunk,
        columns_per_chunk,
    });
    let dtype = prop_oneof![Just(Dtype::Float32), Just(Dtype::Float16), Just(Dtype::Bfloat16)];
    let widths = prop::collection::vec(1..40_u32, 1..4);
    let sentences = prop::collection::vec(0..9_usize, 0..25);
    (layout, dtype, widths, sentences, 1..6_usize).prop_map(|(layout, dtype, widths, sentences, block)| Case {
        layout,
        dtype,
        widths,
        sentences,
        block,
    })
}

impl Case {
    fn run(&self) -> Run {
        let site = |(idx, &width): (usize, &u32)| SiteWidth { point: HookPoint::new(idx as u16, Site::MlpPost), width };
        Run { dtype: self.dtype, sites: self.widths.iter().enumerate().map(site).collect(), ..Run::default() }
    }

    fn n_rows(&self) -> usize {
        self.sentences.iter().sum()
    }

    /// What a site holds, `[n_rows, width]`: integers that every type keeps.
    fn matrix(&self, site: usize) -> Array2<f32> {
        Array2::from_shape_fn((self.n_rows(), self.widths[site] as usize), |(row, unit)| sample::value(site, row, unit))
    }

    /// Appends the sentences from the writer's place on, up to sentence `end`, in blocks.
    fn append(&self, writer: &mut Writer, end: usize) {
        let first = writer.resume_point().sentence as usize;
        for start in (first..end).step_by(self.block) {
            let end = end.min(start + self.block);
            let row = self.sentences[..start].iter().sum::<usize>();
            let n_rows = self.sentences[start..end].iter().sum::<usize>();
            let sentence = |idx: usize| SentenceRows {
                text: format!("sentence {idx}"),
                rows: (0..self.sentences[idx]).map(|i| Row { position: i as u32, ..Row::default() }).collect(),
                ..SentenceRows::default()
            };
            let sentences: Vec<_> = (start..end).map(sentence).collect();
            let values: Vec<Vec<f32>> = (0..self.widths.len())
                .map(|site| self.matrix(site).slice(s![row..row + n_rows, ..]).iter().copied().collect())
                .collect();
            // As the model gives them, and as a worker that converts them does: by turns.
            let bits = |values: &Vec<f32>| {
                let mut bits = vec![0; values.len()];
                self.dtype.to_bits(values, &mut bits);
                bits
            };
            if self.dtype == Dtype::Float32 || start % 2 == 0 {
                let values: Vec<_> = values.iter().map(|values| Values::F32(values)).collect();
                writer.append(&sentences, &values).unwrap();
            } else {
                let bits: Vec<_> = values.iter().map(bits).collect();
                let values: Vec<_> = bits.iter().map(|bits| Values::Bits16(bits)).collect();
                writer.append(&sentences, &values).unwrap();
            }
        }
    }

    fn writer(&self, path: &Path) -> Writer {
        let options = WriteOptions { layout: Some(self.layout), ..WriteOptions::default() };
        Writer::create_or_resume(path, &self.run(), &options).unwrap()
    }

    fn write(&self, path: &Path, stops: &[usize]) -> Store {
        for &stop in stops {
            let mut writer = self.writer(path);
            self.append(&mut writer, stop.min(self.sentences.len()));
        }
        let mut writer = self.writer(path);
        self.append(&mut writer, self.sentences.len());
        writer.finish().unwrap()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read(case in cases(), at in (0.0..1.0, 0.0..1.0, 0.0..1.0, 0.0..1.0)) {
        let dir = sample::folder().unwrap();
        let store = case.write(&dir.path().join("store"), &[]);
        prop_assert_eq!(store.n_rows(), case.n_rows());
        let x = store.all();
        let sites: Vec<_> = (0..case.widths.len()).map(|site| case.matrix(site)).collect();
        let views: Vec<_> = sites.iter().map(|site| site.view()).collect();
        let want = ndarray::concatenate(ndarray::Axis(1), &views).unwrap();
        let range = |a: f64, b: f64, n: usize| {
            let (a, b) = ((a * (n + 1) as f64) as usize, (b * (n + 1) as f64) as usize);
            a.min(b)..a.max(b)
        };
        let (rows, columns) = (range(at.0, at.1, want.nrows()), range(at.2, at.3, want.ncols()));
        let mut got = Array2::zeros((rows.len(), columns.len()));
        x.read(rows.clone(), columns.clone(), got.view_mut()).unwrap();
        prop_assert_eq!(got, want.slice(s![rows, columns]));
        let verified = store.verify(&NoProgress).unwrap();
        prop_assert_eq!(verified.n_blocks == 0, case.n_rows() == 0);
        let n_rows: Vec<_> = store.sentences().unwrap().n_rows.iter().map(|&n| n as usize).collect();
        prop_assert_eq!(n_rows, case.sentences);
    }

    #[test]
    fn a_run_that_stops_anywhere_goes_on_to_the_same_store(
        case in cases(),
        stops in prop::collection::vec(0..30_usize, 1..4),
    ) {
        let dir = sample::folder().unwrap();
        let mut stops = stops;
        stops.sort_unstable();
        let whole = case.write(&dir.path().join("whole"), &[]);
        let resumed = case.write(&dir.path().join("resumed"), &stops);
        prop_assert_eq!(resumed.manifest(), whole.manifest());
        prop_assert!(sample::files(resumed.path()) == sample::files(whole.path()), "a file has other bytes");
    }

    #[test]
    fn statistics_do_not_depend_on_where_values_are_cut(
        values in prop::collection::vec(prop_oneof![-1e3..1e3_f32, Just(f32::NAN), Just(3e38)], 0..200),
        cut in 0.0..1.0,
    ) {
        let at = (cut * values.len() as f64) as usize;
        let (mut whole, mut joined, mut one_by_one) = (Moments::default(), Moments::default(), Moments::default());
        whole.add(&values);
        joined.add(&values[..at]);
        joined.add(&values[at..]);
        for &value in &values {
            one_by_one.add(&[value]);
        }
        for (what, got) in [("joined", joined), ("one by one", one_by_one)] {
            prop_assert_eq!((got.count, got.not_finite), (whole.count, whole.not_finite));
            if whole.count > 0 {
                prop_assert_eq!((got.min, got.max), (whole.min, whole.max));
            }
            let scale = whole.std().max(1e-3);
            prop_assert!((got.mean - whole.mean).abs() <= 1e-6 * scale.max(whole.mean.abs()), "{} {:?} {:?}", what, got, whole);
            prop_assert!((got.std() - whole.std()).abs() <= 1e-5 * scale.max(whole.mean.abs()), "{} {:?} {:?}", what, got, whole);
        }
    }
}

#[test]
fn the_number_of_threads_changes_no_byte() {
    let dir = sample::folder().unwrap();
    let write = |n_threads: usize| -> BTreeMap<_, _> {
        let path = dir.path().join(n_threads.to_string());
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
        let store = pool.install(|| sample::write(&path, &sample::run(Dtype::Float16), 100));
        sample::files(store.path())
    };
    let one = write(1);
    assert!(one.len() > 20);
    assert!(one == write(2), "two threads give other bytes than one");
    assert!(one == write(8), "eight threads give other bytes than one");
}

#[test]
fn a_small_budget_gives_smaller_chunks_and_the_same_values() {
    let dir = sample::folder().unwrap();
    let width = 4000;
    let sites = vec![SiteWidth { point: HookPoint::new(0, Site::MlpPost), width }];
    let run = Run { dtype: Dtype::Float32, sites, ..Run::default() };
    let options = WriteOptions { memory_budget: 1 << 20, layout: None };
    let mut writer = Writer::create(dir.path().join("store"), run, &options).unwrap();
    let values: Vec<f32> = (0..100 * width).map(|i| i as f32).collect();
    let rows = vec![Row::default(); 100];
    writer.append(&[SentenceRows { rows, ..SentenceRows::default() }], &[Values::F32(&values)]).unwrap();
    let store = writer.finish().unwrap();
    // Two chunks of 32 rows of 16 kB are one megabyte.
    assert_eq!(store.manifest().layout.rows_per_chunk, 32);
    let mut out = Array2::zeros((100, 4000));
    store.all().read(0..100, 0..4000, out.view_mut()).unwrap();
    assert!(out.iter().eq(values.iter()));
}
