//! What queries and keys say of the distance between them: products with vectors of relative positions, made as longer
//! sentences come.

use std::sync::{Arc, Mutex, PoisonError};

use crate::engine::{AttentionShape, Columns, Engine, Epilogue, Packing, Relative};

/// Lays out the vectors for sentences of up to so many tokens.
pub(crate) type LayOut<P> = Box<dyn Fn(&P, usize) -> Vectors<P> + Send + Sync>;

/// The vectors of relative positions of an attention, kept from run to run.
pub(crate) struct RelativePositions<P: Packing> {
    lay_out: LayOut<P>,
    kept: Mutex<Option<Arc<Vectors<P>>>>,
}

/// The vectors for sentences of up to some length.
pub(crate) struct Vectors<P: Packing> {
    /// Of each head, `[d_head, R]`: what queries are multiplied with; nothing if they are not.
    pub(crate) for_queries: Vec<P::Linear>,
    /// The same of keys.
    pub(crate) for_keys: Vec<P::Linear>,
    pub(crate) columns: Columns,
}

/// The products, `[T, n_heads R]` each.
pub(crate) struct Products<T, P: Packing> {
    of_queries: Option<T>,
    of_keys: Option<T>,
    vectors: Arc<Vectors<P>>,
}

impl<P: Packing> RelativePositions<P> {
    pub(crate) fn new(lay_out: LayOut<P>) -> Self {
        Self { lay_out, kept: Mutex::new(None) }
    }

    /// Those of sentences of up to `n` tokens, or more.
    fn up_to(&self, packing: &P, n: usize) -> Arc<Vectors<P>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        match &*kept {
            Some(vectors) if vectors.columns.n() >= n => Arc::clone(vectors),
            _ => {
                let made = Arc::new((self.lay_out)(packing, n.next_power_of_two()));
                *kept = Some(Arc::clone(&made));
                made
            }
        }
    }

    /// The products of the queries and keys in qkv, of sentences of up to `n` tokens.
    pub(crate) fn products<E: Engine<Packing = P>>(
        &self,
        engine: &E,
        qkv: &E::Tensor,
        shape: AttentionShape,
        n: usize,
    ) -> Products<E::Tensor, P> {
        let vectors = self.up_to(engine.packing(), n);
        let of = |vectors: &[P::Linear], first: usize| {
            let head = |(head, vectors): (usize, &P::Linear)| {
                let columns = first + head * shape.d_head..first + (head + 1) * shape.d_head;
                engine.linear(&engine.beside(&[(qkv, columns)]), vectors, Epilogue::None)
            };
            let heads: Vec<E::Tensor> = vectors.iter().enumerate().map(head).collect();
            let parts: Vec<_> = heads.iter().map(|head| (head, 0..engine.width(head))).collect();
            (!parts.is_empty()).then(|| engine.beside(&parts))
        };
        Products {
            of_queries: of(&vectors.for_queries, shape.q().start),
            of_keys: of(&vectors.for_keys, shape.k().start),
            vectors,
        }
    }
}

impl<T, P: Packing> Products<T, P> {
    /// As attention takes them.
    pub(crate) fn relative(&self) -> Relative<'_, T> {
        Relative {
            of_queries: self.of_queries.as_ref(),
            of_keys: self.of_keys.as_ref(),
            columns: &self.vectors.columns,
        }
    }
}
