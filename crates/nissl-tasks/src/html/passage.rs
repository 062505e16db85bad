//! Sentences as colored text.

use super::markup::{Markup, esc, number};
use super::{NeuronCard, Passage};

/// Draws passages as a list. Color says how far a word's activation is from the neuron's mean; the line below the word
/// says the same without color (solid above the mean, dotted below), and the word that the passage is shown for is
/// marked with its value.
pub(super) fn passages(out: &mut Markup, card: &NeuronCard, passages: &[Passage]) {
    let reach = reach(card);
    out.add("<ol class=\"passages\">\n");
    for (passage, marked) in by_sentence(passages) {
        out.add("<li><p class=\"passage\" tabindex=\"0\" dir=\"auto\">");
        for (i, word) in passage.words.iter().enumerate() {
            out.add(esc(&word.before));
            let Some(activation) = word.activation else {
                out.add(esc(&word.text));
                continue;
            };
            let class = class((f64::from(activation) - card.mean) / reach);
            let value = number(f64::from(activation));
            let text = esc(&word.text);
            if marked.contains(&i) {
                out.add(format_args!("<mark class=\"{class}\" data-a=\"{value}\">{text}<sup>{value}</sup></mark>"));
            } else {
                out.add(format_args!("<span class=\"{class}\" data-a=\"{value}\">{text}</span>"));
            }
        }
        out.add(format_args!("</p><cite>{}</cite></li>\n", esc(&passage.source)));
    }
    out.add("</ol>\n");
}

/// Each sentence once, where it first stands, with all the words that it is shown for.
fn by_sentence(passages: &[Passage]) -> Vec<(&Passage, Vec<usize>)> {
    let mut sentences: Vec<(&Passage, Vec<usize>)> = Vec::new();
    for passage in passages {
        match sentences.iter_mut().find(|(known, _)| known.source == passage.source && known.words == passage.words) {
            Some((_, marked)) => marked.push(passage.at),
            None => sentences.push((passage, vec![passage.at])),
        }
    }
    sentences
}

/// The largest distance from the mean; one for a neuron that never moves.
fn reach(card: &NeuronCard) -> f64 {
    let reach = (f64::from(card.max) - card.mean).abs().max((card.mean - f64::from(card.min)).abs());
    if reach > 0.0 && reach.is_finite() { reach } else { 1.0 }
}

/// The class of a distance from the mean, given as a share of the largest: `w p3` above, `w m1` below, `w` for less than
/// a fifth of it.
fn class(share: f64) -> &'static str {
    match (share * 5.0).trunc().clamp(-4.0, 4.0) as i32 {
        4 => "w p4",
        3 => "w p3",
        2 => "w p2",
        1 => "w p1",
        -1 => "w m1",
        -2 => "w m2",
        -3 => "w m3",
        -4 => "w m4",
        _ => "w",
    }
}
