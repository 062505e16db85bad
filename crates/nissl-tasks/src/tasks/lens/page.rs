//! The page of a lens report.

use nissl_core::{HookPoint, NeuronId};

use super::{Connection, Report, TokenWeight};
use crate::html::{Fact, FactGroup, LensCell, LensList, LensNeuron, LensPage, LensRow, LensToken, Page};

/// What of a report the page shows.
pub(super) fn of(report: &Report) -> LensPage {
    let model = &report.model;
    let fact = |name: &str, value: String| Fact { name: name.to_owned(), value };
    let facts = vec![
        fact("name", model.name.clone()),
        fact("family", model.family.clone()),
        fact("layers", model.n_layers.to_string()),
        fact("width", model.d_model.to_string()),
        fact("fingerprint", model.fingerprint.get(..16).unwrap_or(&model.fingerprint).to_owned()),
    ];
    let name = model.name.trim_end_matches('/').rsplit('/').next().unwrap_or(&model.name);
    let lead = match (&report.text, report.neurons.len()) {
        (Some(_), 0) => "What each layer would predict if it were the last one.",
        (Some(_), _) => "What each layer would predict if it were the last one, and what the weights of neurons say.",
        (None, _) => "What the weights of neurons say: tokens and other neurons.",
    };
    let about = Page {
        title: format!("Logit lens of {name}"),
        lead: lead.to_owned(),
        facts: vec![FactGroup { name: "Model".to_owned(), facts }],
        notes: notes(report),
        ..Page::default()
    };
    let mut page = LensPage { about, neurons: report.neurons.iter().map(neuron).collect(), ..LensPage::default() };
    let Some(text) = &report.text else { return page };
    if let Some(first) = text.layers.first() {
        page.positions = first
            .positions
            .iter()
            .map(|position| LensToken {
                position: position.position,
                token: text.tokens[position.position].token.clone(),
                target: position.target.as_ref().map(|target| target.token.clone()),
            })
            .collect();
    }
    page.layers = text
        .layers
        .iter()
        .map(|layer| LensRow {
            name: place(layer.name),
            cells: layer
                .positions
                .iter()
                .map(|position| LensCell {
                    top: position.top.iter().map(|guess| (guess.token.clone(), guess.probability)).collect(),
                    target: position.target.as_ref().map(|target| (target.probability, target.rank)),
                })
                .collect(),
        })
        .collect();
    page
}

fn notes(report: &Report) -> Vec<String> {
    let mut notes = Vec::new();
    if report.text.is_some() {
        notes.push(
            "Each row is taken through the final norm and the whole head, as if it were the last one. Early layers need \
             not be readable in this way."
                .to_owned(),
        );
    }
    if !report.neurons.is_empty() {
        notes.push(
            match report.head.config.fold {
                nissl_methods::lens::Fold::Norms => {
                    "Weights of neurons have the gain and centering of the norms on the way folded in, without biases."
                }
                nissl_methods::lens::Fold::Raw => "Weights of neurons are as they are, without the norms on the way.",
            }
            .to_owned(),
        );
    }
    notes
}

fn neuron(neuron: &super::NeuronReport) -> LensNeuron {
    let tokens = |name: &str, weights: &[TokenWeight]| LensList {
        name: name.to_owned(),
        items: weights.iter().map(|weight| (weight.token.clone(), weight.weight)).collect(),
        tokens: true,
    };
    let joined = |name: String, connections: &[Connection]| LensList {
        name,
        items: connections.iter().map(|to| (short(to.name, to.recurrent), to.weight)).collect(),
        tokens: false,
    };
    let mut lists = vec![tokens("promotes", &neuron.promoted), tokens("suppresses", &neuron.suppressed)];
    for reads in &neuron.reads {
        let site = reads.name.point.site();
        lists.push(tokens(&format!("excites {site}"), &reads.excited_by));
        lists.push(tokens(&format!("inhibits {site}"), &reads.inhibited_by));
        lists.push(joined(format!("upstream of {site}"), &reads.upstream));
    }
    lists.push(joined("downstream".to_owned(), &neuron.downstream));
    LensNeuron { name: neuron.name.to_string(), lists, notes: neuron.notes.clone() }
}

fn place(point: HookPoint) -> String {
    match point.layer() {
        Some(layer) => format!("{layer} {}{}", point.stack().prefix(), point.site()),
        None => point.site().to_string(),
    }
}

fn short(neuron: NeuronId, recurrent: bool) -> String {
    format!("{} {}{}", place(neuron.point), neuron.idx, if recurrent { ", a position before" } else { "" })
}
