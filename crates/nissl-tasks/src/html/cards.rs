//! Neurons up close, a card each.

use super::markup::{Markup, anchor, bar, count, esc, number, short_name};
use super::passage::passages;
use super::{NeuronCard, Page, charts};

/// A concept is named if the neuron is among its first so many, or if no concept is nearer.
const NEAR: usize = 50;

/// Draws the section.
pub(super) fn section(out: &mut Markup, page: &Page) {
    if page.neurons.is_empty() {
        return;
    }
    out.add(
        "<section id=\"neurons\">\n<h2>Neurons up close</h2>\n<p>What each neuron does on the whole text. In the \
         sentences, <span class=\"w p3\">this color and a line</span> mean an activation above the neuron's mean, \
         <span class=\"w m3\">this one and dots</span> below it; the number stands at the word that the sentence is shown \
         for. Point at a word, or step through a sentence with the arrow keys, to read the others.</p>\n",
    );
    for card in &page.neurons {
        neuron(out, page, card);
    }
    out.add("</section>\n");
}

fn neuron(out: &mut Markup, page: &Page, card: &NeuronCard) {
    let id = anchor(card.neuron);
    out.add(format_args!(
        "<article class=\"card\" id=\"{id}\" aria-labelledby=\"{id}-name\">\n<header><h3 id=\"{id}-name\"><a \
         href=\"#{id}\">{}</a></h3><code>{}</code></header>\n",
        short_name(card.neuron),
        card.neuron,
    ));
    out.add("<div class=\"sides\">\n<div class=\"side\">\n");
    concepts(out, page, card);
    charts::histogram(out, page, &card.histogram);
    statistics(out, card);
    words(out, card);
    out.add("</div>\n<div class=\"texts\">\n");
    if !card.top.is_empty() {
        out.add("<h4>Where it is highest</h4>\n");
        passages(out, card, &card.top);
    }
    if !card.bottom.is_empty() {
        out.add("<details><summary>Where it is lowest</summary>\n");
        passages(out, card, &card.bottom);
        out.add("</details>\n");
    }
    out.add("</div>\n</div>\n</article>\n");
}

fn concepts(out: &mut Markup, page: &Page, card: &NeuronCard) {
    let near = |i: usize| i == 0 || card.concepts[i].rank < NEAR;
    let known: Vec<_> = card
        .concepts
        .iter()
        .enumerate()
        .filter(|(i, _)| near(*i))
        .filter_map(|(_, score)| Some((score, page.concepts.get(score.concept)?, page.methods.get(score.method)?)))
        .collect();
    if known.is_empty() {
        return;
    }
    out.add("<h4>Its best concepts</h4>\n<ul class=\"chips\">\n");
    for (score, concept, method) in known {
        out.add(format_args!(
            "<li><a href=\"#c-{}\"><b>{}</b> <span>#{} by {}, {}</span></a></li>\n",
            score.concept,
            esc(&concept.name),
            score.rank + 1,
            esc(&method.name),
            number(f64::from(score.score)),
        ));
    }
    out.add("</ul>\n");
}

fn statistics(out: &mut Markup, card: &NeuronCard) {
    out.add("<dl class=\"stats\">");
    let values = [("mean", card.mean), ("std", card.std), ("min", f64::from(card.min)), ("max", f64::from(card.max))];
    for (name, value) in values {
        out.add(format_args!("<div><dt>{name}</dt><dd>{}</dd></div>", number(value)));
    }
    out.add("</dl>\n");
}

fn words(out: &mut Markup, card: &NeuronCard) {
    if card.words.is_empty() {
        return;
    }
    out.add(
        "<h4>Top words</h4>\n<table class=\"words\">\n<thead><tr><th scope=\"col\">word</th><th scope=\"col\">mean \
         distance, in std</th><th scope=\"col\">times</th></tr></thead>\n<tbody>\n",
    );
    for word in &card.words {
        let deviation = f64::from(word.deviation);
        let sign = if deviation > 0.0 { "+" } else { "" };
        let class = if deviation < 0.0 { " class=\"below\"" } else { "" };
        out.add(format_args!(
            "<tr{class}><th scope=\"row\"><bdi>{}</bdi></th><td><div class=\"measure\">{}</div></td><td>{}</td></tr>\n",
            esc(&word.text),
            bar(f64::from(word.score), &format!("{sign}{}", number(deviation))),
            count(word.count),
        ));
    }
    out.add("</tbody>\n</table>\n");
}
