//! The histogram of a neuron's activations.

use super::markup::{Markup, count, esc, number};
use super::{Histogram, Page};

const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 118.0;
const FLOOR: f64 = 96.0;

/// Draws a histogram: the shares of all rows, and in front of them those of the rows with the concept. The scale is a
/// square root, since most neurons are near zero almost everywhere and the few other rows are what is looked for.
pub(super) fn histogram(out: &mut Markup, page: &Page, histogram: &Histogram) {
    if histogram.all.is_empty() {
        return;
    }
    let concept = histogram.concept.as_ref().and_then(|(idx, counts)| Some((page.concepts.get(*idx)?, counts)));
    let all = shares(&histogram.all);
    let of_concept = concept.map(|(_, counts)| shares(counts)).unwrap_or_default();
    let highest = all.iter().chain(&of_concept).copied().fold(0.0, f64::max);
    let scale = |share: f64| if highest > 0.0 { (share / highest).sqrt() * (FLOOR - 8.0) } else { 0.0 };
    let n = histogram.all.len() as f64;
    let name = concept.map(|(concept, _)| concept.name.as_str());
    out.add(format_args!(
        "<figure class=\"histogram\">\n<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"Histogram of the \
         activations, from {} to {}\">\n",
        number(f64::from(histogram.from)),
        number(f64::from(histogram.to)),
    ));
    for (class, shares, inset) in [("all", &all, 0.4), ("with", &of_concept, 1.6)] {
        for (i, share) in shares.iter().enumerate().filter(|(_, share)| **share > 0.0) {
            let (height, step) = (scale(*share).max(1.0), WIDTH / n);
            out.add(format_args!(
                "<rect class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height:.1}\"/>\n",
                i as f64 * step + inset,
                FLOOR - height,
                (step - 2.0 * inset).max(0.6),
            ));
        }
    }
    out.add(format_args!("<line x1=\"0\" x2=\"{WIDTH}\" y1=\"{FLOOR}\" y2=\"{FLOOR}\"/>\n"));
    axis(out, histogram);
    out.add("</svg>\n<figcaption>");
    out.add(format_args!("<span class=\"key\"><i class=\"all\"></i>all {} words</span>", total(&histogram.all)));
    if let (Some(name), Some((_, counts))) = (name, concept) {
        let n = total(counts);
        out.add(format_args!("<span class=\"key\"><i class=\"with\"></i>{n} with <b>{}</b></span>", esc(name)));
    }
    out.add("<span class=\"note\">shares, square-root scale</span></figcaption>\n</figure>\n");
}

/// The ends of the axis, and zero where it is not too near to one of them.
fn axis(out: &mut Markup, histogram: &Histogram) {
    let (from, to) = (f64::from(histogram.from), f64::from(histogram.to));
    let zero = if to > from { -from / (to - from) } else { 0.0 };
    let y = HEIGHT - 6.0;
    out.add(format_args!("<text x=\"0\" y=\"{y}\">{}</text>\n", number(from)));
    if (0.0..=1.0).contains(&zero) {
        let x = zero * WIDTH;
        out.add(format_args!("<line class=\"zero\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"4\" y2=\"{}\"/>\n", FLOOR + 5.0));
        if (0.14..0.86).contains(&zero) {
            out.add(format_args!("<text class=\"mid\" x=\"{x:.1}\" y=\"{y}\">0</text>\n"));
        }
    }
    out.add(format_args!("<text class=\"end\" x=\"{WIDTH}\" y=\"{y}\">{}</text>\n", number(to)));
}

fn shares(counts: &[u64]) -> Vec<f64> {
    let total: u64 = counts.iter().sum();
    counts.iter().map(|&count| if total == 0 { 0.0 } else { count as f64 / total as f64 }).collect()
}

fn total(counts: &[u64]) -> String {
    count(counts.iter().sum())
}
