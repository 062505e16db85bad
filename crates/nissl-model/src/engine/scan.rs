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

/// A state of RWKV, `[d_head, d_head]` a head, which receptances r read and to which keys k and values v are written.
pub(crate) struct Wkv {
    pub(crate) n_heads: usize,
    pub(crate) d_head: usize,
    pub(crate) rule: WkvRule,
}

/// What a token reads of the state S before it, and what it leaves, by heads. Constants are `[n_heads, d_head]`.
pub(crate) enum WkvRule {
    /// y\[j\] = Σᵢ r\[i\] (S\[i, j\] + bonus\[i\] k\[i\] v\[j\]), and then S\[i, j\] = decay\[i\] S\[i, j\] + k\[i\] v\[j\]. Each
    /// token has its own decays, a fourth input, where there are no constant ones.
    Bonus { decay: Option<Vec<f32>>, bonus: Vec<f32> },
    /// The delta rule: with the decays, p and q as fourth to sixth inputs, S\[i, j\] = decay\[i\] S\[i, j\] + k\[i\] v\[j\] - q\[i\]
    /// Σₘ p\[m\] S\[m, j\], and then y\[j\] = Σᵢ r\[i\] S\[i, j\].
    Delta,
}

impl Wkv {
    /// Columns of its inputs and of what is read.
    pub(crate) fn width(&self) -> usize {
        self.n_heads * self.d_head
    }

    /// Width of the state of a sentence.
    pub(crate) fn d_state(&self) -> usize {
        self.width() * self.d_head
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
