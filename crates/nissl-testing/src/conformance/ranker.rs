//! What holds for every ranker.

use std::sync::LazyLock;

use nissl_core::{
    Activations, BLOCK_ROWS, Concept, Context, LabeledActivations, Labels, Matrix, MethodError, Pool, Ranker, Ranking,
    Scores,
};

use super::{
    Check, done, ensure, keeps_to_the_memory, on_threads, refuses_what_is_not_finite, run_all,
    tells_progress_and_stops, without_columns, without_rows,
};
use crate::close::{Tol, difference};
use crate::planted::{PlantedActivations, key};
use crate::random::Random;
use crate::select::select_columns;

/// Checks a ranker on planted activations with the concepts `verb` and `other`.
///
/// Its parameters must let it work on 5,600 rows, 600 of them verbs.
///
/// # Panics
/// With every rule that does not hold.
pub fn check_ranker(name: &str, ranker: &dyn Ranker) {
    let checks: &[Check<dyn Ranker>] = &[
        ("one finite score for each concept and neuron", has_a_score_for_everything),
        ("the same answer twice", is_the_same_twice),
        ("the same bits on 1, 2 and 8 threads", is_the_same_on_any_number_of_threads),
        ("the same bits from rows that come by", reads_rows_as_they_come),
        ("the same bits with little memory, an error with none", keeps_to_memory),
        ("the planted neuron comes first", finds_the_planted_neuron),
        ("permuted neurons have permuted scores", does_not_care_for_the_order_of_neurons),
        ("permuted concepts have permuted scores", does_not_care_for_the_order_of_concepts),
        ("permuted rows change nothing beyond rounding", does_not_care_for_the_order_of_rows),
        ("constant neurons come last", puts_constant_neurons_last),
        ("shuffled labels lower the planted neuron", scores_shuffled_labels_lower),
        ("a concept without rows is left out or refused", survives_an_empty_concept),
        ("what is not finite is refused by neuron and row", refuses_bad_values),
        ("labels that do not exclude each other are taken, or refused by row", survives_several_labels),
        ("no rows and no neurons are no panic", survives_nothing),
        ("progress is told and a stop obeyed", is_well_behaved),
        ("the parameters are in the provenance", says_where_scores_come_from),
    ];
    run_all(name, ranker, checks);
}

fn planted() -> &'static PlantedActivations {
    static PLANTED: LazyLock<PlantedActivations> = LazyLock::new(|| PlantedActivations::new(11, 0.1));
    &PLANTED
}

fn score(ranker: &dyn Ranker, x: &Matrix, labels: &Labels) -> Result<Scores, MethodError> {
    ranker.score(LabeledActivations::new(x, labels)?, Context::default())
}

/// Scores on the planted activations.
fn planted_scores(ranker: &dyn Ranker, data: &PlantedActivations) -> Result<Scores, String> {
    done("planted activations", score(ranker, &data.x, &data.verb))
}

fn near(got: &Scores, want: &Scores, rows: &[usize]) -> Result<(), String> {
    let want = want.values().select(ndarray::Axis(0), rows);
    difference(got.values(), &want, Tol { abs: 1e-6, rel: 1e-5 }).map_or(Ok(()), Err)
}

fn has_a_score_for_everything(ranker: &dyn Ranker) -> Result<(), String> {
    let data = planted();
    let scores = planted_scores(ranker, data)?;
    ensure(scores.neurons() == data.x.neurons(), || "the neurons are not those of the activations".to_owned())?;
    ensure(scores.concepts() == data.verb.concepts(), || format!("the concepts are {:?}", scores.concepts()))?;
    ensure(scores.values().iter().all(|value| value.is_finite()), || "a score is not finite".to_owned())
}

fn is_the_same_twice(ranker: &dyn Ranker) -> Result<(), String> {
    let data = planted();
    let (one, two) = (planted_scores(ranker, data)?, planted_scores(ranker, data)?);
    ensure(one == two, || "another answer".to_owned())
}

fn is_the_same_on_any_number_of_threads(ranker: &dyn Ranker) -> Result<(), String> {
    let data = planted();
    let one = on_threads(1, || planted_scores(ranker, data))?;
    for n_threads in [2, 8] {
        let several = on_threads(n_threads, || planted_scores(ranker, data))?;
        ensure(one == several, || format!("another answer on {n_threads} threads"))?;
    }
    Ok(())
}

fn reads_rows_as_they_come(ranker: &dyn Ranker) -> Result<(), String> {
    let data = planted();
    let sink = ranker.stream(&data.verb, data.x.neurons(), Context::default());
    let Some(mut sink) = done("a sink", sink)? else { return Ok(()) };
    for block in data.x.values().axis_chunks_iter(ndarray::Axis(0), BLOCK_ROWS) {
        done("a block", sink.update(block))?;
    }
    let streamed = done("the end of the rows", sink.finish())?;
    ensure(streamed == planted_scores(ranker, data)?, || "another answer than over a matrix".to_owned())
}

fn keeps_to_memory(ranker: &dyn Ranker) -> Result<(), String> {
    let data = planted();
    keeps_to_the_memory(&data.x, |ctx| ranker.score(LabeledActivations::new(&data.x, &data.verb)?, ctx))
}

fn finds_the_planted_neuron(ranker: &dyn Ranker) -> Result<(), String> {
    let scores = planted_scores(ranker, planted())?;
    let best = PlantedActivations::idx(scores.ranking(0).top(1));
    ensure(key::VERBS.contains(&best[0]), || format!("neuron {} is first for verb", best[0]))
}

fn does_not_care_for_the_order_of_neurons(ranker: &dyn Ranker) -> Result<(), String> {
    let data = planted();
    let order = Random::new(2).permutation(data.x.neurons().len());
    let plain = planted_scores(ranker, data)?;
    let permuted = done("permuted neurons", score(ranker, &select_columns(&data.x, &order), &data.verb))?;
    let want = plain.values().select(ndarray::Axis(1), &order);
    difference(permuted.values(), &want, Tol { abs: 1e-6, rel: 1e-5 }).map_or(Ok(()), Err)
}

fn does_not_care_for_the_order_of_concepts(ranker: &dyn Ranker) -> Result<(), String> {
    let data = planted();
    let concepts: Vec<Concept> = data.tag.concepts().iter().rev().cloned().collect();
    let last = concepts.len() as u32 - 1;
    let rows = (0..data.tag.n_tokens()).map(|row| data.tag.of(row).first().map(|&old| last - old));
    let reversed = Labels::single(concepts, rows);
    let plain = done("tags", score(ranker, &data.x, &data.tag))?;
    let permuted = done("reversed tags", score(ranker, &data.x, &reversed))?;
    let rows: Vec<usize> = (0..plain.concepts().len()).rev().collect();
    let names = |scores: &Scores| scores.concepts().iter().map(|concept| concept.name.clone()).collect::<Vec<_>>();
    let mut want = names(&plain);
    want.reverse();
    ensure(names(&permuted) == want, || format!("got the concepts {:?}", names(&permuted)))?;
    near(&permuted, &plain, &rows)
}

fn does_not_care_for_the_order_of_rows(ranker: &dyn Ranker) -> Result<(), String> {
    let data = planted();
    near(&planted_scores(ranker, &data.with_rows_shuffled(3))?, &planted_scores(ranker, data)?, &[0, 1])
}

fn puts_constant_neurons_last(ranker: &dyn Ranker) -> Result<(), String> {
    let data = planted();
    let scores = planted_scores(ranker, data)?;
    let pools = [Pool::Mean, Pool::Max, Pool::RoundRobin];
    let rankings: Vec<Ranking> =
        (0..2).map(|concept| scores.ranking(concept)).chain(pools.map(|pool| scores.overall(pool))).collect();
    for ranking in rankings {
        let mut last = PlantedActivations::idx(&ranking.neurons[ranking.neurons.len() - 2..]);
        last.sort_unstable();
        ensure(last == [key::DEAD, key::CONSTANT], || format!("neurons {last:?} are last"))?;
    }
    Ok(())
}

fn scores_shuffled_labels_lower(ranker: &dyn Ranker) -> Result<(), String> {
    let data = planted();
    let shuffled = data.verb.select(&Random::new(4).permutation(data.verb.n_tokens()));
    let before = planted_scores(ranker, data)?.values()[[0, key::VERB]];
    let after = done("shuffled labels", score(ranker, &data.x, &shuffled))?.values()[[0, key::VERB]];
    ensure(after < 0.5 * before, || format!("{after} after {before}"))
}

fn survives_an_empty_concept(ranker: &dyn Ranker) -> Result<(), String> {
    let data = planted();
    let mut concepts = vec![Concept::new("nothing")];
    concepts.extend_from_slice(data.verb.concepts());
    let rows = (0..data.verb.n_tokens()).map(|row| data.verb.of(row).first().map(|&old| old + 1));
    let with_empty = Labels::single(concepts, rows);
    let Ok(scores) = score(ranker, &data.x, &with_empty) else { return Ok(()) };
    ensure(scores.concept("nothing").is_none(), || "the empty concept has scores".to_owned())?;
    near(&scores, &planted_scores(ranker, data)?, &[0, 1])
}

fn refuses_bad_values(ranker: &dyn Ranker) -> Result<(), String> {
    let data = planted();
    refuses_what_is_not_finite(&data.x, |x| score(ranker, x, &data.verb))
}

fn survives_several_labels(ranker: &dyn Ranker) -> Result<(), String> {
    let data = planted();
    // Every verb is also "any"; the first verb is the first row with two labels.
    let concepts = vec![Concept::new("verb"), Concept::new("other"), Concept::new("any")];
    let two = |row: usize| if data.verb.of(row) == [0] { vec![0, 2] } else { data.verb.of(row).to_vec() };
    let several = Labels::several(concepts, (0..data.verb.n_tokens()).map(two));
    let first = data.verb.mask(0).iter().position(|&verb| verb);
    match score(ranker, &data.x, &several) {
        Ok(scores) => near(&scores, &planted_scores(ranker, data)?, &[0, 1, 0]),
        Err(MethodError::NotExclusive { row, got: 2, .. }) if Some(row) == first => Ok(()),
        Err(other) => Err(format!("two labels in row {first:?} were reported as: {other}")),
    }
}

fn survives_nothing(ranker: &dyn Ranker) -> Result<(), String> {
    let data = planted();
    let no_labels = data.verb.select(&[]);
    let refused = score(ranker, &without_rows(&data.x), &no_labels).is_err();
    ensure(refused, || "scores were made of no rows".to_owned())?;
    let scores = done("no neurons", score(ranker, &without_columns(&data.x), &data.verb))?;
    ensure(scores.values().ncols() == 0, || "scores were made of no neurons".to_owned())
}

fn is_well_behaved(ranker: &dyn Ranker) -> Result<(), String> {
    let data = planted();
    tells_progress_and_stops(|ctx| ranker.score(LabeledActivations::new(&data.x, &data.verb)?, ctx))
}

fn says_where_scores_come_from(ranker: &dyn Ranker) -> Result<(), String> {
    let provenance = planted_scores(ranker, planted())?.provenance;
    let complete = !provenance.method.is_empty() && provenance.params.is_object() && !provenance.version.is_empty();
    ensure(complete, || format!("{provenance:?}"))
}
