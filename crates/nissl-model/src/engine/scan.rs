//! The constants of recurrences that are linear in their state.

/// The taps of a convolution over time.
pub(crate) struct Kernel {
    /// `[n_taps, width]`, the earliest row's first.
    pub(crate) taps: Vec<f32>,
    /// `[width]`.
    pub(crate) bias: Vec<f32>,
}

impl Kernel {
    /// The taps, `[width]` each.
    pub(crate) fn taps(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.taps.chunks_exact(self.bias.len())
    }

    /// Number of taps.
    pub(crate) fn n_taps(&self) -> usize {
        self.taps.len() / self.bias.len()
    }
}

/// A state of RWKV, `[d_head, d_head]` a head. With r, k and v of a token and S the state before it, by heads:
///
/// y\[j\] = Σᵢ r\[i\] (S\[i, j\] + bonus\[i\] k\[i\] v\[j\]), and then S\[i, j\] = decay\[i\] S\[i, j\] + k\[i\] v\[j\].
pub(crate) struct Wkv {
    pub(crate) d_head: usize,
    /// `[n_heads, d_head]`, what is left of the state a token later.
    pub(crate) decay: Vec<f32>,
    /// `[n_heads, d_head]`, what a token sees of itself.
    pub(crate) bonus: Vec<f32>,
}

impl Wkv {
    /// Number of heads.
    pub(crate) fn n_heads(&self) -> usize {
        self.decay.len() / self.d_head
    }

    /// Width of the state of a sentence.
    pub(crate) fn d_state(&self) -> usize {
        self.decay.len() * self.d_head
    }
}

/// A selective state-space model, N states a column. With x, dt, b and c of a token and h the states before it:
///
/// h\[n, e\] = exp(dt\[e\] rates\[n, e\]) h\[n, e\] + dt\[e\] b\[n\] x\[e\], and then y\[e\] = Σₙ c\[n\] h\[n, e\] + skip\[e\] x\[e\].
pub(crate) struct Scan {
    /// `[N, width]`, negative.
    pub(crate) rates: Vec<f32>,
    /// `[width]`.
    pub(crate) skip: Vec<f32>,
}

impl Scan {
    /// N, the states of a column.
    pub(crate) fn n_states(&self) -> usize {
        self.rates.len() / self.skip.len()
    }
}
