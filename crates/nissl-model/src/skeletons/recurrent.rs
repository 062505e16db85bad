//! Layers of LSTM or GRU one after the other.

use nissl_core::{HookPoint, Site, Stack};

use crate::blocks::recurrence::{Layout, Recurrence};
use crate::engine::{Added, AttentionShape, Engine, Epilogue, Flow, Halt, Packing};
use crate::hooks::Hooks;

use super::{LaidOut, LayerPast, Past};

/// The weights of a recurrent model, laid out for an engine.
pub(crate) struct Recurrent<P: Packing> {
    pub(crate) layers: Vec<Recurrence<P>>,
    pub(crate) padding: Option<Padding>,
    pub(crate) average: Option<Average<P>>,
}

/// What stands before sentences that are shorter than the model reads.
pub(crate) struct Padding {
    /// Rows that the model reads.
    pub(crate) window: usize,
    /// The embedding of the padding token.
    pub(crate) row: Vec<f32>,
}

/// An average over the positions so far of embeddings and all layers' states side by side, as an attention.
pub(crate) struct Average<P: Packing> {
    /// `[width, 3 width]`.
    pub(crate) qkv: P::Linear,
    pub(crate) width: usize,
}

impl<P: Packing> Recurrent<P> {
    /// Adds everything that is laid out.
    pub(super) fn laid_out<'a>(&'a self, all: &mut LaidOut<'a, P>) {
        all.linears.extend(self.layers.iter().flat_map(Recurrence::linears));
        all.linears.extend(self.average.iter().map(|average| &average.qkv));
    }

    /// What the head reads, of embedded tokens x `[T, d_embed]`.
    pub(crate) fn forward<E: Engine<Packing = P>>(
        &self,
        engine: &E,
        mut x: E::Tensor,
        hooks: &Hooks<'_>,
        mut past: Option<&mut Past<E>>,
    ) -> Result<E::Tensor, Halt> {
        hooks.visit(engine, HookPoint::new(0, Site::Embed), &mut x)?;
        let layout = Layout::new(hooks.offsets(), self.padding.as_ref().map(|padding| padding.window));
        if let Some(padding) = &self.padding {
            let row = engine.embed(1, padding.row.len(), &|_, values| values.copy_from_slice(&padding.row));
            x = engine.gather(&[&x, &row], &layout.places());
        }
        let mut read = Vec::new();
        for (layer, recurrence) in self.layers.iter().enumerate() {
            let past = past.as_mut().map(|past| past.at(layer));
            let layer = layer as u16;
            visit(engine, &layout, hooks, HookPoint::new(layer, Site::ResidPre), &mut x)?;
            let mut y = recurrence.forward(engine, &x, &layout, (Stack::Only, layer), hooks, past)?;
            visit(engine, &layout, hooks, HookPoint::new(layer, Site::ResidPost), &mut y)?;
            if self.average.is_some() {
                read.push(x);
            }
            x = y;
        }
        if let Some(average) = &self.average {
            read.push(x);
            let parts: Vec<_> = read.iter().map(|part| (part, 0..engine.width(part))).collect();
            x = average.forward(engine, &engine.beside(&parts), &layout)?;
        }
        Ok(if layout.is_padded() { engine.rows(&x, &layout.rows) } else { x })
    }

    /// The past of sentences that have nothing behind them; none if layers run backward too, if padding stands before
    /// sentences, or if the head reads an average over all positions.
    pub(super) fn past<E: Engine<Packing = P>>(&self, engine: &E, n_sentences: usize) -> Option<Vec<LayerPast<E>>> {
        let backward = self.layers.iter().any(|recurrence| recurrence.directions.len() > 1);
        if self.padding.is_some() || self.average.is_some() || backward {
            return None;
        }
        Some(self.layers.iter().map(|recurrence| recurrence.past(engine, n_sentences)).collect())
    }
}

impl<P: Packing> Average<P> {
    fn forward<E: Engine<Packing = P>>(&self, engine: &E, x: &E::Tensor, layout: &Layout) -> Result<E::Tensor, Halt> {
        let shape = AttentionShape::new(1, 1, self.width, true);
        let qkv = engine.linear(x, &self.qkv, Epilogue::None);
        engine.attention(&qkv, shape, &layout.offsets, &[], &Added::NONE, None)
    }
}

/// Shows the rows that are no padding to the hooks.
fn visit<E: Engine>(engine: &E, layout: &Layout, hooks: &Hooks<'_>, point: HookPoint, x: &mut E::Tensor) -> Flow {
    if !layout.is_padded() || !hooks.wants(point) {
        return hooks.visit(engine, point, x);
    }
    let mut shown = engine.rows(x, &layout.rows);
    hooks.visit(engine, point, &mut shown)?;
    let mut places: Vec<(usize, usize)> = (0..layout.n_rows()).map(|row| (1, row)).collect();
    for (row, &place) in layout.rows.iter().enumerate() {
        places[place] = (0, row);
    }
    *x = engine.gather(&[&shown, x], &places);
    Ok(())
}
