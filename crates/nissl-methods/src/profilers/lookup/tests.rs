#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use nissl_testing::planted::key;
use nissl_testing::{PlantedActivations, Tol, assert_close};

use super::*;

fn numbers(method: &Lookup, sigma: f64) -> Vec<Vec<f32>> {
    let planted = PlantedActivations::new(4, sigma);
    let data = TextActivations::new(&planted.x, &planted.text).unwrap();
    let profiles = method.profile(data, Context::default()).unwrap();
    profiles.iter().map(|profile| profile.numbers.iter().map(|number| number.value).collect()).collect()
}

#[test]
fn an_indicator_of_words_is_simulated_exactly_and_noise_not_at_all() {
    let numbers = numbers(&Lookup::default(), 0.0);
    for neuron in [key::VERB, key::VERB_NEGATED, key::TENSE, key::MODIFIER, key::NUMBER, key::FREQUENCY] {
        assert_close(&format!("neuron {neuron}"), &numbers[neuron][..], &[1.0, 1.0], Tol::abs(1e-5));
    }
    for neuron in key::NOISE {
        assert!(numbers[neuron][0].abs() < 0.1 && numbers[neuron][1] < 0.05, "{neuron}: {:?}", numbers[neuron]);
    }
    // Whether a word is quoted is in the words around it alone.
    assert!(numbers[key::QUOTE][0] < 0.5, "{:?}", numbers[key::QUOTE]);
    assert!(numbers[key::DEAD].is_empty() && numbers[key::CONSTANT].is_empty());
}

#[test]
fn the_word_before_tells_more_where_it_matters() {
    let (alone, pairs) =
        (numbers(&Lookup::default(), 0.0), numbers(&Lookup { previous: true, ..Lookup::default() }, 0.0));
    // The first word behind a quotation mark is quoted.
    assert!(pairs[key::QUOTE][0] > alone[key::QUOTE][0] + 0.1, "{:?} {:?}", pairs[key::QUOTE], alone[key::QUOTE]);
    assert_close("the verb", &pairs[key::VERB][0], &1.0, Tol::abs(1e-5));
}

#[test]
fn halves_are_about_as_large_and_keep_sentences_whole() {
    let planted = PlantedActivations::new(4, 0.0);
    let halves = halves(&planted.text);
    let share = halves.iter().filter(|&&second| second).count() as f64 / halves.len() as f64;
    assert!((0.4..0.6).contains(&share), "{share}");
    for row in 0..halves.len() {
        assert_eq!(halves[row], halves[planted.text.sentence_rows(row).start]);
    }
}
