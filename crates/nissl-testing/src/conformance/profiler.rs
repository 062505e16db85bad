//! What holds for every profiler.

use std::sync::LazyLock;

use nissl_core::{Activations, Context, Matrix, MethodError, Profile, Profiler, Site, TextActivations, TextRows};

use super::{
    Check, done, ensure, keeps_to_the_memory, on_threads, refuses_what_is_not_finite, run_all,
    tells_progress_and_stops, without_columns, without_rows,
};
use crate::close::{Tol, difference};
use crate::planted::{PlantedActivations, key};
use crate::random::Random;
use crate::select::{select_columns, select_text};

/// Checks a profiler on planted activations and their words.
///
/// # Panics
/// With every rule that does not hold.
pub fn check_profiler(name: &str, profiler: &dyn Profiler) {
    let checks: &[Check<dyn Profiler>] = &[
        ("one profile for each neuron, in order, of finite numbers", has_a_profile_for_every_neuron),
        ("the same answer twice", is_the_same_twice),
        ("the same bits on 1, 2 and 8 threads", is_the_same_on_any_number_of_threads),
        ("the same bits with little memory, an error with none", keeps_to_memory),
        ("permuted neurons have permuted profiles", does_not_care_for_the_order_of_neurons),
        ("permuted sentences change nothing beyond rounding", does_not_care_for_the_order_of_sentences),
        ("constant neurons have an empty profile", says_nothing_of_constant_neurons),
        ("what is not finite is refused by neuron and row", refuses_bad_values),
        ("no rows and no neurons are no panic", survives_nothing),
        ("progress is told and a stop obeyed", is_well_behaved),
    ];
    run_all(name, profiler, checks);
}

/// Planted activations; the same as forget gates for a method that takes no other values.
fn planted(profiler: &dyn Profiler) -> &'static PlantedActivations {
    static PLANTED: LazyLock<PlantedActivations> = LazyLock::new(|| PlantedActivations::new(12, 0.1));
    static GATES: LazyLock<PlantedActivations> = LazyLock::new(|| PLANTED.as_gates());
    if takes_gates_alone(profiler, &PLANTED) { &GATES } else { &PLANTED }
}

fn takes_gates_alone(profiler: &dyn Profiler, data: &PlantedActivations) -> bool {
    let few = select_columns(&data.x, &[key::TENSE]);
    matches!(profile(profiler, &few, &data.text), Err(MethodError::OutOfRange { .. }))
}

fn profile(profiler: &dyn Profiler, x: &Matrix, text: &TextRows) -> Result<Vec<Profile>, MethodError> {
    profiler.profile(TextActivations::new(x, text)?, Context::default())
}

fn planted_profiles(profiler: &dyn Profiler, data: &PlantedActivations) -> Result<Vec<Profile>, String> {
    done("planted activations", profile(profiler, &data.x, &data.text))
}

fn has_a_profile_for_every_neuron(profiler: &dyn Profiler) -> Result<(), String> {
    let data = planted(profiler);
    let profiles = planted_profiles(profiler, data)?;
    let neurons: Vec<_> = profiles.iter().map(|profile| profile.neuron).collect();
    ensure(neurons == data.x.neurons(), || format!("profiles of {} neurons", neurons.len()))?;
    let numbers = |profile: &Profile| {
        let words = profile.words.iter().flat_map(|word| [word.score, word.deviation]);
        let contexts =
            profile.top.iter().chain(&profile.bottom).chain(&profile.sampled).map(|context| context.activation);
        let explanations = profile.explanations.iter().map(|explanation| explanation.score);
        let numbers = profile.numbers.iter().map(|number| number.value);
        words.chain(contexts).chain(explanations).chain(numbers).collect::<Vec<f32>>()
    };
    let some = profiles.iter().any(|profile| !numbers(profile).is_empty());
    ensure(some, || "every profile is empty".to_owned())?;
    let finite = profiles.iter().all(|profile| numbers(profile).iter().all(|value| value.is_finite()));
    ensure(finite, || "a number is not finite".to_owned())
}

fn is_the_same_twice(profiler: &dyn Profiler) -> Result<(), String> {
    let data = planted(profiler);
    let (one, two) = (planted_profiles(profiler, data)?, planted_profiles(profiler, data)?);
    ensure(one == two, || "another answer".to_owned())
}

fn is_the_same_on_any_number_of_threads(profiler: &dyn Profiler) -> Result<(), String> {
    let data = planted(profiler);
    let one = on_threads(1, || planted_profiles(profiler, data))?;
    for n_threads in [2, 8] {
        let several = on_threads(n_threads, || planted_profiles(profiler, data))?;
        ensure(one == several, || format!("another answer on {n_threads} threads"))?;
    }
    Ok(())
}

fn keeps_to_memory(profiler: &dyn Profiler) -> Result<(), String> {
    let data = planted(profiler);
    keeps_to_the_memory(&data.x, |ctx| profiler.profile(TextActivations::new(&data.x, &data.text)?, ctx))
}

fn does_not_care_for_the_order_of_neurons(profiler: &dyn Profiler) -> Result<(), String> {
    let data = planted(profiler);
    let order = Random::new(2).permutation(data.x.neurons().len());
    let plain = planted_profiles(profiler, data)?;
    let permuted = done("permuted neurons", profile(profiler, &select_columns(&data.x, &order), &data.text))?;
    for (got, &from) in permuted.iter().zip(&order) {
        let want = Profile { neuron: got.neuron, ..plain[from].clone() };
        ensure(*got == want, || format!("the profile of {} is not that of neuron {from}", got.neuron))?;
    }
    Ok(())
}

fn does_not_care_for_the_order_of_sentences(profiler: &dyn Profiler) -> Result<(), String> {
    let data = planted(profiler);
    let plain = planted_profiles(profiler, data)?;
    let shuffled = planted_profiles(profiler, &data.with_sentences_shuffled(3))?;
    for (got, want) in shuffled.iter().zip(&plain) {
        same_content(got, want).map_err(|reason| format!("{}: {reason}", got.neuron))?;
    }
    Ok(())
}

/// Row and sentence numbers may differ, words and contexts may not.
fn same_content(got: &Profile, want: &Profile) -> Result<(), String> {
    let words =
        |profile: &Profile| profile.words.iter().map(|word| (word.name.clone(), word.count)).collect::<Vec<_>>();
    ensure(words(got) == words(want), || format!("words {:?}, want {:?}", words(got), words(want)))?;
    let texts = |profile: &Profile| {
        let explanations = profile.explanations.iter().map(|one| one.text.clone());
        explanations.chain(profile.numbers.iter().map(|number| number.name.clone())).collect::<Vec<_>>()
    };
    ensure(texts(got) == texts(want), || format!("explanations {:?}, want {:?}", texts(got), texts(want)))?;
    let scores = |profile: &Profile| {
        let words = profile.words.iter().map(|word| word.score);
        let explanations = profile.explanations.iter().map(|one| one.score);
        words.chain(explanations).chain(profile.numbers.iter().map(|number| number.value)).collect::<Vec<_>>()
    };
    difference(&scores(got), &scores(want), Tol { abs: 1e-6, rel: 1e-5 }).map_or(Ok(()), Err)?;
    let contexts = |profile: &Profile| {
        let all = profile.top.iter().chain(&profile.bottom).chain(&profile.sampled);
        all.map(|one| (one.context.clone(), one.position, one.activation)).collect::<Vec<_>>()
    };
    ensure(contexts(got) == contexts(want), || "other contexts".to_owned())
}

fn says_nothing_of_constant_neurons(profiler: &dyn Profiler) -> Result<(), String> {
    let data = planted(profiler);
    let profiles = planted_profiles(profiler, data)?;
    // That a gate is always open says something of it.
    let is_gate = data.x.neurons()[0].point.site() == Site::LstmF;
    let nothing = |idx: usize| {
        let numbers = if is_gate { profiles[idx].numbers.clone() } else { Vec::new() };
        Profile { numbers, ..Profile::new(data.x.neurons()[idx]) }
    };
    let empty = [key::DEAD, key::CONSTANT].iter().all(|&idx| profiles[idx] == nothing(idx));
    ensure(empty, || "a constant neuron has a profile".to_owned())
}

fn refuses_bad_values(profiler: &dyn Profiler) -> Result<(), String> {
    let data = planted(profiler);
    refuses_what_is_not_finite(&data.x, |x| profile(profiler, x, &data.text))
}

fn survives_nothing(profiler: &dyn Profiler) -> Result<(), String> {
    let data = planted(profiler);
    let profiles = done("no rows", profile(profiler, &without_rows(&data.x), &select_text(&data.text, &[])))?;
    let empty = profiles.iter().all(|profile| *profile == Profile::new(profile.neuron));
    ensure(profiles.len() == data.x.neurons().len() && empty, || "profiles were made of no rows".to_owned())?;
    let profiles = done("no neurons", profile(profiler, &without_columns(&data.x), &data.text))?;
    ensure(profiles.is_empty(), || "profiles were made of no neurons".to_owned())
}

fn is_well_behaved(profiler: &dyn Profiler) -> Result<(), String> {
    let data = planted(profiler);
    tells_progress_and_stops(|ctx| profiler.profile(TextActivations::new(&data.x, &data.text)?, ctx))
}
