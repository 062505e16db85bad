//! Walks a sorted column once and gives the average precision of every concept.

use std::collections::HashMap;

use nissl_core::Labels;

use super::sort::Entry;
use crate::concepts::Kept;

/// The rows' labels, each distinct set of them once: few sets stay in the innermost cache.
pub(super) struct LabelSets {
    /// The set of each row, `[n_tokens]`; `None` for rows that are left out.
    codes: Vec<Option<u32>>,
    /// Where each set starts in `ids`, `[n_sets + 1]`.
    offsets: Vec<u32>,
    /// The concepts of each set.
    ids: Vec<u32>,
    /// Rows of each concept, `[n_concepts]`.
    n_positives: Vec<u32>,
}

impl LabelSets {
    /// The sets of the kept concepts; rows without any label at all are left out if `skip_unlabeled`.
    pub(super) fn new(labels: &Labels, kept: &Kept, skip_unlabeled: bool) -> Self {
        let mut sets = Self { codes: Vec::new(), offsets: vec![0], ids: Vec::new(), n_positives: Vec::new() };
        sets.n_positives.resize(kept.concepts.len(), 0);
        let mut seen: HashMap<Vec<u32>, u32> = HashMap::new();
        for row in 0..labels.n_tokens() {
            let of_row = labels.of(row);
            if of_row.is_empty() && skip_unlabeled {
                sets.codes.push(None);
                continue;
            }
            let set: Vec<u32> = of_row.iter().filter_map(|&old| kept.new_idx[old as usize]).collect();
            for &concept in &set {
                sets.n_positives[concept as usize] += 1;
            }
            let code = *seen.entry(set).or_insert_with_key(|set| {
                sets.ids.extend(set);
                sets.offsets.push(sets.ids.len() as u32);
                sets.offsets.len() as u32 - 2
            });
            sets.codes.push(Some(code));
        }
        sets
    }

    /// The set of each row, `[n_tokens]`; `None` for rows that are left out.
    pub(super) fn codes(&self) -> &[Option<u32>] {
        &self.codes
    }

    fn concepts(&self, entry: Entry) -> &[u32] {
        let code = entry.code() as usize;
        &self.ids[self.offsets[code] as usize..self.offsets[code + 1] as usize]
    }
}

/// From which end of a neuron a concept is found.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// High values first.
    High,
    /// Low values first.
    Low,
}

/// The average precision of each concept, `[n_concepts]`, of rows sorted from high to low.
pub(super) fn average_precisions(order: &[Entry], sets: &LabelSets, end: End) -> Vec<f32> {
    match end {
        End::High => walk(order.iter(), sets),
        End::Low => walk(order.iter().rev(), sets),
    }
}

fn walk<'a>(mut order: impl Iterator<Item = &'a Entry>, sets: &LabelSets) -> Vec<f32> {
    let n_concepts = sets.n_positives.len();
    let mut found = vec![0_u32; n_concepts];
    let mut gained = vec![0_u32; n_concepts];
    let mut area = vec![0.0_f64; n_concepts];
    // Concepts with positives in the open tie, and rows seen up to its end.
    let mut open: Vec<u32> = Vec::new();
    let mut n_seen = 0_u32;
    let mut next = order.next();
    while let Some(&entry) = next {
        n_seen += 1;
        next = order.next();
        let tie_goes_on = next.is_some_and(|&following| following.ties(entry));
        if open.is_empty() && !tie_goes_on {
            for &concept in sets.concepts(entry) {
                let concept = concept as usize;
                found[concept] += 1;
                area[concept] += found[concept] as f64 / n_seen as f64;
            }
            continue;
        }
        for &concept in sets.concepts(entry) {
            if gained[concept as usize] == 0 {
                open.push(concept);
            }
            gained[concept as usize] += 1;
        }
        if !tie_goes_on {
            for concept in open.drain(..) {
                let concept = concept as usize;
                let gain = std::mem::take(&mut gained[concept]);
                found[concept] += gain;
                area[concept] += gain as f64 * (found[concept] as f64 / n_seen as f64);
            }
        }
    }
    area.iter().zip(&sets.n_positives).map(|(area, &n)| (area / n as f64) as f32).collect()
}
