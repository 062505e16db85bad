//! Walks a sorted column once and gives the average precision of every concept.

use super::sort::Entry;
use crate::label_sets::LabelSets;

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
    let n_concepts = sets.n_positives().len();
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
            for &concept in sets.concepts(entry.code()) {
                let concept = concept as usize;
                found[concept] += 1;
                area[concept] += found[concept] as f64 / n_seen as f64;
            }
            continue;
        }
        for &concept in sets.concepts(entry.code()) {
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
    area.iter().zip(sets.n_positives()).map(|(area, &n)| (area / n as f64) as f32).collect()
}
