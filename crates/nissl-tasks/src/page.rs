//! The HTML page of rankings and neurons: which scores become which part of it.

use nissl_core::{HookPoint, NeuronId, Scores};
use nissl_methods::find;
use nissl_store::Store;

use crate::html::{
    Best, Concept, ConceptScore, Fact, FactGroup, HeatMap, HeatRow, Histogram, MethodResult, NeuronCard, Page, Passage,
    PassageWord, Scale, Word, count,
};
use crate::tasks::inspect::{NeuronReport, Passage as Place, PassageWord as PlaceWord};
use crate::tasks::rank;

/// Neurons a concept in the page's tables.
const TOP: usize = 8;

/// Best concepts of a neuron among the facts of a page without rankings.
const FACTS: usize = 4;

/// A concept of a page: name, how it was made, how many rows bear it.
pub(crate) struct PageConcept {
    pub(crate) name: String,
    pub(crate) source: String,
    pub(crate) rows: usize,
}

/// A page of neurons, with what the rankings say if there are any.
pub(crate) fn of_neurons(store: &Store, rankings: &[Scores], neurons: &[NeuronReport]) -> Page {
    let mut concepts: Vec<PageConcept> = Vec::new();
    for concept in rankings.iter().flat_map(Scores::concepts) {
        if !concepts.iter().any(|known| known.name == concept.name) {
            concepts.push(PageConcept { name: concept.name.clone(), source: String::new(), rows: 0 });
        }
    }
    let mut page = of_rankings(store, &concepts, rankings, neurons);
    if rankings.is_empty() {
        page.facts.extend(neurons.iter().map(best_concepts));
    }
    page
}

/// A page of rankings and of some neurons.
pub(crate) fn of_rankings(
    store: &Store,
    concepts: &[PageConcept],
    rankings: &[Scores],
    neurons: &[NeuronReport],
) -> Page {
    let run = &store.manifest().run;
    let n_rows = store.n_rows();
    let names: Vec<&str> = concepts.iter().map(|concept| concept.name.as_str()).collect();
    let methods: Vec<MethodResult> = rankings.iter().map(|scores| method(scores, &names)).collect();
    let concept = |concept: &PageConcept| Concept {
        name: concept.name.clone(),
        source: concept.source.clone(),
        n_rows: concept.rows as u64,
        share: concept.rows as f64 / n_rows.max(1) as f64,
    };
    Page {
        title: format!("Neurons of {}", short_path(&run.model.name)),
        lead: format!(
            "What {} neurons do on {} words of {}.",
            count(run.n_neurons() as u64),
            count(n_rows as u64),
            short_path(&run.corpus.name)
        ),
        facts: facts(store),
        concepts: concepts.iter().map(concept).collect(),
        neurons: neurons.iter().map(|neuron| card(neuron, &names, &methods)).collect(),
        methods,
        commands: Vec::new(),
        notes: Vec::new(),
    }
}

/// The last part of a path, which is what a model's folder or a text is called.
fn short_path(name: &str) -> &str {
    name.trim_end_matches('/').rsplit('/').next().unwrap_or(name)
}

fn fact(name: &str, value: impl Into<String>) -> Fact {
    Fact { name: name.to_owned(), value: value.into() }
}

fn facts(store: &Store) -> Vec<FactGroup> {
    let manifest = store.manifest();
    let run = &manifest.run;
    let sites = match (run.sites.first(), run.sites.last()) {
        (Some(first), Some(last)) if run.sites.len() > 1 => {
            format!("{}: {} to {}", run.sites.len(), first.point, last.point)
        }
        (Some(one), _) => one.point.to_string(),
        _ => "none".to_owned(),
    };
    let group = |name: &str, facts| FactGroup { name: name.to_owned(), facts };
    vec![
        group(
            "Model",
            vec![
                fact("name", short_path(&run.model.name)),
                fact("sites", sites),
                fact("neurons", count(run.n_neurons() as u64)),
                fact("fingerprint", short_digest(&run.model.fingerprint)),
            ],
        ),
        group(
            "Text",
            vec![
                fact("name", run.corpus.name.clone()),
                fact("sentences", count(manifest.n_sentences)),
                fact("words", count(manifest.n_rows)),
                fact("fingerprint", short_digest(&run.corpus.digest)),
            ],
        ),
        group(
            "Run",
            vec![
                fact("a word is", format!("{} of its tokens", run.aggregation)),
                fact("values", run.dtype.to_string()),
                fact("store", manifest.fingerprint()),
                fact("nissl", manifest.nissl_version.clone()),
            ],
        ),
    ]
}

fn short_digest(digest: &str) -> &str {
    digest.get(..16).unwrap_or(digest)
}

fn best_concepts(neuron: &NeuronReport) -> FactGroup {
    let facts = neuron.concepts.iter().take(FACTS).map(|concept| {
        let end = if concept.sign == Some(-1) { "low end, " } else { "" };
        fact(&concept.name, format!("{end}{} {:.2}", concept.method, concept.score))
    });
    FactGroup { name: format!("Best concepts of {}", neuron.name), facts: facts.collect() }
}

fn method(scores: &Scores, concepts: &[&str]) -> MethodResult {
    let name = &scores.provenance.method;
    let idx: Vec<Option<usize>> = concepts.iter().map(|name| scores.concept(name)).collect();
    let best = |concept: &Option<usize>| {
        concept.map_or_else(Vec::new, |concept| rank::best(scores, concept, TOP).into_iter().map(best).collect())
    };
    MethodResult {
        name: name.clone(),
        summary: find(name).map_or(String::new(), |entry| entry.summary.to_owned()),
        heat: heat(scores, &idx),
        best: idx.iter().map(best).collect(),
    }
}

fn best(best: rank::Best) -> Best {
    let rises = best.sign.filter(|&sign| sign != 0).map(|sign| sign > 0);
    Best { neuron: best.name, score: best.score, rises }
}

/// The best neuron of every site for every concept.
fn heat(scores: &Scores, concepts: &[Option<usize>]) -> HeatMap {
    let mut rows: Vec<(HookPoint, Vec<usize>)> = Vec::new();
    for (idx, neuron) in scores.neurons().iter().enumerate() {
        match rows.last_mut() {
            Some((point, units)) if *point == neuron.point => units.push(idx),
            _ => rows.push((neuron.point, vec![idx])),
        }
    }
    let cell = |units: &[usize], concept: usize| {
        let of_concept = scores.values().row(concept);
        let varying = units.iter().copied().filter(|&idx| !scores.constant()[idx]);
        // The first of equals, as in a ranking.
        let idx = varying.reduce(|best, idx| if of_concept[idx] > of_concept[best] { idx } else { best })?;
        let sign = scores.sign().map(|sign| sign[(concept, idx)]);
        Some(best(rank::Best { name: scores.neurons()[idx], score: of_concept[idx], sign, p: None, q: None }))
    };
    let row = |(point, units): &(HookPoint, Vec<usize>)| HeatRow {
        name: match point.layer() {
            Some(layer) => format!("{layer} {}{}", point.stack().prefix(), point.site()),
            None => point.site().to_string(),
        },
        cells: concepts.iter().map(|concept| cell(units, (*concept)?)).collect(),
    };
    // Shares and probabilities mean the same for every concept; other units need not.
    let is_share = scores.values().iter().all(|score| (0.0..=1.0).contains(score));
    let scale = if is_share { Scale::Fixed { from: 0.0, to: 1.0 } } else { Scale::PerConcept };
    HeatMap { scale, rows: rows.iter().map(row).collect() }
}

fn card(neuron: &NeuronReport, concepts: &[&str], methods: &[MethodResult]) -> NeuronCard {
    let place = |name: &str| concepts.iter().position(|concept| *concept == name);
    let score = |concept: &crate::tasks::inspect::ConceptScore| {
        Some(ConceptScore {
            method: methods.iter().position(|method| method.name == concept.method)?,
            concept: place(&concept.name)?,
            score: concept.score,
            rank: concept.rank? - 1,
        })
    };
    let histogram = &neuron.stats.histogram;
    NeuronCard {
        neuron: neuron.name,
        mean: f64::from(neuron.stats.mean),
        std: f64::from(neuron.stats.std),
        min: neuron.stats.min,
        max: neuron.stats.max,
        histogram: Histogram {
            from: histogram.from,
            to: histogram.to,
            all: histogram.counts.clone(),
            concept: neuron.with_concept.as_ref().and_then(|with| Some((place(&with.name)?, with.counts.clone()))),
        },
        concepts: neuron.concepts.iter().filter_map(score).collect(),
        words: neuron.words.iter().map(word).collect(),
        top: neuron.top.iter().map(passage).collect(),
        bottom: neuron.bottom.iter().map(passage).collect(),
    }
}

fn word(word: &nissl_core::WordScore) -> Word {
    Word { text: word.name.clone(), score: word.score.abs(), deviation: word.deviation, count: u64::from(word.count) }
}

fn passage(place: &Place) -> Passage {
    let word = |word: &PlaceWord| PassageWord {
        before: word.before.clone(),
        text: word.name.clone(),
        activation: Some(word.activation),
    };
    Passage { source: place.name.clone(), words: place.words.iter().map(word).collect(), at: place.at }
}

/// The neurons to look at: the best of each concept by the first ranking, each once; concepts by their best score.
pub(crate) fn worth_a_look(rankings: &[Scores]) -> Vec<NeuronId> {
    let mut found: Vec<(f32, NeuronId)> = Vec::new();
    if let Some(scores) = rankings.first() {
        for concept in 0..scores.concepts().len() {
            let ranking = scores.ranking(concept);
            if let (Some(&neuron), Some(&score)) = (ranking.neurons.first(), ranking.scores.first()) {
                found.push((score, neuron));
            }
        }
    }
    found.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    let mut neurons = Vec::new();
    for (_, neuron) in found {
        if !neurons.contains(&neuron) {
            neurons.push(neuron);
        }
    }
    neurons
}
