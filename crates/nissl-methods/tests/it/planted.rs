//! What each method must find in the planted activations, with and without noise, and with the rows in another order.

use std::sync::LazyLock;

use nissl_core::{Context, LabeledActivations, Labels, Pool, Profiler, Ranker, Scores, TextActivations, TextRows};
use nissl_methods::profilers::{TopContexts, TopWords};
use nissl_methods::rankers::{AveragePrecision, Iou, MeanSelect, Measure, Probeless, Threshold, Unlabeled};
use nissl_testing::planted::{PAST_FORMS, PRESENT_FORMS, key};
use nissl_testing::{PlantedActivations, Tol, assert_close};

const SEEDS: [u64; 3] = [0, 1, 2];

/// Runs a test with both noise levels, several draws, and each draw also with its rows shuffled.
fn everywhere(check: impl Fn(&PlantedActivations)) {
    /// Made once for all tests.
    static DATA: LazyLock<Vec<PlantedActivations>> = LazyLock::new(|| {
        let draws = [0.0, 0.1].into_iter().flat_map(|sigma| SEEDS.map(|seed| PlantedActivations::new(seed, sigma)));
        draws.flat_map(|planted| [planted.with_rows_shuffled(10), planted]).collect()
    });
    DATA.iter().for_each(check);
}

fn score(ranker: &dyn Ranker, data: &PlantedActivations, labels: &Labels) -> Scores {
    let data = LabeledActivations::new(&data.x, labels).expect("a label for each row");
    ranker.score(data, Context::default()).expect("planted data can be scored")
}

/// The best neurons for a concept, by their number in the key.
fn best(scores: &Scores, concept: &str, k: usize) -> Vec<usize> {
    let concept = scores.concept(concept).expect("the concept was scored");
    PlantedActivations::idx(scores.ranking(concept).top(k))
}

fn value(scores: &Scores, concept: &str, neuron: usize) -> f32 {
    scores.values()[[scores.concept(concept).expect("the concept was scored"), neuron]]
}

/// The score of the best neuron that is none of these.
fn next(scores: &Scores, concept: &str, but: &[usize]) -> f32 {
    let others = (0..scores.neurons().len()).filter(|neuron| !but.contains(neuron));
    others.map(|neuron| value(scores, concept, neuron)).fold(0.0, f32::max)
}

fn sorted(mut neurons: Vec<usize>) -> Vec<usize> {
    neurons.sort_unstable();
    neurons
}

fn signed() -> AveragePrecision {
    AveragePrecision { signed: true, ..AveragePrecision::default() }
}

fn among_labeled() -> AveragePrecision {
    AveragePrecision { unlabeled: Unlabeled::Skip, ..signed() }
}

#[test]
fn average_precision_finds_the_verb_neurons() {
    everywhere(|data| {
        let scores = score(&AveragePrecision::default(), data, &data.verb);
        assert_eq!(sorted(best(&scores, "verb", 3)), [key::VERB, key::VERB_TWICE, key::VERB_HALF]);
        assert!([0, 1, 3].iter().all(|&neuron| value(&scores, "verb", neuron) >= 0.99));
        // Past verbs are half of the verbs: found first by the switch, the other half last.
        assert!(next(&scores, "verb", &[0, 1, 3]) < 0.62, "{}", next(&scores, "verb", &[0, 1, 3]));
        let scores = score(&signed(), data, &data.verb);
        assert_eq!(sorted(best(&scores, "verb", 4)), key::VERBS);
        let sign = scores.sign().expect("a signed method gives signs").row(0).to_vec();
        assert_eq!([0, 1, 2, 3].map(|neuron| sign[neuron]), [1, 1, -1, 1]);
        assert!(next(&scores, "verb", &key::VERBS) < 0.85);
    });
}

#[test]
fn dead_and_constant_neurons_have_the_prevalence_and_are_last() {
    everywhere(|data| {
        for scores in
            [score(&AveragePrecision::default(), data, &data.tag), score(&Probeless::default(), data, &data.tag)]
        {
            let last = |neurons: &[nissl_core::NeuronId]| PlantedActivations::idx(&neurons[126..]);
            for concept in 0..scores.concepts().len() {
                assert_eq!(last(&scores.ranking(concept).neurons), [key::DEAD, key::CONSTANT]);
            }
            assert_eq!(last(&scores.overall(Pool::Max).neurons), [key::DEAD, key::CONSTANT]);
        }
        let scores = score(&AveragePrecision::default(), data, &data.verb);
        let prevalence = data.verb.counts()[0] as f64 / data.verb.n_tokens() as f64;
        assert_close("dead", &value(&scores, "verb", key::DEAD), &prevalence, Tol::rel(1e-6));
    });
}

#[test]
fn probeless_finds_the_verb_neurons_and_their_distance() {
    everywhere(|data| {
        let scores = score(&Probeless::default(), data, &data.verb);
        assert_eq!(sorted(best(&scores, "verb", 4)), key::VERBS);
        assert!(next(&scores, "verb", &key::VERBS) < 1.6);
        assert_eq!(scores.sign().expect("probeless gives signs")[[0, key::VERB_NEGATED]], -1);
    });
    // Mean distances of 1, 2, 1, 1/2 over the deviations that a share p of verbs and the noise give.
    let data = PlantedActivations::new(0, 0.1);
    let p = data.verb.counts()[0] as f64 / data.verb.n_tokens() as f64;
    let want = [1.0, 2.0, 1.0, 0.5].map(|scale: f64| scale / (scale * scale * p * (1.0 - p) + 0.01).sqrt());
    let scores = score(&Probeless::default(), &data, &data.verb);
    assert_close("distances", &key::VERBS.map(|neuron| value(&scores, "verb", neuron)), &want, Tol::rel(0.02));
}

#[test]
fn mean_select_finds_the_verb_neurons() {
    everywhere(|data| {
        let scores = score(&MeanSelect::default(), data, &data.verb);
        assert_eq!(sorted(best(&scores, "verb", 4)), key::VERBS);
        assert!(next(&scores, "verb", &key::VERBS) < 0.45, "{}", next(&scores, "verb", &key::VERBS));
        assert_eq!(scores.sign().expect("the distance has a side")[[0, key::VERB_NEGATED]], -1);
    });
}

#[test]
fn iou_is_one_where_the_rows_above_the_threshold_are_those_of_the_concept() {
    everywhere(|data| {
        let method = Iou { threshold: Threshold::Value, value: 0.5, ..Iou::default() };
        let scores = score(&method, data, &data.quote);
        assert_eq!(best(&scores, "inside", 1), [key::QUOTE]);
        assert_close("quote", &value(&scores, "inside", key::QUOTE), &1.0, Tol::EXACT);
        // The modifier neuron is silent on "very", so that it fires on adverbs alone only in part.
        let precision = Iou { measure: Measure::Precision, ..method };
        let scores = score(&precision, data, &data.tag);
        let both = value(&scores, "ADJ", key::MODIFIER) + value(&scores, "ADV", key::MODIFIER);
        assert_close("adjectives and adverbs", &both, &1.0, Tol::rel(1e-6));
    });
}

#[test]
fn without_standardizing_a_neuron_of_large_variance_enters() {
    everywhere(|data| {
        let scores = score(&Probeless { zscore: false, ..Probeless::default() }, data, &data.verb);
        let top = best(&scores, "verb", 4);
        assert!(top.contains(&key::FREQUENCY), "{top:?}");
        assert_eq!(top[0], key::VERB_TWICE);
    });
}

#[test]
fn the_tense_switch_is_far_ahead_for_both_of_its_ends() {
    everywhere(|data| {
        let scores = score(&Probeless::default(), data, &data.tense);
        for tense in ["past", "present"] {
            assert_eq!(best(&scores, tense, 1), [key::TENSE]);
            assert!(value(&scores, tense, key::TENSE) > 5.0 * next(&scores, tense, &[key::TENSE]));
        }
        for ranker in [signed(), among_labeled()] {
            let scores = score(&ranker, data, &data.tense);
            let sign = scores.sign().expect("a signed method gives signs");
            for (tense, direction) in [("past", 1), ("present", -1)] {
                assert_eq!(best(&scores, tense, 1), [key::TENSE]);
                assert_close(tense, &value(&scores, tense, key::TENSE), &1.0, Tol::EXACT);
                let concept = scores.concept(tense).expect("both tenses were scored");
                assert_eq!(sign[[concept, key::TENSE]], direction, "{tense}");
            }
        }
    });
}

#[test]
fn the_topic_neuron_finds_food_above_and_tech_below() {
    everywhere(|data| {
        let scores = score(&signed(), data, &data.topic);
        for (topic, direction) in [("food", 1), ("tech", -1)] {
            let concept = scores.concept(topic).expect("both topics were scored");
            assert_eq!(best(&scores, topic, 1), [key::TOPIC]);
            assert_close(topic, &value(&scores, topic, key::TOPIC), &1.0, Tol::EXACT);
            assert_eq!(scores.sign().expect("a signed method gives signs")[[concept, key::TOPIC]], direction);
        }
        // A noun's topic is in no other neuron; that it is a singular or plural noun is in the number neuron.
        let others = next(&scores, "food", &[key::TOPIC]).max(next(&scores, "tech", &[key::TOPIC]));
        assert!(others < 0.25, "{others}");
    });
}

#[test]
fn the_quote_and_number_neurons_are_found_with_certainty() {
    everywhere(|data| {
        let quote = score(&AveragePrecision::default(), data, &data.quote);
        assert_eq!(best(&quote, "inside", 1), [key::QUOTE]);
        assert_close("quote", &value(&quote, "inside", key::QUOTE), &1.0, Tol::EXACT);
        assert!(next(&quote, "inside", &[key::QUOTE]) < 0.25);
        let number = score(&among_labeled(), data, &data.number);
        for (concept, want) in [("plural", 1), ("singular", -1)] {
            assert_eq!(best(&number, concept, 1), [key::NUMBER]);
            assert_close(concept, &value(&number, concept, key::NUMBER), &1.0, Tol::EXACT);
            // The frequency neuron knows the word, and a word's number; all others know nothing of it.
            assert!(value(&number, concept, key::FREQUENCY) < 0.8);
            assert!(next(&number, concept, &[key::NUMBER, key::FREQUENCY]) < 0.6);
            let idx = number.concept(concept).expect("both numbers were scored");
            assert_eq!(number.sign().expect("a signed method gives signs")[[idx, key::NUMBER]], want);
        }
    });
}

#[test]
fn a_distributed_concept_is_in_the_top_fifty_and_in_no_single_neuron() {
    everywhere(|data| {
        let scores = score(&Probeless::default(), data, &data.register);
        assert_eq!(sorted(best(&scores, "high", 50)), key::REGISTER.collect::<Vec<_>>());
        let scores = score(&AveragePrecision::default(), data, &data.register);
        assert!(next(&scores, "high", &[]) < 0.68, "{}", next(&scores, "high", &[]));
    });
}

#[test]
fn top_words_of_the_tense_switch_are_past_forms_first_and_present_forms_last() {
    everywhere(|data| {
        let text = TextActivations::new(&data.x, &data.text).expect("a word for each row");
        let method = TopWords { signed: true, ..TopWords::default() };
        let words =
            method.profile(text, Context::default()).expect("planted data has profiles").swap_remove(key::TENSE);
        let words: Vec<&str> = words.words.iter().map(|word| word.name.as_str()).collect();
        let in_order = |words: &[&str]| {
            let mut words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
            words.sort();
            words
        };
        assert_eq!(words.len(), 12, "{words:?}");
        assert_eq!(in_order(&words[..4]), in_order(&PAST_FORMS));
        assert_eq!(in_order(&words[4..]), in_order(&PRESENT_FORMS));
    });
}

/// Whether a row lies between quotation marks, by the words before it in the sentence.
fn is_quoted(text: &TextRows, row: usize) -> bool {
    let before = text.sentence_rows(row).start..row;
    before.fold(false, |open, earlier| (open || text.word(earlier) == "“") && text.word(earlier) != "”")
        && text.word(row) != "”"
}

#[test]
fn top_contexts_of_the_quote_neuron_end_between_quotes() {
    for sigma in [0.0, 0.1] {
        for seed in SEEDS {
            let data = PlantedActivations::new(seed, sigma);
            for data in [data.with_sentences_shuffled(seed + 10), data] {
                let text = TextActivations::new(&data.x, &data.text).expect("a word for each row");
                let method = TopContexts { bottom: true, ..TopContexts::default() };
                let profiles = method.profile(text, Context::default()).expect("planted data has profiles");
                let quote = &profiles[key::QUOTE];
                assert_eq!((quote.top.len(), quote.bottom.len()), (20, 20));
                assert!(quote.top.iter().all(|context| is_quoted(&data.text, context.row)));
                assert!(quote.bottom.iter().all(|context| !is_quoted(&data.text, context.row)));
            }
        }
    }
}
