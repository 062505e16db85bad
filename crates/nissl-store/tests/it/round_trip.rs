//! What is written is read.

use ndarray::{Array2, ShapeBuilder, s};
use nissl_core::{Activations, HookPoint, Site};
use nissl_store::{Dtype, Run, Store};

use crate::sample;

/// The whole sample as it should be read: sites in order of the forward pass.
fn expected(run: &Run, n_rows: usize) -> Array2<f32> {
    let mut order: Vec<usize> = (0..run.sites.len()).collect();
    order.sort_by_key(|&site| run.sites[site].point);
    let columns: Vec<(usize, usize)> =
        order.iter().flat_map(|&site| (0..run.sites[site].width as usize).map(move |unit| (site, unit))).collect();
    Array2::from_shape_fn((n_rows, columns.len()), |(row, column)| {
        let (site, unit) = columns[column];
        sample::value(site, row, unit)
    })
}

#[test]
fn every_type_reads_back_whole_and_in_blocks() {
    for dtype in [Dtype::Float32, Dtype::Float16, Dtype::Bfloat16] {
        let dir = sample::folder().unwrap();
        let run = sample::run(dtype);
        let store = sample::write(dir.path(), &run, 100);
        let all = store.all();
        let n_rows = sample::rows_before(100);
        let want = expected(&run, n_rows);
        assert_eq!((all.n_tokens(), all.neurons().len()), want.dim());
        assert!(all.neurons().is_sorted());
        let blocks = [(0..n_rows, 0..60), (0..n_rows, 19..21), (60..70, 0..60), (63..64, 15..16), (5..5, 0..60)];
        for (rows, columns) in blocks {
            let want = want.slice(s![rows.clone(), columns.clone()]);
            let mut by_row = Array2::zeros(want.dim());
            all.read(rows.clone(), columns.clone(), by_row.view_mut()).unwrap();
            assert_eq!(by_row, want, "{dtype} {rows:?} {columns:?}");
            let mut by_column = Array2::zeros(want.dim().f());
            all.read(rows, columns, by_column.view_mut()).unwrap();
            assert_eq!(by_column, want);
        }
        assert!(all.read(0..n_rows + 1, 0..1, Array2::zeros((n_rows + 1, 1)).view_mut()).is_err());
    }
}

#[test]
fn a_selection_has_its_points_in_order_of_the_forward_pass() {
    let dir = sample::folder().unwrap();
    let run = sample::run(Dtype::Float16);
    let store = sample::write(dir.path(), &run, 30);
    let (embed, mlp) = (HookPoint::new(0, Site::Embed), HookPoint::new(1, Site::MlpPost));
    let both = store.select(&[mlp, embed, mlp]).unwrap();
    assert_eq!(both.neurons().len(), 53);
    let mut row = Array2::zeros((1, 53));
    both.read(17..18, 0..53, row.view_mut()).unwrap();
    assert_eq!(row[[0, 0]], sample::value(1, 17, 0));
    assert_eq!(row[[0, 20]], sample::value(0, 17, 0));
    let error = store.select(&[HookPoint::new(7, Site::MlpPost)]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no recorded hook point is called 'blocks.7.mlp.hook_post'; did you mean blocks.1.mlp.hook_post?"
    );
}

#[test]
fn rows_sentences_and_labels_are_those_that_were_written() {
    let dir = sample::folder().unwrap();
    sample::write(dir.path(), &sample::run(Dtype::Float16), 100);
    let store = Store::open(dir.path()).unwrap();
    let (rows, sentences, text) = (store.rows().unwrap(), store.sentences().unwrap(), store.text().unwrap());
    let (upos, genre) = (store.labels("upos").unwrap(), store.labels("genre").unwrap());
    let mut row = 0;
    for number in 0..100 {
        let want = sample::sentence(number);
        assert_eq!((&sentences.text[number], &sentences.id[number]), (&want.text, &want.id));
        for word in &want.rows {
            assert_eq!((rows.sentence[row] as usize, rows.position[row]), (number, word.position));
            assert_eq!((text.word(row), text.sentence_of()[row] as usize), (word.word.as_str(), number));
            assert_eq!(&sentences.text[number][rows.start[row] as usize..rows.end[row] as usize], word.word);
            assert_eq!(rows.labels[1][row], word.labels[1]);
            assert_eq!(Some(&upos.concepts()[upos.of(row)[0] as usize].name), word.labels[0].as_ref());
            assert_eq!(Some(&genre.concepts()[genre.of(row)[0] as usize].name), want.labels[0].as_ref());
            row += 1;
        }
    }
    assert_eq!(row, store.n_rows());
    assert_eq!(store.label_columns().collect::<Vec<_>>(), ["upos", "Number", "genre"]);
    let error = store.labels("upis").unwrap_err();
    assert_eq!(error.to_string(), "no label column is called 'upis'; did you mean upos?");
}

#[test]
fn statistics_are_those_of_all_rows() {
    let dir = sample::folder().unwrap();
    let run = sample::run(Dtype::Float32);
    let store = sample::write(dir.path(), &run, 100);
    let want = expected(&run, store.n_rows());
    for (column, (neuron, moments)) in want.columns().into_iter().zip(store.moments().unwrap()) {
        let n = column.len() as f64;
        let mean = column.iter().map(|&v| v as f64).sum::<f64>() / n;
        let variance = column.iter().map(|&v| (v as f64 - mean).powi(2)).sum::<f64>() / n;
        assert_eq!(moments.count, store.n_rows() as u64);
        assert!((moments.mean - mean).abs() < 1e-5, "{neuron}: mean {} {mean}", moments.mean);
        assert!((moments.std() - variance.sqrt()).abs() < 1e-4, "{neuron}: std {} {}", moments.std(), variance.sqrt());
        assert_eq!(moments.min, column.iter().copied().fold(f32::MAX, f32::min));
        assert_eq!(moments.max, column.iter().copied().fold(f32::MIN, f32::max));
    }
}

#[test]
fn a_store_without_rows_is_a_store() {
    let dir = sample::folder().unwrap();
    let store = sample::write(dir.path(), &sample::run(Dtype::Float16), 0);
    assert_eq!(store.n_rows(), 0);
    assert!(store.manifest().complete);
    assert_eq!(store.text().unwrap().n_tokens(), 0);
    let verified = store.verify(&nissl_core::NoProgress).unwrap();
    assert_eq!(verified.n_blocks, 0);
}
