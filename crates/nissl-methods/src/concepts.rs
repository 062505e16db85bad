//! Which concepts have enough rows to be compared; those that have not are left out by name.

use nissl_core::{Concept, Context, Labels, MethodError};

/// At most so many left-out concepts are named in a message.
const NAMED: usize = 12;

/// The concepts that a method goes on with.
pub(crate) struct Kept {
    /// The concepts, in their old order.
    pub(crate) concepts: Vec<Concept>,
    /// The new index of each old one; `None` if it was left out.
    pub(crate) new_idx: Vec<Option<u32>>,
}

/// Leaves out the concepts for which `why_not` gives a reason, and notes them.
///
/// # Errors
/// [`MethodError::TooFewConcepts`] if fewer than `n_needed` are left; it names those left out.
pub(crate) fn keep(
    labels: &Labels,
    method: &'static str,
    n_needed: usize,
    ctx: Context<'_>,
    why_not: impl Fn(usize) -> Option<String>,
) -> Result<Kept, MethodError> {
    let (mut concepts, mut new_idx, mut dropped) = (Vec::new(), Vec::new(), Vec::new());
    for (concept, &count) in labels.concepts().iter().zip(&labels.counts()) {
        if let Some(reason) = why_not(count) {
            dropped.push(format!("{} ({reason})", concept.name));
            new_idx.push(None);
        } else {
            new_idx.push(Some(concepts.len() as u32));
            concepts.push(concept.clone());
        }
    }
    let mut names = dropped.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    if dropped.len() > NAMED {
        names = format!("{names} and {} more", dropped.len() - NAMED);
    }
    if concepts.len() < n_needed {
        return Err(MethodError::TooFewConcepts { method, expected: n_needed, got: concepts.len(), dropped: names });
    }
    if !dropped.is_empty() {
        ctx.progress.note(&format!("{method} left out {} of {} concepts: {names}", dropped.len(), new_idx.len()));
    }
    Ok(Kept { concepts, new_idx })
}
