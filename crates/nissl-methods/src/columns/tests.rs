#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::sync::Mutex;

use nissl_core::{ActivationsError, HookPoint, NeuronId, Site, site_columns};

use super::*;

/// A matrix of `row * 1000 + column` that remembers which columns were read, and fails at a chosen one.
struct Watched {
    n_tokens: usize,
    neurons: Vec<NeuronId>,
    broken: Option<usize>,
    read: Mutex<Vec<Range<usize>>>,
}

impl Watched {
    fn new(n_tokens: usize, n_neurons: usize) -> Self {
        let neurons = site_columns(&[(HookPoint::new(0, Site::MlpPost), n_neurons)]);
        Self { n_tokens, neurons, broken: None, read: Mutex::default() }
    }
}

impl Activations for Watched {
    fn n_tokens(&self) -> usize {
        self.n_tokens
    }

    fn neurons(&self) -> &[NeuronId] {
        &self.neurons
    }

    fn read(
        &self,
        rows: Range<usize>,
        columns: Range<usize>,
        mut out: ArrayViewMut2<'_, f32>,
    ) -> Result<(), ActivationsError> {
        self.check_block(&rows, &columns, out.dim())?;
        if self.broken.is_some_and(|column| columns.contains(&column)) {
            return Err(ActivationsError::Read("a corrupt block".into()));
        }
        for ((row, column), value) in out.indexed_iter_mut() {
            *value = ((rows.start + row) * 1000 + columns.start + column) as f32;
        }
        self.read.lock().unwrap().push(columns);
        Ok(())
    }

    fn column_block(&self) -> usize {
        4
    }
}

fn pass(x: &Watched, memory: usize) -> ColumnPass<'_> {
    let ctx = Context { memory, ..Context::default() };
    ColumnPass { x, ctx, method: "tried", stage: "trying", scratch_per_row: 8 }
}

/// What each column should hold, in order.
fn check(x: &Watched, memory: usize) -> Vec<Range<usize>> {
    let sums = pass(x, memory).map(|| (), |(), column, values| Ok((column, values.len(), values.iter().sum::<f32>())));
    let n = x.n_tokens;
    let want = |column| (column, n, (0..n).map(|row| (row * 1000 + column) as f32).sum::<f32>());
    assert_eq!(sums.unwrap(), (0..x.neurons.len()).map(want).collect::<Vec<_>>());
    let mut read = std::mem::take(&mut *x.read.lock().unwrap());
    read.sort_by_key(|columns| columns.start);
    read
}

#[test]
fn every_column_is_seen_once_in_order_within_the_memory() {
    let x = Watched::new(10, 30);
    // A column takes 40 bytes and its scratch space 80: room for one, for five, for all.
    for (memory, widest) in [(120, 1), (280, 5), (1 << 20, 30)] {
        let read = check(&x, memory);
        assert!(read.iter().all(|columns| columns.len() <= widest), "{memory} bytes: {read:?}");
        assert!(read.windows(2).all(|pair| pair[0].end == pair[1].start), "{read:?}");
        assert_eq!((read[0].start, read[read.len() - 1].end), (0, 30));
    }
    check(&Watched::new(0, 3), 1000);
    check(&Watched::new(3, 0), 1000);
}

#[test]
fn blocks_of_the_matrix_are_not_torn_where_memory_allows() {
    let read = check(&Watched::new(10, 30), 1 << 20);
    assert!(read.iter().all(|columns| columns.start % 4 == 0), "{read:?}");
}

#[test]
fn too_little_memory_is_an_error_that_names_it() {
    let x = Watched::new(10, 30);
    let text = pass(&x, 119).map(|| (), |(), _, _| Ok(())).unwrap_err().to_string();
    assert!(text.starts_with("tried: parameter memory = 119 bytes: expected room for at least one"), "{text}");
}

#[test]
fn of_several_errors_the_first_column_has_the_word() {
    let mut x = Watched::new(10, 30);
    x.broken = Some(20);
    let refuse = |column| MethodError::Shape { what: "column", expected: 0, got: column };
    for _ in 0..20 {
        let error =
            pass(&x, 1 << 20).map(|| (), |(), column, _| if column % 7 == 6 { Err(refuse(column)) } else { Ok(()) });
        assert_eq!(error.unwrap_err().to_string(), "column: expected 0, got 6");
    }
    let text = pass(&x, 1 << 20).map(|| (), |(), _, _| Ok(())).unwrap_err().to_string();
    assert_eq!(text, "cannot read activations");
}
