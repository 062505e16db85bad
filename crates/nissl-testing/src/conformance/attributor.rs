//! What holds for every attributor.

use nissl_core::{Attributor, Context, MethodError, Prompt, Scores};

use super::{Check, done, ensure, on_threads, run_all, tells_progress_and_stops};
use crate::toy::{Fact, ToyModel};

/// Checks an attributor on a model of three facts, each asked for by three prompts with a foil and another text.
///
/// # Panics
/// With every rule that does not hold.
pub fn check_attributor(name: &str, attributor: &dyn Attributor) {
    let checks: &[Check<dyn Attributor>] = &[
        ("one finite score for each concept and neuron", has_a_score_for_everything),
        ("the same bits on 1, 2 and 8 threads", is_the_same_on_any_number_of_threads),
        ("the neuron of a fact comes first", finds_the_planted_neuron),
        ("prompts in another order change nothing beyond rounding", does_not_care_for_the_order_of_prompts),
        ("no prompt is an error", refuses_no_prompts),
        ("a token or place that is not there is an error", refuses_what_is_not_there),
        ("progress is told and a stop obeyed", is_well_behaved),
        ("the parameters are in the provenance", says_where_scores_come_from),
    ];
    run_all(name, attributor, checks);
}

const FACTS: [Fact; 3] = [
    Fact { subject: 0, relation: 10, object: 5 },
    Fact { subject: 1, relation: 10, object: 6 },
    Fact { subject: 2, relation: 11, object: 7 },
];

fn model() -> ToyModel {
    ToyModel::facts(20, &FACTS, 5.0)
}

/// Three ways to ask for each fact: what stands before the subject differs. The other text asks for nothing known.
fn prompts() -> Vec<Prompt> {
    let of_fact = |(idx, fact): (usize, &Fact)| {
        [13, 14, 15].map(|before| Prompt {
            tokens: vec![before, fact.subject, fact.relation],
            target: fact.object,
            foil: Some(18),
            position: None,
            other: Some(vec![before, 12, 16]),
            concept: format!("fact {idx}"),
        })
    };
    FACTS.iter().enumerate().flat_map(of_fact).collect()
}

fn score(attributor: &dyn Attributor, prompts: &[Prompt], ctx: Context<'_>) -> Result<Scores, MethodError> {
    attributor.score(&model(), prompts, ctx)
}

fn planted(attributor: &dyn Attributor) -> Result<Scores, String> {
    done("the facts", score(attributor, &prompts(), Context::default()))
}

fn has_a_score_for_everything(attributor: &dyn Attributor) -> Result<(), String> {
    let scores = planted(attributor)?;
    let names: Vec<&str> = scores.concepts().iter().map(|concept| concept.name.as_str()).collect();
    ensure(names == ["fact 0", "fact 1", "fact 2"], || format!("the concepts are {names:?}"))?;
    ensure(scores.sign().is_some(), || "effects have a direction, which is not told".to_owned())
}

fn is_the_same_on_any_number_of_threads(attributor: &dyn Attributor) -> Result<(), String> {
    let one = on_threads(1, || planted(attributor))?;
    for n_threads in [2, 8] {
        let several = on_threads(n_threads, || planted(attributor))?;
        ensure(one == several, || format!("another answer on {n_threads} threads"))?;
    }
    Ok(())
}

fn finds_the_planted_neuron(attributor: &dyn Attributor) -> Result<(), String> {
    let scores = planted(attributor)?;
    // At the sites of MLP neurons the fact has one of its own; where it is written, the object's place.
    for (idx, fact) in FACTS.iter().enumerate() {
        let best = scores.ranking(idx).neurons[0];
        let known = [idx as u32, fact.object];
        ensure(known.contains(&best.idx), || format!("fact {idx} has {best}"))?;
    }
    Ok(())
}

fn does_not_care_for_the_order_of_prompts(attributor: &dyn Attributor) -> Result<(), String> {
    let mut turned = prompts();
    turned.chunks_mut(3).for_each(<[Prompt]>::reverse);
    let (one, two) = (planted(attributor)?, done("another order", score(attributor, &turned, Context::default()))?);
    let far = one.values().iter().zip(two.values()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    ensure(far < 1e-6, || format!("a score differs by {far}"))
}

fn refuses_no_prompts(attributor: &dyn Attributor) -> Result<(), String> {
    ensure(score(attributor, &[], Context::default()).is_err(), || "no prompt was taken".to_owned())
}

fn refuses_what_is_not_there(attributor: &dyn Attributor) -> Result<(), String> {
    let refused = |what: &str, change: fn(&mut Prompt)| {
        let mut prompts = prompts();
        change(&mut prompts[4]);
        ensure(score(attributor, &prompts, Context::default()).is_err(), || format!("{what} was taken"))
    };
    refused("a token beyond the vocabulary", |prompt| prompt.tokens[1] = 99)?;
    refused("a target beyond the vocabulary", |prompt| prompt.target = 99)?;
    refused("a place behind the end", |prompt| prompt.position = Some(3))?;
    refused("a prompt of no tokens", |prompt| prompt.tokens.clear())
}

fn is_well_behaved(attributor: &dyn Attributor) -> Result<(), String> {
    tells_progress_and_stops(|ctx| score(attributor, &prompts(), ctx))
}

fn says_where_scores_come_from(attributor: &dyn Attributor) -> Result<(), String> {
    let provenance = planted(attributor)?.provenance;
    ensure(!provenance.method.is_empty() && provenance.params.is_object(), || format!("it says {provenance:?}"))
}
