//! Formulas that grow at their right end: each feature is joined to all that stands before it.

/// How a feature is joined to a formula.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Op {
    Or,
    And,
    AndNot,
}

impl Op {
    /// Whether features joined by either of the two may change places.
    fn is_kin(self, other: Self) -> bool {
        (self == Self::Or) == (other == Self::Or)
    }
}

/// `((a OR b) AND c) AND NOT d`: the first feature, and what is joined to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Formula {
    pub(super) first: u32,
    pub(super) joined: Vec<(Op, u32)>,
}

impl Formula {
    pub(super) fn leaf(feature: u32) -> Self {
        Self { first: feature, joined: Vec::new() }
    }

    pub(super) fn join(&self, op: Op, feature: u32) -> Self {
        let mut joined = self.joined.clone();
        joined.push((op, feature));
        Self { first: self.first, joined }
    }

    pub(super) fn has(&self, feature: u32) -> bool {
        self.first == feature || self.joined.iter().any(|(_, other)| *other == feature)
    }

    /// Number of features.
    pub(super) fn n_features(&self) -> usize {
        1 + self.joined.len()
    }

    /// Features and NOTs.
    pub(super) fn length(&self) -> u32 {
        1 + self.joined.iter().map(|(op, _)| if *op == Op::AndNot { 2 } else { 1 }).sum::<u32>()
    }

    /// The same formula with features that may change places in one order: formulas that say the same in another order
    /// become equal.
    pub(super) fn canonical(&self) -> Vec<(Op, u32)> {
        let plain = match self.joined.first() {
            Some((Op::Or, _)) | None => Op::Or,
            Some(_) => Op::And,
        };
        let mut all: Vec<(Op, u32)> = std::iter::once((plain, self.first)).chain(self.joined.iter().copied()).collect();
        all.chunk_by_mut(|(a, _), (b, _)| a.is_kin(*b)).for_each(<[_]>::sort_unstable);
        all
    }

    /// The formula in words: `('a' OR 'b') AND NOT 'c'`.
    pub(super) fn text(&self, names: &[String]) -> String {
        let mut text = names[self.first as usize].clone();
        let mut last: Option<Op> = None;
        for &(op, feature) in &self.joined {
            if last.is_some_and(|last| !last.is_kin(op)) {
                text = format!("({text})");
            }
            let sign = match op {
                Op::Or => "OR",
                Op::And => "AND",
                Op::AndNot => "AND NOT",
            };
            text = format!("{text} {sign} {}", names[feature as usize]);
            last = Some(op);
        }
        text
    }
}
