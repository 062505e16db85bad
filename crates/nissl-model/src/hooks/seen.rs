//! The values that conditions of edits ask for.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nissl_core::{EditSpec, HookPoint, NeuronId};

/// Values of neurons, one a row of the group; 0 until the pass has been there.
pub(super) struct Seen(Mutex<BTreeMap<NeuronId, Vec<f32>>>);

impl Seen {
    /// Nothing yet.
    pub(super) fn new(neurons: impl Iterator<Item = NeuronId>, n_rows: usize) -> Self {
        Self(Mutex::new(neurons.map(|neuron| (neuron, vec![0.0; n_rows])).collect()))
    }

    fn values(&self) -> MutexGuard<'_, BTreeMap<NeuronId, Vec<f32>>> {
        // A thread that panicked while holding it has ended the run.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The values of other rows: for each the row that it was.
    pub(super) fn choose(&self, rows: &[usize]) {
        self.values().values_mut().for_each(|values| *values = rows.iter().map(|&row| values[row]).collect());
    }

    /// The units of a point that somebody asks for.
    pub(super) fn units(&self, point: HookPoint) -> Vec<u32> {
        let of_point = NeuronId::new(point, 0)..=NeuronId::new(point, u32::MAX);
        self.values().range(of_point).map(|(neuron, _)| neuron.idx).collect()
    }

    /// A row's value of a neuron, if somebody asks for it.
    pub(super) fn note(&self, neuron: NeuronId, row: usize, value: f32) {
        if let Some(values) = self.values().get_mut(&neuron) {
            values[row] = value;
        }
    }

    /// Whether an edit acts at a row; `now` gives the values of its own point as they are.
    pub(super) fn lets(&self, edit: &EditSpec, row: usize, now: impl Fn(usize) -> Option<f32>) -> bool {
        let Some(when) = &edit.when else { return true };
        let now = if when.neuron.point == edit.point { now(when.neuron.idx as usize) } else { None };
        when.holds(now.unwrap_or_else(|| self.values().get(&when.neuron).map_or(0.0, |values| values[row])))
    }
}
